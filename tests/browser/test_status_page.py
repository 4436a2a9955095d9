"""The status page as a person uses it: looked at, clicked, typed into, at two widths, in light and dark."""

import os
import re
from dataclasses import replace
from pathlib import Path
from threading import Event

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from longshore.breaker import Breaker
from longshore.control import Mode
from longshore.plan import Verdict
from longshore.scaling import Decision, Law, Load, Rule
from longshore.state import Job, State
from longshore_kit.errors import EngineUnavailable
from support import boards
from support.boards import HOSTILE, NOW, job, survey
from support.browsers import expect_complaint

PICTURES = Path(__file__).parents[2] / "docs" / "pictures"
PICTURE_BYTES_MOST = 150_000
PHONE, DESK = 400, 1280
SHOWN = {
    "empty": survey,
    "mixed": lambda: boards.mixed(verdict=boards.verdict()),
    "busy": boards.busy,
    "hostile": boards.hostile,
}


def opened(page: Page, url: str) -> None:
    page.goto(url)
    expect(page.locator("#counts b")).to_have_count(5)


def tile(page: Page, state: str) -> str:
    return page.get_by_role("button", name=re.compile(rf"^[\d,]+\s*{state}$")).locator("b").inner_text()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [DESK, PHONE])
@pytest.mark.parametrize("queue", SHOWN)
def test_page_fits_its_window(page: Page, queue: str, width: int, theme: str, tmp_path: Path) -> None:
    """Nothing sticks out sideways, whatever it shows; with PICTURES=true the docs' pictures are made anew."""
    page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
    page.set_viewport_size({"width": width, "height": 1150 if width == DESK else 900})
    with boards.shown(SHOWN[queue]()) as shown:
        opened(page, shown.url)
        picture = tmp_path / "page.png"
        page.screenshot(path=picture)
        if queue == "busy" and os.environ.get("PICTURES") == "true":
            Image.open(picture).quantize(128).save(PICTURES / f"status-{theme}-{width}.png", optimize=True)

        wide = page.evaluate("document.documentElement.scrollWidth")
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")

    assert (wide, ground) == (width, "rgb(246, 247, 249)" if theme == "light" else "rgb(18, 22, 28)")


@pytest.mark.parametrize("width", [320, PHONE, 420, 560, DESK])
def test_label_and_what_it_names_stay_on_one_line(page: Page, width: int) -> None:
    """However narrow the window is."""
    page.set_viewport_size({"width": width, "height": 900})
    with boards.shown(boards.mixed(), token="secret") as shown:
        opened(page, shown.url)
        lines = {}
        for control in ("search", "state", "token"):
            named, box = (
                page.locator(f"label[for={control}]").bounding_box(),
                page.locator(f"#{control}").bounding_box(),
            )
            assert named is not None
            assert box is not None
            lines[control] = box["y"] <= named["y"] + named["height"] / 2 <= box["y"] + box["height"]

        assert lines == {"search": True, "state": True, "token": True}


def columns(page: Page, name: str) -> dict[str, float]:
    """A table's columns, and how wide they are."""
    heads = page.get_by_role("table", name=name).get_by_role("columnheader").all()
    return {head.inner_text(): (head.bounding_box() or {"width": 0})["width"] for head in heads}


def test_why_has_the_most_room(page: Page) -> None:
    """A reason is a sentence, a name a word."""
    with boards.shown(boards.mixed()) as shown:
        opened(page, shown.url)
        for name in ("Items that failed", "Items by name"):
            widths = columns(page, name)

            assert max(widths, key=lambda column: widths[column]) == "Why"


def test_running_items_have_a_stage_where_there_is_a_chain(page: Page) -> None:
    """Of one that runs there is no why; without a chain there is nothing to tell."""
    chained = boards.mixed()
    alone = survey(*(replace(one, stage="") for one in chained.jobs.values()))
    with boards.shown(chained) as shown:
        opened(page, shown.url)
        with_stage = list(columns(page, "Items that run"))
        cells = page.locator("#running tbody tr").last.get_by_role("cell").all_inner_texts()
        page.locator("#running .open").first.click()
        shown.board.note(alone)
        expect(page.locator("#running").get_by_role("columnheader")).to_have_count(4, timeout=8000)
        without = columns(page, "Items that run")
        opened_width = (page.locator("#running .more td").bounding_box() or {"width": 0})["width"]

    assert (with_stage, cells[-1]) == (["Item", "State", "For", "Pod or Job", "Stage"], "blur")
    assert (list(without), round(sum(without.values()) - opened_width)) == (["Item", "State", "For", "Pod or Job"], 0)


