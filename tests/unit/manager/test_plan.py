"""The plan: observed → actions. Invariants 1 to 6 of docs/design.md are named where they are kept."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longshore.plan import (
    FORGET_LISTINGS,
    FORGET_SECONDS,
    SHRUNK_SECONDS,
    Absence,
    Absences,
    Acknowledge,
    Acks,
    Create,
    Drop,
    Enter,
    Forget,
    Limits,
    Observed,
    Strike,
    count_absences,
    judge,
    plan,
)
from longshore.records import Digests, Key, Records
from longshore.scaling import Rule
from longshore.state import Job, Record, State
from longshore_kit.contract import ItemList
from support.queues import job_for, jobs_of, listing_of

LIMITS = Limits(rule=Rule("fixed", maximum=3), keep_finished=2, keep_failed=2)
GONE = Absence(since=0.0, listings=FORGET_LISTINGS)
STATES = st.sampled_from([State.STARTING, State.RUNNING, State.DONE, State.FAILED])


def observed_with(
    *jobs: Job,
    items: ItemList | None = None,
    records: Mapping[str, Record] | None = None,
    absent: Mapping[Key, Absence] | None = None,
    at: float = FORGET_SECONDS,
) -> Observed:
    """An observation with nothing in it but what is given."""
    return Observed(items, jobs_of(*jobs), Records(records or {}), Absences(absent or {}), at)


def done_record(item: str) -> Record:
    """A record of a done item."""
    return Record(item, State.DONE, 0.0)


def test_a_waiting_item_gets_its_job() -> None:
    """Listed and never started: start it."""
    assert plan(observed_with(items=listing_of("a")), LIMITS) == [Create("a")]


@pytest.mark.parametrize("state", [State.STARTING, State.RUNNING, State.DONE, State.FAILED])
def test_invariant_1_an_item_with_a_job_gets_no_other(state: State) -> None:
    """Whatever its Job's state, a listed item is not started again."""
    assert plan(observed_with(job_for("a", state), items=listing_of("a")), LIMITS) == []


def test_invariant_1_an_item_with_a_record_gets_no_job() -> None:
    """A Job that has moved to the ledger still counts."""
    assert plan(observed_with(items=listing_of("a"), records={"a": done_record("a")}), LIMITS) == []


def test_invariant_3_no_listing_creates_and_forgets_nothing() -> None:
    """Could not look is never "nothing there"."""
    observed = observed_with(job_for("a", State.DONE), absent={"a": GONE})

    assert plan(observed, LIMITS) == []


def test_invariant_4_a_failed_job_stays_when_its_item_has_left() -> None:
    """The dead letter waits for a person, not for the source."""
    observed = observed_with(job_for("a", State.FAILED), items=listing_of(), absent={"a": GONE})

    assert plan(observed, LIMITS) == []


@given(
    states=st.lists(STATES, max_size=12),
    waiting=st.integers(0, 30),
    limit=st.integers(1, 8),
)
def test_invariant_5_live_jobs_never_exceed_the_limit(states: list[State], waiting: int, limit: int) -> None:
    """Whatever lives already, what is created on top fits under the limit."""
    jobs = [job_for(f"j{index}", state) for index, state in enumerate(states)]
    items = listing_of(*(job.item for job in jobs), *(f"w{index}" for index in range(waiting)))
    live = sum(job.is_live for job in jobs)

    observed, limits = observed_with(*jobs, items=items), Limits(rule=Rule("fixed", maximum=limit))
    created = [action for action in plan(observed, limits) if isinstance(action, Create)]
    may_start = judge(observed, limits).breaker.may_start

    assert may_start is not None
    assert len(created) == max(0, min(limit - live, waiting, may_start))


def test_invariant_5_a_job_under_deletion_counts_as_live() -> None:
    """Its worker may still run: a place is free when it is gone."""
    jobs = [job_for(name, State.FAILED, deleting=True) for name in "abc"]

    assert plan(observed_with(*jobs, items=listing_of("x")), LIMITS) == []


