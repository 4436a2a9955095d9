"""Records in ConfigMaps: twelve bytes for each done item, name and reason for each failed one, a few objects in all.

Owns the records' form there, and how several managers and people's commands change them without a lock: every change
is made against the version that was read, and the head, into which all is entered, is touched by every removal. Once
it is full, what it holds moves into a ConfigMap of its own, which counts as soon as the head names it: in the very
write that empties the head, so that a removal meanwhile voids both.
https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions
"""

import base64
import contextlib
import json
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self
from uuid import uuid4

import msgspec

from longshore.breaker import is_believable
from longshore.control import Mode, mode_of
from longshore.engines.kubernetes.api import Api, Conflict, NotThere, decoded
from longshore.engines.kubernetes.cache import Mirror
from longshore.engines.kubernetes.objects import Metadata
from longshore.ledger import LedgerUnavailable
from longshore.manifests import MANAGED_BY_LABEL
from longshore.records import DIGEST_BYTES, Digests, Key, Records
from longshore.state import Record, State
from longshore_kit.errors import EngineError
from longshore_kit.logs import get_logger

LEDGER_LABEL: Final = "longshore.dev/ledger"
SHARD_BYTES: Final = 256 * 1024
"""A shard is written anew with each entry, so it is kept well below the 1 MiB that a ConfigMap may have."""
SETTLE_SECONDS: Final = 180.0
"""Longer than anybody acts on what he has read: `READ_SECONDS`, and then a request that is repeated for a minute."""
READ_SECONDS: Final = 20.0
"""Jobs are made by records that were read from the API server itself, not from a mirror, so long ago at most."""
FIRST_LOOK_SECONDS: Final = 30.0
_TRIES: Final = 20
_REASON_MAX: Final = 2048
_TOUCHED: Final = "longshore.dev/touched"
_SEALED: Final = "longshore.dev/sealed"
"""On the head: the names of the ConfigMaps that count beside it."""
_DONE_AT: Final = "longshore.dev/done-at"
"""On the head: when an item was last done, of those whose Jobs are gone, in seconds since the epoch."""
_MODE: Final = "longshore.dev/mode"
"""On the head: whether items are started, where a person has said that they are not."""
_MODE_SEEN: Final = "longshore.dev/mode-seen"
"""On the head: which of these a manager has seen, and starts nothing any more."""
_DONE: Final = "done"
_FAILED: Final = "failed.jsonl"
_METADATA_ONLY: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