def test_pictures_of_the_docs_are_there_and_small() -> None:
    """A clone stays small."""
    sizes = [path.stat().st_size for path in PICTURES.glob("status-*.png")]

    assert (len(sizes), [size for size in sizes if size >= PICTURE_BYTES_MOST]) == (4, [])


def test_numbers_sentences_and_reasons_are_seen(page: Page) -> None:
    """What the manager knows is on the page."""
    with boards.shown(boards.mixed(verdict=boards.verdict())) as shown:
        opened(page, shown.url)

        assert [tile(page, state) for state in ("waiting", "starting", "running", "done", "failed")] == list("31242")
        expect(page.locator("#decision")).to_have_text(boards.decision().sentence())
        expect(page.locator("#inputs")).to_contain_text("staffing")
        expect(page.locator("#source")).to_have_text("answers · 12 items listed 4.0 s ago")
        expect(page.locator("#breaker")).to_have_text("closed · starting goes on")
        running = page.locator("#running tbody tr").first
        expect(running).to_contain_text("running 2/3")
        expect(running).to_contain_text("12 min 34 s")
        expect(running).to_contain_text("-x7k2p")
        expect(page.locator("#failed tbody tr").first).to_contain_text("No space left on device")
        expect(page.locator("#throughput-words")).to_have_text(
            "In the last hour 4 done and 2 failed; at most 2 in a minute."
        )


LOAD = Load(waiting=3, live=3, arrivals=0.5, steady=0.0125, processing_seconds=31.5, place_seconds=34.0)


@pytest.mark.parametrize(
    ("law", "expected"),
    [
        (
            "staffing",
            {
                "new a minute, batches aside": "0.75",
                "an item holds a place for": "34 s",
                "busy on average": "2.13",
                "to be worked off in": "1 min",
            },
        ),
        (
            "book",
            {
                "new a minute": "30",
                "work of one item": "31.5 s",
                "busy on average": "17.3",
                "to be worked off in": "1 min",
            },
        ),
        ("fixed", {}),
    ],
)
def test_numbers_of_the_decision_are_those_of_its_sentence(page: Page, law: Law, expected: dict[str, str]) -> None:
    """What the law in force goes by, each with a description; nothing that it takes no notice of."""
    offered = {"staffing": 2.13, "book": 17.325, "fixed": None}[law]
    made = Decision(4, LOAD, Rule(law, maximum=4), offered)
    with boards.shown(boards.mixed(verdict=Verdict(made, Breaker()))) as shown:
        opened(page, shown.url)
        expect(page.locator("#decision")).to_have_text(made.sentence())
        shown_numbers = dict(
            zip(page.locator("#inputs dt").all_inner_texts(), page.locator("#inputs dd").all_inner_texts(), strict=True)
        )
        undescribed = page.locator("#inputs :is(dt, dd):not([title])").count()

    always = {"allowed at once": "4", "at work": "3", "waiting": "3", "scaling.min to max": "0 to 4", "law": law}
    assert (shown_numbers, undescribed) == (always | expected, 0)


def test_failed_item_is_opened_and_shows_the_end_of_its_log(page: Page) -> None:
    """Why, and what it wrote last; a second click closes it."""
    with boards.shown(boards.mixed()) as shown:
        opened(page, shown.url)
        item = page.locator("#failed").get_by_role("button", name="half.mp4")

        item.click()

        expect(item).to_have_attribute("aria-expanded", "true")
        expect(page.locator("#failed .more p").first).to_contain_text("exit code 65: it is truncated")
        expect(page.locator("#failed pre")).to_contain_text(
            "Error writing trailer: No space left on device\n100 %\nbell \\x07"
        )
        item.click()
        expect(page.locator("#failed .more")).to_have_count(0)


