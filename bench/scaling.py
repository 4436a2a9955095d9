"""Laws of scaling on the same arrivals: how long items wait, how many places that takes, how often the limit moves.

    python bench/scaling.py [--only step] [--pictures docs/pictures]      (a minute on two cores)

Simulated, event by event: Poisson arrivals, log-normal processing times, a start-up of 1 to 3 s for each Job, the list
read every 2 s. The laws of the manager see what it sees: the 1,000 Jobs that are kept, with times in whole seconds.
An item waits until its worker begins. Seeds are printed; docs/scaling.md tells what the figures mean. Also measured:
what one decision costs at 5,000 Jobs.
"""

import argparse
import heapq
import math
import random
import statistics
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

from longshore.scaling import STEP_SECONDS, History, Life, Rule, book_step, decide

POLL_SECONDS: Final = 2.0
KEPT: Final = 1000
HOUR: Final = 3600.0


@dataclass(frozen=True)
class Scenario:
    """What arrives, and how long it takes."""

    name: str
    told: str
    seed: int
    hours: float
    rate: Callable[[float], float]
    """Items per second at a moment; where it is 0, only batches come."""
    peak_rate: float
    mean: float
    """Mean processing seconds."""
    sigma: float
    """Of the logarithm: 0.5 is ordinary, 2 has one in 40 above 50 times the median."""
    batches: tuple[tuple[float, int], ...] = ()
    maximum: int = 100
    fixed: int = 10

    def items(self) -> list[tuple[float, float, float]]:
        """Arrival, processing seconds and start-up seconds of each item: the same for every law."""
        chance = random.Random(self.seed)  # noqa: S311 - a simulation
        arrivals = [at for at, number in self.batches for _ in range(number)]
        at = 0.0
        while self.peak_rate and (at := at + chance.expovariate(self.peak_rate)) < self.hours * HOUR:
            if chance.random() < self.rate(at) / self.peak_rate:
                arrivals.append(at)
        mu = math.log(self.mean) - self.sigma**2 / 2
        return [(at, chance.lognormvariate(mu, self.sigma), chance.uniform(1, 3)) for at in sorted(arrivals)]


SCENARIOS: Final = (
    Scenario("steady", "12 items a minute, 30 s each", 11, 2, lambda _: 0.2, 0.2, 30, 0.5),
    Scenario(
        "step",
        "6 a minute, from 1:00 on 24 a minute, 30 s each",
        12,
        2,
        lambda t: 0.1 if t < HOUR else 0.4,
        0.4,
        30,
        0.5,
    ),
    Scenario(
        "burst", "3 a minute, and at 1:00 500 at once, 10 s each", 13, 2, lambda _: 0.05, 0.05, 10, 0.5, ((HOUR, 500),)
    ),
    Scenario("tails", "12 a minute, 30 s each on average, half of them below 4 s", 14, 2, lambda _: 0.2, 0.2, 30, 2.0),
    Scenario(
        "drift",
        "from 3 to 24 a minute and back in 4 hours, 30 s each",
        15,
        4,
        lambda t: 0.225 - 0.175 * math.cos(t / HOUR / 4 * 2 * math.pi),
        0.4,
        30,
        0.5,
    ),
    Scenario(
        "small",
        "20 at once every 10 minutes, 1 s each, 4 places at most",
        16,
        1,
        lambda _: 0.0,
        0.0,
        1,
        0.2,
        tuple((60.0 + 600 * number, 20) for number in range(6)),
        maximum=4,
        fixed=4,
    ),
)


@dataclass
class View:
    """What a law may know."""

    now: float = 0.0
    live: int = 0
    pending: int = 0
    waiting: int = 0
    arrived: int = 0
    ended: int = 0
    ended_seconds: float = 0.0
    lives: Callable[[], Iterable[Life]] = list


@dataclass
class Policy:
    """A law in the simulation: asked every `period` seconds how many may live."""

    name: str
    ask: Callable[[View, Scenario], int]
    period: float = POLL_SECONDS
    pulls: bool = False
    """Its workers live on and take items themselves: nothing waits for a look, and no item for a start."""
    only_asked: bool = False
    """It makes Jobs when it is asked and not when a place becomes free."""
    forgets: bool = False
    """Each look is that of a manager that was just started: it knows of no item since when it waits."""


