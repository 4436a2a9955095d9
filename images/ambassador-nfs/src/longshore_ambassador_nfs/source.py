"""The files under a folder as a source of items: an item's name is its path relative to the root.

Refuses to mistake a root that is missing, unmounted or half-readable for one with fewer items.
The contract: docs/source-contract.md.
"""

import os
import stat
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from longshore_ambassador_nfs.paths import SKIPPED_ERRORS, NotAnItem, item_status, join
from longshore_ambassador_nfs.walk import Tree
from longshore_kit.contract import Item, ItemList
from longshore_kit.errors import ItemNotFound, SourceUnavailable
from longshore_kit.globs import Selection

# RFC 3339 has four digits for a year; file systems reach further (292 billion years on btrfs).
_SAY_WHERE: Final = "say where it is: in a queue file by the first of source.volumes, else by MEDIA_PATH"
_FIRST_SECOND: Final = int(datetime(1, 1, 1, tzinfo=UTC).timestamp())
_LAST_SECOND: Final = int(datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp())


class NfsSource:
    """
    The regular files below `root` that one of `patterns` matches and none of `exclude`, once they are settled.

    Nothing needs to be there yet when it is made: a root that is not mounted yet is `SourceUnavailable` until it is.

    Raises:
        BadPattern: a pattern can match nothing below the root.
    """

    def __init__(
        self,
        root: Path,
        patterns: Sequence[str] = ("**/*.mp4",),
        *,
        exclude: Sequence[str] = (),
        settle_seconds: float = 30,
        marker_file: str | None = None,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._root = os.fsencode(root.absolute())
        self._marker_file = marker_file
        self._selection = Selection(patterns, exclude)
        self._tree = Tree(self._root, self._selection, settle_seconds=settle_seconds, clock=clock, monotonic=monotonic)
        self._list = ItemList(names=())

    def list_items(self) -> ItemList:
        """
        Every item now, sorted by name; the same object as last time when nothing has changed.

        Raises:
            SourceUnavailable: the root, its marker file or something below could not be looked at; safe to retry.
        """
        before = self._check_root()

        def confirm() -> None:
            # An unmount during the walk looks like folders that somebody removed.
            if self._check_root() != before:
                raise SourceUnavailable(f"{self._shown} was mounted or unmounted while it was listed; try again")

        names = self._tree.look(confirm=confirm)
        pending_count = self._tree.settling_count
        if names is not self._list.names or pending_count != self._list.pending_count:
            self._list = ItemList(names=names, pending_count=pending_count)
        return self._list

    def get_item(self, name: str) -> Item:
        """
        One file: its path relative to the root, its size in bytes, and when it was modified, in UTC.

        Raises:
            ItemNotFound: there is no such file, or it is none that would be listed.
            SourceUnavailable: the root or the file could not be looked at; safe to retry.
        """
        if not self._selection.takes(name):
            raise ItemNotFound(f"{name!r} is no item: the patterns for {self._shown} don't match it")
        try:
            status = item_status(self._root, name)
        except (NotAnItem, OSError) as exc:
            self._refuse(name, exc)
            raise ItemNotFound(f"{name!r} is no item: {getattr(exc, 'strerror', None) or exc}") from exc
        return Item(name, {"path": name, "size": status.st_size, "modified": _timestamp(status.st_mtime_ns)})

    def _refuse(self, name: str, exc: NotAnItem | OSError) -> None:
        """Raise `SourceUnavailable` if that is why `name` could not be looked at."""
        if isinstance(exc, OSError) and exc.errno not in SKIPPED_ERRORS:
            raise SourceUnavailable(f"{name!r} in {self._shown} could not be looked at: {exc.strerror}") from exc
        device, _ = self._check_root()
        if self._tree.device not in {None, device}:
            raise SourceUnavailable(f"{self._shown} is on another file system than when it was listed") from exc

    def _check_root(self) -> tuple[int, int]:
        """Which folder the root is, as device and inode, if it is there and what it should be."""
        try:
            status = os.stat(self._root)  # noqa: PTH116 - pathlib has no bytes
        except OSError as exc:
            raise SourceUnavailable(
                f"{self._shown} could not be looked at ({exc.strerror}): mount or create it, or {_SAY_WHERE}"
            ) from exc
        if not stat.S_ISDIR(status.st_mode):
            raise SourceUnavailable(f"{self._shown} is no folder: {_SAY_WHERE}")
        if self._marker_file is not None:
            self._check_marker(self._marker_file)
        return status.st_dev, status.st_ino

    def _check_marker(self, marker_file: str) -> None:
        try:
            os.stat(join(self._root, marker_file))  # noqa: PTH116 - pathlib has no bytes
        except OSError as exc:
            raise SourceUnavailable(
                f"the marker file {marker_file!r} in {self._shown} could not be looked at ({exc.strerror}): "
                "mount what should be there, or create the file in it"
            ) from exc

    @property
    def _shown(self) -> str:
        return os.fsdecode(self._root)


def _timestamp(time_ns: int) -> str:
    seconds = min(max(time_ns // 10**9, _FIRST_SECOND), _LAST_SECOND)
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