class ConfigMapObject(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    """What is read of a ConfigMap."""

    metadata: Metadata
    data: dict[str, str] = {}
    binary_data: dict[str, str] = {}


class _MetadataOnly(msgspec.Struct):
    metadata: Metadata


class _MetadataList(msgspec.Struct):
    items: list[_MetadataOnly] | None = None
    """null where there are none: so the server writes an empty list of metadata alone."""


class _Line(msgspec.Struct):
    item: str
    at: float | None = None
    reason: str = ""


_LINES: Final = msgspec.json.Decoder(_Line)


@dataclass(frozen=True)
class Shard:
    """The records of one ConfigMap."""

    done: frozenset[bytes] = frozenset()
    failed: tuple[Record, ...] = ()

    @classmethod
    def of(cls, one: ConfigMapObject) -> Self:
        """
        What a ConfigMap says.

        Raises:
            ValueError: it is none of ours, or was changed by somebody.
        """
        packed = base64.b64decode(one.binary_data.get(_DONE, ""), validate=True)
        if len(packed) % DIGEST_BYTES:
            raise ValueError(f"{len(packed)} bytes are no whole digests")
        done = (packed[at : at + DIGEST_BYTES] for at in range(0, len(packed), DIGEST_BYTES))
        lines = _LINES.decode_lines(one.data.get(_FAILED, ""))
        return cls(frozenset(done), tuple(Record(line.item, State.FAILED, line.at, line.reason) for line in lines))

    def content(self) -> dict[str, Any]:
        """What makes a ConfigMap hold just this; the same records give the same."""
        lines = [_line(one) + "\n" for one in self.failed]
        return {
            "binaryData": {_DONE: base64.b64encode(b"".join(sorted(self.done))).decode()},
            "data": {_FAILED: "".join(lines)},
        }

    @property
    def size_bytes(self) -> int:
        """About what it takes in a ConfigMap."""
        content = self.content()
        return len(self.done) * DIGEST_BYTES + len(content["data"][_FAILED].encode())

    def with_records(self, records: Sequence[Record], digests: Digests) -> "Shard":
        """These too; of an item that is entered again the last one counts."""
        failed = {one.item: one for one in (*self.failed, *records) if one.state is State.FAILED}
        done = [one.item for one in records if one.state is State.DONE]
        for item in done:
            failed.pop(item, None)
        return Shard(self.done.union(map(digests.of, done)), tuple(failed.values()))

    def without(self, keys: Collection[Key], digests: Digests) -> "Shard":
        """Without the records that are found by these."""
        gone = {digests.of(key) if isinstance(key, str) else key for key in keys}
        return Shard(self.done - gone, tuple(one for one in self.failed if one.item not in keys))

    @property
    def is_empty(self) -> bool:
        """Whether it holds nothing."""
        return not self.done and not self.failed


def _line(one: Record) -> str:
    """A failed record; of a long reason its end, which says most."""
    reason = one.reason[-_REASON_MAX:]
    return json.dumps({"item": one.item, "at": one.at, "reason": reason}, ensure_ascii=False)


class ClusterLedger:
    """The records of one queue, in its namespace."""

    settle_seconds: Final = SETTLE_SECONDS

    def __init__(self, api: Api, queue: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._api: Final = api
        self._queue: Final = queue
        self._clock: Final = clock
        self._head: Final = f"{queue}-longshore-ledger"
        self._path: Final = f"/api/v1/namespaces/{api.namespace}/configmaps"
        self._selector: Final = f"{LEDGER_LABEL}={queue}"
        self._digests: Final = Digests(queue)
        self._lock: Final = threading.RLock()
        self._shards: dict[str, tuple[str, Shard]] = {}
        """Each by its name, with the version that it was read from."""
        self._records = Records(digests=self._digests)
        self._read_at: float | None = None
        self._is_started = False
        self._mirror: Final = Mirror(
            api,
            self._path,
            self._selector,
            ConfigMapObject,
            on_change=lambda _: None,
            log=get_logger("longshore.ledger", queue=queue, namespace=api.namespace),
        )

    def read(self) -> Records:
        """As `Ledger.read`, from a mirror: what another process has just entered may be missing still."""
        with self._lock, _translated():
            self._start()
            return self._take(self._mirror.objects())

    @contextlib.contextmanager
    def steady(self) -> Iterator[Records]:
        """As `Ledger.steady`: what is entered meanwhile keeps its Job for longer than this may take."""
        with self._lock, _translated():
            self._start()
            if self._read_at is None or self._clock() - self._read_at > READ_SECONDS:
                self._read_afresh()
            records = self._take(self._mirror.objects())
        yield records

    def enter(self, records: Sequence[Record], still: Callable[[], Collection[str]] | None = None) -> Collection[str]:
        """As `Ledger.enter`."""
        with self._lock, _translated():
            self._start()
            for _ in range(_TRIES):
                head = self._read_head()
                due = still() if still else {record.item for record in records}
                shard = _shard_of(head)
                entered = self._fitting([record for record in records if record.item in due])
                fuller = shard.with_records(entered, self._digests)
                if fuller.size_bytes > SHARD_BYTES and not shard.is_empty:
                    self._seal(head, shard)
                elif not entered or self._write(head, fuller, _sealed(head), _last_done(entered)):
                    return {record.item for record in entered}
        raise LedgerUnavailable(f"{self._head}: others change it all the time; trying again later")

    def note_done(self, at: float) -> None:
        """As `Ledger.note_done`."""
        with self._lock, _translated():
            self._start()
            for _ in range(_TRIES):
                head = self._read_head()
                if (_done_at(head) or 0.0) >= at:
                    return
                version = head.metadata.resource_version
                patch = {"metadata": {"resourceVersion": version, "annotations": {_DONE_AT: f"{at:.3f}"}}}
                with contextlib.suppress(Conflict, NotThere):
                    self._mirror.put(self._api.patch(f"{self._path}/{self._head}", patch))
                    return
        raise LedgerUnavailable(f"{self._head}: others change it all the time; trying again later")

    def _fitting(self, records: Sequence[Record]) -> Sequence[Record]:
        """As many as an empty head takes; long reasons fill it soon. The others are entered the next time."""
        while len(records) > 1 and Shard().with_records(records, self._digests).size_bytes > SHARD_BYTES:
            records = records[: len(records) // 2]
        return records

    def remove(self, keys: Sequence[Key]) -> None:
        """As `Ledger.remove`. The head is touched in any case: an entry that is under way must look again."""
        with self._lock, _translated():
            self._start()
            for _ in range(_TRIES):
                head = self._read_head()
                emptied = [name for name in _sealed(head) if self._is_emptied(name, keys)]
                less = _shard_of(head).without(set(keys), self._digests)
                if self._write(head, less, [name for name in _sealed(head) if name not in emptied]):
                    for name in emptied:
                        self._delete(name)
                    return
        raise LedgerUnavailable(f"{self._head}: others change it all the time; try again")

    def mode(self) -> Mode:
        """As `Control.mode`: an annotation of the head, seen in the same mirror."""
        with self._lock:
            self._start()
            head = self._mirror.objects().get(self._head)
        return mode_of(head.metadata.annotations.get(_MODE, Mode.RUNNING) if head else Mode.RUNNING, self._head)

    def set_mode(self, mode: Mode) -> None:
        """As `Control.set_mode`; whatever else is in the head stays."""
        self._annotate({_MODE: None if mode is Mode.RUNNING else str(mode), _MODE_SEEN: None})

    def note_seen(self, mode: Mode) -> None:
        """As `Control.note_seen`."""
        self._annotate({_MODE_SEEN: str(mode)})

    def is_seen(self, mode: Mode) -> bool:
        """As `Control.is_seen`."""
        with self._lock:
            self._start()
            head = self._mirror.objects().get(self._head)
        return head is not None and head.metadata.annotations.get(_MODE_SEEN) == mode

    def _annotate(self, changed: Mapping[str, str | None]) -> None:
        with self._lock, _translated():
            self._start()
            for _ in range(_TRIES):
                self._read_head()
                with contextlib.suppress(NotThere):  # somebody has just deleted it
                    patch = {"metadata": {"annotations": dict(changed)}}
                    self._mirror.put(self._api.patch(f"{self._path}/{self._head}", patch))
                    return
        raise LedgerUnavailable(f"{self._head}: is deleted again and again by somebody")

    def close(self) -> None:
        """Stop watching."""
        self._mirror.stop()

    # --- reading

    def _start(self) -> None:
        if not self._is_started:
            self._is_started = True
            self._mirror.start()
        self._mirror.wait(FIRST_LOOK_SECONDS)

    def _take(self, objects: Mapping[str, ConfigMapObject]) -> Records:
        counting = self._counting(objects)
        versions = {name: one.metadata.resource_version for name, one in counting.items()}
        if versions != {name: version for name, (version, _) in self._shards.items()}:
            before = self._shards
            self._shards = {
                name: known
                if (known := before.get(name)) and known[0] == versions[name]
                else (versions[name], _shard_of(one))
                for name, one in counting.items()
            }
            shards = [shard for _, shard in self._shards.values()]
            self._records = Records(
                {one.item: one for shard in shards for one in shard.failed},
                frozenset().union(*(shard.done for shard in shards)),
                self._digests,
                _done_at(counting[self._head]) if counting else None,
            )
        return self._records

    def _counting(self, objects: Mapping[str, ConfigMapObject]) -> Mapping[str, ConfigMapObject]:
        """The head and those that it names; any other was made and never came to count."""
        head = objects.get(self._head)
        if head is None:
            return {}
        names = _sealed(head)
        if missing := [name for name in names if name not in objects]:
            # Part of the records is not seen: that is no answer, and never "not there".
            raise LedgerUnavailable(
                f"ConfigMap {missing[0]} is not seen, which {self._head} names: where it was deleted, take it out of "
                f"the annotation {_SEALED}, to have its items run again"
            )
        return {name: objects[name] for name in (self._head, *names)}

    def _read_afresh(self) -> None:
        """Have the mirror at least as new as now: the versions are asked for, and what differs is read."""
        asked_at = self._clock()
        known = {name: one.metadata.resource_version for name, one in self._mirror.objects().items()}
        # The head last: what it names is there by then.
        for metadata in sorted(self._metadata(), key=lambda one: one.name == self._head):
            if known.get(metadata.name) != metadata.resource_version:
                with contextlib.suppress(NotThere):
                    self._mirror.put(self._api.get(f"{self._path}/{metadata.name}"))
        self._read_at = asked_at

    def _metadata(self) -> list[Metadata]:
        found = self._api.get(self._path, {"labelSelector": self._selector}, accept=_METADATA_ONLY)
        return [one.metadata for one in decoded(found, _MetadataList, self._path).items or ()]

    def _read_head(self) -> ConfigMapObject:
        """The head as it is now, made where there is none."""
        for _ in range(_TRIES):
            try:
                return self._api.read(f"{self._path}/{self._head}", ConfigMapObject)
            except NotThere:
                with contextlib.suppress(Conflict):  # somebody else has just made it
                    self._create(self._head, Shard())
        raise LedgerUnavailable(f"{self._head}: is deleted again and again by somebody")

    def _read_sealed(self, name: str) -> ConfigMapObject | None:
        try:
            return self._api.read(f"{self._path}/{name}", ConfigMapObject)
        except NotThere:
            return None

    # --- writing

    def _create(self, name: str, shard: Shard) -> None:
        labels = {MANAGED_BY_LABEL: "longshore", LEDGER_LABEL: self._queue}
        head = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": labels}}
        self._mirror.put(self._api.create(self._path, head | shard.content()))

    def _write(
        self, seen: ConfigMapObject, shard: Shard, sealed: Sequence[str] | None = None, done_at: float | None = None
    ) -> bool:
        """Have a ConfigMap hold this, and the head name those, unless somebody has changed it since it was seen."""
        # Touched also where nothing else changes: then who has read it before must read it again.
        annotations = {_TOUCHED: uuid4().hex} | ({} if sealed is None else {_SEALED: json.dumps(list(sealed))})
        if done_at is not None:
            annotations[_DONE_AT] = f"{max(done_at, _done_at(seen) or 0.0):.3f}"
        metadata = {"resourceVersion": seen.metadata.resource_version, "annotations": annotations}
        try:
            data = self._api.patch(f"{self._path}/{seen.metadata.name}", {"metadata": metadata, **shard.content()})
        except (Conflict, NotThere):
            return False
        self._mirror.put(data)
        return True

    def _seal(self, head: ConfigMapObject, shard: Shard) -> None:
        """Move what the head holds into a ConfigMap of its own; where the head was changed meanwhile, into none."""
        name = f"{self._head}-{uuid4().hex[:16]}"
        self._create(name, shard)
        if not self._write(head, Shard(), [*_sealed(head), name]):
            self._delete(name)

    def _is_emptied(self, name: str, keys: Sequence[Key]) -> bool:
        """Take the records of these keys out of a sealed ConfigMap: whether nothing is left in it."""
        for _ in range(_TRIES):
            seen = self._read_sealed(name)
            if seen is None:
                return True
            shard = _shard_of(seen)
            less = shard.without(set(keys), self._digests)
            if less == shard or self._write(seen, less):
                return less.is_empty
        raise LedgerUnavailable(f"{name}: others change it all the time; try again")

    def _delete(self, name: str) -> None:
        """Of no use any more; one that stays behind counts for nothing."""
        with contextlib.suppress(EngineError):
            if seen := self._read_sealed(name):
                self._api.delete(f"{self._path}/{name}", seen.metadata.uid, propagation="Background")


def _sealed(head: ConfigMapObject) -> list[str]:
    """The ConfigMaps that the head names."""
    try:
        names = json.loads(head.metadata.annotations.get(_SEALED, "[]"))
    except ValueError:
        names = None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise LedgerUnavailable(f"ConfigMap {head.metadata.name}: its annotation {_SEALED} is no list of names")
    return names


def _done_at(head: ConfigMapObject) -> float | None:
    """None where nobody has said; and where what was written can't be so, which must stop nothing."""
    try:
        at = float(head.metadata.annotations[_DONE_AT])
    except (KeyError, ValueError):
        return None
    return at if is_believable(at, time.time()) else None


def _last_done(records: Iterable[Record]) -> float | None:
    times = (one.at for one in records if one.state is State.DONE and one.at is not None)
    return max((at for at in times if is_believable(at, time.time())), default=None)


def _shard_of(one: ConfigMapObject) -> Shard:
    try:
        return Shard.of(one)
    except (ValueError, msgspec.MsgspecError) as exc:
        raise LedgerUnavailable(
            f"ConfigMap {one.metadata.name} is damaged ({exc}): mend it, or delete it, which has its items run again"
        ) from exc


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except EngineError as exc:
        raise LedgerUnavailable(str(exc)) from exc
