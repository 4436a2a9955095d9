"""The walk: every item below the root, with as few system calls as an unchanged tree allows.

Folders are scanned without a stat per entry, and scanned again only when their stamp has changed; what may still
be written, and links, are looked at one by one. A walk is whole or it fails: what concerns one path is left out
(gone, or no permission, which is reported once), anything else is `SourceUnavailable`.
"""

import errno
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace
from itertools import chain
from typing import Final

from longshore_ambassador_nfs.folder import Folder, Stamp
from longshore_ambassador_nfs.paths import GONE_ERRORS, SKIPPED_ERRORS, NotAnItem, item_status, join
from longshore_ambassador_nfs.reports import Reports
from longshore_ambassador_nfs.scan import scan
from longshore_ambassador_nfs.settling import Settling, Sighting
from longshore_kit.errors import SourceUnavailable
from longshore_kit.globs import Place, Selection

RACY_SECONDS: Final = 3.0
"""A folder that changed so recently may change again without a new stamp: file systems count in steps of up to two
seconds (FAT; 1 s on old NFS servers, milliseconds elsewhere), and one more for two clocks that differ."""

RESCAN_SECONDS: Final = 600.0
"""Every folder is scanned this often whatever its stamp says: some network file systems keep no honest times for
folders. A guess: a fraction of a second of CPU per ten minutes, and a file is unnoticed for so long at most."""


