"""The queue file: one definition of a queue, read alike by the cluster, Docker and the laptop.

Owns the models (the JSON schema is printed from them); those of sources are in sources.py. Refuses what no engine could
ever do, with the line, the key, what was expected and the nearest key that exists. Secrets never stand in it, only
references to them. docs/queue-file.md describes it for its writers.
"""

import difflib
import re
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, Self, cast

import yaml
from pydantic import Field, TypeAdapter, ValidationError, field_validator, model_validator

from longshore import podtemplate
from longshore.names import is_queue_name, queue_name_from
from longshore.references import unknown_references
from longshore.sources import Model, Scalar, Source, list_volume, volume_variable
from longshore_kit import contract
from longshore_kit.errors import SettingsError

_VOLUME_NAME: Final = re.compile(r"[a-z]([a-z0-9-]{0,40}[a-z0-9])?")
_QUOTED: Final = re.compile(r"'([^']*)'")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OWNED_VARIABLES: Final = frozenset(
    {
        contract.ITEM_FILE_VARIABLE,
        contract.ITEM_NAME_VARIABLE,
        contract.QUEUE_VARIABLE,
        contract.RESULT_FILE_VARIABLE,
    }
)


class HostPath(Model):
    """A folder of the machine itself: works on the laptop and on Docker as it is."""

    path: str = Field(description="The folder; where it is relative, it counts from the queue file, on a laptop only.")
    type: Literal["Directory", "DirectoryOrCreate"] = Field(
        default="Directory", description="DirectoryOrCreate makes the folder where it is missing, as in Kubernetes."
    )


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

    host_path: HostPath | None = None
    nfs: Nfs | None = None
    persistent_volume_claim: Claim | None = None
    read_only: bool = False

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if [self.host_path, self.nfs, self.persistent_volume_claim].count(None) != 2:  # noqa: PLR2004 - one of three
            raise ValueError("give exactly one of hostPath, nfs and persistentVolumeClaim")
        return self


class Worker(Model):
    """What works on one item: any image, or on a laptop any command."""

    image: str = Field(default="", description="A shipped image by its short name (worker-ffmpeg), or any other.")
    command: tuple[str, ...] = Field(default=(), description="Instead of the image's entry point; may hold ${…}.")
    args: tuple[str, ...] = Field(default=(), description="Its arguments; may hold ${…}.")
    env: dict[str, Scalar] = Field(default={}, description="Its variables; values may hold ${…}.")
    script: str = Field(
        default="", description="For worker-script: the script itself, which gets the item as files and variables."
    )
    existing_secret: str = Field(
        default="", description="A Secret whose keys become variables; on a laptop they are those of `longshore run`."
    )
    volumes: tuple[str, ...] = Field(default=(), description="The volumes that the worker sees.")
    resources: dict[str, dict[str, Scalar]] = Field(default={}, description="Kubernetes requests and limits.")
    payload: Literal["auto", "configMap", "secret"] = Field(
        default="auto", description="How the item's data reaches the worker; auto: in the Job where it is small."
    )
    pod_template: dict[str, Any] = Field(default={}, description="Laid over the pod template of every Job.")

    @model_validator(mode="after")
    def _something_to_run(self) -> Self:
        if not self.image and not self.command:
            raise ValueError("set image, or command to run a program of this machine")
        if self.script and "SCRIPT" in self.env:
            raise ValueError("script and env.SCRIPT say the same: keep one")
        return self

    @field_validator("pod_template")
    @classmethod
    def _nothing_owned(cls, pod_template: dict[str, Any]) -> dict[str, Any]:
        if problems := podtemplate.problems(pod_template):
            raise ValueError("; ".join(problems))
        return pod_template

    @field_validator("env")
    @classmethod
    def _variables(cls, env: dict[str, Scalar]) -> dict[str, Scalar]:
        for name in env:
            if not _VARIABLE.fullmatch(name):
                raise ValueError(f"{name!r} is no name of a variable")
            if name in _OWNED_VARIABLES:
                raise ValueError(f"{name} is set by Longshore for every worker")
        return env


