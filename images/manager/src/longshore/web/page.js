// The status page: asks the manager every two seconds, and shows what changed.
//
// Everything that comes from items or workers becomes text, never markup. What has the focus, or is opened, stays:
// rows are kept by their item's name, and only what differs is written.

const EVERY_MS = 2000;
const EVERY_MS_MOST = 30000;
const ANSWER_MS = 10000;
const LOGS_AT_ONCE = 2; // a browser has six connections to one server, and the server reads four logs at a time
const TYPING_MS = 200;
const STATES = ["waiting", "starting", "running", "done", "failed"];
const NUMBER = new Intl.NumberFormat("en");
const SHORT = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
const SVG = "http://www.w3.org/2000/svg";

const byId = (id) => document.getElementById(id);
const wanted = { state: "", search: "", page: 1, minutes: 60 };
const HEIRS = { pause: "resume", resume: "pause", next: "previous", previous: "next" };
let status = null;
let isAwaited = false; // whether a person asked for the list that comes next
let lostSince = null;

// --- asking

class Refused extends Error {}

async function ask(path) {
  const reply = await fetch(path, { headers: { Accept: "application/json" }, credentials: "omit", signal: AbortSignal.timeout(ANSWER_MS) });
  const body = await reply.json();
  if (!reply.ok) throw new Refused(body.message);
  return body;
}

async function act(path, body) {
  byId("acted").textContent = "";
  try {
    const reply = await fetch(path, {
      method: "POST",
      headers: { "Content-Type": "application/json", Authorization: `Bearer ${byId("token").value}` },
      credentials: "omit",
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(ANSWER_MS),
    });
    const said = await reply.json();
    const words = reply.ok ? outcome(said) : said.message;
    byId("acted").textContent = reply.status === 401 ? "That is not the token: type it above." : words;
    if (reply.status === 401) byId("token").focus();
  } catch {
    byId("acted").textContent = "The manager does not answer; whether anything was changed is not known.";
  }
  refresh();
}

function outcome(said) {
  if (said.mode) return said.mode === "paused" ? "Paused: nothing more is started." : "Resumed.";
  const refused = Object.entries(said.refused).map(([item, why]) => `${visible(item)}: ${why}`);
  return [...(said.retried.length ? [`${NUMBER.format(said.retried.length)} will be tried again.`] : []), ...refused].join(" ");
}

let asking = 0;
let due = null;
let pause = EVERY_MS;

async function refresh() {
  clearTimeout(due);
  const mine = (asking += 1);
  try {
    const query = new URLSearchParams({ state: wanted.state, search: wanted.search, page: wanted.page });
    const [now, rows] = await Promise.all([ask("/api/status"), ask(`/api/items?${query}`)]);
    if (mine !== asking) return; // something newer was asked for meanwhile
    [status, lostSince, pause] = [now, null, EVERY_MS];
    keepingFocus(() => show(now, rows));
    for (const row of document.querySelectorAll(".more")) row.reload();
  } catch {
    if (mine !== asking) return;
    lostSince ??= Date.now();
    pause = Math.min(EVERY_MS_MOST, pause * 1.5);
    showNotices();
  }
  if (!document.hidden) due = setTimeout(refresh, pause);
}

// Opened items wait for each other and for nobody else; each is asked for once at a time.
const toLoad = new Set();
const loading = new Set();

function load(row) {
  if (!loading.has(row)) toLoad.add(row);
  loadNext();
}

function loadNext() {
  for (const row of toLoad) {
    if (loading.size >= LOGS_AT_ONCE) return;
    toLoad.delete(row);
    loading.add(row);
    row.load().finally(() => {
      loading.delete(row);
      loadNext();
    });
  }
}

// --- words