class Tree:
    """The items below `root`, remembered from one look to the next. For one thread at a time."""

    def __init__(
        self,
        root: bytes,
        selection: Selection,
        *,
        settle_seconds: float,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        self._root = root
        self._selection = selection
        self._settling = Settling(settle_seconds, clock=clock, monotonic=monotonic)
        self._clock = clock
        self._monotonic = monotonic
        self._reports = Reports()
        self._folders: dict[str, Folder] = {}
        self._names: tuple[str, ...] = ()

    @property
    def device(self) -> int | None:
        """The file system that the root was on at the last good look; None before the first."""
        top = self._folders.get("")
        return top.stamp.device if top else None

    @property
    def settling_count(self) -> int:
        """Files and links that were not listed at the last good look because they may still be written."""
        return sum(
            len(one.settling) + sum(sighting is not None for sighting in one.links.values())
            for one in self._folders.values()
        )

    def look(self, *, confirm: Callable[[], None] = lambda: None) -> tuple[str, ...]:
        """
        The names of all items now, sorted; the same object as last time when nothing has changed.

        `confirm` is called after the walk, and raises if what was walked over is not to be believed.

        Raises:
            SourceUnavailable: something of the tree could not be looked at; what was known before is kept.
        """
        found = dict(self._walk())
        confirm()
        if _listed(found) != _listed(self._folders):
            names = tuple(sorted(chain.from_iterable(chain(one.files, one.linked) for one in found.values())))
            # They may be the same ones, scanned in another order.
            self._names = self._names if names == self._names else names
        self._folders = found
        return self._names

    def _walk(self) -> Iterator[tuple[str, Folder]]:
        # A list instead of recursion: folders can be deeper than Python's stack.
        left: list[tuple[str, Place]] = [("", self._selection.root)]
        while left:
            path, place = left.pop()
            if (folder := self._look_at(path, place)) is not None:
                yield path, folder
                left.extend(folder.folders)

    def _look_at(self, path: str, place: Place) -> Folder | None:
        """The folder at `path` as it is now; None when it is gone or not for us."""
        before = self._folders.get(path)
        try:
            # Before the scan: a change in between then shows as a new stamp at the next look.
            stamp = Stamp.of(self._folder_status(path))
            if before is not None and before.stamp == stamp and self._monotonic() < before.trusted_until:
                return self._look_at_files(before)
            folder = self._look_at_files(self._scan(path, place, stamp, before))
        except OSError as exc:
            self._leave_out(path, exc)
            return None
        if before is not None and before.stamp.device != stamp.device and folder.is_bare and not before.is_bare:
            raise SourceUnavailable(
                f"{self._shown(path)} is on another file system than before, and nothing is left in it: was it "
                "unmounted? Mount it again; if it is empty on purpose, restart the ambassador"
            )
        return folder

    def _folder_status(self, path: str) -> os.stat_result:
        # The root may be a link to a folder; nothing below it may.
        status = os.stat(join(self._root, path), follow_symlinks=not path)  # noqa: PTH116 - pathlib has no bytes
        if not stat.S_ISDIR(status.st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        return status

    def _scan(self, path: str, place: Place, stamp: Stamp, before: Folder | None) -> Folder:
        now = self._monotonic()
        seen_at = before.seen_at if before is not None and before.stamp == stamp else now
        # The first is by two clocks, the file server's and ours; the second holds whatever the server's says.
        is_quiet = self._clock() - stamp.seconds >= RACY_SECONDS or now - seen_at >= RACY_SECONDS
        found = scan(join(self._root, path), f"{path}/" if path else "", place, self._reports)
        waiting = before.waiting if before is not None else {}
        # What was listed once stays so, and needs no other look; and without settling nothing needs one.
        listed = before.listed if before is not None else frozenset()
        is_listed = listed.__contains__ if self._settling.seconds else lambda _name: True
        return Folder(
            stamp=stamp,
            seen_at=seen_at,
            trusted_until=now + RESCAN_SECONDS if is_quiet else 0,
            files=tuple(name for name in found.files if is_listed(name)),
            settling={name: waiting.get(name) for name in found.files if not is_listed(name)},
            links={name: waiting.get(name) for name in found.links},
            linked=tuple(name for name in found.links if name in listed),
            folders=tuple(found.folders),
        )

    def _look_at_files(self, folder: Folder) -> Folder:
        """The folder after a look at those of its files that need one."""
        if not folder.settling and not folder.links:
            return folder
        settling, finished = self._settle(folder.settling, self._file_status)
        links, linked = self._settle(folder.links, self._link_status, listed=frozenset(folder.linked))
        return replace(
            folder,
            files=folder.files + finished,
            settling=settling,
            links={name: links.get(name) for name in folder.links},
            linked=linked,
        )

    def _settle(
        self,
        waiting: Mapping[str, Sighting | None],
        status_of: Callable[[str], os.stat_result | None],
        *,
        listed: AbstractSet[str] = frozenset(),
    ) -> tuple[dict[str, Sighting | None], tuple[str, ...]]:
        """Those that may still be written, and those that are items."""
        still: dict[str, Sighting | None] = {}
        finished: list[str] = []
        for name, before in waiting.items():
            status = status_of(name)
            sighting = self._settling.look(status, before) if status is not None else None
            if status is not None and (sighting is None or name in listed):
                finished.append(name)
            else:
                still[name] = sighting
        return still, tuple(finished)

    def _file_status(self, name: str) -> os.stat_result | None:
        """None: it can't be an item now."""
        try:
            status = os.lstat(join(self._root, name))
        except OSError as exc:
            self._leave_out(name, exc)
            return None
        return status if stat.S_ISREG(status.st_mode) else None

    def _link_status(self, name: str) -> os.stat_result | None:
        """None: it can't be an item now."""
        try:
            return item_status(self._root, name)
        except NotAnItem as exc:
            self._reports.once("path skipped", join(self._root, name), reason=str(exc))
        except OSError as exc:
            self._leave_out(name, exc)
        return None

    def _leave_out(self, path: str, exc: OSError) -> None:
        """Go on without `path`, where that is the honest thing to do."""
        if not path or exc.errno not in SKIPPED_ERRORS:
            raise SourceUnavailable(
                f"{self._shown(path)} could not be read ({exc.strerror}): check the mount and the file server"
            ) from exc
        if exc.errno not in GONE_ERRORS:
            self._reports.once("path skipped", join(self._root, path), reason=exc.strerror or str(exc))

    def _shown(self, path: str) -> str:
        return os.fsdecode(join(self._root, path))


def _listed(folders: Mapping[str, Folder]) -> dict[str, tuple[tuple[str, ...], tuple[str, ...]]]:
    # Tuples of a folder that was not scanned again are the same objects, so comparing them costs nothing.
    return {path: (one.files, one.linked) for path, one in folders.items()}