def law(rule: Rule) -> Callable[[View, Scenario], int]:
    """A law of the manager."""

    def ask(view: View, scenario: Scenario) -> int:
        bounded = Rule(rule.law, 0, scenario.maximum, rule.drain_seconds, rule.window, rule.tolerance)
        return decide(History(list(view.lives())), bounded, view.now).parallelism

    return ask


def ninety_percent() -> Callable[[View, Scenario], int]:
    """The book's rule as one reads it: means over all there ever was, nothing for what waits, down once a minute."""
    known = {"limit": 1, "down": 0.0}

    def ask(view: View, scenario: Scenario) -> int:
        if view.ended:
            offered = view.arrived / max(view.now, 1.0) * view.ended_seconds / view.ended
            is_due = view.now - known["down"] >= STEP_SECONDS
            limit = book_step(int(known["limit"]), offered, Rule(), may_step_down=is_due)
            if limit < known["limit"]:
                known["down"] = view.now
            known["limit"] = min(limit, scenario.maximum)
        return int(known["limit"])

    return ask


def keda_default(view: View, scenario: Scenario) -> int:
    """New Jobs = min(queue, max) - running; such a queue has to count what is being worked on."""
    return view.live + max(0, min(view.waiting + view.live, scenario.maximum) - view.live)


def keda_accurate(view: View, scenario: Scenario) -> int:
    """The queue counts what waits; what has a Job that has not begun is taken off."""
    scale = min(view.waiting, scenario.maximum)
    if scale + view.live > scenario.maximum:
        return scenario.maximum
    return view.live + max(0, scale - view.pending)


def hpa() -> Callable[[View, Scenario], int]:
    """
    Replicas = ceil(queue / target), and the HPA's defaults: 10 % tolerance, up by 4 or double, down after 300 s.

    The target is what one worker does in 60 s, told the true mean, which somebody would have to know and keep right.
    """
    past: deque[tuple[float, int]] = deque()
    known = {"replicas": 1}

    def ask(view: View, scenario: Scenario) -> int:
        replicas = known["replicas"]
        target = max(1.0, 60 / scenario.mean)
        queue = view.waiting + view.live
        desired = math.ceil(queue / target)
        if abs(queue / target / replicas - 1) <= 0.1:
            desired = replicas
        past.append((view.now, desired))
        while past[0][0] < view.now - 300:
            past.popleft()
        desired = min(desired, replicas + max(4, replicas)) if desired > replicas else max(one for _, one in past)
        known["replicas"] = max(1, min(scenario.maximum, desired))
        return known["replicas"]

    return ask


def policies() -> list[Policy]:
    """Every law, without memory of another scenario."""
    return [
        Policy("fixed at max", lambda _, scenario: scenario.maximum),
        Policy("fixed, sized by hand", lambda _, scenario: scenario.fixed),
        Policy("90 % rule, all history", ninety_percent()),
        Policy("book, drain 60 s", law(Rule("book", drain_seconds=60))),
        Policy("staffing, drain 60 s", law(Rule("staffing", drain_seconds=60))),
        Policy("staffing, drain 600 s", law(Rule("staffing", drain_seconds=600))),
        Policy("staffing, always restarted", law(Rule("staffing", drain_seconds=60)), forgets=True),
        Policy("KEDA ScaledJob, default", keda_default, period=30, only_asked=True),
        Policy("KEDA ScaledJob, accurate", keda_accurate, period=30, only_asked=True),
        Policy("HPA on queue length", hpa(), period=15, pulls=True),
    ]


@dataclass(frozen=True)
class Outcome:
    """What a law made of a scenario."""

    scenario: str
    policy: str
    mean_wait: float
    p95_wait: float
    mean_live: float
    peak_live: int
    mean_limit: float
    changes: float
    """Of the limit, an hour."""
    series: Sequence[tuple[float, int, int, int]]
    """Time, live, waiting, limit."""


