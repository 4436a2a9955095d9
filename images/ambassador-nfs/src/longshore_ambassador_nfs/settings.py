"""The settings of ambassador-nfs, from the environment. In a queue file they stand under `source.nfs`."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

from longshore_kit.ambassador import AmbassadorSettings
from longshore_kit.globs import Globs
from longshore_kit.settings import setting


def _relative(path: str | None) -> str | None:
    if path is not None and ("\0" in path or any(part in {"", ".", ".."} for part in path.split("/"))):
        raise ValueError("it must be a path below the folder, without a slash at its beginning and without `..`")
    return path


class NfsSettings(AmbassadorSettings):
    """The ambassador's settings, and what is an item."""

    media_path: Path = setting(
        "The folder whose files are the items. It is never left, and when it is missing the source is unavailable.",
        unit="folder",
    )
    nfs_pattern: Globs = setting(
        "Which files are items, by their whole path below the folder: `**` is any number of folders, `*`, `?` and "
        "`[…]` stay within one name, `{mp4,mov}` is either; case counts.",
        unit="glob, or a JSON list of them",
        default=("**/*.mp4",),
        min_length=1,
    )
    nfs_exclude: Globs = setting(
        "Which files are not, by the same rules; a folder that matches is left out with all that is in it.",
        unit="glob, or a JSON list of them",
        default=(),
    )
    nfs_settle_seconds: float = setting(
        "A file is listed when it has not been modified for so long, as it may still be written until then; 30 is a "
        "guess at the longest pause of an upload. 0 lists at once, for folders into which files are renamed.",
        unit="seconds",
        default=30,
        ge=0,
        le=86400,
        allow_inf_nan=False,
    )
    nfs_marker_file: Annotated[str | None, AfterValidator(_relative)] = setting(
        "A file that exists in the folder when the right file system is mounted there. While it is missing the source "
        "is unavailable, so that a mount point without its mount is never taken for an empty folder.",
        unit="path below the folder",
        default=None,
    )