class Scaling(Model):
    """How many workers run side by side."""

    min: int = Field(default=0, ge=0)
    max: int = Field(default=10, ge=1, le=10_000)
    drain_seconds: float = Field(default=600, gt=0, description="How soon what waits should be worked off.")

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


class QueueName(Model):
    """What the queue is called."""

    name: str = Field(default="", description="A DNS label; default: the Helm release's name, or the folder's.")

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
    volumes: dict[str, Volume] = Field(default={})
    source: Source
    worker: Worker
    scaling: Scaling = Scaling()
    retry: Retry = Retry()
    keep: Keep = Keep()

    @model_validator(mode="after")
    def _parts_fit_together(self) -> Self:
        if problems := list(misfits(self)):
            # pydantic takes one error from a validator; parse() asks for all of them, with their places.
            raise ValueError("; ".join(f"{_key(problem.place)}: {problem.message}" for problem in problems))
        return self


@dataclass(frozen=True)
class Misfit:
    """Parts of a file that don't fit together."""

    place: tuple[str | int, ...]
    message: str


def misfits(spec: QueueFile) -> Iterator[Misfit]:
    """What no single part of a file shows: names that lead nowhere, and texts that nothing can be started with."""
    for name in spec.volumes:
        # What begins with longshore is ours, in a worker's pod and in the manager's.
        if not _VOLUME_NAME.fullmatch(name) or name.startswith("longshore"):
            yield Misfit(("volumes", name), "can't name a volume: use small letters, digits and inner dashes")
    for part, names in (("source", spec.source.volumes), ("worker", spec.worker.volumes)):
        for index, name in enumerate(names):
            if name not in spec.volumes:
                yield Misfit((part, "volumes", index), f"there is no volume {name!r}{_nearest(name, spec.volumes)}")
    yield from _list_misfits(spec.source)
    known = {volume_variable(name): "" for name in spec.worker.volumes}
    for place, text in _templates(spec.worker):
        if "\0" in text:
            yield Misfit(place, "has a NUL in it, which no argument or variable can hold")
        for path in unknown_references(text, known):
            yield Misfit(
                place,
                f"${{{path}}} is neither ${{item.…}}, ${{name}} nor the folder of a volume in "
                f"worker.volumes{_nearest(path, known)}; write $${{{path}}} for the text itself",
            )


def _list_misfits(source: Source) -> Iterator[Misfit]:
    variable = list_volume(source.list.file) if source.list else ""
    seen = {volume_variable(name): "" for name in source.volumes}
    if variable and variable not in seen:
        words = f"${{{variable}}} is the folder of no volume in source.volumes{_nearest(variable, seen)}"
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
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        document = yaml.load(text, Loader=_UniqueKeys)  # noqa: S506 - _UniqueKeys is a SafeLoader
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        place = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise SettingsError(f"{where}{place}: no valid YAML: {exc.problem or exc.context}") from exc
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as exc:
        # PyYAML lets through what its constructors raise: 2020-13-45 looks like a date, and is none.
        raise SettingsError(f"{where}: no valid YAML: {' '.join(str(exc).split())}") from exc
    if document is None:
        raise SettingsError(f"{where}: is empty: a queue needs the keys source and worker")
    if not isinstance(document, dict):
        raise SettingsError(f"{where}: expected the keys source and worker, found a {type(document).__name__}")
    try:
        return QueueFile.model_validate(document)
    except ValidationError as exc:
        raise SettingsError("\n".join(_told(where, node, document, exc.errors()))) from exc


def _told(where: str, node: yaml.Node | None, document: Mapping[str, Any], errors: Sequence[Any]) -> list[str]:
    """A line for each mistake, in the file's order."""
    found = [(_line(node, error["loc"]), _problem(error)) for error in errors if error["loc"]]
    if not found:
        # All parts are well-formed, so that what does not fit together can be told with its places.
        spec = QueueFile.model_construct(**dict(_parts(document)))
        found = [(_line(node, one.place), f"{_key(one.place)}: {one.message}") for one in misfits(spec)]
    return list(dict.fromkeys(f"{where}:{line}: {message}" for line, message in sorted(found)))