class Simulation:
    """One law on one scenario."""

    def __init__(self, scenario: Scenario, policy: Policy) -> None:
        self.scenario, self.policy = scenario, policy
        self.items = scenario.items()
        self.view = View(lives=self.lives)
        self.end = scenario.hours * HOUR
        self.limit = 0
        self.known = 0
        """Items listed so far: the first so many."""
        self.begun: list[float] = []
        """When the worker of each of the first items began."""
        self.made: dict[int, float] = {}
        self.listed: list[float] = []
        self.finished: deque[Life] = deque(maxlen=KEPT)
        self.events: list[tuple[float, int, int]] = []

    def lives(self) -> Iterator[Life]:
        """What a manager reads back."""
        yield from self.finished
        for number, made in self.made.items():
            yield Life(self.listed[number], math.floor(made))
        for number in range(len(self.begun), self.known):
            yield Life(None if self.policy.forgets else self.listed[number])

    def run(self) -> Outcome:
        """Until everything is done, or three times as long as anything arrives."""
        arrived = 0
        limits: list[tuple[float, int]] = []
        lives: list[tuple[float, int, int, int]] = []
        for number, (at, _, _) in enumerate(self.items):
            heapq.heappush(self.events, (at, 0, number))
        heapq.heappush(self.events, (0.0, 2, 0))
        while self.events and self.events[0][0] < 3 * self.end:
            now, kind, number = heapq.heappop(self.events)
            self.view.now = now
            if kind == 0:
                arrived += 1
                if self.policy.pulls:
                    self.read(arrived, now)
                    self.fill(now)
            elif kind == 1:
                self.finish(number, now)
            else:
                self.read(arrived, now)
                self.look(now)
                limits.append((now, self.limit))
                if len(self.begun) < len(self.items) or self.made or now < self.end:
                    heapq.heappush(self.events, (now + self.policy.period, 2, 0))
            lives.append((now, len(self.made), arrived - len(self.begun), self.limit))
        return self.outcome(limits, lives)

    def read(self, arrived: int, now: float) -> None:
        """The list is read."""
        self.listed += [now] * (arrived - self.known)
        self.known = arrived

    def look(self, now: float) -> None:
        """The law is asked, and Jobs are made."""
        view = self.view
        view.live, view.waiting, view.arrived = len(self.made), self.known - len(self.begun), self.known
        view.pending = sum(self.begun[number] > now for number in self.made)
        self.limit = self.policy.ask(view, self.scenario)
        self.fill(now)

    def fill(self, now: float) -> None:
        """Jobs are made of items that wait, in their order, as many as may live."""
        while len(self.made) < self.limit and len(self.begun) < self.known:
            number = len(self.begun)
            if self.policy.forgets:
                self.listed[number] = now
            _, seconds, start = self.items[number]
            start = 0.0 if self.policy.pulls else start
            self.made[number] = now
            self.begun.append(now + start)
            heapq.heappush(self.events, (now + start + seconds, 1, number))

    def finish(self, number: int, now: float) -> None:
        """An item is done."""
        seconds = self.items[number][1]
        self.finished.append(Life(self.listed[number], math.floor(self.made.pop(number)), math.floor(now), seconds))
        self.view.ended += 1
        self.view.ended_seconds += seconds
        if not self.policy.only_asked:
            self.fill(now)

    def outcome(self, limits: list[tuple[float, int]], lives: list[tuple[float, int, int, int]]) -> Outcome:
        """The figures."""
        until = 3 * self.end
        begun = [*self.begun, *[until] * (len(self.items) - len(self.begun))]
        waits = sorted(at - item[0] for at, item in zip(begun, self.items, strict=True))
        held = sum(one[1] * (two[0] - one[0]) for one, two in pairwise(lives))
        changes = sum(one[1] != two[1] for one, two in pairwise(limits))
        return Outcome(
            self.scenario.name,
            self.policy.name,
            statistics.fmean(waits),
            waits[int(0.95 * len(waits))],
            held / lives[-1][0],
            max(live for _, live, _, _ in lives),
            statistics.fmean(limit for _, limit in limits),
            changes / (lives[-1][0] / HOUR),
            lives,
        )


def simulate(scenario_index: int, policy_index: int) -> Outcome:
    """One run; by number, as a process of its own is told it."""
    return Simulation(SCENARIOS[scenario_index], policies()[policy_index]).run()


