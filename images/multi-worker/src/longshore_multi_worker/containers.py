"""The wire to a Docker daemon: one item's volumes and containers. The only module here that imports docker.

Owns that everything it makes carries the item's label, and that nothing else is ever touched. Files come into volumes,
and results out of them, through a container that is never started: so a stage may have a read-only root, any user, and
nothing of ours in it.
"""

import contextlib
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

import docker
import requests
from docker.types import Mount
from docker.utils import parse_repository_tag

from longshore_kit.archives import archive_of, first_file
from longshore_kit.errors import ItemFailed
from longshore_kit.logs import get_logger

ITEM_LABEL: Final = "longshore.dev/pipeline-item"
_ERRORS: Final = (docker.errors.DockerException, requests.RequestException)
_TAIL_BYTES: Final = 2048
_TIMEOUT_SECONDS: Final = 60
_FILES: Final = "/longshore-files"
"""Where the container that is never started has all volumes, each in a folder of its name."""
_NANO: Final = 1_000_000_000


@dataclass(frozen=True)
class Run:
    """What one stage is started with."""

    name: str
    image: str
    command: tuple[str, ...]
    args: tuple[str, ...]
    environ: Mapping[str, str]
    volumes: Mapping[str, tuple[str, bool]]
    """By the volume's name where it is mounted, and whether read-only."""
    folders: Mapping[str, tuple[str, bool]]
    """The same of folders of the host."""
    memory_bytes: int | None = None
    cpus: float | None = None


@dataclass(frozen=True)
class Ended:
    """How a stage ended."""

    code: int
    tail: str
    """The end of what it wrote."""
    was_out_of_memory: bool