def test_search_finds_names_and_says_why_one_waits(page: Page) -> None:
    """Typed, with the state chosen, and the sentence of explain."""
    with boards.shown(boards.mixed()) as shown:
        opened(page, shown.url)

        page.get_by_label("Name contains").fill("CAMERA-10")
        expect(page.locator("#found")).to_have_text("3 items with “CAMERA-10” in the name")
        page.get_by_label("State", exact=True).select_option("waiting")
        page.locator("#found-items").get_by_role("button", name="camera-10/0002.mp4").click()

        expect(page.locator("#found-items .more")).to_contain_text(
            "camera-10/0002.mp4 is waiting: it is about to be started."
        )
        page.get_by_label("Name contains").fill("<script>")
        expect(page.locator("#found-items .none")).to_have_text("No item is like that.")


def test_tile_leads_to_its_items_and_pages_are_turned(page: Page) -> None:
    """5,000 failed items are looked through without waiting."""
    with boards.shown(boards.hostile()) as shown:
        opened(page, shown.url)

        page.get_by_role("button", name=re.compile("failed$")).first.click()
        expect(page.locator("#found")).to_have_text("5,000 failed items")
        page.get_by_role("button", name="Next").click()

        expect(page.locator("#page")).to_have_text("Page 2 of 100")
        expect(page.locator("#found-items tbody tr")).to_have_count(50)
        page.get_by_role("button", name="Previous").click()
        expect(page.locator("#page")).to_have_text("Page 1 of 100")
        expect(page.get_by_role("button", name="Previous")).to_be_disabled()


def test_hostile_names_reasons_and_logs_are_only_text(page: Page) -> None:
    """No element is made of them, no script runs, no title changes, nothing is fetched."""
    fetched: list[str] = []
    page.on("request", lambda request: fetched.append(request.url))
    with boards.shown(boards.hostile(), token="secret") as shown:
        opened(page, shown.url)
        for place in range(len(HOSTILE)):
            page.locator("#failed .open").nth(place).click()
        expect(page.locator("#failed .more pre")).to_have_count(len(HOSTILE))

        assert page.locator("img, #failed b, main script, iframe, a[href^='javascript']").count() == 0
        assert page.title() == "thumbs: 5,000 failed, 3 running"
        assert (
            page.locator("#failed .open").nth(1).inner_text().startswith("line\\nbreak\\r\\nand \\x1b[31mred\\x1b[0m")
        )
        assert all(url.startswith(shown.url) or url == "data:," for url in fetched)
        expect(page.locator("#notices")).to_contain_text("The source does not answer: connection refused: <img")
        expect(page.locator("#notices")).to_contain_text("The breaker is open: 5 items in a row failed")


def test_page_follows_the_queue_and_keeps_what_one_is_at(page: Page) -> None:
    """New numbers come by themselves; focus, an opened item and what is being typed stay."""
    with boards.shown(boards.mixed()) as shown:
        opened(page, shown.url)
        page.get_by_label("Name contains").fill("half")
        page.locator("#failed").get_by_role("button", name="half.mp4").click()
        page.locator("#failed").get_by_role("button", name="half.mp4").focus()

        shown.board.note(survey(*boards.mixed().jobs.values(), job("newly.mp4", State.FAILED, since=NOW)))

        expect(page.locator("#failed .open").first).to_have_text("newly.mp4", timeout=8000)
        expect(page.locator("#failed .more pre")).to_be_visible()
        assert tile(page, "failed") == "3"
        assert page.evaluate("document.activeElement.textContent") == "half.mp4"
        expect(page.get_by_label("Name contains")).to_have_value("half")
        expect(page.locator("#found")).to_have_text("1 item with “half” in the name")


def test_page_is_used_by_keyboard_alone(page: Page) -> None:
    """From the top: the skip link, the search, an item opened with Enter."""
    with boards.shown(boards.mixed()) as shown:
        opened(page, shown.url)

        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to the items"
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        page.keyboard.type("half")
        expect(page.locator("#found")).to_contain_text("1 item")
        page.keyboard.press("Tab")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")

        expect(page.locator("#found-items .more")).to_contain_text("it is truncated")
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid"


