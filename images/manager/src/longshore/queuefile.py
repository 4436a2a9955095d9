"""The queue file: one definition of a queue, read alike by the cluster, Docker and the laptop.

Owns the models (the JSON schema is printed from them); those of sources are in sources.py. Refuses what no engine could
ever do, with the line, the key, what was expected and the nearest key that exists. Secrets never stand in it, only
references to them. docs/queue-file.md describes it for its writers.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, Self

from pydantic import ConfigDict, Field, field_validator, model_validator
from pydantic.alias_generators import to_camel

from longshore import podtemplate
from longshore.names import is_queue_name, queue_name_from
from longshore.order import Order
from longshore.scaling import Law
from longshore.sources import Source, list_volume
from longshore_kit import documents
from longshore_kit.documents import Misfit, nearest
from longshore_kit.errors import SettingsError
from longshore_kit.programs import (
    HostPath,
    Model,
    Program,
    Stage,
    chain_misfits,
    program_misfits,
    unlisted_volume,
    volume_variable,
)

_VOLUME_NAME: Final = re.compile(r"[a-z]([a-z0-9-]{0,40}[a-z0-9])?")


class Nfs(Model):
    """An NFS export, mounted by the cluster's nodes."""

    server: str
    path: str


class Claim(Model):
    """A PersistentVolumeClaim that exists in the namespace."""

    claim_name: str


