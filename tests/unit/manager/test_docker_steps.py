"""What is done next for a Job on Docker, and how an attempt counts that has ended."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longshore.engines.docker.objects import (
    OUTCOME_LABEL,
    Facts,
    Family,
    Outcome,
    Part,
    Piece,
    Ran,
    families,
    job_of,
    name_of,
    owner_labels,
    part_labels,
    record_labels,
)
from longshore.engines.docker.steps import (
    LOST,
    Begin,
    Clear,
    Conclude,
    Rest,
    Step,
    Stop,
    never_started,
    next_step,
    outcome_of,
    stopped,
)
from longshore.manifests import Layout, bundle_for
from longshore.queuefile import Queue
from longshore.state import State
from support.queues import item_named, queue_with, shell_stage

CREATED = 1000.0


def chain_queue(**retry: Any) -> Queue:
    """Two stages after the adapter."""
    stages = [{**shell_stage(name, "true"), "image": "i"} for name in ("first", "last")]
    return queue_with(worker={"stages": stages}, retry={"attempts": 3, "deadlineSeconds": 100, **retry})


class Daemon:
    """The containers of one Job, without a daemon."""

    def __init__(self, queue: Queue | None = None) -> None:
        job = bundle_for(queue or chain_queue(), item_named("a"), Layout()).job
        labels = record_labels(job, Facts.of(job, CREATED), "uid-1") | owner_labels("q", "state-1")
        self.pieces = [self._piece(labels)]

    @property
    def record(self) -> Piece:
        """The Job's record."""
        return self.pieces[0]

    def _piece(self, labels: Mapping[str, str], state: str = "created", name: str = "") -> Piece:
        name = name or name_of(labels)
        return Piece(f"id-{name}", name, state, labels)

    def add(self, part: Part, run: int = 0, state: str = "created", **more: str) -> Piece:
        """One more container."""
        piece = self._piece(part_labels(self.record, part, run, **more), state)
        self.pieces.append(piece)
        return piece

    def add_container(self, run: int, index: int, name: str, state: str = "exited") -> Piece:
        """One of a run."""
        more = {"longshore.dev/index": str(index), "longshore.dev/container": name}
        return self.add(Part.CONTAINER, run, state, **more)

    def add_outcome(self, run: int, outcome: Outcome) -> Piece:
        """How a run ended."""
        return self.add(Part.OUTCOME, run, **{OUTCOME_LABEL: outcome.as_text()})

    def family(self) -> Family:
        """What a look makes of it."""
        (found,), orphans = families(self.pieces)
        assert orphans == []
        return found


ADAPTER = Ran("multi-worker", 0, started=1010.0, finished=1011.0, code=0)
FIRST = Ran("first", 1, started=1011.5, finished=1013.0, code=0)
LAST = Ran("last", 2, started=1013.5, finished=1014.0, code=0)


def again(**fields: Any) -> Outcome:
    """An attempt that failed."""
    return Outcome(**{"state": "again", "at": 1020.0, "failures": 1, "reason": "disk full", "seconds": 4.0, **fields})


def step_with(rans: Sequence[Ran], now: float = 1030.0, *, outcomes: Sequence[Outcome] = ()) -> Step:
    """The next step of a Job whose last run has come so far."""
    daemon = Daemon()
    for number, outcome in enumerate(outcomes, 1):
        daemon.add_outcome(number, outcome)
    for index, ran in enumerate(rans):
        state = "running" if ran.is_running else "created" if ran.code is None else "exited"
        daemon.add_container(len(outcomes) + 1, index, ran.name, state)
    return next_step(daemon.family(), rans, now, backoff_seconds=10)


