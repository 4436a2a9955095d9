"""How a Job lies on a Docker daemon, in names and labels, and what that says about an item. Pure.

    <job>                             the record: the manifest and the item's file; never started
    <job>.<run>.<n>-<container>       one container of a run, in order: made when the one before has ended with 0
    <job>.<run>.files                 never started: through it files come into a run's volumes, and results out
    <job>.<run>.outcome               how the run ended, with its logs where it failed; never started
    <job>.deleting.<uid>              the Job is to go; never started

What is never started is made under another name, given its files, then renamed: it is there as a whole or not at all,
and whoever comes second is told so. A run is an attempt, or one that cost none since the daemon was restarted.
"""

import enum
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from itertools import groupby
from typing import Any, Final, Literal, Self

from longshore.manifests import (
    ITEM_ANNOTATION,
    PENDING_ANNOTATION,
    QUEUE_LABEL,
    REFUSED_ANNOTATION,
    STAGES_ANNOTATION,
    Manifest,
    first_seen_of,
    is_item_refused,
)
from longshore.names import job_name
from longshore.state import Job, State

STATE_LABEL: Final = "longshore.dev/state"
FOLDER_LABEL: Final = "longshore.dev/state-folder"
GRACE_LABEL: Final = "longshore.dev/grace-seconds"
JOB_LABEL: Final = "longshore.dev/job"
UID_LABEL: Final = "longshore.dev/uid"
PART_LABEL: Final = "longshore.dev/part"
RUN_LABEL: Final = "longshore.dev/run"
INDEX_LABEL: Final = "longshore.dev/index"
CONTAINER_LABEL: Final = "longshore.dev/container"
OUTCOME_LABEL: Final = "longshore.dev/outcome"
FACTS_LABEL: Final = "longshore.dev/facts"
MANIFEST_FILE: Final = "manifest.json"
LOGS: Final = "logs"
PULLING: Final = " is being pulled"
"""How it is told that nothing is wrong, and takes a while."""
HALF_MADE: Final = ".new-"
"""In the name of what is not whole yet."""
_LONG_AGO: Final = "0001-01-01"
_DEFAULT_GRACE: Final = 30
"""https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-termination"""


class Part(enum.StrEnum):
    """What a container is of a Job."""

    RECORD = "record"
    CONTAINER = "container"
    FILES = "files"
    OUTCOME = "outcome"
    DELETING = "deleting"


@dataclass(frozen=True)
class Facts:
    """What a look needs to know of a Job, without its manifest. Times are seconds since the epoch."""

    created: float
    attempts: int
    deadline_seconds: float
    grace_seconds: int
    pending_seconds: float
    containers: tuple[str, ...]
    """In their order; the last one is the pod's container."""

    @classmethod
    def of(cls, job: Manifest, created: float) -> Self:
        """What a manifest says."""
        pod = job["spec"]["template"]["spec"]
        return cls(
            created=created,
            attempts=job["spec"].get("backoffLimit", 0) + 1,
            deadline_seconds=pod.get("activeDeadlineSeconds", float("inf")),
            grace_seconds=pod.get("terminationGracePeriodSeconds", _DEFAULT_GRACE),
            pending_seconds=float(job["metadata"]["annotations"].get(PENDING_ANNOTATION, "inf")),
            containers=tuple(one["name"] for one in containers_of(job)),
        )

    @classmethod
    def from_text(cls, text: str) -> Self:
        """What `as_text` wrote, of this version or another."""
        told = _known(cls, text)
        return cls(**{**told, "containers": tuple(told["containers"])})

    def as_text(self) -> str:
        """For a label."""
        return json.dumps(asdict(self))


_PARTS: Final = frozenset(Part)
_NO_FACTS: Final = Facts(0.0, 1, float("inf"), _DEFAULT_GRACE, float("inf"), ())
"""Of a record that can't be read."""


