"""One folder's entries, sorted out without a stat: the kind of an entry comes with its name."""

import os
from dataclasses import dataclass, field

from longshore_ambassador_nfs.reports import Reports
from longshore_kit.globs import Place


@dataclass
class Entries:
    """What of a folder concerns the walk. Names are paths relative to the root."""

    files: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    folders: list[tuple[str, Place]] = field(default_factory=list)


def scan(path: bytes, prefix: str, place: Place, reports: Reports) -> Entries:
    """
    The entries of the folder at `path`; `prefix` is what stands before their names, with its slash.

    Raises:
        OSError: the folder could not be read, or not to its end.
    """
    found = Entries()
    with os.scandir(path) as entries:
        for entry in entries:
            try:
                name = entry.name.decode()
            except UnicodeDecodeError:
                _report(entry, place, reports)
                continue
            if entry.is_dir(follow_symlinks=False):
                if (inside := place.enter(name)) is not None:
                    found.folders.append((prefix + name, inside))
            elif place.takes(name):
                if entry.is_file(follow_symlinks=False):
                    found.files.append(prefix + name)
                elif entry.is_symlink():
                    found.links.append(prefix + name)
    return found


def _report(entry: os.DirEntry[bytes], place: Place, reports: Reports) -> None:
    """Only what would have been an item, or could hold some, is worth a warning."""
    nearly = entry.name.decode(errors="replace")
    if (place.enter(nearly) is not None) if entry.is_dir(follow_symlinks=False) else place.takes(nearly):
        reports.once("path skipped", entry.path, reason="its name is not UTF-8; rename it to have it listed")