@pytest.mark.parametrize(
    ("rans", "now", "expected"),
    [
        ([], 1000.0, Begin(1, 0)),
        ([Ran("multi-worker", 0)], 1030.0, Begin(1, 0)),
        ([replace(ADAPTER, is_running=True, code=None)], 1030.0, Rest()),
        ([ADAPTER], 1030.0, Begin(1, 1)),
        ([ADAPTER, Ran("first", 1)], 1030.0, Begin(1, 1)),
        ([ADAPTER, FIRST], 1030.0, Begin(1, 2)),
        ([ADAPTER, FIRST, LAST], 1030.0, Conclude(is_late=False)),
        ([ADAPTER, replace(FIRST, code=3)], 1030.0, Conclude(is_late=False)),
        # The deadline is the attempt's, for all that its containers take together; a manager that is away costs none.
        ([ADAPTER, FIRST], 2000.0, Begin(1, 2)),
        ([ADAPTER, FIRST, replace(LAST, finished=1111.0)], 1200.0, Conclude(is_late=True)),
        ([ADAPTER, FIRST, replace(LAST, finished=1110.5)], 1200.0, Conclude(is_late=False)),
        ([ADAPTER, replace(FIRST, finished=1111.5)], 1200.0, Conclude(is_late=True)),
    ],
)
def test_containers_run_one_after_the_other(rans: Sequence[Ran], now: float, expected: Step) -> None:
    """The next one begins when the one before has ended with 0; what was made and not started is started."""
    assert step_with(rans, now) == expected


def test_what_runs_beyond_its_deadline_is_stopped() -> None:
    """That very container."""
    step = step_with([ADAPTER, Ran("first", 1, is_running=True, started=1011.5)], 1110.5)

    assert isinstance(step, Stop)
    assert [piece.container for piece in step.pieces] == ["first"]


@pytest.mark.parametrize(
    ("outcome", "since"),
    [(again(), 1030.0), (again(failures=2), 1040.0), (again(failures=9), 1380.0)],
)
def test_attempts_are_further_apart_each_time(outcome: Outcome, since: float) -> None:
    """Up to six minutes; what the daemon's restart has ended goes on at once."""
    assert step_with([], since, outcomes=[outcome]) == Begin(2, 0)
    assert step_with([], since - 1, outcomes=[outcome]) == Rest()
    assert step_with([], 1020.0, outcomes=[replace(outcome, reason=LOST)]) == Begin(2, 0)


def test_a_clock_that_was_ahead_delays_nothing() -> None:
    """What ended in the future ended some time ago; a Job that was made there is begun."""
    assert step_with([], 900.0) == Begin(1, 0)
    assert step_with([], 900.0, outcomes=[again(at=5000.0)]) == Begin(2, 0)


def test_nothing_begins_while_something_of_an_earlier_run_is_there() -> None:
    """Two of one item never overlap: neither of an earlier attempt, nor of an earlier Job of the name."""
    daemon = Daemon()
    daemon.add_outcome(1, again())
    old = daemon.add_container(1, 2, "last", "running")
    files = daemon.add(Part.FILES, 1)
    other = replace(daemon.add_container(3, 0, "x", "running"))
    stranger = replace(other, labels={**other.labels, "longshore.dev/uid": "uid-0"})
    daemon.pieces[-1] = stranger

    assert next_step(daemon.family(), [], 2000.0, 10) == Clear((old, files, stranger))


def test_a_job_that_is_to_go_takes_all_with_it() -> None:
    """Whatever runs, however far it came."""
    daemon = Daemon()
    running = daemon.add_container(1, 0, "multi-worker", "running")
    mark = daemon.add(Part.DELETING)

    assert mark.name == f"{daemon.record.name}.deleting.uid-1"
    assert next_step(daemon.family(), [replace(ADAPTER, is_running=True)], 1030.0, 10) == Clear(
        (running,), with_job=True
    )


def test_what_has_ended_for_good_rests() -> None:
    """When its containers are gone; earlier outcomes are said by the last one."""
    daemon = Daemon()
    first = daemon.add_outcome(1, again())
    daemon.add_outcome(2, again(state="failed", failures=2))

    assert next_step(daemon.family(), [], 2000.0, 10) == Clear((first,))
    del daemon.pieces[1]
    assert next_step(daemon.family(), [], 2000.0, 10) == Rest()


