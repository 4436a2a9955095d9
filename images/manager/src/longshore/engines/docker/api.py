"""The wire to a Docker daemon. The only module of the manager that imports its client.

Owns what an answer means: names that are taken, things that are gone, a daemon that is away. Hands out the API's own
JSON; what that says is objects.py's. https://docs.docker.com/reference/api/engine/
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final, Self

import docker
import urllib3.exceptions
from docker.types import Mount
from docker.utils import parse_repository_tag

from longshore_kit.archives import archive_of, first_file
from longshore_kit.errors import EngineError, EngineUnavailable

EMPTY_IMAGE: Final = "longshore/empty:1"
"""Made from nothing, on the spot: of it are the containers that are never started, and only carry labels and files."""
_TIMEOUT_SECONDS: Final = 60
_CONNECTIONS: Final = 32
_NEVER_STARTED: Final = ("never-started",)
_LOG_LINES: Final = 5_000
_NO_ANSWER: Final = (OSError, urllib3.exceptions.HTTPError)
"""What does not reach the daemon, or breaks off; what requests raises is an OSError, too."""


class DockerApi:
    """One daemon. Calls may come from any thread."""

    def __init__(self, client: docker.DockerClient) -> None:
        self._client: Final = client

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Self:
        """
        The daemon that DOCKER_HOST, DOCKER_TLS_VERIFY and DOCKER_CERT_PATH name, by default this machine's.

        Raises:
            EngineUnavailable: there is none, or it may not be asked.
        """
        host = environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
        try:
            # `from_env` asks the daemon for its version at once.
            client = docker.from_env(environment=dict(environ), timeout=_TIMEOUT_SECONDS, max_pool_size=_CONNECTIONS)
        except (docker.errors.DockerException, ValueError, *_NO_ANSWER) as exc:
            raise EngineUnavailable(
                f"the Docker daemon at {host} can't be asked: {_words(exc)}. Start it, or set DOCKER_HOST to another"
            ) from exc
        return cls(client)

    def close(self) -> None:
        """Close its connections."""
        self._client.close()

    # --- containers

    def containers(self, labels: Sequence[str]) -> list[dict[str, Any]]:
        """Every container with all of these labels, in whatever state, as a listing shows it."""
        with _told("lists no containers"):
            found: list[dict[str, Any]] = self._client.api.containers(all=True, filters={"label": list(labels)})
        return found

    def inspect(self, container: str) -> dict[str, Any] | None:
        """All that is known of a container; None: it is gone."""
        with _told("shows no container"):
            try:
                found: dict[str, Any] = self._client.api.inspect_container(container)
            except docker.errors.NotFound:
                return None
        return found

    def create(self, name: str, image: str, options: Mapping[str, Any], mounts: Sequence[Mapping[str, Any]]) -> bool:
        """
        Make a container of that name: False where the name is taken.

        Raises:
            EngineError: the daemon refuses it.
        """
        made = [Mount(**{"no_copy": True if one["type"] == "volume" else None, **one}) for one in mounts]
        with _told("makes no container"):
            try:
                self._client.containers.create(image, name=name, mounts=made, **options)
            except docker.errors.APIError as exc:
                if exc.status_code == HTTPStatus.CONFLICT:
                    return False
                raise
        return True

    def create_empty(self, name: str, labels: Mapping[str, str], mounts: Sequence[Mapping[str, Any]] = ()) -> bool:
        """Make a container that is never started: False where the name is taken."""
        options = {"command": list(_NEVER_STARTED), "labels": dict(labels), "network_mode": "none"}
        with _told("takes no image"):
            if self.image(EMPTY_IMAGE) is None:
                repository, _, tag = EMPTY_IMAGE.partition(":")
                self._client.api.import_image_from_data(archive_of({}), repository=repository, tag=tag)
        return self.create(name, EMPTY_IMAGE, options, mounts)

    def rename(self, container: str, name: str) -> bool:
        """Give a container its name: False where another has it."""
        with _told("renames no container"):
            try:
                self._client.api.rename(container, name)
            except docker.errors.APIError as exc:
                if exc.status_code == HTTPStatus.CONFLICT:
                    return False
                raise
        return True

    def start(self, container: str) -> None:
        """
        Start it; one that runs already is left alone.

        Raises:
            EngineError: it can't be started; the container itself says so from now on.
        """
        with _told("starts no container"):
            self._client.api.start(container)

    def stop(self, container: str, grace_seconds: int) -> None:
        """Ask it to end, by its image's own signal; after its grace it is killed. Waits for its end."""
        with _told("stops no container"), contextlib.suppress(docker.errors.NotFound):
            self._client.api.stop(container, timeout=grace_seconds)

    def remove(self, container: str) -> None:
        """Remove one that does not run, with the volumes that its image asked for."""
        with _told("removes no container"), contextlib.suppress(docker.errors.NotFound):
            self._client.api.remove_container(container, v=True)

    def log(self, container: str, most_bytes: int, most_lines: int = _LOG_LINES) -> bytes:
        """The end of what it has written; empty where nothing is kept."""
        kept = b""
        with _told("shows no log"), contextlib.suppress(docker.errors.APIError):
            for piece in self._client.api.logs(container, stream=True, follow=False, tail=most_lines):
                kept = (kept + piece)[-most_bytes:]
        return kept

    # --- files of containers that are never started, and of the volumes that these have

    def put(self, container: str, folder: str, files: Mapping[str, bytes | None], *, mode: int = 0o444) -> None:
        """Files below a folder of the container, by their paths; None: a folder that is open to all."""
        with _told("takes no files"):
            self._client.api.put_archive(container, folder, archive_of(files, mode=mode))

    def read(self, container: str, path: str, most_bytes: int | None = None) -> bytes | None:
        """A file of the container, or its end; None where there is none, or it is none."""
        with _told("shows no files"):
            try:
                pieces, _ = self._client.api.get_archive(container, path)
            except docker.errors.NotFound:
                return None
            with contextlib.closing(pieces):
                return first_file(pieces, most_bytes)

    # --- volumes, images, and the daemon itself

    def volumes(self, labels: Sequence[str]) -> list[dict[str, Any]]:
        """Every volume with all of these labels."""
        with _told("lists no volumes"):
            found: dict[str, Any] = self._client.api.volumes(filters={"label": list(labels)})
        return found["Volumes"] or []

    def create_volume(self, name: str, labels: Mapping[str, str]) -> None:
        """Make a volume; one that is there already is left alone."""
        with _told("makes no volume"):
            self._client.api.create_volume(name, labels=dict(labels))

    def remove_volume(self, name: str) -> None:
        """Remove a volume that no container has."""
        with _told("removes no volume"), contextlib.suppress(docker.errors.NotFound):
            self._client.api.remove_volume(name)

    def image(self, image: str) -> dict[str, Any] | None:
        """All that is known of an image; None: it is not on this machine."""
        with _told("shows no image"):
            try:
                found: dict[str, Any] = self._client.api.inspect_image(image)
            except docker.errors.NotFound:
                return None
        return found

    def pull(self, image: str) -> None:
        """
        Have the daemon fetch an image.

        Raises:
            EngineError: it could not; in its words.
        """
        repository, tag = parse_repository_tag(image)
        with _told(f"can't pull {image}"):
            for line in self._client.api.pull(repository, tag or "latest", stream=True, decode=True):
                # What goes wrong in the midst of it is told there alone.
                if "error" in line:
                    raise EngineError(str(line["error"]))

    def cpus(self) -> float:
        """How many the machine has."""
        with _told("tells nothing of itself"):
            return float(self._client.api.info()["NCPU"])

    def started_at(self) -> str:
        """When the daemon started, as far as it tells: it makes its own bridge anew each time. Empty: nobody knows."""
        with _told("shows no network"), contextlib.suppress(docker.errors.NotFound):
            return str(self._client.api.inspect_network("bridge")["Created"])
        return ""

    def changes(self, labels: Sequence[str]) -> tuple[Iterator[Any], Callable[[], None]]:
        """One value for each change of a container with these labels, as it happens; and how to end that."""
        with _told("tells no changes"):
            found = self._client.api.events(filters={"type": "container", "label": list(labels)})

        def end() -> None:
            # Of a daemon that went away there is no socket left to close.
            with contextlib.suppress(OSError, AttributeError, docker.errors.DockerException):
                found.close()

        return found, end


@contextlib.contextmanager
def _told(what: str) -> Iterator[None]:
    try:
        yield
    except docker.errors.NotFound as exc:
        raise EngineError(_words(exc)) from exc
    except docker.errors.APIError as exc:
        raise EngineError(f"Docker {what}: {_words(exc)}") from exc
    except docker.errors.DockerException as exc:
        # The client's own refusal, of a name or an option: asking again would not help.
        raise EngineError(f"Docker {what}: {_words(exc)}") from exc
    except _NO_ANSWER as exc:
        if any(isinstance(one, urllib3.exceptions.ReadTimeoutError) for one in exc.args):
            # It is there, and this very thing hangs: a container on a file system that does, say.
            raise EngineError(f"Docker {what} within {_TIMEOUT_SECONDS} s") from exc
        raise EngineUnavailable(f"the Docker daemon does not answer: {_words(exc)}") from exc


def _words(exc: Exception) -> str:
    return str(getattr(exc, "explanation", None) or exc).strip()[:1000]
