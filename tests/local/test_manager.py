"""The manager's loop, tick by tick, over a source of the test's own and real processes."""

import contextlib
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from contract.engine_contract import Watched
from longshore.breaker import PROBE_SECONDS_MOST
from longshore.control import FileControl, Mode
from longshore.engines.process import ProcessEngine
from longshore.ledger import FileLedger
from longshore.manager import LISTING_MAX_SECONDS, Clock, Manager, SourcePoller, Survey
from longshore.manifests import Bundle
from longshore.queuefile import Queue
from longshore.starting import POSTPONED_FIRST_SECONDS
from longshore.state import State, record_of
from longshore_kit.contract import Item, ItemList
from longshore_kit.errors import EngineError, EngineFull, EngineUnavailable, ItemNotFound, SourceUnavailable
from longshore_kit.logs import get_logger
from support.managers import AtOnce
from support.queues import queue_with, shell_queue
from support.waiting import until


class FakeItems:
    """A source that holds, loses or breaks what the test says."""

    def __init__(self, *names: str) -> None:
        self.names = names
        self.broken = ""
        self.vanished: set[str] = set()
        self.unreadable: set[str] = set()
        self.poison: set[str] = set()
        self.bare: set[str] = set()
        self.wants: bool = False
        self.is_deaf = False
        self.acknowledged: list[str] = []

    def list_items(self, *, wait_seconds: float = 0) -> ItemList:  # noqa: ARG002 - answers at once
        """The names, unless it is broken."""
        if self.broken:
            raise SourceUnavailable(self.broken)
        return ItemList(self.names)

    def get_item(self, name: str) -> Item:
        """One item, unless it has vanished meanwhile or can't be read."""
        if name in self.vanished:
            raise ItemNotFound(name)
        if name in self.unreadable:
            raise SourceUnavailable(name)
        if name in self.poison:
            raise RuntimeError("a bug")
        return Item(name, {} if name in self.bare else {"path": name})

    def wants_acks(self) -> bool:
        """Whether it shrinks when told."""
        return self.wants

    def acknowledge(self, name: str) -> None:
        """Shrink, unless it does not listen."""
        if self.is_deaf:
            raise SourceUnavailable("can't write now")
        self.acknowledged.append(name)
        self.names = tuple(one for one in self.names if one != name)


class FakeClock:
    """Stands still until the test moves it."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def clock(self) -> Clock:
        """Both hands on the same time."""
        return Clock(lambda: self.now, lambda: self.now)


class OneManager:
    """A manager with its own engine, poller and ledger, on a folder that it may share."""

    def __init__(self, folder: Path, queue: Queue, items: FakeItems, clock: FakeClock | None = None) -> None:
        clock_pair = (clock or FakeClock()).clock()
        log = get_logger("longshore.test")
        self.engine = ProcessEngine(folder / "state", working_folder=folder, mounts={}, backoff_seconds=0.05)
        self.ledger = FileLedger(folder / "state/ledger.jsonl")
        self.poller = SourcePoller(items, log, clock_pair)
        self.manager = Manager(
            queue,
            items=items,
            poller=self.poller,
            engine=self.engine,
            ledger=self.ledger,
            pool=AtOnce(),
            control=FileControl(folder / "state"),
            log=log,
            clock=clock_pair,
        )
        self._changed = threading.Event()
        self.engine.watch(self._changed.set)

    def tick(self) -> Survey:
        """Ask the source, then look once."""
        self.poller.poll()
        return self.manager.tick()

    def until(self, item: str) -> None:
        """Tick until this item is done."""
        for _ in range(600):
            self._changed.clear()
            job = self.tick().jobs.get(item)
            if job and job.state is State.DONE:
                return
            self._changed.wait(0.1)
        raise AssertionError(f"{item} never done")

    def until_worked_through(self) -> Survey:
        """Tick until every listed item is done or failed."""
        for _ in range(600):
            self._changed.clear()
            if (survey := self.tick()).is_worked_through:
                return survey
            self._changed.wait(0.1)
        raise AssertionError("never worked through")


@pytest.fixture
def items() -> FakeItems:
    """A source with three items."""
    return FakeItems("a", "b", "c")


@pytest.fixture
def clock() -> FakeClock:
    """The manager's time."""
    return FakeClock()