function duration(seconds) {
  if (seconds < 10) return `${Math.max(0, seconds).toFixed(1)} s`;
  const whole = Math.floor(seconds);
  for (const [size, unit, small, smallUnit] of [[86400, "d", 3600, "h"], [3600, "h", 60, "min"], [60, "min", 1, "s"]]) {
    if (whole >= size) {
      const rest = Math.floor((whole % size) / small);
      return rest ? `${Math.floor(whole / size)} ${unit} ${rest} ${smallUnit}` : `${Math.floor(whole / size)} ${unit}`;
    }
  }
  return `${whole} s`;
}

const short = (number) => SHORT.format(number);
const mean = (seconds) => (seconds < 100 ? `${short(seconds)} s` : duration(seconds));

// The same as the server's: what would be obeyed, or hidden, is spelled out.
function visible(text) {
  return text.replace(/[\p{C}\p{Z}]/gu, (char) => (char === " " ? char : `\\u{${char.codePointAt(0).toString(16)}}`));
}

const ago = (at) => (at === null ? "" : `${duration(Math.max(0, status.now - at))} ago`);
const sum = (numbers) => numbers.reduce((all, one) => all + one, 0);
const many = (number, noun) => `${NUMBER.format(number)} ${noun}${number === 1 ? "" : "s"}`;

// --- building

