"""A survey as the page shows it."""

from dataclasses import replace

import msgspec
import pytest

from longshore.breaker import Breaker
from longshore.control import Mode
from longshore.manager import Survey
from longshore.order import Turns, line_of
from longshore.patience import Postponed
from longshore.plan import Create, Limits, Verdict, plan
from longshore.records import Digests, Records
from longshore.scaling import Decision, Load, Rule
from longshore.state import Record, State
from longshore.web.status import FIRST_ROWS, LOG_LINES, PAGE_ROWS, Scaling, Snapshot, Told, log_lines
from longshore_kit.contract import ItemList
from support import boards
from support.boards import HOSTILE, LIMITS, NOW, job, survey


def looked(seen: Survey) -> Snapshot:
    return Snapshot(seen, LIMITS)


def test_counts_are_those_of_the_survey() -> None:
    """The page and `ls` agree."""
    seen = survey(
        job("a"), job("b", State.RUNNING), waiting=("w",), records=(Record("a", State.DONE), Record("f", State.FAILED))
    )

    assert looked(seen).counts == seen.counts()


def test_counts_with_hashed_records_are_those_of_the_survey() -> None:
    """Items of which only the digest is kept count too, listed or not."""
    digests = Digests("thumbs")
    records = Records(hashed=frozenset(map(digests.of, ("a", "b", "gone"))), digests=digests)
    seen = Survey(ItemList(("a", "b", "c")), {"b": job("b")}, records)

    snapshot = looked(seen)

    assert snapshot.counts == {"waiting": 1, "starting": 0, "running": 0, "done": 3, "failed": 0}
    assert [row.name for row in snapshot.rows(State.DONE).items] == ["b", "a"]


def test_lists_show_first_what_one_looks_for() -> None:
    """What runs longest, then what failed last, then what waits in its order, then what was done last."""
    seen = survey(
        job("d1", since=NOW - 9),
        job("d2", since=NOW - 1),
        job("f1", State.FAILED, since=NOW - 9),
        job("f2", State.FAILED, since=NOW - 1),
        job("r1", State.RUNNING, since=NOW - 1),
        job("r2", State.RUNNING, since=NOW - 9),
        waiting=("w2", "w1"),
    )

    assert [row.name for row in looked(seen).rows().items] == ["r2", "r1", "f2", "f1", "w2", "w1", "d2", "d1"]


def test_pages_have_every_item_once() -> None:
    """Over all states, and a page beyond the last is the last."""
    seen = survey(*(job(f"{number}") for number in range(70)), waiting=tuple(f"w{number}" for number in range(40)))
    snapshot = looked(seen)

    pages = [snapshot.rows(page=page) for page in (1, 2, 3, 99)]

    names = [row.name for page in pages[:3] for row in page.items]
    assert (len(names), len(set(names)), [page.page for page in pages]) == (110, 110, [1, 2, 3, 3])
    assert (len(pages[0].items), pages[0].pages, pages[0].total) == (PAGE_ROWS, 3, 110)


@pytest.mark.parametrize(("search", "expected"), [("ÉMO", 1), ("<script>", 1), ("%00", 1), ("nowhere", 0), ("", 7)])
def test_search_is_for_any_part_of_a_name_in_any_case(search: str, expected: int) -> None:
    """No character has a meaning."""
    seen = survey(*(job(name) for name in HOSTILE))

    assert looked(seen).rows(search=search).total == expected


def test_labels_and_reasons_have_nothing_that_is_obeyed() -> None:
    """Whatever an item is called, and whatever its worker wrote."""
    seen = survey(*(job(name, State.FAILED, reason=f"x\n{name}\x1b[2J") for name in HOSTILE))

    rows = looked(seen).rows().items

    assert {row.name for row in rows} == set(HOSTILE)
    assert all((row.label + row.reason).isprintable() for row in rows)


@pytest.mark.parametrize(
    ("seen", "told", "words"),
    [
        (survey(waiting=("w",)), Told(), "w is waiting: it is about to be started."),
        (
            survey(waiting=("v", "w"), mode=Mode.PAUSED),
            Told(),
            "the queue is paused: nothing new is started.",
        ),
        (survey(waiting=("w",), verdict=boards.verdict(is_open=True)), Told(), "the breaker is open: 5 items in a row"),
        (survey(waiting=("w",)), Told(fullness=Postponed(NOW, 1, "quota")), "no Job can be made just now: quota."),
        (
            survey(waiting=("w",)),
            Told({"w": Postponed(NOW + 8, 1, "no.")}),
            "be started: no; tried again in 8 s.",
        ),
        (
            survey(waiting=("w",), source_error="down", listed_at=NOW - 99),
            Told(),
            "the source is unavailable: down.",
        ),
        (survey(*(job(f"{n}", State.RUNNING) for n in range(4)), waiting=("v", "w")), Told(), "1 item ahead of it"),
    ],
)
def test_why_an_item_waits_is_said_in_one_sentence(seen: Survey, told: Told, words: str) -> None:
    """The first thing that keeps it from being started."""
    assert words in looked(seen).sentence("w", NOW, "retry", told)