def table(scenario: Scenario, outcomes: Sequence[Outcome]) -> str:
    """The figures as Markdown."""
    lines = [
        f"{scenario.name}: {scenario.told}; at most {scenario.maximum} (seed {scenario.seed})",
        "",
        f"| {'law':26} | mean wait, s | p95 wait, s | mean live | peak live | mean limit | changes/h |",
        f"|{'-' * 28}|-------------:|------------:|----------:|----------:|-----------:|----------:|",
    ]
    lines += [
        f"| {one.policy:26} | {one.mean_wait:12.1f} | {one.p95_wait:11.1f} | {one.mean_live:9.1f} | {one.peak_live:9} "
        f"| {one.mean_limit:10.1f} | {one.changes:9.0f} |"
        for one in outcomes
    ]
    return "\n".join(lines)


def summary(outcomes: Sequence[Outcome]) -> str:
    """Waits and peaks of all scenarios side by side, and how often the limit moves where nothing but chance does."""
    names = list(dict.fromkeys(one.scenario for one in outcomes))
    lines = [
        "mean wait / p95 wait in seconds, peak of live Jobs; changes of the limit an hour in the first",
        "",
        f"| law | {' | '.join(names)} | changes |",
        f"|---|{'--:|' * (len(names) + 1)}",
    ]
    for policy in dict.fromkeys(one.policy for one in outcomes):
        found = [one for one in outcomes if one.policy == policy]
        cells = [f"{one.mean_wait:.1f} / {one.p95_wait:.0f}, {one.peak_live}" for one in found]
        lines.append(f"| {policy} | {' | '.join(cells)} | {found[0].changes:.0f} |")
    return "\n".join(lines)


def cost() -> str:
    """What one decision costs at 5,000 Jobs and 500 items that wait, in CPU milliseconds of this machine."""
    chance = random.Random(17)  # noqa: S311 - made-up items
    now = 1_800_000_000.0
    lives = [Life(now)] * 500
    for _ in range(5000):
        at = now - 300 * chance.random()
        lives.append(Life(at - 1, at, min(now, at + chance.lognormvariate(2, 1)), 5.0))
    told = []
    for rule in (Rule("staffing", maximum=100), Rule("book", maximum=100)):
        spent = []
        for _ in range(21):
            began = time.process_time()
            decide(History(lives), rule, now)
            spent.append(time.process_time() - began)
        told.append(f"{rule.law} {1000 * statistics.median(spent):.1f} ms")
    return f"one decision on 5,000 Jobs of the last 300 s and 500 waiting items: {', '.join(told)} (median CPU of 21)"


COLOURS: Final = {
    "fixed at max": "#222222",
    "90 % rule, all history": "#b8860b",
    "book, drain 60 s": "#8e44ad",
    "staffing, drain 60 s": "#0b6e4f",
    "staffing, drain 600 s": "#5fb878",
    "KEDA ScaledJob, accurate": "#1f6fd6",
    "HPA on queue length": "#d1495b",
}
DASHED: Final = ("fixed at max",)
"""Another line may lie beneath."""
WIDTH, PANEL, LEFT, TOP = 860, 210, 56, 44
PARTS: Final = 430
"""A part is two pixels."""