@pytest.mark.parametrize("width", [DESK, PHONE])
def test_focus_is_seen_wherever_it_goes_and_nothing_moves(page: Page, width: int) -> None:
    """Every control that Tab leads to has an outline; nothing is animated, so nobody has to ask for less of it."""
    with boards.shown(boards.hostile(60), token="secret") as shown:
        page.set_viewport_size({"width": width, "height": 900})
        opened(page, shown.url)
        page.locator("#failed .open").first.click()
        expect(page.locator("#failed pre")).to_be_visible()
        page.locator(".skip").focus()
        outlines: dict[str, str] = {}
        page.evaluate("window.reached = []")
        while True:
            page.keyboard.press("Tab")
            at = page.evaluate("""() => {
                const at = document.activeElement;
                if (at === document.body || window.reached.includes(at)) return null;
                const place = window.reached.push(at);
                const style = getComputedStyle(at.type === "radio" ? at.nextElementSibling : at);
                return [at.id || `${place}: ${at.textContent}`, `${style.outlineStyle} ${style.outlineWidth}`];
            }""")
            if at is None:
                break
            outlines[at[0]] = at[1]
        moving = page.evaluate("""() => [...document.querySelectorAll("*")].filter((one) => {
            const { transitionDuration, animationName, scrollBehavior } = getComputedStyle(one);
            return `${transitionDuration} ${animationName} ${scrollBehavior}` !== "0s none auto";
        }).length""")

    assert {"token", "pause", "search", "state", "next"} <= set(outlines)
    assert ({at: outline for at, outline in outlines.items() if outline != "solid 3px"}, moving) == ({}, 0)


def test_page_is_told_to_screen_readers(page: Page) -> None:
    """Landmarks, headings, named tables, plots with words, and what changes is announced."""
    with boards.shown(boards.mixed()) as shown:
        opened(page, shown.url)
        page.set_viewport_size({"width": PHONE, "height": 900})

        assert page.get_by_role("heading", level=1).inner_text() == "Longshore thumbs"
        for name, last in (("Items that run", "Stage"), ("Items that failed", "Why"), ("Items by name", "Why")):
            heads = page.get_by_role("table", name=name).get_by_role("columnheader")
            assert heads.all_inner_texts() == ["Item", "State", "For", "Pod or Job", last]
            heads = page.get_by_role("table", name=name).get_by_role("rowheader")
            assert heads.count() == page.get_by_role("table", name=name).locator("tbody tr").count() > 0
        for name in ("Finished per minute", "How long they had waited"):
            plot = page.get_by_role("img", name=name, exact=True)
            expect(plot).to_have_accessible_description(re.compile("^In the last hour"))
        assert [page.get_by_role(role).count() for role in ("img", "search", "main")] == [2, 1, 1]
        assert page.locator("[role=status][aria-live=polite]").count() == 3


def test_only_what_a_person_asked_for_is_read_out(page: Page) -> None:
    """What the queue does by itself changes numbers all the time; an answer to a search or a page turned is said."""
    with boards.shown(boards.hostile()) as shown:
        opened(page, shown.url)
        page.evaluate("""() => {
            window.heard = [];
            const hear = (changes) => window.heard.push(...changes.map((change) => change.target.textContent));
            for (const region of document.querySelectorAll("[aria-live]")) {
                new MutationObserver(hear).observe(region, { childList: true, characterData: true, subtree: true });
            }
        }""")
        for number in (5_001, 5_002):
            shown.board.note(boards.hostile(number))
            expect(page.locator("#found")).to_have_text(f"{number + 3:,} items", timeout=8000)
        unasked = page.evaluate("window.heard")

        page.get_by_label("Name contains").fill("batch/00")
        expect(page.locator("#found")).to_have_text("1,000 items with “batch/00” in the name")
        page.get_by_role("button", name="Next").click()
        expect(page.locator("#page")).to_have_text("Page 2 of 20")
        page.get_by_label("State", exact=True).select_option("running")
        expect(page.locator("#found")).to_have_text("0 running items with “batch/00” in the name")
        polled(page)

        assert (unasked, page.evaluate("window.heard")) == (
            [],
            [
                "1,000 items with “batch/00” in the name, page 1 of 20",
                "1,000 items with “batch/00” in the name, page 2 of 20",
                "0 running items with “batch/00” in the name, page 1 of 1",
            ],
        )


