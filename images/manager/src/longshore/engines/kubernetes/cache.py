"""A mirror of one kind of object in a namespace: listed once, then watched.

Owns when to list again (what was to be gone on from is no longer kept), how to come back after a break, and for how
long what is mirrored may be believed. Refuses to show anything before the first whole list.
https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
"""

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, Generic, Protocol, TypeVar

import msgspec

from longshore.engines.kubernetes.api import Api, ApiError, Expired
from longshore.engines.kubernetes.objects import Metadata
from longshore_kit.errors import EngineUnavailable
from longshore_kit.logs import Logger

PAGE: Final = 500
WATCH_SECONDS: Final = 240
"""After so long the server ends a watch, and a new one goes on where it was."""
SILENCE_SECONDS: Final = 90.0
"""The server sends a bookmark about once a minute: a watch that says nothing for longer hangs."""
BELIEVED_SECONDS: Final = 180.0
"""What was mirrored is no answer any more when nothing was heard for so long."""
_BACKOFF_MAX: Final = 30.0
_IN_VAIN: Final = 3
"""So many watches from one version that bring nothing, and it is listed anew: the version may be the trouble."""
EXPIRED_CODE: Final = 410


class _Mirrored(Protocol):
    @property
    def metadata(self) -> Metadata: ...


Object = TypeVar("Object", bound=_Mirrored)


class _Version(msgspec.Struct, rename="camel"):
    resource_version: str = ""


class _Bookmark(msgspec.Struct):
    metadata: _Version


class _Event(msgspec.Struct):
    type: str
    object: msgspec.Raw


class _Status(msgspec.Struct):
    code: int = 0
    reason: str = ""
    message: str = ""


class _ListMetadata(msgspec.Struct, rename={"resource_version": "resourceVersion", "go_on": "continue"}):
    resource_version: str = ""
    go_on: str = ""


class _List(msgspec.Struct):
    metadata: _ListMetadata
    items: list[msgspec.Raw]


_EVENTS: Final = msgspec.json.Decoder(_Event)
_LISTS: Final = msgspec.json.Decoder(_List)
_BOOKMARKS: Final = msgspec.json.Decoder(_Bookmark)
_STATUSES: Final = msgspec.json.Decoder(_Status)