def picture(
    title: str, outcomes: Sequence[Outcome], span: tuple[float, float], panels: Sequence[tuple[str, int, int]]
) -> str:
    """An SVG of step lines, one panel above the other; a panel: its title, the column of the series, the most."""
    height = TOP + len(panels) * (PANEL + 48) + 22 * math.ceil(len(outcomes) / 3)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}">',
        "<style>text {font: 13px sans-serif}</style>",
        f'<title>{title}</title><rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="{LEFT}" y="22" style="font-size: 15px; font-weight: bold">{title}</text>',
    ]
    right = WIDTH - LEFT - 16
    for number, (told, column, most) in enumerate(panels):
        top = TOP + 14 + number * (PANEL + 48)
        out.append(f'<text x="{LEFT}" y="{top - 6}" fill="#333333">{told}</text>')
        for part in range(5):
            y = top + PANEL - PANEL * part / 4
            out.append(f'<path d="M{LEFT} {y:g}h{right}" stroke="#dddddd"/>')
            out.append(
                f'<text x="{LEFT - 6}" y="{y + 4:g}" text-anchor="end" fill="#555555">{most * part / 4:g}</text>'
            )
        for part in range(7):
            at = span[0] + (span[1] - span[0]) * part / 6
            x = LEFT + right * part / 6
            clock = f"{int(at // HOUR)}:{int(at % HOUR // 60):02}"
            out.append(f'<text x="{x:g}" y="{top + PANEL + 17}" text-anchor="middle" fill="#555555">{clock}</text>')
        out.append(
            f'<clipPath id="p{number}"><rect x="{LEFT}" y="{top - 2}" width="{right}" height="{PANEL + 4}"/></clipPath>'
        )
        for one in outcomes:
            dash = ' stroke-dasharray="6 5"' if one.policy in DASHED else ""
            out.append(
                f'<path d="{path(one, column, span, top=top, most=most)}" clip-path="url(#p{number})" fill="none" '
                f'stroke="{COLOURS[one.policy]}" stroke-width="1.7"{dash}/>'
            )
    for number, one in enumerate(outcomes):
        x, y = LEFT + number % 3 * 260, TOP + len(panels) * (PANEL + 48) + 6 + 22 * (number // 3)
        out.append(f'<path d="M{x} {y - 4}h24" stroke="{COLOURS[one.policy]}" stroke-width="3"/>')
        out.append(f'<text x="{x + 30}" y="{y}">{one.policy}</text>')
    return "\n".join([*out, "</svg>", ""])


def path(outcome: Outcome, column: int, span: tuple[float, float], *, top: int, most: int) -> str:
    """A step line of the most in each part of the time."""
    begin, end = span
    highest: dict[int, int] = {}
    first = 0
    for one in outcome.series:
        value = int(one[column])
        if one[0] <= begin:
            first = value
        elif one[0] <= end:
            part = int((one[0] - begin) / (end - begin) * PARTS)
            highest[part] = max(highest.get(part, 0), value)
    right = WIDTH - LEFT - 16
    points, last = [f"M{LEFT} {top + PANEL * (1 - first / most):.1f}"], first
    for part, value in sorted(highest.items()):
        if value != last:
            points.append(f"H{LEFT + right * part / PARTS:.0f}V{top + PANEL * (1 - value / most):.1f}")
            last = value
    return "".join([*points, f"H{LEFT + right}"])


PICTURES: Final = (
    (
        "step",
        "Four times as many items from 1:00 on",
        ("KEDA ScaledJob, accurate", "HPA on queue length", "90 % rule, all history", "staffing, drain 60 s"),
        (0.95 * HOUR, 1.25 * HOUR),
        (("Jobs that live", 1, 32), ("items that wait (the 90 % rule leaves the picture)", 2, 32)),
    ),
    (
        "burst",
        "500 items at once at 1:00",
        (
            "KEDA ScaledJob, accurate",
            "HPA on queue length",
            "staffing, drain 600 s",
            "staffing, drain 60 s",
            "fixed at max",
        ),
        (3540.0, 3900.0),
        (("Jobs that live", 1, 100), ("items that wait", 2, 520)),
    ),
    (
        "steady",
        "12 items a minute of 30 s: what the limit does",
        ("HPA on queue length", "book, drain 60 s", "staffing, drain 60 s"),
        (0.5 * HOUR, 1.5 * HOUR),
        (("the limit", 3, 16), ("items that wait", 2, 16)),
    ),
)


def draw(outcomes: Sequence[Outcome], folder: Path) -> None:
    """The pictures of docs/scaling.md."""
    for scenario, title, laws, span, panels in PICTURES:
        shown = [one for law_ in laws for one in outcomes if (one.scenario, one.policy) == (scenario, law_)]
        if shown:
            (folder / f"scaling-{scenario}.svg").write_text(picture(title, shown, span, panels))


def main() -> None:
    """Print the tables, and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=[one.name for one in SCENARIOS])
    parser.add_argument("--pictures", type=Path, help="a folder to write the pictures to")
    options = parser.parse_args()
    print(cost())
    outcomes: list[Outcome] = []
    with ProcessPoolExecutor() as pool:
        for index, scenario in enumerate(SCENARIOS):
            if options.only in {None, scenario.name}:
                number = range(len(policies()))
                found = list(pool.map(simulate, [index] * len(number), number))
                print(f"\n{table(scenario, found)}", flush=True)
                outcomes += found
    print(f"\n{summary(outcomes)}")
    if options.pictures:
        draw(outcomes, options.pictures)


if __name__ == "__main__":
    main()
