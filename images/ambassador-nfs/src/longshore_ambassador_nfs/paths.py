"""From an item's name to its file, never out of the root.

Paths are bytes: the file system's own form, the same under every locale. Names are their strict UTF-8.
"""

import errno
import os
import stat
from typing import Final

GONE_ERRORS: Final = frozenset({errno.ENOENT, errno.ENOTDIR})
SKIPPED_ERRORS: Final = GONE_ERRORS | {errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENAMETOOLONG}
"""Errors that concern one path: it is gone, or not for us. Any other (EIO, ESTALE, ETIMEDOUT …) concerns the store."""


class NotAnItem(Exception):
    """What is at a path is no item; the text says why."""


def join(root: bytes, name: str) -> bytes:
    """The path of `name`; of the root itself when `name` is empty."""
    return b"/".join((root.rstrip(b"/"), name.encode())) if name else root


def item_status(root: bytes, name: str) -> os.stat_result:
    """
    The status of the regular file `name`, which may be a link to one that is inside the root as well.

    Folders on the way must be folders, not links to some: the walk doesn't follow those either.

    Raises:
        NotAnItem: it is outside the root, behind a linked folder, or no regular file.
        OSError: it could not be looked at; see `SKIPPED_ERRORS`.
    """
    real_root = os.path.realpath(root, strict=True)
    path = join(real_root, name)
    folder = os.path.dirname(path)  # noqa: PTH120 - pathlib has no bytes
    if os.path.realpath(folder, strict=True) != folder:
        raise NotAnItem("a folder of its path is a link")
    real = os.path.realpath(path, strict=True)
    if not real.startswith(real_root.rstrip(b"/") + b"/"):
        raise NotAnItem("the link leads out of the root")
    # A real path holds no links; one that was put there since is not followed.
    status = os.lstat(real)
    if not stat.S_ISREG(status.st_mode):
        raise NotAnItem("it is no regular file")
    return status
