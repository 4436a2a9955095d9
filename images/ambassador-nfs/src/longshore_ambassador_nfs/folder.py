"""What is known of one folder: a value, so that a listing that fails half-way leaves nothing half-known."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from longshore_ambassador_nfs.settling import Sighting
from longshore_kit.globs import Place


@dataclass(frozen=True)
class Stamp:
    """Which folder it is, and when its entries last changed. An equal stamp means equal entries, but see `Folder`."""

    device: int
    inode: int
    modified_ns: int
    changed_ns: int
    """Unlike the modification time, which rsync and tar put back after they have added files, nothing can set it."""

    @classmethod
    def of(cls, status: os.stat_result) -> "Stamp":
        return cls(status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns)

    @property
    def seconds(self) -> float:
        return max(self.modified_ns, self.changed_ns) / 1e9


@dataclass(frozen=True)
class Folder:
    """One folder at one look. Names are paths relative to the root."""

    stamp: Stamp
    seen_at: float
    """When this stamp was first seen, in seconds of the monotonic clock."""
    trusted_until: float
    """Until when an equal stamp means equal entries, by the same clock; 0 is never."""
    files: tuple[str, ...] = ()
    """Regular files that are listed. They are not looked at again while the folder is unchanged."""
    settling: Mapping[str, Sighting | None] = field(default_factory=dict)
    """Regular files that may still be written, and how they looked last time."""
    links: Mapping[str, Sighting | None] = field(default_factory=dict)
    """Links that match: their targets are elsewhere, so each is looked at each time."""
    linked: tuple[str, ...] = ()
    """Those of the links that are listed."""
    folders: tuple[tuple[str, Place], ...] = ()
    """Folders in it in which there may be items."""

    @property
    def is_bare(self) -> bool:
        """Nothing in it is of any interest."""
        return not (self.files or self.settling or self.links or self.folders)

    @property
    def listed(self) -> frozenset[str]:
        return frozenset(self.files).union(self.linked)

    @property
    def waiting(self) -> dict[str, Sighting | None]:
        return {**self.links, **self.settling}