def outcome(rans: Sequence[Ran], before: Outcome | None = None, **keywords: Any) -> Outcome:
    """How a run counts."""
    daemon = Daemon()
    if before:
        daemon.add_outcome(1, before)
    given_words = {"words": "", "is_late": False, "daemon_since": 900.0, **keywords}
    return outcome_of(daemon.family(), rans, now=1030.0, **given_words)


STAGE_SECONDS = {"multi-worker": 1.0, "first": 1.5, "last": 0.5}


def test_a_run_whose_last_container_ended_well_is_done() -> None:
    """With its words, and what each stage took."""
    assert outcome([ADAPTER, FIRST, LAST], words="42", before=again()) == Outcome(
        "done", 1014.0, 1, "42", 0, "last", STAGE_SECONDS, seconds=7.0
    )


@pytest.mark.parametrize(
    ("last", "before", "keywords", "expected"),
    [
        ({"code": 3}, None, {"words": "disk full"}, ("again", 1, "disk full", 3)),
        ({"code": 3}, None, {}, ("again", 1, "exit code 3, without a word", 3)),
        ({"code": 3}, again(failures=2), {"words": "x"}, ("failed", 3, "x", 3)),
        ({"code": 65}, None, {"words": "no video"}, ("failed", 1, "no video", 65)),
        ({"code": 64}, None, {"words": "no flag"}, ("failed", 1, "no flag", 64)),
        (
            {"code": 137, "was_out_of_memory": True},
            None,
            {"words": "x", "daemon_since": 1014.5},
            ("again", 1, "OOMKilled: it wanted more memory than resources.limits.memory: x", 137),
        ),
        (
            {"code": 127, "error": "no such file"},
            None,
            {},
            ("again", 1, "it can't be started: no such file", 127),
        ),
        # Whatever it exits with after its deadline, and even if it refuses its item then.
        (
            {"code": 65},
            None,
            {"is_late": True},
            ("again", 1, "stopped after 100 s, the deadline of an attempt (retry.deadlineSeconds)", 65),
        ),
        (
            {"code": 0},
            again(failures=2),
            {"is_late": True},
            ("failed", 3, "stopped after 100 s, the deadline of an attempt (retry.deadlineSeconds)", 0),
        ),
        # The daemon came up after the container had started: it was ended by that, and costs no attempt …
        ({"code": 137}, again(), {"daemon_since": 1014.5}, ("again", 1, LOST, None)),
        ({"code": 143}, again(failures=2), {"daemon_since": 1014.5}, ("again", 2, LOST, None)),
        # … but who refused its item did so by itself, and so did who did its work.
        ({"code": 65}, None, {"daemon_since": 1014.5, "words": "bad"}, ("failed", 1, "bad", 65)),
        ({"code": 0}, None, {"daemon_since": 1014.5}, ("done", 0, "", 0)),
        ({"code": 137}, None, {"daemon_since": None}, ("again", 1, "exit code 137, without a word", 137)),
    ],
)
def test_an_attempt_counts_by_how_its_last_container_ended(
    last: dict[str, Any], before: Outcome | None, keywords: dict[str, Any], expected: tuple[str, int, str, int | None]
) -> None:
    """State, failures so far, reason, exit code."""
    found = outcome([ADAPTER, FIRST, replace(LAST, **last)], before, **keywords)

    assert (found.state, found.failures, found.reason, found.exit_code) == expected


def test_who_was_stopped_by_a_person_has_lost_no_attempt() -> None:
    """Its time counts all the same."""
    daemon = Daemon()
    daemon.add_outcome(1, again())

    assert stopped(daemon.family(), [ADAPTER], 1050.0) == Outcome(
        "again", 1050.0, 1, "stopped; it will be started again", seconds=5.0
    )


def test_who_could_not_be_started_for_too_long_has_failed() -> None:
    """With what kept it; a dead letter like any other."""
    found = never_started(Daemon(chain_queue(pendingSeconds=30)).family(), "there is no image x", 1050.0)

    assert found == Outcome(
        "failed", 1050.0, 0, "its worker did not start within 30 s (retry.pendingSeconds): there is no image x"
    )