@pytest.mark.parametrize("state", [State.DONE, State.FAILED])
def test_invariant_5_the_oldest_finished_jobs_beyond_the_limit_become_records(state: State) -> None:
    """`keep.finished` and `keep.failed` bound the Jobs; nothing is lost, since the ledger has them first."""
    times = {"new": 3.0, "old": 1.0, "mid": 2.0}
    jobs = [job_for(name, state, since=since, exit_code=65) for name, since in times.items()]

    assert plan(observed_with(*jobs), LIMITS) == [Enter((jobs[1],))]


def test_jobs_that_the_breaker_reads_are_kept() -> None:
    """However few a queue file would keep; those before the last success are no row any more."""
    jobs = [job_for(f"f{number}", State.FAILED, since=number + 1.0, attempt=1) for number in range(10)]
    good = job_for("good", State.DONE, since=2.5)

    assert plan(observed_with(*jobs), replace(LIMITS, keep_failed=0)) == []
    assert plan(observed_with(*jobs, good), replace(LIMITS, keep_failed=0)) == [Enter(tuple(jobs[:2]))]


def test_invariant_6_a_running_job_is_never_acted_on() -> None:
    """No item's leaving, and no change of the queue, touches what runs."""
    observed = observed_with(job_for("a", State.RUNNING), items=listing_of(), absent={"a": GONE})

    assert plan(observed, LIMITS) == []


def test_a_done_item_that_has_left_the_source_is_forgotten() -> None:
    """Absent from enough good listings, for long enough: its Job goes."""
    job = job_for("a", State.DONE)

    assert plan(observed_with(job, items=listing_of(), absent={"a": GONE}), LIMITS) == [Forget(job)]


def test_a_record_is_forgotten_by_the_same_rule() -> None:
    """The ledger is as long as the source, not as its history."""
    observed = observed_with(items=listing_of(), records={"a": done_record("a")}, absent={"a": GONE})

    assert plan(observed, LIMITS) == [Strike(("a",))]


@pytest.mark.parametrize(
    "absence",
    [Absence(since=0.0, listings=FORGET_LISTINGS - 1), Absence(since=1.0, listings=FORGET_LISTINGS)],
    ids=["too few listings", "too short a time"],
)
def test_an_item_is_not_forgotten_early(absence: Absence) -> None:
    """Three good listings and ten minutes, both."""
    observed = observed_with(job_for("a", State.DONE), items=listing_of(), absent={"a": absence})

    assert plan(observed, LIMITS) == []


def test_absences_are_counted_per_good_listing() -> None:
    """Each good listing without the item counts once; one with it starts the count anew."""
    jobs = [job_for("gone", State.DONE), job_for("back", State.DONE), job_for("runs", State.RUNNING)]
    before = Absences({"gone": Absence(1.0, 1), "back": Absence(1.0, 2)}, baseline=2)

    after = count_absences(before, observed_with(*jobs, items=listing_of("back", "x"), at=9.0))

    assert after == Absences({"gone": Absence(1.0, 2)}, baseline=2)


def test_a_list_that_shrank_by_half_at_once_counts_for_nothing() -> None:
    """A mount point without its mount looks like that; not even former absences are kept."""
    before = Absences({"a": Absence(1.0, 2)}, baseline=10)

    after = count_absences(before, observed_with(job_for("a", State.DONE), items=listing_of("x", "y", "z", "w")))

    assert after == Absences({}, baseline=10, shrunk_since=FORGET_SECONDS)


def test_a_list_that_stays_short_for_a_day_is_believed() -> None:
    """Somebody has cleaned up: from then on absences count again."""
    before = Absences({}, baseline=10, shrunk_since=1.0)

    after = count_absences(
        before, observed_with(job_for("a", State.DONE), items=listing_of("x"), at=SHRUNK_SECONDS + 1)
    )

    assert after == Absences({"a": Absence(SHRUNK_SECONDS + 1, 1)}, baseline=1)


def test_a_manager_that_begins_with_an_empty_list_forgets_nothing() -> None:
    """After a reboot the mount may be missing: what is finished stands for the list before."""
    jobs = [job_for(name, State.DONE) for name in "abc"]

    after = count_absences(Absences(), observed_with(*jobs, items=listing_of()))

    assert after == Absences({}, baseline=3, shrunk_since=FORGET_SECONDS)


