"""The hours before: counted from Jobs' own times, each item once."""

from dataclasses import replace
from typing import Any

import pytest

from longshore.manager import Survey
from longshore.state import Record, State
from longshore.web.history import MINUTES, History
from support.boards import NOW, job, survey


def noted(*surveys_seen: Survey) -> History:
    history = History()
    for one in surveys_seen:
        history.note(one)
    return history


def test_fresh_manager_goes_on_with_what_jobs_and_records_say() -> None:
    """A manager that has just started shows the hours before it."""
    seen = survey(
        job("a", since=NOW - 600), job("b", State.FAILED, since=NOW - 600), records=(Record("c", State.DONE, NOW - 60),)
    )

    series = noted(seen).series(NOW)

    assert (series.done[-11], series.failed[-11], series.done[-2]) == (1, 1, 1)
    assert (sum(series.done), sum(series.failed), len(series.done)) == (2, 1, MINUTES)


def test_item_that_finishes_is_counted_once() -> None:
    """What a Job says of itself after its end is no second end."""
    running = job("a", State.RUNNING)
    done = job("a", since=NOW)
    told = replace(done, reason="result", attempt=2)

    history = noted(survey(running), survey(done, changes=(done,)), survey(told, changes=(told,)))

    assert sum(history.series(NOW).done) == 1


def test_item_that_is_done_again_counts_again() -> None:
    """Another Job of the same item is another piece of work."""
    first = job("a", State.FAILED, since=NOW - 60)
    second = replace(job("a", since=NOW), uid="another")

    history = noted(survey(first), survey(second, changes=(second,)))

    assert (sum(history.series(NOW).failed), sum(history.series(NOW).done)) == (1, 1)


def test_record_beside_its_job_is_not_counted_twice() -> None:
    """An item on its way to the ledger has both for a while."""
    seen = survey(job("a"), records=(Record("a", State.DONE, NOW - 30),))

    assert sum(noted(seen).series(NOW).done) == 1


def test_what_is_older_than_shown_is_forgotten() -> None:
    """Memory is flat in time."""
    history = noted(survey(job("a", since=NOW - 60)), survey(at=NOW + MINUTES * 60 + 120))

    assert (sum(history.series(NOW).done), len(history._minutes)) == (0, 0)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"created": NOW - 90, "since": NOW - 30, "processing_seconds": 12.0}, 48.0),
        ({"created": NOW - 10, "since": NOW - 30, "processing_seconds": 0.0}, 0.0),
    ],
)
def test_wait_is_all_time_without_a_worker(changes: dict[str, Any], expected: float) -> None:
    """Work is no wait, and clocks that disagree make none of less than no time."""
    assert job("a", **changes).waited_seconds == expected
