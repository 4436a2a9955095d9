"""What is to be done next for a Job, and how a run that has ended counts. Pure.

Owns the rules that a Job controller and a kubelet have in a cluster: order, deadline, attempts and the pauses between
them. Everything is read from the Job's pieces, so a manager with empty memory goes on where the last one was.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from longshore.engines.docker.objects import Family, Outcome, Piece, Ran
from longshore_kit.contract import NO_RETRY

_BACKOFF_MAX: Final = 360.0
LOST: Final = "the Docker daemon was restarted; it will be started again"
STOPPED: Final = "stopped; it will be started again"


@dataclass(frozen=True)
class Rest:
    """Nothing, until something changes or time has passed."""


@dataclass(frozen=True)
class Begin:
    """Start a container of a run: the next, or one that was made and never started."""

    run: int
    index: int


@dataclass(frozen=True)
class Stop:
    """Ask containers to end: their run is over its deadline."""

    pieces: tuple[Piece, ...]


@dataclass(frozen=True)
class Conclude:
    """Write down how a run has ended."""

    is_late: bool


@dataclass(frozen=True)
class Clear:
    """Remove what is of no more use; what runs is stopped first. With the Job itself, once that is gone."""

    pieces: tuple[Piece, ...]
    with_job: bool = False


Step: TypeAlias = Rest | Begin | Stop | Conclude | Clear


def next_step(family: Family, rans: Sequence[Ran], now: float, backoff_seconds: float) -> Step:
    """What is to be done for a Job now; `rans`: of its containers, in order. Times are seconds since the epoch."""
    if family.is_deleting:
        return Clear((*family.containers, *family.leftovers), with_job=True)
    if family.leftovers:
        # Also before a next run: two of one item never overlap.
        return Clear(family.leftovers)
    if family.is_final:
        return Clear(family.containers) if family.containers else Rest()
    if not rans:
        return Begin(family.run, 0) if _may_start(family, now, backoff_seconds) else Rest()
    last, deadline = rans[-1], family.facts.deadline_seconds
    # What containers took, without the time between two: a manager that is away ends nothing.
    took = sum(one.seconds for one in rans)
    if last.is_running:
        is_late = last.started is not None and took + now - last.started >= deadline
        return Stop(family.containers[-1:]) if is_late else Rest()
    if last.code is None:
        return Begin(family.run, last.index)
    if took >= deadline:
        return Conclude(is_late=True)
    if last.code or last.index + 1 >= len(family.facts.containers):
        return Conclude(is_late=False)
    return Begin(family.run, last.index + 1)


def outcome_of(
    family: Family, rans: Sequence[Ran], words: str, now: float, *, is_late: bool, daemon_since: float | None
) -> Outcome:
    """
    How a run counts that has ended.

    `words`: what the worker left as its result or, where it failed, as its last lines. `daemon_since`: when the daemon
    started, as far as known.
    """
    before, last = family.outcome, rans[-1]
    failures = before.failures if before else 0
    code = last.code
    told = Outcome(
        state="again",
        at=max((one.finished for one in rans if one.finished), default=now),
        failures=failures,
        exit_code=code,
        stage=last.name if last.name in family.stages else "",
        stage_seconds={one.name: round(one.seconds, 3) for one in rans if one.name in family.stages},
        seconds=round((before.seconds if before else 0.0) + sum(one.seconds for one in rans), 3),
    )
    if code == 0 and not is_late:
        return replace(told, state="done", reason=words)
    if not is_late and _is_lost(last, daemon_since):
        return replace(told, reason=LOST, exit_code=None)
    is_refused = code in NO_RETRY and not is_late
    is_last = is_refused or failures + 1 >= family.facts.attempts
    reason = _late_words(family) if is_late else _words(last, words)
    return replace(told, state="failed" if is_last else "again", failures=failures + 1, reason=reason)


def stopped(family: Family, rans: Sequence[Ran], now: float) -> Outcome:
    """Of a run that a person stopped: it costs no attempt."""
    before = family.outcome
    return Outcome(
        state="again",
        at=now,
        failures=before.failures if before else 0,
        reason=STOPPED,
        seconds=round((before.seconds if before else 0.0) + sum(one.seconds for one in rans), 3),
    )


def never_started(family: Family, why: str, now: float) -> Outcome:
    """Of a Job whose containers could not be started for too long: it has failed, and is a dead letter."""
    before = family.outcome
    waited = f"its worker did not start within {family.facts.pending_seconds:.0f} s (retry.pendingSeconds)"
    return Outcome(
        state="failed",
        at=now,
        failures=before.failures if before else 0,
        reason=f"{waited}: {why}",
        exit_code=before.exit_code if before else None,
        seconds=before.seconds if before else 0.0,
    )


def _may_start(family: Family, now: float, backoff_seconds: float) -> bool:
    """Whether the pause after the last run is over; of one that ended in the future, a clock was wrong."""
    outcome = family.outcome
    if outcome is None or outcome.reason in {LOST, STOPPED} or outcome.at > now:
        return True
    return now >= outcome.at + min(_BACKOFF_MAX, backoff_seconds * 2.0 ** (outcome.failures - 1))


def _is_lost(last: Ran, daemon_since: float | None) -> bool:
    """Whether the daemon went away under it. What refused its item, or had too little memory, did so by itself."""
    if last.started is None or daemon_since is None or last.was_out_of_memory or last.code in NO_RETRY:
        return False
    return last.started < daemon_since


def _late_words(family: Family) -> str:
    return f"stopped after {family.facts.deadline_seconds:g} s, the deadline of an attempt (retry.deadlineSeconds)"


def _words(last: Ran, words: str) -> str:
    if last.error:
        return f"it can't be started: {last.error}"
    if last.was_out_of_memory:
        told = "OOMKilled: it wanted more memory than resources.limits.memory"
        return f"{told}: {words}" if words else told
    return words or f"exit code {last.code}, without a word"