def test_an_item_that_could_not_be_started_holds_up_no_other() -> None:
    """It is passed over until it is tried again."""
    observed = replace(observed_with(items=listing_of("bad", "a", "b", "c")), postponed=frozenset({"bad"}))

    assert plan(observed, LIMITS) == [Create("a"), Create("b"), Create("c")]


def test_where_there_is_no_room_nothing_is_started() -> None:
    """A quota that is reached is the queue's trouble: each of its items would be told the same."""
    assert plan(replace(observed_with(items=listing_of("a", "b")), is_full=True), LIMITS) == []


def test_invariant_5_starts_under_way_count_as_live() -> None:
    """A Job that is being made takes a place, and is not made again."""
    observed = replace(observed_with(items=listing_of("a", "b", "c", "d")), under_way=frozenset({"a", "b"}))

    assert plan(observed, LIMITS) == [Create("c")]


def test_room_is_made_before_anything_is_started() -> None:
    """What goes to the ledger, or is forgotten, does not wait behind starts that may take long."""
    jobs = [job_for(name, State.DONE, since=float(index)) for index, name in enumerate("abc")]
    observed = observed_with(*jobs, items=listing_of("a", "b", "x"), absent={"c": GONE})

    assert plan(observed, LIMITS) == [Forget(jobs[2]), Enter((jobs[0],)), Create("x")]


def test_a_failed_listing_leaves_absences_as_they_are() -> None:
    """No listing, no absence."""
    before = Absences({"a": Absence(1.0, 2)}, baseline=10)

    assert count_absences(before, observed_with()) is before


def test_items_are_started_in_the_sources_order() -> None:
    """The first in the list is the first to start; two managers that see one list agree on the next."""
    assert plan(observed_with(items=listing_of("b", "a", "d", "c")), LIMITS) == [Create("b"), Create("a"), Create("d")]


DONE = job_for("a", State.DONE)
FAILED = job_for("b", State.FAILED)


def acks_of(*told: str, returned: str = "", held: str = "") -> Acks:
    """What a source that acknowledges was told; each letter is an item."""
    return Acks(True, frozenset(told), frozenset(returned), frozenset(held))


def test_a_source_that_does_not_ask_for_it_is_told_nothing() -> None:
    """Without the capability nothing changes."""
    assert plan(observed_with(DONE, items=listing_of("a")), LIMITS) == []


def test_a_done_item_is_acknowledged_once() -> None:
    """Done and not told yet: tell; told, or being told: not again."""
    observed = observed_with(DONE, FAILED, job_for("c"), items=listing_of("a", "b", "c"))

    assert plan(replace(observed, acks=acks_of()), LIMITS) == [Acknowledge(("a",))]
    assert plan(replace(observed, acks=acks_of("a")), LIMITS) == []
    assert plan(replace(observed, acks=acks_of(held="a")), LIMITS) == []


def test_a_failed_item_is_acknowledged_where_the_queue_says_so() -> None:
    """`retry.ackFailed`: else it stays in its source, as it does in the queue."""
    observed = replace(observed_with(FAILED, items=listing_of("b")), acks=acks_of())

    assert plan(observed, replace(LIMITS, ack_failed=True)) == [Acknowledge(("b",))]


def test_what_is_listed_all_the_same_is_acknowledged_again() -> None:
    """The source may have lost it: a store that was restored, a group whose offsets were set back."""
    observed = replace(observed_with(DONE, items=listing_of("a")), acks=acks_of("a", returned="a"))

    assert plan(observed, LIMITS) == [Acknowledge(("a",))]


def test_a_listed_item_that_is_only_recorded_is_acknowledged() -> None:
    """Told by a manager before this one, and listed again."""
    observed = observed_with(items=listing_of("a", "b"), records={"a": done_record("a")})
    failed = replace(observed, records=Records({name: Record(name, State.FAILED, 0.0) for name in "ab"}))

    assert plan(replace(observed, acks=acks_of(), items=listing_of("a")), LIMITS) == [Acknowledge(("a",))]
    assert plan(replace(failed, acks=acks_of()), LIMITS) == []


