"""Where a video is read and its pictures appear: inside two folders, whole or not at all.

Refuses paths that leave the media folder, whatever an item says. Pictures are made in a hidden folder beside their
place and renamed into it, so that half a result is never visible, and a second run replaces the first.
"""

import errno
import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from longshore_kit.contract import ItemData
from longshore_kit.errors import ItemFailed, ItemRejected


def video_in(root: Path, data: ItemData) -> tuple[str, Path]:
    """
    The item's path, and the file that it names under `root`.

    Raises:
        ItemRejected: the path is none, leaves `root`, or there is no such file, or an empty one.
        ItemFailed: `root` itself is missing or empty: nothing can be said of the item.
    """
    path = data.get("path")
    if not isinstance(path, str) or not path or "\0" in path:
        raise ItemRejected("the item's data has no path, which names its file")
    if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
        raise ItemRejected(f"the item's path {path!r} leaves the media folder")
    if not root.is_dir() or not any(root.iterdir()):
        raise ItemFailed(f"MEDIA_PATH={root} is missing or empty: is the volume mounted?")
    file = root.absolute() / path  # ffmpeg runs in another folder
    if not _is_file(file):
        raise ItemRejected(f"there is no file {path!r} in the media folder")
    if not file.resolve().is_relative_to(root.resolve()):
        raise ItemRejected(f"the item's path {path!r} leaves the media folder by a link")
    if file.stat().st_size == 0:
        raise ItemRejected("the file is empty")
    return path, file


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError as exc:
        if exc.errno in {errno.ENAMETOOLONG, errno.ELOOP}:
            return False
        raise ItemFailed(f"{path}: can't be read: {exc.strerror}") from exc


@contextmanager
def appearing(target: Path) -> Iterator[Path]:
    """
    A fresh folder that becomes `target` when the context ends well, in place of an older one; else it is removed.

    Raises:
        ItemFailed: no folder can be made or renamed there.
    """
    # A name of its own length and place: `target` may be as long as names can be, and hold anything.
    mark = hashlib.sha256(target.name.encode(errors="surrogateescape")).hexdigest()[:16]
    fresh, old = (target.parent / f".longshore-{mark}.{kind}" for kind in ("new", "old"))
    try:
        for leftover in (fresh, old):  # of an attempt that was killed: two attempts of one item never overlap
            shutil.rmtree(leftover, ignore_errors=True)
        fresh.mkdir(parents=True)
        yield fresh
        if target.exists():
            target.rename(old)
        fresh.rename(target)
    except OSError as exc:
        raise ItemFailed(f"{target}: can't be written: {exc.strerror}") from exc
    finally:
        for leftover in (fresh, old):
            shutil.rmtree(leftover, ignore_errors=True)