class Mirror(Generic[Object]):
    """The objects at `path` that `selector` selects, by name, kept by a thread of its own."""

    def __init__(
        self,
        api: Api,
        path: str,
        selector: str,
        kind: type[Object],
        *,
        on_change: Callable[[Object | None], None],
        log: Logger,
        stop: threading.Event | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._api: Final = api
        self._path: Final = path
        self._selector: Final = selector
        self._decoder: Final[Any] = msgspec.json.Decoder(kind)
        self._on_change: Final = on_change
        self._log: Final = log
        self._clock: Final = clock
        self._lock: Final = threading.Lock()
        self._objects: dict[str, Object] = {}
        self._put_lately: dict[str, Object] = {}
        """While it is listed."""
        self._version = ""
        self._failures = 0
        self._heard_at: float | None = None
        self._trouble = "it was not listed yet"
        self._first: Final = threading.Event()
        self._stop: Final = stop or threading.Event()
        self._thread: Final = threading.Thread(target=self._run, name=f"mirror-{kind.__name__}", daemon=True)

    def start(self) -> None:
        """Begin; `on_change` is called with each object that changed or went, with None after a whole list."""
        self._thread.start()

    def stop(self) -> None:
        """End soon."""
        self._stop.set()

    def wait(self, seconds: float) -> None:
        """Until the first list is there, or listing failed, or so long."""
        self._first.wait(seconds)

    def objects(self) -> Mapping[str, Object]:
        """
        All of them, by name, as of the last event.

        Raises:
            EngineUnavailable: nothing was heard for so long that this is no answer.
        """
        with self._lock:
            if self._heard_at is None or self._clock() - self._heard_at > BELIEVED_SECONDS:
                raise EngineUnavailable(f"{self._path}: {self._trouble}")
            return dict(self._objects)

    def put(self, data: bytes) -> Object:
        """
        Take in what a request of our own brought, unless the watch has already brought what came after.

        Raises:
            EngineUnavailable: it is no such object: something between us and the server answered in its place.
        """
        try:
            fresh: Object = self._decoder.decode(data)
            at = int(fresh.metadata.resource_version)
        except ValueError as exc:
            raise EngineUnavailable(f"{self._path}: not what an API server answers: {exc}") from exc
        with self._lock:
            known = self._objects.get(fresh.metadata.name)
            # What the watch has passed already and is not there was deleted since.
            if at > int(self._version or 0) and (known is None or _is_newer(fresh.metadata, known.metadata)):
                self._objects[fresh.metadata.name] = fresh
                if not self._version:
                    self._put_lately[fresh.metadata.name] = fresh
        self._on_change(fresh)
        return fresh

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                if not self._version:
                    self._list()
                self._watch()
            # ValueError: what is no JSON, no UTF-8, no object of this kind, or has no number for a version.
            # RecursionError: what is nested without an end.
            except (EngineUnavailable, ApiError, ValueError, RecursionError) as exc:
                self._failures += 1
                if not isinstance(exc, EngineUnavailable) or self._failures % _IN_VAIN == 0:
                    self._version = ""
                if isinstance(exc, Expired) and self._failures == 1:
                    continue
                self._complain(exc)
                # Bounded before it is a power: after a night of failures that would be no float any more.
                self._stop.wait(min(2.0 ** min(self._failures, 10), _BACKOFF_MAX))

    def _complain(self, exc: Exception) -> None:
        self._trouble = str(exc)
        self._first.set()
        # A watch breaks off now and then, as servers restart: once is nothing to look at.
        if self._failures == 2:  # noqa: PLR2004 - the second, see above
            self._log.warning("cluster not seen; trying again", path=self._path, reason=str(exc))

    def _list(self) -> None:
        with self._lock:
            self._put_lately = {}
        found: dict[str, Object] = {}
        query = {"labelSelector": self._selector, "limit": str(PAGE)}
        while True:
            page = _LISTS.decode(self._api.get(self._path, query))
            found |= {one.metadata.name: one for one in map(self._decoder.decode, page.items)}
            if not page.metadata.go_on:
                break
            query["continue"] = page.metadata.go_on
        version = page.metadata.resource_version
        with self._lock:
            # Made while it was listed, so not in the list; the watch will tell what became of it.
            found |= {
                name: one for name, one in self._put_lately.items() if int(one.metadata.resource_version) > int(version)
            }
            self._objects, self._version, self._put_lately = found, version, {}
        self._heard()
        self._first.set()
        self._on_change(None)

    def _watch(self) -> None:
        """From the version seen last on, until the server ends it."""
        query = {
            "labelSelector": self._selector,
            "resourceVersion": self._version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(WATCH_SECONDS),
        }
        has_told = False
        for line in self._api.watch(self._path, query, read_seconds=SILENCE_SECONDS):
            if self._stop.is_set():
                return
            event = _EVENTS.decode(line)
            if event.type == "ERROR":
                status = _STATUSES.decode(event.object)
                error = Expired if status.code == EXPIRED_CODE else ApiError
                raise error(status.code, status.reason, status.message)
            if event.type == "BOOKMARK":
                self._go_on_from(_BOOKMARKS.decode(event.object).metadata.resource_version)
            else:
                self._take(event.type, self._decoder.decode(event.object))
            self._heard()
            has_told, self._failures = True, 0
        if not has_told and not self._stop.is_set():
            # Even of a quiet queue there are bookmarks. A server that ends each at once would be asked without a pause.
            raise EngineUnavailable(f"the watch of {self._path} ended and had told nothing")

    def _take(self, event_type: str, one: Object) -> None:
        name, version = one.metadata.name, one.metadata.resource_version
        self._go_on_from(version)
        with self._lock:
            known = self._objects.get(name)
            # What a request of our own has brought may be what came after.
            if known is None or not _is_newer(known.metadata, one.metadata):
                if event_type == "DELETED":
                    self._objects.pop(name, None)
                else:
                    self._objects[name] = one
        self._on_change(one)

    def _go_on_from(self, version: str) -> None:
        """A watch only goes forward: one that goes back is of a cluster that was restored, where all is different."""
        with self._lock:
            if int(version) < int(self._version or 0):
                raise Expired(EXPIRED_CODE, "Expired", f"{self._path}: {version} came after {self._version}")
            self._version = version

    def _heard(self) -> None:
        self._trouble = f"nothing was heard of it for {BELIEVED_SECONDS:.0f} s"
        self._heard_at = self._clock()


def _is_newer(fresh: Metadata, known: Metadata) -> bool:
    # Versions of one resource are numbers that grow: since Kubernetes 1.35 that is a promise, before it was so as well.
    # They do across names and uids too; times of creation are whole seconds, too coarse to tell.
    return int(fresh.resource_version) > int(known.resource_version)
