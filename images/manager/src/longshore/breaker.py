"""Whether starting more makes sense: it does not while nothing that is started can run, or all that runs fails. Pure.

Read from Jobs, and from when an item was last done whose Job is gone. Open, one trial at a time goes on probing, ever
more seldom; the first that goes well closes it. And before it can know: no more may be starting at once than have been
seen to start, and a few.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise, takewhile
from typing import Final

from longshore.explain import reason_of
from longshore.state import Job, State
from longshore_kit.contract import NO_RETRY

UNSTARTED_MOST: Final = 5
"""So many distinct items in a row whose worker could not even run open it."""
STARTING_MOST: Final = 5
"""So many may be starting at once before one was seen to run; as many more as ran in the last minute."""
STARTED_SECONDS: Final = 60.0
PROBE_SECONDS: Final = 10.0
PROBE_SECONDS_MOST: Final = 300.0
SKEW_SECONDS: Final = 60.0
"""Clocks of machines differ by so much. What lies further ahead was written under a wrong one, and says nothing."""
_DOUBLINGS: Final = 10
_CAN_NOT_RUN: Final = frozenset({126, 127, 128})
"""What a shell, or a container runtime, says of a program that is not there or can't be run."""


@dataclass(frozen=True)
class Breaker:
    """Whether it is open, and what may be started."""

    is_open: bool = False
    reason: str = ""
    """Why it is open: what the last one failed with."""
    failures: int = 0
    """Distinct items in a row that failed, or can't start, up to now."""
    since: float | None = None
    """When the first of them did."""
    may_start: int | None = None
    """How many more Jobs may be made now; None: it limits nothing."""
    row: frozenset[str] = frozenset()
    """Items that it counts, as many as it needs: without their Jobs it would know less."""
    next_probe: float | None = None
    """While it is open: when the next trial may begin, in seconds since the epoch."""

    def sentence(self) -> str:
        """What it says, for people."""
        if not self.is_open:
            return "closed"
        return f"open: {self.failures} items in a row failed, the last with: {self.reason}"


def breaker_of(jobs: Iterable[Job], now: float, most_failures: int, done_at: float | None = None) -> Breaker:
    """
    What Jobs say.

    `most_failures`: distinct items in a row that fail at all, before it opens; 0: never for that. `done_at`: when an
    item was last done whose Job is gone by now.
    """
    bad: list[Job] = []
    live: list[Job] = []
    starting, ran = 0, 0
    last_done = done_at if done_at is not None and is_believable(done_at, now) else 0.0
    for job in jobs:
        if job.deleting:
            continue
        if job.state is State.DONE and is_believable(job.since, now):
            last_done = max(last_done, job.since)
            ran += now - job.since <= STARTED_SECONDS
        elif counts_against(job):
            bad.append(job)
        elif job.is_live:
            live.append(job)
            ran += job.state is State.RUNNING and now - job.since <= STARTED_SECONDS
            starting += job.state is State.STARTING and not job.is_suspended
    in_a_row = sorted(
        (job for job in bad if job.since > last_done and is_believable(job.since, now)),
        key=lambda job: (job.since, job.name),
    )
    unstarted = _last_that(in_a_row)
    row = frozenset(job.item for job in in_a_row[-max(most_failures, UNSTARTED_MOST) :])
    if 0 < most_failures <= len(in_a_row):
        counted, enough = in_a_row, most_failures
    elif len(unstarted) >= UNSTARTED_MOST:
        counted, enough = unstarted, UNSTARTED_MOST
    else:
        return Breaker(failures=len(in_a_row), may_start=max(0, STARTING_MOST + ran - starting), row=row)
    opened_by = counted[enough - 1]
    pause = min(PROBE_SECONDS_MOST, PROBE_SECONDS * 2.0 ** min(_DOUBLINGS, _trials(counted[enough - 1 :])))
    # By when Jobs were made alone, which is one clock: whatever those of the nodes say, trials keep their distance.
    made = (job.created for job in (*counted, *live) if is_believable(job.created, now))
    next_probe = max(made, default=now) + pause
    # What was started before it opened is no trial, however long it runs; a trial that others hold back is one.
    has_trial = any(job.created >= int(opened_by.since) for job in live)
    return Breaker(
        is_open=True,
        reason=reason_of(counted[-1]),
        failures=len(counted),
        since=counted[0].since,
        may_start=int(not has_trial and now >= next_probe),
        row=row,
        next_probe=next_probe,
    )


def is_believable(at: float, now: float) -> bool:
    """Whether a time was written under a clock that is about right."""
    return at <= now + SKEW_SECONDS


def counts_against(job: Job) -> bool:
    """Whether a Job is one of those that open it, if there are enough in a row."""
    return could_not_run(job) or (job.state is State.FAILED and not _says_nothing(job))


def could_not_run(job: Job) -> bool:
    """Whether an item's worker never ran: an image, a Secret or a program that is not there."""
    if job.state is State.STARTING:
        return not job.is_suspended and (job.can_not_start or job.exit_code in _CAN_NOT_RUN)
    return job.state is State.FAILED and not _says_nothing(job) and (job.attempt == 0 or job.exit_code in _CAN_NOT_RUN)


def _says_nothing(job: Job) -> bool:
    """Whether one that failed says nothing of the others: its item is refused, or there was no room for it."""
    return job.is_item_refused or job.is_out_of_room or job.exit_code in NO_RETRY


def _last_that(jobs: Sequence[Job]) -> list[Job]:
    """The last ones in a row whose worker could not run."""
    return list(takewhile(could_not_run, reversed(jobs)))[::-1]


def _trials(counted: Sequence[Job]) -> int:
    """How many of the last ones were trials: made so long after the one before, and not with it."""
    made = sorted(job.created for job in counted)
    gaps = [later - earlier for earlier, later in pairwise(made)]
    return sum(1 for _ in takewhile(lambda gap: gap >= PROBE_SECONDS, reversed(gaps)))
