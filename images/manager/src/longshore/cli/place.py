"""Where the queue of a command is: in a file of this machine, or in a cluster. The commands are the same for both.

Owns how a command line says which queue is meant, and what a person types next about it. With -q, -n or --context,
and always as `kubectl longshore`, it is a queue in a cluster; else the first word is a queue file.
"""

import functools
import inspect
import os
import shlex
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Any, Final, Self, TypeAlias, get_type_hints

import typer

from longshore import checkup
from longshore.checkup import Finding
from longshore.cli.common import StateOption, VolumeOption
from longshore.control import Control
from longshore.engines.base import Engine
from longshore.ledger import Ledger
from longshore.local import LocalQueue, asked, open_queue
from longshore.manifests import bundle_for
from longshore.names import job_name
from longshore.queuefile import Queue, load
from longshore.rights import Right
from longshore.source import Items
from longshore.typed import KUBECTL, command_line, program
from longshore.web.settings import without_token
from longshore_kit.contract import name_problem
from longshore_kit.errors import EngineError, ItemNotFound, SettingsError, SourceUnavailable
from longshore_kit.logs import get_logger

if TYPE_CHECKING:
    from longshore.cluster import ClusterQueue

# With a queue in a cluster there is no FILE, and the first word is the item: both may be missing for the parser.
# A text, since it may be an item: as a path a//b would be a/b.
FileWord: TypeAlias = Annotated[
    str | None,
    typer.Argument(metavar="FILE", help="The queue file; not with -q, -n or --context.", show_default=False),
]
ItemWord: TypeAlias = Annotated[
    str | None,
    typer.Argument(metavar="ITEM", help="The item's name; before one with a leading dash put --.", show_default=False),
]
ItemWords: TypeAlias = Annotated[
    list[str] | None,
    typer.Argument(metavar="ITEM", help="The items' names; before one with a leading dash put --.", show_default=False),
]
QueueOption: TypeAlias = Annotated[
    str | None,
    typer.Option("--queue", "-q", metavar="NAME", help="A queue in a cluster, in FILE's place.", show_default=False),
]
NamespaceOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--namespace", "-n", metavar="NAME", help="Its namespace; default: the context's.", show_default=False
    ),
]
ContextOption: TypeAlias = Annotated[
    str | None,
    typer.Option("--context", metavar="NAME", help="Its cluster; default: kubectl's current one.", show_default=False),
]


@dataclass(frozen=True)
class Where:
    """What a command line says of where its queue is."""

    volume: VolumeOption = None
    state_folder: StateOption = None
    queue: QueueOption = None
    namespace: NamespaceOption = None
    context: ContextOption = None

    @property
    def is_cluster(self) -> bool:
        """Whether a queue in a cluster is meant."""
        return program() == KUBECTL or not (self.queue is self.namespace is self.context is None)

    def open(
        self, file: str | None, items: Sequence[str | None] = (), *, to_change: bool = False
    ) -> tuple["Place", list[str]]:
        """
        The queue, and the words of the command line that are items: `file` is one too where the queue is in a cluster.

        Of a queue file its state folder is made only `to_change` something: who only looks leaves nothing behind.

        Raises:
            SettingsError: the queue file, or an option, is wrong, or there is no such queue.
            EngineError: the cluster could not be asked.
        """
        words = [word for word in (file, *items) if word is not None]
        if self.is_cluster:
            if self.volume or self.state_folder:
                raise SettingsError(
                    "--volume and --state-folder are for a queue file; a queue in a cluster has its own"
                )
            return _in_cluster(self), [_item(word) for word in words]
        if file is None:
            raise typer.BadParameter("give a queue file, or -q NAME for a queue in a cluster", param_hint="FILE")
        path = Path(file)
        local = open_queue(load(path, folders=folders_of(self.volume or ())), self.state_folder)
        if to_change:
            local.prepare()
        return Here(path, local, self), [_item(word) for word in words[1:]]

    def open_item(self, file: str | None, item: str | None) -> tuple["Place", str]:
        """
        The queue, and the one item that the command is about.

        Raises:
            SettingsError, EngineError: as `open`.
        """
        if (file is None) or (item is None) is not self.is_cluster:
            raise typer.BadParameter("expected FILE ITEM, or -q NAME ITEM for a queue in a cluster", param_hint="ITEM")
        place, (only,) = self.open(file, [item])
        return place, only