def test_what_waits_is_shown_in_its_turns() -> None:
    """Who is told to be next is who is started next, whatever the order of the list."""
    line = line_of(("b/1", "b/2", "b/3", "a/1"), Turns("name", "^[^/]+"), {})
    seen = replace(
        survey(job("b/0", State.RUNNING), waiting=tuple(line.names[::-1])), line=line, last_started={"b": NOW}
    )
    snapshot = looked(seen)

    assert [row.name for row in snapshot.rows(State.WAITING).items] == ["a/1", "b/1", "b/2", "b/3"]
    assert [Create(item) for item in snapshot.of_state(State.WAITING)] == plan(seen.observed(), Limits(Rule(maximum=9)))


def test_decision_is_shown_with_what_it_was_made_on() -> None:
    """The law's own sentence, and the numbers of every law: all that is new, and without batches."""
    load = Load(waiting=3, live=2, arrivals=0.5, steady=0.0125, processing_seconds=31.5, place_seconds=34.0)
    made = Decision(4, load, Rule("staffing", maximum=4), offered=2.125)

    assert looked(survey(verdict=Verdict(made, Breaker()))).scaling() == Scaling(
        made.sentence(),
        parallelism=4,
        minimum=0,
        maximum=4,
        waiting=3,
        live=2,
        law="staffing",
        arrivals_per_minute=30.0,
        steady_per_minute=0.75,
        work_seconds=31.5,
        place_seconds=34.0,
        offered=2.125,
        drain_seconds=60.0,
    )


def test_what_was_not_decided_yet_is_not_made_up() -> None:
    """Before the first look there is neither a limit nor a breaker."""
    snapshot = looked(survey(job("r", State.RUNNING), waiting=("w",)))

    assert (snapshot.scaling().sentence, snapshot.breaker()) == ("nothing was decided yet", None)


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        ("", []),
        ("\n\n", []),
        ("a\nb\n\n", ["a", "b"]),
        ("\x1b[1;31mred\x1b[0m \x1b]0;title\x07end", ["red end"]),
        ("1 %\r99 %\r\n<b>\x07", ["99 %", "<b>\\x07"]),
        ("\x1b", ["\\x1b"]),
    ],
)
def test_log_is_shown_as_a_person_would_have_seen_it(log: str, expected: list[str]) -> None:
    """Colours go, a progress bar is what it was last, and what is left of a terminal's language is spelled out."""
    assert list(log_lines(log)) == expected


def test_log_is_its_last_lines() -> None:
    """A megabyte of progress is not sent."""
    assert log_lines("\n".join(map(str, range(999))))[0] == str(999 - LOG_LINES)


def with_many(hashed: bool) -> Survey:
    names = [f"batch/{number:06d}.mp4" for number in range(100_000)]
    jobs = {
        name: job(name, State.FAILED if number < 5_000 else State.DONE) for number, name in enumerate(names[:6_000])
    }
    if hashed:
        digests = Digests("q")
        records = Records(hashed=frozenset(map(digests.of, names[6_000:90_000])), digests=digests)
    else:
        records = Records({name: Record(name, State.DONE, NOW - 60) for name in names[6_000:90_000]})
    return Survey(ItemList(tuple(names)), jobs, records, at=NOW)


@pytest.mark.parametrize("hashed", [False, True])
def test_a_refresh_is_small_however_many_items_there_are(hashed: bool) -> None:
    """100,000 of which 5,000 have failed, and no more is sent than is shown; bench/status_page.py has the times."""
    board = boards.board_of()
    board._survey = with_many(hashed)

    status, found = board.status(), board.rows(None, "99.mp4", 1)

    assert (status.counts["failed"], status.counts["waiting"], len(status.failed)) == (5_000, 10_000, FIRST_ROWS)
    assert (found.total, len(found.items)) == (1_000, PAGE_ROWS)
    assert len(msgspec.json.encode(status)) + len(msgspec.json.encode(found)) < 50_000