@dataclass(frozen=True)
class Outcome:
    """How a run ended. Times are seconds since the epoch."""

    state: Literal["done", "failed", "again"]
    at: float
    failures: int
    """Runs of the Job that have failed, up to this one: what a daemon's restart has ended is none."""
    reason: str = ""
    exit_code: int | None = None
    stage: str = ""
    stage_seconds: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    """What workers took, in all runs up to this one."""

    @property
    def is_final(self) -> bool:
        """Whether nothing runs after it."""
        return self.state != "again"

    @classmethod
    def from_text(cls, text: str) -> Self:
        """What `as_text` wrote, of this version or another."""
        return cls(**_known(cls, text))

    def as_text(self) -> str:
        """For a label."""
        return json.dumps(asdict(self), ensure_ascii=False)


@dataclass(frozen=True)
class Piece:
    """One container, as a listing shows it."""

    id: str
    name: str
    state: str
    """Docker's own: created, running, paused, restarting, removing, exited, dead."""
    labels: Mapping[str, str]

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> Self:
        """An entry of a listing."""
        # A container has more names where older ones link to it; those have a second slash.
        names = [name[1:] for name in found.get("Names") or () if name.count("/") == 1]
        return cls(found["Id"], names[0] if names else "", found["State"], found.get("Labels") or {})

    @property
    def part(self) -> str:
        """What it is: a `Part`; of a stranger's anything."""
        return self.labels.get(PART_LABEL, "")

    @property
    def job(self) -> str:
        """The Job's name."""
        return self.labels.get(JOB_LABEL, "")

    @property
    def uid(self) -> str:
        """The Job's uid."""
        return self.labels.get(UID_LABEL, "")

    @property
    def run(self) -> int:
        """Which run of the Job it belongs to."""
        return _number(self.labels.get(RUN_LABEL, ""))

    @property
    def index(self) -> int:
        """Which of its run's containers it is."""
        return _number(self.labels.get(INDEX_LABEL, ""))

    @property
    def container(self) -> str:
        """What the manifest calls it."""
        return self.labels.get(CONTAINER_LABEL, "")

    @property
    def grace_seconds(self) -> int:
        """What a process of it gets to end in."""
        return _number(self.labels.get(GRACE_LABEL, ""))

    @property
    def is_whole(self) -> bool:
        """Whether it has the name that it was made for: one without is still being made, or was given up."""
        return self.name == name_of(self.labels)

    @property
    def is_half_made(self) -> bool:
        """Whether it is one that was never given its name."""
        return not self.is_whole and self.state == "created" and HALF_MADE in self.name

    @property
    def may_run(self) -> bool:
        """Whether a process of it may be there."""
        return self.state not in {"created", "exited", "dead"}


@dataclass(frozen=True)
class Ran:
    """How far a container came. Times are seconds since the epoch."""

    name: str
    index: int
    """Which of its run's containers it is."""
    is_running: bool = False
    started: float | None = None
    finished: float | None = None
    code: int | None = None
    """None: it runs, or was never started."""
    error: str = ""
    """Why it could not be started, in the daemon's words."""
    was_out_of_memory: bool = False

    @classmethod
    def of(cls, piece: Piece, inspected: Mapping[str, Any]) -> Self:
        """What the daemon says of a container."""
        state = inspected["State"]
        running = state["Status"] not in {"created", "exited", "dead"}
        # What can't be started stays as created, with the code that a shell would have given: 126, 127, 128.
        has_ended = not running and (state["Status"] != "created" or bool(state["ExitCode"]))
        return cls(
            name=piece.container,
            index=piece.index,
            is_running=running,
            started=seconds_of(state["StartedAt"]),
            finished=seconds_of(state["FinishedAt"]),
            code=state["ExitCode"] if has_ended else None,
            error=state.get("Error", ""),
            was_out_of_memory=bool(state.get("OOMKilled")),
        )

    @property
    def seconds(self) -> float:
        """What it took; 0 while it runs."""
        return max(0.0, self.finished - self.started) if self.finished and self.started and not self.is_running else 0.0