def _parts(document: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The fields of a file whose parts are well-formed, each validated by itself."""
    for name, field in QueueFile.model_fields.items():
        if name in document:
            yield name, TypeAdapter[Any](cast(Any, field.annotation)).validate_python(document[name])
        else:
            yield name, field.get_default()


def json_schema() -> dict[str, Any]:
    """The JSON schema of a queue file (draft 2020-12)."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Longshore queue file",
    } | QueueFile.model_json_schema(by_alias=True)


class _UniqueKeys(yaml.SafeLoader):
    """YAML that refuses a key that stands twice, which PyYAML takes silently: one of the two would be lost."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.MarkedYAMLError(problem=f"the key {key!r} stands twice", problem_mark=key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


def _templates(worker: Worker) -> Iterator[tuple[tuple[str | int, ...], str]]:
    yield from ((("worker", "command", index), text) for index, text in enumerate(worker.command))
    yield from ((("worker", "args", index), text) for index, text in enumerate(worker.args))
    yield from ((("worker", "env", name), str(value)) for name, value in worker.env.items())


def _key(place: Sequence[str | int]) -> str:
    """A place as people write it: worker.command[1]."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).lstrip(".")


def _with_folders(spec: QueueFile, folders: Mapping[str, Path], path: Path) -> QueueFile:
    for name in folders:
        if name not in spec.volumes:
            raise SettingsError(f"{path}: there is no volume {name!r}{_nearest(name, spec.volumes)}")
    volumes = {
        name: Volume.model_validate({"hostPath": {"path": str(folders[name].resolve())}, "readOnly": volume.read_only})
        if name in folders
        else volume
        for name, volume in spec.volumes.items()
    }
    return spec.model_copy(update={"volumes": volumes})


def _problem(error: Any) -> str:  # noqa: ANN401 - pydantic_core.ErrorDetails
    key = _key([part for part in error["loc"] if not _is_type_name(part)])
    reason = str(error["msg"])
    # Our own reasons stand as they are written; pydantic's begin with a capital.
    reason = str(error["ctx"]["error"]) if error["type"] == "value_error" else f"{reason[0].lower()}{reason[1:]}"
    if error["type"] == "extra_forbidden":
        keys = _keys_at(error["loc"][:-1])
        return f"{key}: no such key" + (_nearest(str(error["loc"][-1]), keys) or f"; there are {', '.join(keys)}")
    if error["type"] in {"tuple_type", "list_type"}:
        return f"{key}: expected a list, such as [a, b]"
    if error["type"] == "literal_error":
        expected = str(error["ctx"]["expected"])
        return f"{key}: expected {expected}{_nearest(str(error['input']), _QUOTED.findall(expected))}"
    if error["type"] == "missing":
        return f"{key}: is missing"
    return f"{key}: {reason}" if key else reason


def _is_type_name(part: object) -> bool:
    """Whether a part of pydantic's location names a member of a union, and no key of the file."""
    return part in {"str", "bool", "int", "float"} or (isinstance(part, str) and part.startswith("tuple["))


def _keys_at(place: Sequence[str | int]) -> list[str]:
    schema: Any = json_schema()
    here = schema
    for part in place:
        here = here.get("properties", {}).get(part) or here.get("additionalProperties") or {}
        for option in [here, *here.get("anyOf", ()), *here.get("allOf", ())]:
            if "$ref" in option:
                here = schema["$defs"][option["$ref"].rsplit("/", 1)[1]]
    return list(here.get("properties", {}))


def _nearest(word: str, known: Mapping[str, object] | Sequence[str]) -> str:
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else ""


def _line(node: yaml.Node | None, place: Sequence[str | int]) -> int:
    """The line of the innermost node on the way to `place`, from 1."""
    line = 1
    for part in place:
        if node is None:
            break
        line = node.start_mark.line + 1
        if isinstance(node, yaml.MappingNode):
            pairs = [(key, value) for key, value in node.value if key.value == str(part)]
            line = pairs[0][0].start_mark.line + 1 if pairs else line
            node = pairs[0][1] if pairs else None
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
    return line