@pytest.fixture
def queue(tmp_path: Path) -> Queue:
    """A queue whose workers tell that they ran."""
    return shell_queue(tmp_path, f'echo run >> "{tmp_path}/$1"', scaling={"max": 2})


@pytest.fixture
def one(tmp_path: Path, queue: Queue, items: FakeItems, clock: FakeClock) -> Iterator[OneManager]:
    """The manager under test."""
    manager = OneManager(tmp_path, queue, items, clock)
    yield manager
    manager.engine.close()


def runs(folder: Path) -> dict[str, int]:
    """How often each item's worker ran."""
    return {path.name: path.read_text().count("run") for path in folder.iterdir() if path.is_file()}


def test_every_listed_item_runs_once(one: OneManager, tmp_path: Path) -> None:
    """Two at a time, until nothing waits."""
    survey = one.until_worked_through()

    assert {item: job.state for item, job in survey.jobs.items()} == dict.fromkeys("abc", State.DONE)
    assert runs(tmp_path) == {"a": 1, "b": 1, "c": 1}


def test_invariant_5_no_more_jobs_live_than_may(one: OneManager) -> None:
    """The limit holds from the first tick."""
    one.tick()

    assert len(one.engine.jobs()) == 2


def test_invariant_3_a_source_that_breaks_stops_nothing_and_starts_nothing(one: OneManager, items: FakeItems) -> None:
    """What was listed before it broke is worked on while that is fresh; the error is shown."""
    one.until_worked_through()
    items.names, items.broken = (), "the store is down"

    survey = one.tick()

    assert (survey.source_error, len(survey.jobs), survey.items) == ("the store is down", 3, ItemList(("a", "b", "c")))


def test_what_is_asked_and_made_is_counted(one: OneManager, items: FakeItems, clock: FakeClock) -> None:
    """What the first listing has did not come; what comes later did, once; of the first it is known since when."""
    one.until_worked_through()
    began, clock.now = clock.now, clock.now + 5
    items.names += ("d", "e")
    one.tick()
    items.broken = "gone"

    survey = one.tick()

    tally = survey.tally
    assert (tally.arrived, tally.made, tally.conflicts, tally.failed_polls, tally.polls >= 3) == (2, 5, 0, 1, True)
    assert (survey.first_listed_at, survey.first_seen) == (began, dict.fromkeys("de", clock.now))