function make(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// Bring `parent`'s children into the order of `children`, moving none that is in its place: a move would lose the focus.
function arrange(parent, children) {
  const kept = new Set(children);
  for (const child of [...parent.children]) if (!kept.has(child)) child.remove();
  children.forEach((child, place) => {
    if (parent.children[place] !== child) parent.insertBefore(child, parent.children[place] ?? null);
  });
}

const isUsable = (element) => element.isConnected && element.checkVisibility() && !element.disabled;

// What had the focus and is gone, or can't be pressed any more, hands it on: else it would fall to the page's start.
function keepingFocus(change) {
  const had = document.activeElement;
  if (!had || had === document.body) return change();
  const row = had.closest(".more")?.previousElementSibling?.querySelector("button");
  const heirs = [byId(HEIRS[had.id]), row, had.closest(".list"), had.closest("section")];
  change();
  if (!isUsable(had)) heirs.find((heir) => heir && isUsable(heir))?.focus({ preventScroll: true });
}

// --- parts

function show(now, rows) {
  write(byId("queue"), now.queue);
  document.title = `${now.queue}: ${NUMBER.format(now.counts.failed)} failed, ${NUMBER.format(now.counts.running)} running`;
  write(byId("version"), now.version);
  showNotices();
  showCounts(now.counts);
  showPlots(now.series);
  showFacts(now);
  showActions(now.actions);
  running.show(now.running, "Nothing runs just now.", now.counts.running);
  failed.show(now.failed, "Nothing has failed.", now.counts.failed);
  found.show(rows.items, wanted.search || wanted.state ? "No item is like that." : "There are no items yet.");
  const words = `${many(rows.total, wanted.state ? `${wanted.state} item` : "item")}${wanted.search ? ` with “${visible(wanted.search)}” in the name` : ""}`;
  const place = `${NUMBER.format(rows.page)} of ${NUMBER.format(rows.pages)}`;
  write(byId("found"), words);
  write(byId("page"), `Page ${place}`);
  if (isAwaited) byId("answer").textContent = `${words}, page ${place}`;
  isAwaited = false;
  wanted.page = rows.page;
  byId("pages").hidden = rows.pages < 2;
  byId("previous").disabled = rows.page <= 1;
  byId("next").disabled = rows.page >= rows.pages;
}

function showNotices() {
  const notices = [];
  if (lostSince !== null) notices.push(["bad", `The manager has not answered since ${new Date(lostSince).toLocaleTimeString()}. What is shown is from before; asking again.`]);
  if (status) {
    if (status.trouble) notices.push(["bad", `The manager can't see its Jobs: ${status.trouble}`]);
    if (!status.source.is_up && status.source.error) notices.push(["bad", `The source does not answer: ${status.source.error}`]);
    if (status.breaker?.is_open) notices.push(["bad", `The breaker is ${status.breaker.sentence}`]);
    else if (status.hold) notices.push(["", `Nothing is started: ${status.hold}.`]);
  }
  const box = byId("notices");
  // Only what is new is written, as each write is read out.
  const kept = new Map([...box.children].map((one) => [one.textContent, one]));
  arrange(box, notices.map(([kind, words]) => kept.get(words) ?? make("p", { class: `notice ${kind}` }, words)));
  const mode = lostSince !== null ? "not answering" : (status?.mode ?? "");
  write(byId("mode"), mode);
  byId("mode").hidden = !mode;
  byId("mode").className = `badge ${lostSince !== null ? "gone" : mode === "running" ? "" : "halted"}`;
  if (status) write(byId("seen"), status.looked_at === null ? "not looked yet" : `looked ${ago(status.looked_at)}`);
}

function showCounts(counts) {
  const list = byId("counts");
  if (!list.children.length) {
    for (const state of STATES) {
      const button = make("button", { type: "button", class: state }, make("b"), make("span", {}, state));
      button.addEventListener("click", () => lookFor(state));
      list.append(make("li", {}, button));
    }
  }
  STATES.forEach((state, place) => {
    write(list.children[place].querySelector("b"), NUMBER.format(counts[state]));
  });
}

// The numbers that the law in force goes by, as its sentence has them, and no others.
function inputsOf(scaling) {
  const known = (value, words) => (value === null ? null : words(value));
  const items = NUMBER.format;
  const always = [
    ["allowed at once", items(scaling.parallelism), "How many items may be at work now"],
    ["at work", items(scaling.live), "Items that are starting or running"],
    ["waiting", items(scaling.waiting), "Items that are listed and have not been started"],
    ["scaling.min to max", `${items(scaling.minimum)} to ${items(scaling.maximum)}`, "The bounds in the queue file"],
    ["law", scaling.law, "scaling.law in the queue file: how the number is found"],
  ];
  if (scaling.law === "fixed") return always;
  const measured = scaling.law === "book"
    ? [
      ["new a minute", known(scaling.arrivals_per_minute, short), "Items that were listed anew, over scaling.window"],
      ["work of one item", known(scaling.work_seconds, mean), "What its workers take on average, all attempts"],
    ]
    : [
      ["new a minute, batches aside", known(scaling.steady_per_minute, short), "Items that were listed anew, over scaling.window without its busiest part"],
      ["an item holds a place for", known(scaling.place_seconds, mean), "On average: its worker's start, its attempts and the pauses between them"],
    ];
  return [
    ...always,
    ...measured,
    ["busy on average", known(scaling.offered, short), "How many would be at work all the time, with what is new and what waits"],
    ["to be worked off in", known(scaling.drain_seconds, duration), "In this time what waits should be done"],
  ];
}

function showFacts(now) {
  const { scaling, source, breaker } = now;
  write(byId("decision"), scaling.sentence);
  const inputs = inputsOf(scaling).filter(([, value]) => value !== null);
  const known = new Map([...byId("inputs").children].map((one) => [one.dataset.name, one]));
  arrange(byId("inputs"), inputs.map(([name, value, title]) => {
    const one = known.get(name) ?? make("div", { "data-name": name }, make("dt", { title }, name), make("dd", { title }));
    write(one.lastChild, value);
    return one;
  }));
  const settling = source.settling ? `, ${NUMBER.format(source.settling)} not listed yet (still settling)` : "";
  const listed = source.listed === null ? "has not been listed yet" : `${many(source.listed, "item")} listed ${ago(source.listed_at)}${settling}`;
  say("source", source.is_up, source.is_up ? "answers" : source.listed === null && !source.error ? "is being asked" : "does not answer", `${listed}${source.error ? `; ${source.error}` : ""}`);
  if (breaker === null) say("breaker", true, "none", "this manager has no breaker");
  else {
    const probe = breaker.next_probe && breaker.is_open ? `; next trial in ${duration(Math.max(0, breaker.next_probe - now.now))}` : "";
    say("breaker", !breaker.is_open, breaker.is_open ? "open" : "closed", breaker.is_open ? `${breaker.sentence.replace(/^open: /, "")}${probe}` : "starting goes on");
  }
}

function say(id, isGood, state, words) {
  const place = byId(id);
  if (!place.children.length) place.append(make("span"), " · ", make("span"));
  place.firstChild.className = isGood ? "good" : "poor";
  write(place.firstChild, state);
  write(place.lastChild, words);
}

function showActions(actions) {
  byId("actions").hidden = !actions.length;
  byId("pause").hidden = !actions.includes("pause") || status.mode !== "running";
  byId("resume").hidden = !actions.includes("resume") || status.mode === "running";
}

// --- plots

function showPlots(series) {
  const step = wanted.minutes > 60 ? 5 : 1;
  const last = (numbers) => {
    const shown = numbers.slice(-wanted.minutes);
    return Array.from({ length: shown.length / step }, (_, at) => sum(shown.slice(at * step, (at + 1) * step)));
  };
  const [done, failures, waits, seconds] = [series.done, series.failed, series.waits, series.wait_seconds].map(last);
  const means = waits.map((number, at) => (number ? seconds[at] / number : 0));
  const began = status.now - wanted.minutes * 60;
  const at = (place) => new Date((began + place * step * 60) * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  for (const one of document.querySelectorAll(".step")) write(one, step === 1 ? "minute" : "5 minutes");
  for (const one of document.querySelectorAll(".from")) write(one, wanted.minutes > 60 ? "6 h ago" : "1 h ago");
  bars("throughput", done.map((number, place) => [["done", number], ["failed", failures[place]]]),
    (place) => `${at(place)}: ${NUMBER.format(done[place])} done, ${NUMBER.format(failures[place])} failed`);
  bars("waits", means.map((mean) => [["wait", mean]]), (place) => `${at(place)}: waited ${duration(means[place])}`);
  const hours = wanted.minutes > 60 ? "the last 6 hours" : "the last hour";
  const most = Math.max(...done.map((number, place) => number + failures[place]));
  write(byId("throughput-words"), most === 0 ? `Nothing finished in ${hours}.` : `In ${hours} ${NUMBER.format(sum(done))} done and ${NUMBER.format(sum(failures))} failed; at most ${NUMBER.format(most)} in ${step === 1 ? "a minute" : "5 minutes"}.`);
  write(byId("throughput-most"), most ? `top: ${NUMBER.format(most)}` : "");
  write(byId("waits-most"), sum(waits) ? `top: ${duration(Math.max(...means))}` : "");
  write(byId("waits-words"), sum(waits)
    ? `In ${hours} ${many(sum(waits), "item")} waited ${duration(sum(seconds) / sum(waits))} on average; at most ${duration(Math.max(...means))}, as a mean of ${step === 1 ? "a minute" : "5 minutes"}.`
    : `Of nothing that finished in ${hours} the wait is known.`);
}

function bars(id, columns, words) {
  const plot = byId(id);
  const [width, height] = [600, 150];
  const top = Math.max(...columns.map((parts) => sum(parts.map(([, value]) => value))));
  const key = JSON.stringify(columns);
  if (plot.dataset.shown === key) return;
  plot.dataset.shown = key;
  const each = width / columns.length;
  const drawn = [0, 0.5].map((part) => shape("line", { class: "grid", x1: 0, x2: width, y1: part * height, y2: part * height }));
  columns.forEach((parts, place) => {
    let below = height;
    const column = shape("g", {}, shape("title", {}));
    column.firstChild.textContent = words(place);
    for (const [kind, value] of parts) {
      if (!value) continue;
      // What is there is seen, however small beside the highest.
      const tall = Math.max(2, (value / top) * height);
      below -= tall;
      column.append(shape("rect", { class: `bar-${kind}`, x: place * each + each * 0.1, y: below, width: each * 0.8, height: tall }));
    }
    if (column.children.length > 1) drawn.push(column);
  });
  plot.replaceChildren(...drawn);
}

function shape(tag, attributes, ...children) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

// --- lists of items

class List {
  #place;
  #rows = new Map();
  #body;
  #table;
  #words;
  #rest;
  #last;

  constructor(id, caption, rest, last = "Why") {
    this.#place = byId(id);
    this.#last = last;
    this.#body = make("tbody", { role: "rowgroup" });
    const heads = [["c-item", "Item"], ["c-state", "State"], ["c-for", "For"], ["c-worker", "Pod or Job"], ["", last]];
    const row = make("tr", { role: "row" }, ...heads.map(([kind, words]) => make("th", { scope: "col", role: "columnheader", class: kind }, words)));
    this.#table = make("table", { role: "table" }, make("caption", { class: "unseen" }, caption), make("thead", { role: "rowgroup" }, row), this.#body);
    this.#words = make("p", { class: "none" });
    this.#rest = make("button", { type: "button" });
    this.#rest.addEventListener("click", () => lookFor(rest));
    this.#place.append(this.#words, this.#table, this.#rest);
  }

  show(items, none, total = items.length) {
    write(this.#words, none);
    this.#words.hidden = items.length > 0;
    this.#table.hidden = items.length === 0;
    this.#rest.hidden = total <= items.length;
    write(this.#rest, `All ${NUMBER.format(total)}`);
    const names = new Set(items.map((item) => item.name));
    for (const name of this.#rows.keys()) if (!names.has(name)) this.#rows.delete(name);
    // Without a chain there are no stages, and nothing to tell of what runs.
    const hasLast = this.#last === "Why" || items.some((item) => item.stage);
    this.#table.querySelector("th:last-child").hidden = !hasLast;
    arrange(this.#body, items.flatMap((item) => this.#row(item, hasLast).elements));
  }

  #row(item, hasLast) {
    let row = this.#rows.get(item.name);
    if (!row) this.#rows.set(item.name, (row = new Row(item, this.#last)));
    row.show(item, hasLast);
    return row;
  }
}

let rowsMade = 0;

class Row {
  #head;
  #open;
  #cells;
  #more = null;
  #detail = null;
  #columns = 5;

  constructor(item, last) {
    this.item = item;
    this.#open = make("button", { type: "button", class: "open", "aria-expanded": "false" });
    this.#open.addEventListener("click", () => this.#toggle());
    const cell = (kind, ...children) => make("td", { role: "cell", class: kind }, ...children);
    this.#cells = { state: cell("state"), for: cell("for"), worker: cell("worker"), last: cell(last.toLowerCase(), make("span", { class: "reason" })) };
    const name = make("th", { scope: "row", role: "rowheader", class: "item" }, this.#open);
    this.#head = make("tr", { role: "row" }, name, this.#cells.state, this.#cells.for, this.#cells.worker, this.#cells.last);
  }

  get elements() {
    return this.#more ? [this.#head, this.#more] : [this.#head];
  }

  show(item, hasLast) {
    this.item = item;
    this.#columns = hasLast ? 5 : 4;
    this.#cells.last.hidden = !hasLast;
    if (this.#more) this.#more.firstChild.colSpan = this.#columns;
    const tried = item.attempt > 1 || (item.attempt && item.state === "failed" && item.attempts > 1) ? ` ${item.attempt}/${item.attempts}` : "";
    write(this.#open, item.label);
    this.#cells.state.className = `state ${item.state}`;
    write(this.#cells.state, `${item.state}${tried}`);
    write(this.#cells.for, item.since === null ? "" : duration(Math.max(0, status.now - item.since)));
    write(this.#cells.worker, item.worker || item.job);
    const isStage = this.#cells.last.className === "stage";
    const stage = item.stage && item.state === "running" ? `stage ${item.stage}` : "";
    write(this.#cells.last.firstChild, isStage ? item.stage : item.reason || stage);
  }

  #toggle() {
    if (this.#more) {
      this.#more.remove();
      this.#more = null;
    } else {
      const id = `more-${(rowsMade += 1)}`;
      const box = make("td", { colspan: this.#columns, role: "cell", id }, make("p", {}, "…"));
      this.#more = make("tr", { class: "more", role: "row" }, box);
      this.#more.reload = () => load(this);
      this.#open.setAttribute("aria-controls", id);
      this.#head.after(this.#more);
      load(this);
    }
    this.#open.setAttribute("aria-expanded", String(this.#more !== null));
  }

  async load() {
    if (!this.#more) return;
    let detail;
    try {
      detail = await ask(`/api/items/${encodeURIComponent(this.item.name)}`);
    } catch (error) {
      detail = error instanceof Refused
        ? { row: this.item, sentence: error.message, log: [], log_error: "" }
        : { ...(this.#detail ?? { row: this.item, sentence: "", log: [] }), log_error: "the manager has not answered; asking again" };
    }
    // What was read before is of more use than nothing.
    if (detail.log_error && this.#detail?.row.job === detail.row.job) detail.log = this.#detail.log;
    this.#detail = detail;
    if (this.#more) keepingFocus(() => this.#tell(this.#more.firstChild, detail));
  }

  #tell(box, detail) {
    const key = JSON.stringify([detail.sentence, detail.log, detail.log_error, status?.actions]);
    if (box.dataset.shown === key) return;
    box.dataset.shown = key;
    const retry = box.querySelector("button") ?? this.#retry();
    retry.hidden = !(detail.row.state === "failed" && status?.actions.includes("retry"));
    const hasWorked = detail.row.state === "failed" || detail.row.state === "running";
    let words = hasWorked && !detail.log.length ? "It has written no log, or none is kept." : "";
    if (detail.log_error) words = `The log can't be read just now: ${detail.log_error}`;
    const log = box.querySelector("pre") ?? make("pre", { tabindex: "0", role: "region", "aria-label": `Last lines of the log of ${detail.row.label}` });
    // Who reads further up stays there; else the end is what one looks for.
    const scrolled = log.isConnected && log.scrollTop + log.clientHeight < log.scrollHeight - 5 ? log.scrollTop : Infinity;
    write(log, detail.log.join("\n"));
    const parts = [make("p", {}, detail.sentence), log, make("p", { class: "none" }, words), retry];
    arrange(box, parts.filter((part) => part === retry || part.textContent));
    log.scrollTop = Math.min(scrolled, log.scrollHeight);
  }

  #retry() {
    const button = make("button", { type: "button" }, "Retry");
    button.addEventListener("click", () => act("/api/retry", { items: [this.item.name] }));
    return button;
  }
}

const running = new List("running", "Items that run, the longest first", "running", "Stage");
const failed = new List("failed", "Items that failed, the latest first", "failed");
const found = new List("found-items", "Items by name and state", "");

function look(changes) {
  Object.assign(wanted, changes);
  isAwaited = true;
  refresh();
}

function lookFor(state) {
  byId("state").value = state;
  byId("items").scrollIntoView();
  byId("items").focus({ preventScroll: true });
  look({ state, page: 1 });
}

// --- what a person does

let typing = null;
byId("search").addEventListener("input", (event) => {
  clearTimeout(typing);
  typing = setTimeout(() => look({ search: event.target.value, page: 1 }), TYPING_MS);
});
byId("state").addEventListener("change", (event) => look({ state: event.target.value, page: 1 }));
for (const form of document.querySelectorAll("form")) form.addEventListener("submit", (event) => event.preventDefault());
byId("previous").addEventListener("click", () => look({ page: wanted.page - 1 }));
byId("next").addEventListener("click", () => look({ page: wanted.page + 1 }));
byId("pause").addEventListener("click", () => act("/api/pause", {}));
byId("resume").addEventListener("click", () => act("/api/resume", {}));
for (const radio of document.querySelectorAll("input[name=range]")) {
  radio.addEventListener("change", () => {
    wanted.minutes = Number(radio.value);
    if (status) showPlots(status.series);
  });
}
document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });

refresh();