def focused(page: Page) -> str:
    """What the focus is on, by its words or else its heading's."""
    return str(page.evaluate("(document.activeElement.querySelector('h2') ?? document.activeElement).textContent"))


def test_focus_is_kept_where_pages_are_turned(page: Page) -> None:
    """A button that can't be pressed any more hands it to its neighbour."""
    with boards.shown(boards.hostile(60)) as shown:
        opened(page, shown.url)
        at = []
        for name, words in (("Next", "Page 2 of 2"), ("Previous", "Page 1 of 2")):
            page.get_by_role("button", name=name).focus()
            page.keyboard.press("Enter")
            expect(page.locator("#page")).to_have_text(words)
            at.append(focused(page))
        page.get_by_role("button", name="All 60").press("Enter")
        expect(page.locator("#found")).to_have_text("60 failed items")

        assert [*at, focused(page).strip()] == ["Previous", "Next", "Items"]


def test_focus_is_kept_where_something_is_changed(page: Page) -> None:
    """Pause becomes Resume and the other way round; of an item that is retried it stays in its list."""
    with boards.shown(boards.mixed(), token="secret") as shown:
        opened(page, shown.url)
        page.get_by_label("Token").fill("secret")
        at = []
        for name, mode in (("Pause", Mode.PAUSED), ("Resume", Mode.RUNNING)):
            page.get_by_role("button", name=name).press("Enter")
            shown.board.note(boards.mixed(mode=mode))
            expect(page.locator("#mode")).to_have_text(mode, timeout=8000)
            at.append(focused(page))
        page.locator("#failed").get_by_role("button", name="half.mp4").press("Enter")
        page.get_by_role("button", name="Retry").press("Enter")
        shown.board.note(survey(*(one for one in boards.mixed().jobs.values() if one.item != "half.mp4")))
        expect(page.locator("#failed tbody tr")).to_have_count(1, timeout=8000)

        assert (at, page.evaluate("document.activeElement.id")) == (["Resume", "Pause"], "failed")


def test_plots_go_further_back(page: Page) -> None:
    """Six hours, in steps of five minutes."""
    with boards.shown(boards.busy()) as shown:
        opened(page, shown.url)
        page.get_by_label("6 h").check()

        expect(page.locator("#throughput-words")).to_contain_text("In the last 6 hours")
        expect(page.locator("#plots-heading ~ fieldset input").nth(1)).to_be_checked()
        assert 50 < page.locator("#throughput g").count() <= 72


def test_page_only_shows_without_a_token(page: Page) -> None:
    """There is nothing to press."""
    with boards.shown(boards.mixed()) as shown:
        opened(page, shown.url)
        page.locator("#failed .open").first.click()
        expect(page.locator("#failed pre")).to_be_visible()

        expect(page.get_by_label("Token")).to_be_hidden()
        expect(page.get_by_role("button", name="Retry")).to_have_count(0)
        expect(page.get_by_role("button", name="Pause")).to_have_count(0)


def test_with_the_token_an_item_is_retried_and_the_queue_paused(page: Page) -> None:
    """A wrong token changes nothing, and is said."""
    expect_complaint(page, "401")
    with boards.shown(boards.mixed(), token="secret") as shown:
        opened(page, shown.url)
        page.locator("#failed").get_by_role("button", name="half.mp4").click()
        page.get_by_label("Token").fill("guess")
        page.get_by_role("button", name="Retry").click()
        expect(page.locator("#acted")).to_have_text("That is not the token: type it above.")
        assert shown.did.retried == []

        page.get_by_label("Token").fill("secret")
        page.get_by_role("button", name="Retry").click()
        expect(page.locator("#acted")).to_have_text("1 will be tried again.")
        page.get_by_role("button", name="Pause").click()
        expect(page.locator("#acted")).to_have_text("Paused: nothing more is started.")

        assert (shown.did.retried, shown.did.said) == (["half.mp4"], "paused")
        shown.board.note(boards.mixed(mode=Mode.PAUSED))
        expect(page.locator("#mode")).to_have_text("paused", timeout=8000)
        page.get_by_role("button", name="Resume").click()
        expect(page.locator("#acted")).to_have_text("Resumed.")