@dataclass(frozen=True)
class Family:
    """All that is there of one Job."""

    record: Piece
    facts: Facts
    outcome: Outcome | None
    """Of the last run that has ended."""
    outcomes: tuple[Piece, ...]
    """By their runs."""
    containers: tuple[Piece, ...]
    """Of the run that is going on, in order."""
    leftovers: tuple[Piece, ...]
    """Of runs that have ended, or of an earlier Job of this name."""
    marks: tuple[Piece, ...]
    """That it is to go."""
    damage: str = ""
    """Why it can't be read what is known of it; empty: it can."""

    @property
    def is_deleting(self) -> bool:
        """Whether it is to go."""
        return bool(self.marks)

    @property
    def item(self) -> str:
        """The item's name."""
        return self.record.labels[ITEM_ANNOTATION]

    @property
    def run(self) -> int:
        """The number of the run that is going on, or comes next."""
        return (self.outcomes[-1].run if self.outcomes else 0) + 1

    @property
    def refused(self) -> str | None:
        """Why it never runs; None: it may."""
        return self.record.labels.get(REFUSED_ANNOTATION)

    @property
    def stages(self) -> frozenset[str]:
        """The containers that do a chain's work; none where there is no chain."""
        return frozenset(filter(None, self.record.labels.get(STAGES_ANNOTATION, "").split(",")))

    @property
    def is_final(self) -> bool:
        """Whether nothing runs for it any more."""
        return bool(self.damage) or self.refused is not None or (self.outcome is not None and self.outcome.is_final)

    def name_of(self, run: int, rest: str) -> str:
        """The name of something that belongs to a run."""
        return f"{self.record.job}.{run}.{rest}"


def containers_of(job: Manifest) -> list[Manifest]:
    """What runs, in order."""
    pod = job["spec"]["template"]["spec"]
    return [*pod.get("initContainers", ()), *pod["containers"]]


def owner_labels(queue: str, state: str) -> dict[str, str]:
    """What is on everything that belongs to a queue; `state`: what tells it apart from others of its name."""
    return {QUEUE_LABEL: queue, STATE_LABEL: state}


def record_labels(job: Manifest, facts: Facts, uid: str) -> dict[str, str]:
    """What a record says: all that the manifest's own metadata do, and what a look needs."""
    metadata = job["metadata"]
    own = {JOB_LABEL: metadata["name"], UID_LABEL: uid, PART_LABEL: Part.RECORD, FACTS_LABEL: facts.as_text()}
    return {**metadata["labels"], **metadata["annotations"], **own}


def part_labels(record: Piece, part: Part, run: int = 0, **more: str) -> dict[str, str]:
    """What is on a part of a Job, other than its record."""
    kept = {name: record.labels[name] for name in (QUEUE_LABEL, STATE_LABEL, JOB_LABEL, UID_LABEL)}
    return {**kept, PART_LABEL: part, RUN_LABEL: str(run), **more}


def name_of(labels: Mapping[str, str]) -> str:
    """The name of what has these labels."""
    job, run, part = labels.get(JOB_LABEL, ""), labels.get(RUN_LABEL, ""), labels.get(PART_LABEL, "")
    match part:
        case Part.RECORD:
            return job
        case Part.CONTAINER:
            return f"{job}.{run}.{labels.get(INDEX_LABEL)}-{labels.get(CONTAINER_LABEL)}"
        case Part.DELETING:
            # With the uid: one that was left behind can't mark the Job's successor.
            return f"{job}.{part}.{labels.get(UID_LABEL, '')[:8]}"
        case _:
            return f"{job}.{run}.{part}"


def families(pieces: Iterable[Piece]) -> tuple[list[Family], list[Piece]]:
    """Jobs, and pieces of Jobs that are gone. What has our labels and is neither is somebody's own, and left alone."""
    found: list[Family] = []
    orphans: list[Piece] = []
    by_job: Callable[[Piece], str] = lambda piece: piece.job  # noqa: E731 - groupby wants it twice
    for _, group in groupby(sorted((one for one in pieces if one.is_whole), key=by_job), by_job):
        together = list(group)
        record = next((one for one in together if one.part == Part.RECORD), None)
        if record is None:
            orphans += [one for one in together if one.part in _PARTS]
        elif _is_of_its_item(record):
            found.append(_family(record, [one for one in together if one is not record]))
    return found, orphans