class Containers:
    """Those of one item, on one daemon; a context, which removes all of them at its end."""

    def __init__(self, host: str, label: str, grace_seconds: float) -> None:
        self._host: Final = host
        self._label: Final = label
        self._grace_seconds: Final = grace_seconds
        with self._told("can't be asked"):
            self._client: Final = docker.DockerClient(base_url=host, timeout=_TIMEOUT_SECONDS)
            self._client.ping()
        self._files: Any = None

    def __enter__(self) -> Self:
        with self._told("does not remove what an earlier run of this item has left"):
            self._remove()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._remove()
        except _ERRORS as exc:
            # The next start of this item does, by the label.
            get_logger("longshore.multi-worker").warning("containers left behind", reason=_words(exc))
        self._client.close()

    def make_volumes(self, names: tuple[str, ...], image: str) -> None:
        """
        Empty volumes of these names, and the container through which files come into them.

        Raises:
            ItemFailed: the daemon did not.
        """
        self._have(image)
        with self._told("makes no volumes"):
            mounts = []
            for name in names:
                volume = self._client.volumes.create(self._full(name), labels=self._labels)
                mounts.append(Mount(f"{_FILES}/{name}", volume.name, no_copy=True))
            self._files = self._client.containers.create(
                image, ["never-started"], name=self._full("files"), labels=self._labels, mounts=mounts
            )

    def put(self, volume: str, files: Mapping[str, bytes], *, mode: int) -> None:
        """
        Files in a volume, readable by everybody; `mode` is that of the folder itself.

        Raises:
            ItemFailed: the daemon did not take them.
        """
        with self._told("takes no files"):
            content = {volume: None, **{f"{volume}/{name}": data for name, data in files.items()}}
            self._files.put_archive(_FILES, archive_of(content, folder_mode=mode))

    def read(self, volume: str, name: str, most_bytes: int) -> str:
        """The end of a file in a volume; empty where there is none, or it is none."""
        try:
            chunks, _ = self._files.get_archive(f"{_FILES}/{volume}/{name}")
            return (first_file(chunks, most_bytes) or b"").decode(errors="ignore")
        except _ERRORS:
            return ""

    def run(self, one: Run) -> Ended:
        """
        One stage, to its end. What it writes comes through as it comes.

        Raises:
            ItemFailed: it could not be started, or the daemon went away.
        """
        self._have(one.image)
        with self._told(f"does not run stage {one.name}"):
            container = self._client.containers.create(one.image, **self._options(one))
            tail = _Tail(container)
            try:
                container.start()
            except docker.errors.APIError as exc:
                tail.give_up()
                raise ItemFailed(f"it can't be started: {exc.explanation}") from exc
            try:
                code = int(container.wait(timeout=None)["StatusCode"])
            except BaseException:
                # SIGTERM, most likely: the stage gets it too, and its time to stop in.
                with contextlib.suppress(*_ERRORS):
                    container.stop(timeout=int(self._grace_seconds))
                raise
            container.reload()
            return Ended(code, tail.text(), bool(container.attrs["State"]["OOMKilled"]))

    def _options(self, one: Run) -> dict[str, Any]:
        mounts = [
            Mount(path, self._full(name), read_only=read_only, no_copy=True)
            for name, (path, read_only) in one.volumes.items()
        ]
        mounts += [Mount(path, source, type="bind", read_only=only) for source, (path, only) in one.folders.items()]
        return {
            "name": self._full(one.name),
            "labels": self._labels,
            "mounts": mounts,
            "environment": dict(one.environ),
            **({"entrypoint": list(one.command)} if one.command else {}),
            **({"command": list(one.args)} if one.args else {}),
            **({"mem_limit": one.memory_bytes} if one.memory_bytes else {}),
            **({"nano_cpus": int(one.cpus * _NANO)} if one.cpus else {}),
        }

    def _have(self, image: str) -> None:
        try:
            self._client.images.get(image)
        except docker.errors.ImageNotFound:
            try:
                self._pull(image)
            except _ERRORS as exc:
                raise ItemFailed(f"there is no image {image!r} here, and it can't be pulled: {_words(exc)}") from exc
        except _ERRORS as exc:
            raise ItemFailed(f"the Docker daemon at {self._host} can't be asked: {_words(exc)}") from exc

    def _pull(self, image: str) -> None:
        repository, tag = parse_repository_tag(image)
        for line in self._client.api.pull(repository, tag=tag or "latest", stream=True, decode=True):
            # What goes wrong in the midst of it is told there alone.
            if "error" in line:
                raise docker.errors.DockerException(str(line["error"]))

    def _remove(self) -> None:
        ours = {"label": f"{ITEM_LABEL}={self._label}"}
        for container in self._client.containers.list(all=True, filters=ours, ignore_removed=True):
            with contextlib.suppress(docker.errors.NotFound):
                container.remove(force=True, v=True)  # with what its image calls a VOLUME
        for volume in self._client.volumes.list(filters=ours):
            with contextlib.suppress(docker.errors.NotFound):
                volume.remove()

    def _full(self, name: str) -> str:
        return f"longshore-{self._label[:16]}-{name}"

    @property
    def _labels(self) -> dict[str, str]:
        return {ITEM_LABEL: self._label}

    @contextlib.contextmanager
    def _told(self, what: str) -> Iterator[None]:
        try:
            yield
        except _ERRORS as exc:
            raise ItemFailed(f"the Docker daemon at {self._host} {what}: {_words(exc)}") from exc


class _Tail:
    """
    Hands on what a container writes, and keeps the end of it.

    Attached before the container starts: who asks for the log of one that has just ended may miss its last lines.
    """

    def __init__(self, container: Any) -> None:  # noqa: ANN401 - the library has no types
        self._pieces: Final = container.attach(stream=True)
        self._kept = b""
        self._thread: Final = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def text(self) -> str:
        """The end, once the container has ended."""
        self._thread.join(_TIMEOUT_SECONDS)
        return self._kept.decode(errors="replace").strip()

    def give_up(self) -> None:
        """Nothing will come."""
        with contextlib.suppress(*_ERRORS):
            self._pieces.close()

    def _read(self) -> None:
        with contextlib.suppress(*_ERRORS):
            for piece in self._pieces:
                self._kept = (self._kept + piece)[-_TAIL_BYTES:]
                sys.stdout.buffer.write(piece)
                sys.stdout.buffer.flush()


def _words(exc: Exception) -> str:
    explanation = getattr(exc, "explanation", None)
    return str(explanation or exc).strip()[:500]