def test_manager_that_ends_is_told_and_one_that_comes_back_is_shown(page: Page) -> None:
    """What is on the page is then from before, and says so."""
    expect_complaint(page, "Failed to load")
    with boards.shown(boards.mixed()) as shown:
        opened(page, shown.url)
        port = int(shown.url.rpartition(":")[2])
    expect(page.locator("#notices")).to_contain_text("The manager has not answered since", timeout=10_000)
    expect(page.locator("#mode")).to_have_text("not answering")
    assert tile(page, "done") == "4"

    with boards.shown(boards.mixed(), port=port):
        expect(page.locator("#notices")).to_be_empty(timeout=20_000)
        expect(page.locator("#mode")).to_have_text("running")


def polled(page: Page, times: int = 2) -> None:
    """The page has asked anew so often, and was answered."""
    for _ in range(times):
        with page.expect_response(lambda reply: reply.url.endswith("/api/status"), timeout=30_000):
            pass


def test_slow_log_holds_up_nothing_else(page: Page) -> None:
    """The page goes on asking for the rest, and does not ask for that log again before it was answered."""
    goes_on, asked = Event(), list[str]()
    page.on("request", lambda request: asked.append(request.url) if "/api/items/half" in request.url else None)

    def slow(_: Job) -> str:
        assert goes_on.wait(60)
        return "at last"

    with boards.shown(boards.mixed(), log=slow) as shown:
        opened(page, shown.url)
        page.locator("#failed").get_by_role("button", name="half.mp4").click()
        polled(page)
        shown.board.note(survey(*boards.mixed().jobs.values(), job("newly.mp4", State.FAILED, since=NOW)))
        expect(page.locator("#failed .open").first).to_have_text("newly.mp4", timeout=8000)
        in_vain = len(asked)
        goes_on.set()

        expect(page.locator("#failed pre")).to_have_text("at last", timeout=8000)
        assert (in_vain, page.locator("#notices").inner_text()) == (1, "")


def test_log_that_can_not_be_read_again_stays_as_it_was(page: Page) -> None:
    """With why there is none newer."""
    fails = Event()

    def once(_: Job) -> str:
        if fails.is_set():
            raise EngineUnavailable("no answer")
        return "frame=1"

    with boards.shown(boards.mixed(), log=once) as shown:
        opened(page, shown.url)
        page.locator("#failed").get_by_role("button", name="half.mp4").click()
        expect(page.locator("#failed pre")).to_have_text("frame=1")
        fails.set()

        expect(page.locator("#failed .more .none")).to_have_text(
            "The log can't be read just now: no answer", timeout=8000
        )
        expect(page.locator("#failed pre")).to_have_text("frame=1")


def test_manager_that_takes_a_question_and_never_answers_is_told(page: Page) -> None:
    """A question is given up after a time; here the test says when that has passed."""
    page.add_init_script("""
        window.questions = [];
        AbortSignal.timeout = () => {
            const one = new AbortController();
            window.questions.push(one);
            return one.signal;
        };
    """)
    with boards.shown(boards.mixed()) as shown:
        opened(page, shown.url)
        with page.expect_request("**/api/status"):
            page.route("**/api/status", lambda _: None)

        page.evaluate("window.questions.forEach((one) => one.abort())")

        expect(page.locator("#notices")).to_contain_text("The manager has not answered since")
        page.unroute("**/api/status")
        expect(page.locator("#notices")).to_be_empty(timeout=20_000)


def test_fresh_manager_says_that_it_asks(page: Page) -> None:
    """Before the first look nothing is claimed."""
    with boards.shown(None) as shown:
        opened(page, shown.url)

        expect(page.locator("#source")).to_have_text("is being asked · has not been listed yet")
        expect(page.locator("#seen")).to_have_text("not looked yet")
        expect(page.locator("#found-items .none")).to_have_text("There are no items yet.")


def test_trouble_with_jobs_is_told(page: Page) -> None:
    """Numbers from before are shown with why there are no newer ones."""
    with boards.shown(boards.mixed()) as shown:
        opened(page, shown.url)
        shown.board.note_failure(RuntimeError("the API server <b>does not</b> answer"))

        expect(page.locator("#notices")).to_contain_text(
            "its Jobs: the API server <b>does not</b> answer", timeout=8000
        )
