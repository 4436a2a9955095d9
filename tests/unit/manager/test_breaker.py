"""Whether starting more makes sense."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longshore.breaker import Breaker, breaker_of, could_not_run
from longshore.state import Job, State
from support.queues import job_for

NOW = 1000.0


def failed(number: int, **fields: Any) -> Job:
    """A Job that failed, a second after the one before."""
    values = {"since": 900.0 + number, "created": 880.0 + number, "reason": "disk full", "attempt": 3, "exit_code": 1}
    return job_for(f"f{number}", State.FAILED, **(values | fields))


def stuck(number: int, **fields: Any) -> Job:
    """A Job whose worker can't start."""
    values = {
        "since": 900.0 + number,
        "created": 900.0 + number,
        "reason": "ErrImagePull: no such image",
        "can_not_start": True,
    }
    return job_for(f"s{number}", State.STARTING, **(values | fields))


def done(number: int, since: float = 950.0) -> Job:
    """A Job that went well."""
    return job_for(f"d{number}", State.DONE, since=since)


def breaker(*jobs: Job, most: int = 20, **keywords: Any) -> Breaker:
    """What these say now."""
    return breaker_of(jobs, NOW, most, **keywords)


@pytest.mark.parametrize(
    ("jobs", "is_open", "failures"),
    [
        ([], False, 0),
        ([stuck(number) for number in range(4)], False, 4),
        ([stuck(number) for number in range(5)], True, 5),
        # Given up before its first attempt; no such program; a shell that can't run it.
        ([failed(number, attempt=0, exit_code=None) for number in range(5)], True, 5),
        ([failed(number, exit_code=127) for number in range(5)], True, 5),
        ([failed(number, exit_code=126) for number in range(5)], True, 5),
        # Those that ran are counted by the queue's own number.
        ([failed(number) for number in range(19)], False, 19),
        ([failed(number) for number in range(20)], True, 20),
        # One that went well in between ends the row.
        ([*(failed(number) for number in range(20)), done(0, since=919.5)], False, 0),
        ([*(stuck(number) for number in range(5)), done(0, since=901.5)], False, 3),
        # Who refuses the item says nothing of the others, and neither does want of room.
        ([failed(number, exit_code=65) for number in range(50)], False, 0),
        (
            [
                stuck(number, reason="Unschedulable: no room", is_out_of_room=True, can_not_start=False)
                for number in range(9)
            ],
            False,
            0,
        ),
        # One that failed and is tried again has run.
        ([stuck(number, attempt=1, reason="disk full", can_not_start=False) for number in range(9)], False, 0),
        # Not so where its program is not there: that is seen before its last attempt.
        ([stuck(number, attempt=1, exit_code=127, can_not_start=False) for number in range(5)], True, 5),
        # Given up for want of room; its own data can't be made a worker of.
        ([failed(number, attempt=0, exit_code=None, is_out_of_room=True) for number in range(50)], False, 0),
        ([failed(number, attempt=0, exit_code=None, is_item_refused=True) for number in range(50)], False, 0),
        ([stuck(number, deleting=True) for number in range(9)], False, 0),
        ([stuck(number, is_suspended=True) for number in range(9)], False, 0),
    ],
)
def test_it_opens_when_nothing_goes_well_any_more(jobs: list[Job], is_open: bool, failures: int) -> None:
    """Distinct items in a row, up to now."""
    found = breaker(*jobs)

    assert (found.is_open, found.failures) == (is_open, failures)


def test_it_says_why_and_since_when() -> None:
    """In the words of the last one."""
    found = breaker(*(stuck(number) for number in range(5)), stuck(5, reason="ErrImagePull: denied"))

    assert found.sentence() == "open: 6 items in a row failed, the last with: ErrImagePull: denied"
    assert (found.since, breaker().sentence()) == (900.0, "closed")


def test_a_queue_may_do_without() -> None:
    """Zero: it opens for workers that can't run alone."""
    jobs = [failed(number, since=900 + number / 10) for number in range(500)]

    assert (breaker(*jobs, most=0).is_open, breaker(*jobs, most=500).is_open) == (False, True)


def test_what_was_done_and_is_gone_counts_too() -> None:
    """Its Job may have become a record: what failed before is no row any more."""
    jobs = [failed(number) for number in range(20)]

    assert (breaker(*jobs).is_open, breaker(*jobs, done_at=919.5).is_open) == (True, False)


def test_open_one_trial_at_a_time_goes_on_ever_more_seldom() -> None:
    """The first after ten seconds, then twice as long each time; none while one is under way."""
    # However many were started at once before it opened.
    jobs = [stuck(number, created=900.0) for number in range(13)]
    times: list[float] = []
    for _ in range(7):
        times.append(breaker_of(jobs, times[-1] if times else NOW, 20).next_probe or 0.0)
        jobs.append(stuck(len(jobs), created=times[-1], since=times[-1]))
    under_way = job_for("trial", State.STARTING, since=909.0, created=909.0)
    held = job_for("trial", State.STARTING, since=909.0, created=909.0, is_suspended=True)

    assert times == [910, 930, 970, 1050, 1210, 1510, 1810]
    assert breaker_of(jobs[:13], 909.0, 20).may_start == 0
    assert breaker_of(jobs[:13], 910.0, 20).may_start == 1
    assert breaker_of([*jobs[:13], under_way], 910.0, 20).may_start == 0
    assert breaker_of([*jobs[:13], held], 910.0, 20).may_start == 0