def test_a_job_that_another_manager_has_made_is_a_conflict(
    one: OneManager, tmp_path: Path, queue: Queue, items: FakeItems, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was not there when this one looked."""
    other = OneManager(tmp_path, queue, items)
    with contextlib.closing(other.engine), monkeypatch.context() as patch:
        patch.setattr(other.engine, "jobs", dict)
        one.tick()
        tally = other.tick().tally

    assert (tally.made, tally.conflicts) == (0, 2)


def test_a_listing_that_is_too_old_starts_nothing(one: OneManager, items: FakeItems, clock: FakeClock) -> None:
    """A paused process, or a source that has gone silent: what it listed a minute ago may be done by others."""
    one.poller.poll()
    items.broken = "gone"
    clock.now += LISTING_MAX_SECONDS + 1

    one.manager.tick()

    assert dict(one.engine.jobs()) == {}


def test_an_item_that_left_between_listing_and_start_is_no_failure(one: OneManager, items: FakeItems) -> None:
    """Sources change; the next listing won't have it."""
    items.vanished = {"a"}

    one.tick()

    assert list(one.engine.jobs()) == ["b"]


@pytest.mark.parametrize("trouble", ["vanished", "unreadable", "broken"])
def test_items_that_can_not_be_started_hold_up_no_other(
    one: OneManager, items: FakeItems, tmp_path: Path, trouble: str
) -> None:
    """However many of them come first in the list."""
    items.names = (*(f"bad{number}" for number in range(5)), "a")
    getattr(items, trouble if trouble != "broken" else "poison").update(items.names[:-1])

    one.tick()
    one.tick()
    one.tick()
    one.until("a")

    assert runs(tmp_path) == {"a": 1}


@pytest.mark.parametrize("trouble", [EngineFull("exceeded quota"), EngineUnavailable("503")], ids=["full", "away"])
def test_where_there_is_no_room_one_question_is_asked_for_all_items(
    one: OneManager, items: FakeItems, clock: FakeClock, monkeypatch: pytest.MonkeyPatch, trouble: EngineError
) -> None:
    """A thousand items would be told the same: all starts pause, longer each time, and go on when one succeeds."""
    items.names = tuple(f"item{number}" for number in range(100))
    asked: list[str] = []
    create = one.engine.create

    def refusing(bundle: Bundle) -> bool:
        asked.append(bundle.item)
        raise trouble

    monkeypatch.setattr(one.engine, "create", refusing)
    with capture_logs() as logs:
        for _ in range(5):
            one.tick()
        first = len(asked)
        clock.now += POSTPONED_FIRST_SECONDS + 1
        one.tick()
        one.tick()
    second = len(asked)
    monkeypatch.setattr(one.engine, "create", create)
    clock.now += 60
    one.tick()

    assert (first, second) == (2, 4)
    assert [line["event"] for line in logs if line["log_level"] == "warning"] == [
        "no item is started for a while; it is tried again"
    ]
    assert len(one.engine.jobs()) == 2


def test_what_can_not_be_done_for_one_job_is_told_once_and_stops_nothing(
    one: OneManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others are started, and seen to."""
    tend = one.engine.tend
    monkeypatch.setattr(one.engine, "tend", lambda: [*tend(), "Job x: too many annotations"])
    stop, seen = threading.Event(), []

    def on_tick(survey: Survey) -> None:
        seen.append(survey)
        if survey.is_worked_through:
            stop.set()

    with capture_logs() as logs:
        one.manager.run(stop, on_tick)

    told = [line["reason"] for line in logs if line["event"] == "job not seen to; the others are"]
    assert (seen[-1].is_worked_through, told) == (True, ["Job x: too many annotations"])


def test_an_item_that_can_not_be_read_now_waits(
    one: OneManager, items: FakeItems, clock: FakeClock, tmp_path: Path
) -> None:
    """It is neither failed nor forgotten, and is started when the source answers again."""
    items.unreadable = {"a"}
    one.tick()
    items.unreadable = set()
    clock.now += POSTPONED_FIRST_SECONDS + 1

    one.until_worked_through()

    assert runs(tmp_path) == {"a": 1, "b": 1, "c": 1}


def test_an_item_that_moves_to_the_ledger_between_look_and_start_is_not_run_again(
    one: OneManager, queue: Queue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A manager that was slow finds the record that another one made meanwhile."""
    slow = OneManager(tmp_path, queue, FakeItems("a"))
    slow.poller.poll()
    look = slow.engine.jobs()
    one.until_worked_through()
    done = one.engine.jobs()["a"]
    one.manager._enter((done,))
    monkeypatch.setattr(slow.engine, "jobs", lambda: look)  # it looked before all that

    slow.manager.tick()
    slow.engine.close()

    assert ("a" in one.engine.jobs(), runs(tmp_path)["a"]) == (False, 1)


def test_a_retried_item_is_not_entered_as_failed(
    tmp_path: Path, items: FakeItems, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person retries while a manager, which has looked before, is about to enter the failed Job: that counts."""
    manager = OneManager(tmp_path, shell_queue(tmp_path, "exit 65", keep={"failed": 0}), items, clock)
    items.names = ("a",)
    manager.tick()
    engine = ProcessEngine(tmp_path / "state", working_folder=tmp_path, mounts={})
    watched = Watched(engine)
    failed = watched.until_state("a", State.FAILED)
    looked = manager.engine.jobs()
    engine.delete(failed)
    manager.ledger.remove(["a"])
    watched.until("a", lambda job: job is None)

    looks = iter([looked])
    monkeypatch.setattr(manager.engine, "jobs", lambda: next(looks, {}))
    manager.manager.tick()
    manager.engine.close()
    engine.close()

    assert dict(manager.ledger.read().named) == {}


def test_a_done_item_that_left_is_forgotten_after_three_listings_and_ten_minutes(
    one: OneManager, items: FakeItems, clock: FakeClock
) -> None:
    """And when it comes back after that, it is a new item."""
    one.until_worked_through()
    items.names = ("a", "b")
    kept = []
    for _ in range(4):
        one.tick()
        kept.append(sorted(job.item for job in one.engine.jobs().values() if not job.deleting))
        clock.now += 300

    assert kept == [["a", "b", "c"], ["a", "b", "c"], ["a", "b"], ["a", "b"]]


def test_a_forgotten_success_still_tells_the_breaker(tmp_path: Path, items: FakeItems, clock: FakeClock) -> None:
    """Failed Jobs stay: once the good one between them and now is gone, another manager must not see a row."""
    queue = shell_queue(tmp_path, '[ "$1" = good ]', breaker={"failures": 2}, retry={"attempts": 1})
    items.names, clock.now = ("bad1", "bad2"), time.time()
    first = OneManager(tmp_path, queue, items, clock)
    opened = first.until_worked_through().verdict
    items.names = ("bad1", "bad2", "good")
    clock.now = time.time() + PROBE_SECONDS_MOST
    first.until("good")
    items.names = ("bad1", "bad2")
    for _ in range(4):
        clock.now += 300
        first.tick()
    first.engine.close()
    second = OneManager(tmp_path, queue, items, clock)
    survey = second.tick()
    second.engine.close()

    there = sorted(job.item for job in survey.jobs.values() if not job.deleting)
    assert (opened and opened.breaker.is_open, there) == (True, ["bad1", "bad2"])
    assert (survey.verdict and survey.verdict.breaker.is_open, survey.records.named) == (False, {})


def test_items_that_are_wrong_themselves_hold_up_no_other(tmp_path: Path, clock: FakeClock) -> None:
    """However many come first: they are dead letters at once, and say nothing of the worker."""
    items = FakeItems(*(f"bad{number}" for number in range(20)), "good")
    items.bare = set(items.names[:-1])
    worker = {"command": ["sh", "-c", "true", "sh", "${item.path}"]}
    one = OneManager(tmp_path, queue_with(tmp_path, worker=worker, scaling={"max": 4}), items, clock)
    survey = one.until_worked_through()
    one.engine.close()

    assert (survey.counts()["failed"], survey.jobs["good"].state) == (20, State.DONE)


def test_what_is_being_started_while_somebody_drains_is_not(
    one: OneManager, items: FakeItems, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked again just before the Job is made; who drains is told when nothing is on its way any more."""
    person, seen = FileControl(tmp_path / "state"), []
    get_item = items.get_item

    def drained_meanwhile(name: str) -> Item:
        if not person.mode().may_start:
            return get_item(name)
        person.set_mode(Mode.DRAINING)
        seen.append(person.is_seen(Mode.DRAINING))
        return get_item(name)

    (tmp_path / "state").mkdir()
    monkeypatch.setattr(items, "get_item", drained_meanwhile)
    one.tick()
    seen.append(person.is_seen(Mode.DRAINING))
    one.tick()
    seen.append(person.is_seen(Mode.DRAINING))

    assert (seen, len(one.engine.jobs())) == ([False, False, True], 0)
    monkeypatch.undo()
    person.set_mode(Mode.RUNNING)
    assert len(one.until_worked_through().jobs) == len(items.names)


def test_groups_that_are_gone_are_not_remembered(tmp_path: Path, clock: FakeClock) -> None:
    """Where each day is a group, memory does not grow with the days."""
    items = FakeItems("monday/a", "monday/b")
    queue = shell_queue(tmp_path, "true", queue={"groupBy": "^[^/]+"}, keep={"finished": 0})
    one = OneManager(tmp_path, queue, items, clock)
    one.until_worked_through()
    items.names = ("tuesday/a",)
    one.until_worked_through()
    until(lambda: list(one.tick().last_started) == ["tuesday"])
    one.engine.close()


def test_a_pause_that_can_not_be_noted_as_seen_stops_nothing_else(
    one: OneManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told as a trouble, and tried again."""
    one.until_worked_through()
    FileControl(tmp_path / "state").set_mode(Mode.PAUSED)

    def full(_: FileControl, __: Mode) -> None:
        raise EngineUnavailable("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(FileControl, "note_seen", full)
        troubled = one.tick()
    after = one.tick()

    assert (troubled.mode, troubled.troubles, after.troubles) == (
        Mode.PAUSED,
        ("that the queue is paused can't be noted as seen: no space left on device",),
        (),
    )
    assert FileControl(tmp_path / "state").is_seen(Mode.PAUSED)


def test_invariant_3_jobs_that_can_not_be_seen_are_reported_and_nothing_is_done(
    one: OneManager, tmp_path: Path
) -> None:
    """Could not look is never "nothing there"."""
    (tmp_path / "state").mkdir()
    (tmp_path / "state/jobs").write_text("no folder")

    with pytest.raises(EngineUnavailable):
        one.tick()
    (tmp_path / "state/jobs").unlink()


def test_the_loop_survives_what_nobody_expected(one: OneManager, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of our own is logged, and the queue goes on."""
    stop, seen = threading.Event(), []
    calls = iter([RuntimeError("a bug"), None])
    tend = one.engine.tend

    def failing_once() -> Sequence[str]:
        if (error := next(calls, None)) is not None:
            raise error
        return tend()

    monkeypatch.setattr(one.engine, "tend", failing_once)

    def on_tick(survey: Survey) -> None:
        seen.append(survey)
        if survey.is_worked_through:
            stop.set()

    one.manager.run(stop, on_tick)

    assert seen[-1].is_worked_through


def test_done_items_are_acknowledged_and_failed_ones_are_not(tmp_path: Path, clock: FakeClock) -> None:
    """Each done item once, after its success; a source that shrinks keeps what has failed."""
    items = FakeItems("a", "bad", "c")
    items.wants = True
    queue = shell_queue(tmp_path, '[ "$1" != bad ] || exit 65', scaling={"max": 3})
    one = OneManager(tmp_path, queue, items, clock)
    one.until_worked_through()
    one.tick()
    one.tick()
    one.engine.close()

    assert (sorted(items.acknowledged), items.names) == (["a", "c"], ("bad",))


def test_ack_failed_acknowledges_failed_items_too(tmp_path: Path, clock: FakeClock) -> None:
    """`retry.ackFailed: true`: the source lets go of them, the queue does not."""
    items = FakeItems("bad")
    items.wants = True
    queue = shell_queue(tmp_path, "exit 65", retry={"ackFailed": True})
    one = OneManager(tmp_path, queue, items, clock)
    one.until_worked_through()
    survey = one.tick()
    one.engine.close()

    assert (items.acknowledged, survey.jobs["bad"].state) == (["bad"], State.FAILED)


def test_a_job_stays_until_its_item_is_acknowledged(tmp_path: Path, clock: FakeClock) -> None:
    """A source that can't be told now is told later, by the next manager if need be: the Job is what says so."""
    items = FakeItems("a", "b")
    items.wants = items.is_deaf = True
    queue = shell_queue(tmp_path, "true", keep={"finished": 0})
    first = OneManager(tmp_path, queue, items, clock)
    first.until_worked_through()
    first.tick()
    kept = sorted(first.engine.jobs())
    first.engine.close()
    items.is_deaf = False
    second = OneManager(tmp_path, queue, items, clock)
    until(lambda: not second.tick().jobs)
    records = second.ledger.read()
    second.engine.close()

    assert (kept, items.acknowledged, sorted(records.named)) == (["a", "b"], ["a", "b"], ["a", "b"])


def test_a_job_that_stands_beside_its_record_is_dropped(one: OneManager) -> None:
    """A crash between the entry and the deletion leaves both: the record is enough."""
    survey = one.until_worked_through()
    one.ledger.enter([record_of(survey.jobs["a"])])

    until(lambda: sorted(one.tick().jobs) == ["b", "c"])
