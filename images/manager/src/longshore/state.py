"""What is known of an item, read back from its Job: one small value per Job, whatever engine holds it.

Pure. Owns the five states and the sentence that explains one; knows nothing of how an engine stores a Job.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias


class State(enum.StrEnum):
    """Where an item is. Every listed item is in exactly one."""

    WAITING = "waiting"
    """Listed, without a Job."""
    STARTING = "starting"
    """Its Job is there, and no worker runs: before the first attempt, or between two."""
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    """For good: its Job stays as the dead letter until somebody retries it."""


@dataclass(frozen=True, slots=True)
class Job:
    """One Job, as its engine last saw it. Times are seconds since the epoch."""

    name: str
    item: str
    uid: str
    state: State
    created: float
    since: float
    """When it came into its state."""
    attempt: int = 0
    """The attempt that runs, ran last, or comes next; 0 before the first."""
    attempts: int = 1
    """How many it may have."""
    reason: str = ""
    """Why it is where it is: of a failed or retried one its reason, of a done one its result."""
    exit_code: int | None = None
    """The last attempt's exit code, if one ended by itself."""
    processing_seconds: float = 0.0
    """What its workers took so far, all attempts, queueing excluded."""
    stage: str = ""
    """Of a chain of containers: the stage that runs, or with which the last attempt ended; else empty."""
    stage_seconds: tuple[tuple[str, float], ...] = ()
    """What each stage of the last attempt took, by its name, in their order; of those that have ended."""
    deleting: bool = False
    """It is being deleted; its name is taken until its worker is gone."""
    first_seen: float | None = None
    """When its item was first seen in the list; None: it was there before anybody looked, or nobody has said."""
    is_out_of_room: bool = False
    """Its worker waits for room on the machines, or did until it was given up: nothing is wrong with it."""
    is_suspended: bool = False
    """It is held back by somebody else, such as Kueue, who lets it go when it is its turn: it waits, with a Job."""
    can_not_start: bool = False
    """Its worker is kept from starting by what waiting does not mend: an image, a Secret that is not there."""
    is_item_refused: bool = False
    """What its item says of itself can't be made a worker of: that says nothing of the others."""
    let_go: float | None = None
    """When its engine began to start it, later than it was made where somebody had held it back; None: at once."""

    @property
    def counted(self) -> State:
        """As what it is counted: what is held back by somebody else waits, though it has a Job."""
        return State.WAITING if self.is_suspended else self.state

    @property
    def told_reason(self) -> str:
        """Its reason, with the stage that gave it, and that one's exit code."""
        return f"{self.at_stage}{self.reason}"

    @property
    def at_stage(self) -> str:
        """What comes before a reason: `stage blur, exit code 3: `; nothing where there is no chain, or no trouble."""
        if not self.stage or not self.reason or not self.is_trouble:
            return ""
        is_told = self.exit_code is None or self.reason.startswith(f"exit code {self.exit_code},")
        return f"stage {self.stage}{'' if is_told else f', exit code {self.exit_code}'}: "

    @property
    def waited_seconds(self) -> float:
        """What a finished one's item waited: since it was listed, or else since its Job was made; work excluded."""
        # A Job says when its item was first listed, unless it was there before anybody looked.
        began = self.created if self.first_seen is None else min(self.first_seen, self.created)
        # An engine's clock may differ from the worker's.
        return max(0.0, self.since - began - self.processing_seconds)

    @property
    def retries(self) -> int:
        """Attempts that ended and that another one follows, or has followed."""
        return self.attempt if self.state is State.STARTING else max(0, self.attempt - 1)

    @property
    def is_trouble(self) -> bool:
        """Whether its reason is one for having failed, or for having to start again."""
        return self.state in {State.STARTING, State.FAILED}

    @property
    def is_live(self) -> bool:
        """Whether it counts against the limit: its worker runs, or may any moment."""
        return self.deleting or self.state in _LIVE

    @property
    def is_finished(self) -> bool:
        """Whether nothing will run for it any more."""
        return not self.is_live


_LIVE = frozenset({State.STARTING, State.RUNNING})

Jobs: TypeAlias = Mapping[str, Job]
"""Every Job of a queue, by the item's name."""


@dataclass(frozen=True, slots=True)
class Record:
    """What is kept of an item whose Job is gone: the ledger's entry."""

    item: str
    state: State
    """DONE or FAILED."""
    at: float | None = None
    """When it finished, in seconds since the epoch; None where only that it did is kept."""
    reason: str = ""


def record_of(job: Job) -> Record:
    """The entry that outlives a finished Job; of a result nothing is kept, of a failure its reason."""
    return Record(
        item=job.item, state=job.state, at=job.since, reason=job.told_reason if job.state is State.FAILED else ""
    )


def changes(before: Jobs, after: Jobs) -> list[Job]:
    """Jobs that are new or in another state, or another attempt, than before; in no promised order."""
    return [
        job
        for item, job in after.items()
        # Engines hand out the same object while nothing changed: that is the whole cost for 100,000 finished Jobs.
        if (known := before.get(item)) is not job
        and (known is None or (known.state, known.attempt, known.uid) != (job.state, job.attempt, job.uid))
    ]