def test_what_is_half_made_is_not_there() -> None:
    """A piece counts from when it has its name."""
    daemon = Daemon()
    half = Daemon().record
    daemon.pieces.append(replace(half, id="other", name="something.new-1"))

    assert families(daemon.pieces) == ([daemon.family()], [])


@pytest.mark.parametrize(
    ("label", "text"),
    [("longshore.dev/facts", "{}"), ("longshore.dev/facts", "no JSON"), (None, None)],
)
def test_a_damaged_record_has_failed_and_says_so(label: str | None, text: str | None) -> None:
    """It is a dead letter like any other, and stops no other Job."""
    daemon = Daemon()
    labels = {name: value for name, value in daemon.record.labels.items() if name != "longshore.dev/facts"}
    daemon.pieces[0] = replace(daemon.record, labels=labels | ({label: text} if label and text else {}))
    job = job_of(daemon.family(), [])

    assert (job.item, job.state, job.attempt) == ("a", State.FAILED, 0)
    assert job.reason.startswith("what is known of it can't be read (")
    assert next_step(daemon.family(), [], 2000.0, 10) == Rest()


def test_what_another_version_wrote_is_read_as_far_as_it_is_known() -> None:
    """A field more, or one less that has a default, is no damage."""
    found = Outcome.from_text('{"state": "failed", "at": 5, "failures": 2, "mood": "bad"}')

    assert found == Outcome("failed", 5, 2)


@pytest.mark.parametrize("labels", [{"longshore.dev/item": "b"}, {"longshore.dev/part": "something"}])
def test_a_strangers_container_with_our_labels_is_left_alone(labels: dict[str, str]) -> None:
    """It is neither a Job nor what a Job has left."""
    daemon = Daemon()
    stranger = replace(daemon.record, labels={**daemon.record.labels, **labels})
    stranger = replace(stranger, name=name_of(stranger.labels))

    assert families([stranger]) == ([], [])


def test_pieces_without_a_record_are_nobodys() -> None:
    """Somebody removed the record by hand."""
    daemon = Daemon()
    lonely = daemon.add_container(1, 0, "multi-worker", "running")

    assert families([lonely]) == ([], [lonely])


SHAPES = st.sampled_from(["created", "running", 0, 1, 65, 137])


@given(
    shapes=st.lists(SHAPES, max_size=3),
    failures=st.integers(0, 3),
    is_final=st.booleans(),
    now=st.floats(1000, 3000),
)
def test_every_job_that_has_not_ended_has_something_to_wait_for_or_to_do(
    shapes: list[str | int], failures: int, is_final: bool, now: float
) -> None:
    """However its containers look: nothing is stuck, nothing begins beside what runs, and the states agree."""
    daemon, rans = Daemon(), []
    if failures:
        daemon.add_outcome(1, again(failures=failures, state="failed" if is_final else "again"))
    names = ["multi-worker", "first", "last"]
    for index, shape in enumerate(shapes):
        is_running, code = shape == "running", shape if isinstance(shape, int) else None
        state = "running" if is_running else "exited" if code is not None else "created"
        daemon.add_container(2 if failures else 1, index, names[index], state)
        ended = None if is_running or code is None else 1001.0 + index
        rans.append(Ran(names[index], index, is_running, None if shape == "created" else 1000.0 + index, ended, code))
    family = daemon.family()
    step, job = next_step(family, rans, now, 10), job_of(family, rans)

    runs = any(one.is_running for one in rans)
    match step:
        case Begin(index=index):
            assert index == (rans[-1].index + 1 if rans and rans[-1].code == 0 else len(rans[:-1]))
            assert not rans or not rans[-1].is_running
        case Conclude():
            assert not rans[-1].is_running
        case Stop(pieces=pieces):
            assert runs
            assert [piece.index for piece in pieces] == [rans[-1].index]
        case Clear():
            assert family.is_final
        case Rest():
            assert rans[-1].is_running if rans else family.is_final or now < 1400
    assert (job.state in {State.DONE, State.FAILED}) is family.is_final