def placed(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that say which queue is meant; it gets them as one value, `where`."""
    hints = get_type_hints(Where, include_extras=True)
    options = [
        inspect.Parameter(one.name, inspect.Parameter.KEYWORD_ONLY, default=one.default, annotation=hints[one.name])
        for one in fields(Where)
    ]
    own = inspect.signature(command, eval_str=True)

    @functools.wraps(command)
    def wrapper(**given: Any) -> None:  # noqa: ANN401 - whatever the command takes
        where = Where(**{one.name: given.pop(one.name) for one in fields(Where)})
        command(where=where, **given)

    kept = [parameter for name, parameter in own.parameters.items() if name != "where"]
    wrapper.__signature__ = own.replace(parameters=[*kept, *options])  # type: ignore[attr-defined]  # what typer reads
    wrapper.__annotations__ = {parameter.name: parameter.annotation for parameter in (*kept, *options)}
    return wrapper


class Place(ABC):
    """One queue, to look at and to mend; held while that is done."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    @abstractmethod
    def name(self) -> str:
        """The queue's name."""

    @property
    @abstractmethod
    def queue(self) -> Queue | None:
        """Its queue file; None where it can't be seen."""

    @property
    @abstractmethod
    def engine(self) -> Engine:
        """Its Jobs."""

    @abstractmethod
    def ledger(self) -> Ledger:
        """Its records."""

    @abstractmethod
    def control(self) -> Control:
        """Whether it starts items, as a person has said."""

    @abstractmethod
    def source(self) -> AbstractContextManager[Items]:
        """
        Its items, while this is held.

        Raises:
            SourceUnavailable: it can't be reached.
            SettingsError: the ambassador refuses its settings.
        """

    @abstractmethod
    def no_manager(self) -> str:
        """That no manager works on it, and what to do about it; empty when one does."""

    def no_worker(self) -> str:
        """That nobody starts again what was stopped, and what to do about it; empty where somebody does."""
        return ""

    @abstractmethod
    def command(self, verb: str, *items: str) -> str:
        """A command about this queue, for a person to type."""

    def keeps_no_record(self) -> str:
        """Why deleting a Job would lose what is known of its item; empty where it would not."""
        return ""

    @abstractmethod
    def check_up(self) -> Iterator[Finding]:
        """
        Look at every part that it needs to work.

        Raises:
            EngineError: the cluster did not answer at all.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of it."""

    def why_not_started(self, item: str, source: Items) -> str:
        """What keeps a listed item from being started, as far as can be seen from here; empty: nothing."""
        try:
            found = source.get_item(item)
        except (ItemNotFound, SourceUnavailable) as exc:
            return f"it can't be read from the source now: {exc}"
        if self.queue is None:
            return ""
        try:
            self.engine.check(bundle_for(self.queue, found, self.engine.layout(job_name(self.name, item))))
        except EngineError as exc:
            return f"its Job can't be made now: {exc}"
        return ""


class Here(Place):
    """A queue file, worked on by this machine."""

    def __init__(self, file: Path, local: LocalQueue, where: Where) -> None:
        self._file: Final = file
        self._local: Final = local
        self._where: Final = where
        self._engine: Final = local.engine(os.environ)

    @property
    def name(self) -> str:
        """As `Place.name`."""
        return self._local.queue.name

    @property
    def queue(self) -> Queue:
        """As `Place.queue`."""
        return self._local.queue

    @property
    def engine(self) -> Engine:
        """As `Place.engine`."""
        return self._engine

    def ledger(self) -> Ledger:
        """As `Place.ledger`."""
        return self._local.ledger()

    def control(self) -> Control:
        """As `Place.control`."""
        return self._local.control()

    def source(self) -> AbstractContextManager[Items]:
        """As `Place.source`: through an ambassador of our own for the moment."""
        return asked(self._local, without_token(os.environ), get_logger("longshore.look"))

    def no_manager(self) -> str:
        """As `Place.no_manager`."""
        return "" if self._local.is_managed() else f"no manager is running. Start one: {self.command('run')}"

    def no_worker(self) -> str:
        """As `Place.no_worker`: here it is the manager that does."""
        return self.no_manager()

    def command(self, verb: str, *items: str) -> str:
        """As `Place.command`."""
        return file_command(verb, self._file, *items, volumes=self._where.volume, state=self._where.state_folder)

    def check_up(self) -> Iterator[Finding]:
        """As `Place.check_up`."""
        return checkup.of_machine(self._local, without_token(os.environ))

    def close(self) -> None:
        """As `Place.close`."""
        self._engine.close()


class InCluster(Place):
    """A queue of a namespace, seen with the rights of who looks."""

    def __init__(self, found: "ClusterQueue", where: Where) -> None:
        self._found: Final = found
        self._where: Final = where

    @property
    def name(self) -> str:
        """As `Place.name`."""
        return self._found.name

    @property
    def queue(self) -> Queue | None:
        """As `Place.queue`: its release's."""
        return self._found.queue

    @property
    def engine(self) -> Engine:
        """As `Place.engine`."""
        return self._found.engine

    def ledger(self) -> Ledger:
        """As `Place.ledger`."""
        return self._found.ledger

    def control(self) -> Control:
        """As `Place.control`."""
        return self._found.ledger

    def source(self) -> AbstractContextManager[Items]:
        """As `Place.source`."""
        return self._found.source()

    def no_manager(self) -> str:
        """As `Place.no_manager`."""
        try:
            pod = self._found.manager()
        except EngineError as exc:
            return f"whether a manager runs can't be seen: {exc}"
        namespace = f"-n {shlex.quote(self._found.api.namespace)}"
        if pod is None:
            label = f"-l longshore.dev/release-queue={self.name}"
            return f"no manager is running. Start one: kubectl {namespace} scale deployment {label} --replicas=1"
        if not pod.is_up:
            see = f"kubectl {namespace} describe pod {pod.name}"
            return f"its manager does not run: {pod.trouble or 'it starts'}. See: {see}"
        return ""

    def keeps_no_record(self) -> str:
        """As `Place.keeps_no_record`: nobody would make the Jobs anew."""
        if self._found.is_installed is False:
            return f"{self.name} is not installed: install it first, since its Jobs are the only record of its items"
        return ""

    def why_not_started(self, item: str, source: Items) -> str:
        """As `Place.why_not_started`; only who may create Jobs gets a true answer from the API server."""
        return super().why_not_started(item, source) if self._found.may(Right("create", "jobs", "batch")) else ""

    def command(self, verb: str, *items: str) -> str:
        """As `Place.command`."""
        options = ["-q", self.name, "-n", self._found.api.namespace]
        options += ["--context", self._where.context] if self._where.context else []
        return command_line(verb, options, *items)

    def check_up(self) -> Iterator[Finding]:
        """As `Place.check_up`."""
        return checkup.of_cluster(self._found)

    def close(self) -> None:
        """As `Place.close`."""
        self._found.close()


def file_command(
    verb: str, file: Path, *items: str, volumes: Sequence[str] | None = None, state: Path | None = None
) -> str:
    """A command about the queue of a file, for a person to type."""
    options = [*(f"--volume={volume}" for volume in volumes or ()), *([f"--state-folder={state}"] if state else [])]
    return command_line(verb, options, str(file), *items)


def _in_cluster(where: Where) -> Place:
    try:
        from longshore.cluster import ClusterQueue  # noqa: PLC0415 - the client takes a second to load, and is an extra
    except ModuleNotFoundError as exc:
        raise SettingsError(
            f"{exc.name} is not installed: a queue in a cluster needs longshore with its extra [kubernetes]"
        ) from exc
    return InCluster(ClusterQueue.find(where.queue or "", namespace=where.namespace, context=where.context), where)


def _item(name: str) -> str:
    if problem := name_problem(name):
        raise typer.BadParameter(f"no item can have this name: {problem}", param_hint="ITEM")
    return name


def folders_of(volumes: Sequence[str]) -> dict[str, Path]:
    """
    `--volume` options: a folder by its volume's name.

    Raises:
        SettingsError: one is no NAME=FOLDER.
    """
    folders = {}
    for volume in volumes:
        name, _, folder = volume.partition("=")
        if not name or not folder:
            raise SettingsError(f"--volume {volume}: expected NAME=FOLDER, such as --volume media=./videos")
        folders[name] = Path(folder)
    return folders