@pytest.mark.parametrize("acks", [acks_of(), Acks(is_wanted=None)], ids=["not told yet", "not known whether to tell"])
def test_nothing_is_forgotten_or_entered_before_it_was_acknowledged(acks: Acks) -> None:
    """A Job is what the acknowledgement is repeated from."""
    jobs = [job_for(name, State.DONE) for name in "xyz"]
    observed = observed_with(*jobs, items=listing_of(), absent={"x": GONE})

    planned = plan(replace(observed, acks=acks), LIMITS)

    assert [action for action in planned if not isinstance(action, Acknowledge)] == []


def test_what_was_acknowledged_can_go() -> None:
    """And what was not, stays, however old."""
    jobs = [job_for(name, State.DONE, since=since) for since, name in enumerate("xyz")]
    observed = replace(observed_with(*jobs, items=listing_of()), acks=acks_of("y", held="xz"))

    assert plan(observed, LIMITS) == [Enter((jobs[1],))]


def test_failed_jobs_that_are_not_told_of_are_entered_all_the_same() -> None:
    """`keep.failed` bounds them, whatever the source."""
    jobs = [job_for(name, State.FAILED, exit_code=65) for name in "xyz"]

    assert plan(replace(observed_with(*jobs), acks=acks_of()), LIMITS) == [Enter((jobs[0],))]


def test_a_job_goes_when_its_record_has_settled() -> None:
    """The record stands for it; until then it counts as no Job that is kept beyond the limit."""
    jobs = [job_for(name, State.DONE) for name in "xyz"]
    observed = observed_with(*jobs, records={"x": done_record("x")})

    assert plan(observed, LIMITS) == []
    assert plan(replace(observed, settled=frozenset("x")), LIMITS) == [Drop(jobs[0])]


def test_some_are_entered_ahead_of_need() -> None:
    """One in twenty of those kept: an entry writes fifty as cheaply as one."""
    jobs = [job_for(f"{number:03}", State.DONE, since=float(number)) for number in range(101)]

    assert plan(observed_with(*jobs), Limits(keep_finished=100)) == [Enter(tuple(jobs[:6]))]


def test_records_without_a_name_are_struck_out_by_their_digest() -> None:
    """A ledger of hashes follows its source as one of names does."""
    digests = Digests("q")
    records = Records(hashed=frozenset({digests.of("a"), digests.of("b")}), digests=digests)
    observed = replace(observed_with(items=listing_of("b", "c")), records=records)
    absences = count_absences(Absences(baseline=2), observed)
    gone = replace(observed, absences=Absences(dict.fromkeys(absences.of, GONE)))

    assert list(absences.of) == [digests.of("a")]
    assert plan(gone, LIMITS) == [Strike((digests.of("a"),)), Create("c")]


@pytest.mark.parametrize(
    "jobs", [(), (job_for("a"),), (job_for("a", State.FAILED),)], ids=["none", "running", "failed"]
)
def test_what_runs_again_is_not_acknowledged_for_what_it_was(jobs: tuple[Job, ...]) -> None:
    """Told once, and taken up anew: its source must not lose it before it is done again."""
    observed = replace(observed_with(*jobs, items=listing_of("a")), acks=acks_of("a", returned="a"))

    assert [action for action in plan(observed, LIMITS) if isinstance(action, Acknowledge)] == []


def test_a_source_that_shrinks_as_it_is_told_is_believed() -> None:
    """Its items leave because they are done: no list of an emptied folder."""
    before = Absences({}, baseline=10)
    observed = replace(observed_with(job_for("a", State.DONE), items=listing_of("x")), acks=acks_of("a"))

    assert count_absences(before, observed) == Absences({"a": Absence(FORGET_SECONDS, 1)}, baseline=1)


def test_a_great_many_are_entered_bit_by_bit() -> None:
    """A tick must not take minutes."""
    jobs = [job_for(f"{number:04}", State.DONE, since=float(number)) for number in range(1000)]

    assert plan(observed_with(*jobs), Limits(keep_finished=100)) == [Enter(tuple(jobs[:200]))]


