"""Where records are kept: a few bytes for each item whose Job is gone, for sources that never shrink.

Owns the seam, and the record's form on disk. A record is written, and safe, before its Job is deleted; so an item
always has a Job or a record, and a reader that looks at Jobs first and here second can't miss both. The other one, in
ConfigMaps, is cluster_ledger.py. tests/contract/ledger_contract.py says what both do.
"""

import contextlib
import fcntl
import json
import os
import threading
import time
import weakref
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Final, Protocol

import msgspec

from longshore.breaker import is_believable
from longshore.records import Key, Records
from longshore.state import Record, State
from longshore_kit.errors import LongshoreError


class LedgerUnavailable(LongshoreError):
    """The records could not be read or written; safe to retry."""


class Ledger(Protocol):
    """The records of one queue, shared by all its managers. Methods may be called by several threads."""

    @property
    def settle_seconds(self) -> float:
        """
        For how long a record must have been seen before its Job may go; 0: it may as soon as `enter` returns.

        Where nothing holds the records steady, a manager may still be acting on what it read before.
        """

    def read(self) -> Records:
        """
        Every record, as of now; a value that does not change any more.

        Raises:
            LedgerUnavailable: as for every method.
        """

    def steady(self) -> AbstractContextManager[Records]:
        """
        Every record, read afresh. For creating Jobs in: while the context is held none is entered, or none of those
        that are entered loses its Job.
        """

    def enter(self, records: Sequence[Record], still: Callable[[], Collection[str]] | None = None) -> Collection[str]:
        """
        Add the records; with `still` only of those items that it names, asked when nobody else can enter or remove any.

        Returns their names; when it does, they survive a crash.
        """

    def note_done(self, at: float) -> None:
        """Keep that an item was done at this time, beside its record or without one: its Job is about to go."""

    def remove(self, keys: Sequence[Key]) -> None:
        """
        Drop these records; one that isn't there is no error.

        An entry of one of them that is under way elsewhere asks again which Jobs are still there.
        """


_COMPACT_AT: Final = 1000
"""So many lines that say nothing any more are worth writing the file anew."""


class _Line(msgspec.Struct, forbid_unknown_fields=True):
    """One line of the file: a record, without a state the removal of one, without an item when one was done."""

    item: str = ""
    state: State | None = None
    at: float | None = None
    reason: str = ""


_LINES: Final = msgspec.json.Decoder(_Line)


class FileLedger:
    """A ledger in one file of JSON lines: one appended per record and per removal, the last one of an item counts."""

    def __init__(self, path: Path) -> None:
        self._path: Final = path
        self._lock_path: Final = path.with_suffix(".lock")
        self._guard: Final = threading.RLock()
        self._records: dict[str, Record] = {}
        self._done_at: float | None = None
        self._shown = Records()
        self._file: int | None = None
        """A descriptor, kept open: as long as it is, no other file can have its number."""
        self._close: Callable[[], object] = lambda: None
        self._offset = 0
        self._lines = 0

    settle_seconds: Final = 0.0
    """A lock holds them steady."""

    def read(self) -> Records:
        """As `Ledger.read`; only what was appended since the last time is read."""
        with self._guard, _translated(self._path):
            return self._read()

    @contextlib.contextmanager
    def steady(self) -> Iterator[Records]:
        """As `Ledger.steady`."""
        with self._locked(fcntl.LOCK_SH):
            yield self.read()

    def enter(self, records: Sequence[Record], still: Callable[[], Collection[str]] | None = None) -> Collection[str]:
        """As `Ledger.enter`."""
        with self._locked(fcntl.LOCK_EX):
            due = still() if still else {record.item for record in records}
            entered = [record for record in records if record.item in due]
            self._append([asdict(record) for record in entered])
        return {record.item for record in entered}

    def note_done(self, at: float) -> None:
        """As `Ledger.note_done`."""
        with self._locked(fcntl.LOCK_EX):
            if (self.read().done_at or 0.0) < at:
                self._append([{"at": at}])

    def remove(self, keys: Sequence[Key]) -> None:
        """As `Ledger.remove`."""
        with self._locked(fcntl.LOCK_EX):
            there = self.read().named
            self._append([{"item": key} for key in keys if key in there])

    def _read(self) -> Records:
        if not self._is_same_file():
            self._open()
        if self._file is None:
            return self._shown
        fresh = os.pread(self._file, os.fstat(self._file).st_size - self._offset, self._offset)
        # A line without its end was cut off by a crash, before its Job was deleted: it never counted.
        whole = fresh[: fresh.rfind(b"\n") + 1]
        if whole:
            for line in _LINES.decode_lines(whole):
                self._take(line)
            self._offset += len(whole)
            self._shown = Records(MappingProxyType(dict(self._records)), done_at=self._done_at)
        return self._shown

    def _is_same_file(self) -> bool:
        try:
            there = self._path.stat()
        except FileNotFoundError:
            return self._file is None
        if self._file is None:
            return False
        known = os.fstat(self._file)
        return (known.st_dev, known.st_ino) == (there.st_dev, there.st_ino) and there.st_size >= self._offset

    def _open(self) -> None:
        self._close()
        self._file, self._records, self._shown, self._offset, self._lines = None, {}, Records(), 0, 0
        self._done_at = None
        with contextlib.suppress(FileNotFoundError):
            self._file = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            self._close = weakref.finalize(self, os.close, self._file)

    def _take(self, line: "_Line") -> None:
        self._lines += 1
        is_of_done = line.state is State.DONE or not line.item
        if line.at is not None and is_of_done and is_believable(line.at, time.time()):
            self._done_at = max(line.at, self._done_at or 0.0)
        if not line.item:
            return
        if line.state is None:
            self._records.pop(line.item, None)
        else:
            self._records[line.item] = Record(line.item, line.state, line.at, line.reason)

    def _append(self, lines: Sequence[Mapping[str, object]]) -> None:
        """Under the exclusive lock."""
        text = "".join(json.dumps(line) + "\n" for line in lines)
        with self._guard, _translated(self._path):
            self._read()
            with self._path.open("ab") as file:
                file.truncate(self._offset)
                file.seek(0, os.SEEK_END)
                file.write(text.encode())
                file.flush()
                os.fsync(file.fileno())
            self._read()
        if self._lines - len(self._records) > _COMPACT_AT:
            self._compact()

    def _compact(self) -> None:
        """Under the exclusive lock."""
        aside = self._path.with_suffix(".new")
        with self._guard, _translated(self._path):
            with aside.open("w", encoding="utf-8") as file:
                records = self._read()
                if records.done_at is not None:
                    file.write(json.dumps({"at": records.done_at}) + "\n")
                file.writelines(json.dumps(asdict(record)) + "\n" for record in records.named.values())
                file.flush()
                os.fsync(file.fileno())
            aside.replace(self._path)
            _sync_folder(self._path.parent)

    @contextlib.contextmanager
    def _locked(self, how: int) -> Iterator[None]:
        with _translated(self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            lock = self._lock_path.open("ab")
        with lock:
            fcntl.flock(lock, how)
            yield


@contextlib.contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, msgspec.MsgspecError) as exc:
        raise LedgerUnavailable(f"{path}: {exc}") from exc


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