def test_it_says_which_jobs_it_reads() -> None:
    """As many of the last ones as open it; what says nothing is none of them."""
    jobs = [*(failed(number) for number in range(30)), failed(40, exit_code=65), done(0, since=905.0)]

    assert [breaker(*jobs, most=most).row for most in (0, 7, 99)] == [
        frozenset(f"f{number}" for number in range(first, 30)) for first in (25, 23, 6)
    ]


def test_what_was_started_before_it_opened_is_no_trial() -> None:
    """A worker that runs for hours does not keep the others from being tried."""
    jobs = [stuck(number) for number in range(5)]
    long = job_for("long", State.RUNNING, created=100.0, since=101.0)
    trial = job_for("trial", State.RUNNING, created=920.0, since=921.0)

    assert [breaker(*jobs, *live).may_start for live in ([long], [long, trial])] == [1, 0]


def test_trials_keep_their_distance_whatever_a_nodes_clock_says() -> None:
    """When a Job was made is the API server's word; since when it runs is its node's, here two minutes ahead."""
    broken = [stuck(number) for number in range(5)]
    trials = [job_for(f"t{n}", State.RUNNING, created=920.0 + n, since=1120.0) for n in range(2)]
    ahead = [stuck(number, since=960.0 + number, created=930.0) for number in range(5)]
    unseen = job_for("t", State.RUNNING, created=940.0, since=941.0)

    assert breaker(*broken, *trials).may_start == 0
    # Not known for a trial, since it was made before what a wrong clock calls the opening; and it counts all the same.
    assert [breaker_of([*ahead, unseen], at, 20).may_start for at in (949.0, 950.0)] == [0, 1]


def test_the_pauses_between_trials_begin_when_it_opens() -> None:
    """Twenty that failed a minute apart were no trials."""
    slow = [failed(n, created=60.0 * n, since=60.0 * n + 1) for n in range(20)]
    trial = failed(20, created=1160.0, since=1161.0)

    assert [breaker_of(jobs, 1200.0, 20).next_probe for jobs in (slow, [*slow, trial])] == [1150.0, 1180.0]


def test_what_was_written_under_a_wrong_clock_says_nothing() -> None:
    """A day that never came neither keeps it open nor keeps it from opening."""
    ahead = {"since": NOW + 1e6, "created": NOW + 1e6}
    broken = [stuck(number) for number in range(5)]

    assert breaker(*(stuck(number, **ahead) for number in range(9))).is_open is False
    assert breaker(*broken, done(0, since=NOW + 1e6)).is_open is True
    assert breaker(*broken, done_at=NOW + 1e6).is_open is True
    # Machines may differ a little.
    assert breaker(*(stuck(number, since=NOW + 5, created=NOW + 5) for number in range(5))).next_probe == NOW + 15


def test_a_trial_that_goes_well_closes_it() -> None:
    """By itself."""
    assert breaker(*(stuck(number) for number in range(5)), done(0)).is_open is False


@pytest.mark.parametrize(
    ("jobs", "may_start"),
    [
        ([], 5),
        ([job_for(str(number), State.STARTING) for number in range(3)], 2),
        ([job_for(str(number), State.STARTING) for number in range(9)], 0),
        ([job_for("a", State.RUNNING, since=990.0), done(0, since=999.0), done(1, since=100.0)], 7),
    ],
)
def test_no_more_are_starting_than_were_seen_to_start(jobs: list[Job], may_start: int) -> None:
    """And five: a broken image costs a handful of Jobs, a good one doubles them every few seconds."""
    assert breaker(*jobs).may_start == may_start


JOBS = st.builds(
    job_for,
    st.text("abc", min_size=1, max_size=5),
    st.sampled_from([State.STARTING, State.RUNNING, State.DONE, State.FAILED]),
    since=st.floats(0, 2000),
    created=st.floats(0, 2000),
    can_not_start=st.booleans(),
    attempt=st.integers(0, 3),
    exit_code=st.sampled_from([None, 0, 1, 65, 127]),
)


@given(jobs=st.lists(JOBS, max_size=40), most=st.integers(0, 30))
def test_it_is_never_stuck_open(jobs: list[Job], most: int) -> None:
    """Whatever the Jobs look like: it is closed, or a trial runs, or one is allowed in the end."""
    found = breaker_of(jobs, NOW, most)
    later = breaker_of(jobs, NOW + 10_000, most)
    on_the_way = [job for job in jobs if job.is_live and not could_not_run(job)]

    assert found.may_start is not None
    assert found.may_start >= 0
    assert not later.is_open or later.may_start == 1 or on_the_way