def test_the_last_success_is_told_the_ledger_before_its_job_goes() -> None:
    """Where others have failed, and only then: the breaker would take them for a row."""
    done = [job_for(f"d{number}", State.DONE, since=float(number)) for number in (1, 3, 2)]
    failed = job_for("f", State.FAILED, since=0.5)
    observed = observed_with(*done, failed, items=listing_of("f"))
    observed = replace(observed, absences=Absences(of=dict.fromkeys(("d1", "d2", "d3"), GONE)))
    told = replace(observed, records=Records(done_at=3.0))
    alone = replace(observed, jobs=jobs_of(*done))

    assert {
        action.job.item: action.is_last_done for action in plan(observed, LIMITS) if isinstance(action, Forget)
    } == {
        "d1": False,
        "d2": False,
        "d3": True,
    }
    assert [one.is_last_done for quiet in (told, alone) for one in plan(quiet, LIMITS) if isinstance(one, Forget)] == [
        False
    ] * 6


def test_the_ledger_is_told_once_and_nothing_that_can_not_be() -> None:
    """Of failures that are older than what it knows, nothing; and no time of a wrong clock."""
    old, new = job_for("old", State.FAILED, since=1.0, attempt=1), job_for("new", State.FAILED, since=6.0, attempt=1)
    stuck = job_for("stuck", State.STARTING, since=6.0, can_not_start=True)
    going = [job_for("good", State.DONE, since=9.0), job_for("ahead", State.DONE, since=FORGET_SECONDS + 1e6)]
    absent: dict[Key, Absence] = {"good": GONE, "ahead": GONE}

    def tellers(*others: Job, done_at: float) -> list[str]:
        observed = observed_with(*going, *others, items=listing_of(), absent=absent)
        planned = plan(replace(observed, records=Records(done_at=done_at)), LIMITS)
        return [one.job.item for one in planned if isinstance(one, Forget) and one.is_last_done]

    assert tellers(old, done_at=5.0) == []
    assert tellers(old, new, done_at=5.0) == tellers(stuck, done_at=5.0) == ["good"]


def test_those_that_the_breaker_reads_are_among_those_that_are_kept() -> None:
    """And not beside them: of a hundred and twenty failed ones a hundred stay."""
    jobs = [job_for(f"{n:03}", State.FAILED, since=n + 1.0, attempt=1) for n in range(120)]

    assert plan(observed_with(*jobs), Limits(keep_failed=100)) == [Enter(tuple(jobs[:25]))]


def test_what_was_held_back_took_no_place() -> None:
    """Who counted Kueue's line as work would ask for ever more places, and lengthen it."""
    held = [
        job_for(
            f"h{n}", State.DONE, created=10.0 * n, let_go=10.0 * n + 240, since=10.0 * n + 250, processing_seconds=10.0
        )
        for n in range(60)
    ]
    at_once = [replace(job, let_go=None, since=job.created + 10) for job in held]
    rule = Rule(minimum=0, maximum=100)
    seconds = [
        judge(observed_with(*jobs, items=listing_of(), at=at), Limits(rule)).decision.load.place_seconds
        for jobs, at in ((held, 850.0), (at_once, 610.0))
    ]

    assert seconds == [10.0, 10.0]


def test_what_was_given_up_for_want_of_room_freezes_nothing() -> None:
    """It is a dead letter: only who still waits for room says that there is none."""
    gone = job_for("gone", State.FAILED, is_out_of_room=True)
    waits = job_for("waits", State.STARTING, is_out_of_room=True)

    assert [judge(observed_with(*jobs), LIMITS).decision.is_frozen for jobs in ([gone], [gone, waits])] == [False, True]


def test_a_job_that_somebody_holds_back_counts_as_waiting() -> None:
    """It keeps its place, so that Kueue's line does not grow without end, and the law sees what waits."""
    held = [job_for(f"h{number}", State.STARTING, is_suspended=True, created=990.0) for number in range(2)]
    observed = observed_with(*held, items=listing_of("h0", "h1", "a", "b", "c"), at=1000.0)
    load = judge(observed, LIMITS).decision.load

    assert (load.waiting, load.live) == (5, 0)
    assert plan(observed, LIMITS) == [Create("a")]