def _is_of_its_item(record: Piece) -> bool:
    """Whether the Job's name is made of the item that it names."""
    item, queue = record.labels.get(ITEM_ANNOTATION), record.labels.get(QUEUE_LABEL, "")
    return item is not None and record.job == job_name(queue, item)


def _family(record: Piece, others: Sequence[Piece]) -> Family:
    ours = [one for one in others if one.uid == record.uid]
    outcomes = sorted((one for one in ours if one.part == Part.OUTCOME), key=lambda one: one.run)
    last = outcomes[-1].run if outcomes else 0
    going = [one for one in ours if one.part == Part.CONTAINER and one.run > last]
    spent = [one for one in ours if one.part in {Part.CONTAINER, Part.FILES} and one.run <= last]
    facts, outcome, damage = _NO_FACTS, None, ""
    try:
        facts = Facts.from_text(record.labels[FACTS_LABEL])
        outcome = Outcome.from_text(outcomes[-1].labels[OUTCOME_LABEL]) if outcomes else None
    except (ValueError, KeyError, TypeError) as exc:
        damage = f"what is known of it can't be read ({exc!r}): retry it to have it begun anew"
    return Family(
        record=record,
        facts=facts,
        outcome=outcome,
        outcomes=tuple(outcomes),
        containers=tuple(sorted(going, key=lambda one: one.index)),
        leftovers=(*spent, *outcomes[:-1], *(one for one in others if one.uid != record.uid)),
        marks=tuple(one for one in ours if one.part == Part.DELETING),
        damage=damage,
    )


def job_of(family: Family, rans: Sequence[Ran]) -> Job:
    """What a Job's pieces say about its item; `rans`: of its containers, in order."""
    facts, outcome = family.facts, family.outcome or Outcome("again", family.facts.created, failures=0)
    new = Job(
        name=family.record.job,
        item=family.item,
        uid=family.record.uid,
        state=State.STARTING,
        created=facts.created,
        since=outcome.at,
        attempt=outcome.failures,
        attempts=facts.attempts,
        reason=outcome.reason,
        exit_code=outcome.exit_code,
        processing_seconds=outcome.seconds,
        stage=outcome.stage,
        stage_seconds=tuple(outcome.stage_seconds.items()),
        deleting=family.is_deleting,
        first_seen=first_seen_of(family.record.labels),
        is_item_refused=is_item_refused(family.record.labels),
    )
    if family.refused is not None or family.damage:
        return replace(new, state=State.FAILED, attempt=0, reason=family.damage or family.refused or "")
    if outcome.state == "done":
        return replace(new, state=State.DONE, attempt=outcome.failures + 1)
    if outcome.state == "failed":
        return replace(new, state=State.FAILED)
    began = next((one.started for one in rans if one.started), None)
    if began is None:
        return new
    return replace(
        new,
        state=State.RUNNING,
        attempt=outcome.failures + 1,
        since=began,
        reason="",
        exit_code=None,
        processing_seconds=outcome.seconds + sum(one.seconds for one in rans),
        stage=rans[-1].name if rans[-1].name in family.stages else "",
        stage_seconds=tuple(
            (one.name, one.seconds) for one in rans if one.name in family.stages and not one.is_running
        ),
    )


def waiting(job: Job, why: str) -> Job:
    """A Job that has not started, with what keeps it from it."""
    return replace(job, reason=why, can_not_start=not why.endswith(PULLING)) if job.state is State.STARTING else job


def seconds_of(text: str) -> float | None:
    """A time as Docker writes it, in seconds since the epoch; None: never."""
    if not text or text.startswith(_LONG_AGO):
        return None
    return datetime.fromisoformat(text).astimezone(UTC).timestamp()


def _known(kind: type[Facts | Outcome], text: str) -> dict[str, Any]:
    """What a label says of the fields that there are: another version may have had others."""
    told = json.loads(text)
    return {one.name: told[one.name] for one in fields(kind) if one.name in told}


def _number(text: str) -> int:
    """A label's number; 0 where somebody wrote something else."""
    return int(text) if text.isdecimal() else 0