class Volume(Model):
    """
    A folder that the ambassador and the workers share; mounted at /<name>, and named by <NAME>_PATH.

    Exactly one of hostPath, nfs and persistentVolumeClaim.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [{"hostPath": {"path": "./in"}}]})

    host_path: HostPath | None = None
    nfs: Nfs | None = None
    persistent_volume_claim: Claim | None = None
    read_only: bool = False

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if [self.host_path, self.nfs, self.persistent_volume_claim].count(None) != 2:  # noqa: PLR2004 - one of three
            raise ValueError("give exactly one of hostPath, nfs and persistentVolumeClaim")
        return self


class Worker(Program):
    """What works on one item: any image, or on a laptop any command; or a chain of them, its stages."""

    stages: tuple[Stage, ...] = Field(
        default=(), description="Workers that do one item together, one after the other, over a folder that they share."
    )
    adapter_image: str = Field(
        default="", description="The image of what makes the stages' item files; default: the shipped multi-worker."
    )
    payload: Literal["auto", "configMap", "secret"] = Field(
        default="auto", description="How the item's data reaches the worker; auto: in the Job where it is small."
    )
    pod_template: dict[str, Any] = Field(default={}, description="Laid over the pod template of every Job.")

    @model_validator(mode="after")
    def _something_to_run(self) -> Self:
        if not self.stages:
            if problem := self.problem():
                raise ValueError(problem)
        elif own := [to_camel(name) for name in Program.model_fields if getattr(self, name)]:
            raise ValueError(f"{', '.join(own)} can't be set beside stages: each stage has its own")
        return self

    @property
    def programs(self) -> tuple[Program, ...]:
        """What runs, in order: the stages, or the worker itself."""
        return self.stages or (self,)

    @property
    def all_volumes(self) -> tuple[str, ...]:
        """The volumes that any of it sees, each once."""
        return tuple(dict.fromkeys(name for program in self.programs for name in program.volumes))

    @field_validator("pod_template")
    @classmethod
    def _nothing_owned(cls, pod_template: dict[str, Any]) -> dict[str, Any]:
        if problems := podtemplate.problems(pod_template):
            raise ValueError("; ".join(problems))
        return pod_template


class Scaling(Model):
    """How many workers run side by side."""

    min: int = Field(default=0, ge=0)
    max: int = Field(default=10, ge=1, le=10_000)
    law: Law = Field(default="staffing", description="How many that are: docs/scaling.md compares them.")
    drain_seconds: float = Field(default=60, ge=1, description="How soon what waits should be worked off.")
    window: float = Field(
        default=300, ge=10, le=86_400, description="Seconds over which arrivals and times are averaged."
    )
    tolerance: float = Field(
        default=0.1, ge=0, lt=1, description="The law book comes down only while one fewer would be so much below full."
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min > self.max:
            raise ValueError(f"min is {self.min}, more than max, {self.max}")
        return self


class Retry(Model):
    """How often and how long an item is tried."""

    attempts: int = Field(default=3, ge=1, le=100, description="Attempts in all; exit codes 64 and 65 end them early.")
    deadline_seconds: int = Field(default=3600, ge=1, description="How long one attempt may run.")
    pending_seconds: int = Field(default=600, ge=1, description="How long a worker may take to start.")
    ack_failed: bool = Field(
        default=False, description="Acknowledge failed items too, where the source only shrinks when told."
    )


class Keep(Model):
    """How many finished Jobs are kept; what is beyond lives on in the ledger."""

    finished: int = Field(default=1000, ge=0)
    failed: int = Field(default=1000, ge=0)


class BreakerSettings(Model):
    """When starting more makes no sense."""

    failures: int = Field(
        default=20, ge=0, description="So many distinct items in a row that fail stop starts, but for trials; 0: never."
    )


class QueueName(Model):
    """What the queue is called, and whose turn it is."""

    order: Order = Field(default="listed", description="Which of the items that wait comes next.")
    group_by: str = Field(
        default="",
        description="A regular expression on names: items whose names have the same text in its first group, or in all "
        "of it where it has none, belong together, and such groups take turns.",
    )
    name: str = Field(default="", description="A DNS label; default: the Helm release's name, or the folder's.")

    @field_validator("group_by")
    @classmethod
    def _expression(cls, group_by: str) -> str:
        try:
            re.compile(group_by)
        except re.error as exc:
            raise ValueError(f"is no regular expression: {exc}") from exc
        return group_by

    @field_validator("name")
    @classmethod
    def _label(cls, name: str) -> str:
        if name and not is_queue_name(name):
            raise ValueError(
                f"use small letters, digits and inner dashes, 53 at most, such as {queue_name_from(name)!r}"
            )
        return name


class QueueFile(Model):
    """A queue: where its items come from, what works on them, and within which limits."""

    queue: QueueName = QueueName()
    volumes: dict[str, Volume] = Field(default={}, examples=[{"media": {"hostPath": {"path": "./in"}}}])
    source: Source
    worker: Worker
    scaling: Scaling = Scaling()
    retry: Retry = Retry()
    keep: Keep = Keep()
    breaker: BreakerSettings = BreakerSettings()

    @model_validator(mode="after")
    def _parts_fit_together(self) -> Self:
        if problems := list(misfits(self)):
            # pydantic takes one error from a validator; parse() asks for all of them, with their places.
            raise ValueError("; ".join(map(str, problems)))
        return self


def misfits(spec: QueueFile) -> Iterator[Misfit]:
    """What no single part of a file shows: names that lead nowhere, and texts that nothing can be started with."""
    for name in spec.volumes:
        # What begins with longshore is ours, in a worker's pod and in the manager's.
        if not _VOLUME_NAME.fullmatch(name) or name.startswith("longshore"):
            yield Misfit(("volumes", name), "can't name a volume: use small letters, digits and inner dashes")
    for index, name in enumerate(spec.source.volumes):
        if name not in spec.volumes:
            yield Misfit(("source", "volumes", index), f"there is no volume {name!r}{nearest(name, spec.volumes)}")
    yield from _list_misfits(spec)
    worker = spec.worker
    if worker.stages:
        yield from chain_misfits(worker.stages, ("worker", "stages"), spec.volumes)
    else:
        yield from program_misfits(worker, ("worker",), spec.volumes)
    stages = [stage.name for stage in worker.stages]
    for problem in podtemplate.container_problems(worker.pod_template, stages):
        yield Misfit(("worker", "podTemplate"), problem)


def _list_misfits(spec: QueueFile) -> Iterator[Misfit]:
    listed = spec.source.volumes
    variable = list_volume(spec.source.list.file) if spec.source.list else ""
    if not variable or variable in map(volume_variable, listed):
        return
    words = unlisted_volume(variable, listed, spec.volumes, ("source", "volumes"))
    if words is None:
        near = nearest(variable, [volume_variable(name) for name in spec.volumes])
        words = f"${{{variable}}} is the folder of no volume in source.volumes{near}"
    if words:
        yield Misfit(("source", "list", "file"), words)


@dataclass(frozen=True)
class Queue:
    """A queue file that was read, with its name decided and its folder known."""

    name: str
    spec: QueueFile
    folder: Path
    """Where the file lies: relative paths count from here."""
    file: Path | None = None
    """The file itself; None where it was read from elsewhere."""


def load(path: Path, *, folders: Mapping[str, Path] | None = None) -> Queue:
    """
    The queue in the file at `path`; `folders` puts a folder of this machine in a volume's place.

    Raises:
        SettingsError: the file can't be read or is wrong; a line for each thing that is, with its place.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as exc:
        raise SettingsError(f"{path}: can't be read: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise SettingsError(f"{path}: can't be read: it is not UTF-8 ({exc.reason})") from exc
    spec = parse(text, str(path))
    spec = _with_folders(spec, folders or {}, path)
    folder = path.resolve().parent
    stem = folder.name if path.stem == "queue" else path.stem
    return Queue(name=spec.queue.name or queue_name_from(stem), spec=spec, folder=folder, file=path.resolve())


def parse(text: str, where: str = "queue file") -> QueueFile:
    """
    The models of a queue file's text, which is YAML or JSON.

    Raises:
        SettingsError: as `load`.
    """
    return documents.parse(text, QueueFile, misfits, where=where, what="queue")


def json_schema() -> dict[str, Any]:
    """The JSON schema of a queue file (draft 2020-12)."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Longshore queue file",
    } | QueueFile.model_json_schema(by_alias=True)


def _with_folders(spec: QueueFile, folders: Mapping[str, Path], path: Path) -> QueueFile:
    for name in folders:
        if name not in spec.volumes:
            raise SettingsError(f"{path}: there is no volume {name!r}{nearest(name, spec.volumes)}")
    volumes = {
        name: Volume.model_validate({"hostPath": {"path": str(folders[name].resolve())}, "readOnly": volume.read_only})
        if name in folders
        else volume
        for name, volume in spec.volumes.items()
    }
    return spec.model_copy(update={"volumes": volumes})
