"""The command `longshore-ambassador-nfs`: reads the environment, serves the folder, chooses the exit code."""

import os
import sys
from typing import Final

from longshore_ambassador_nfs.settings import NfsSettings
from longshore_ambassador_nfs.source import NfsSource
from longshore_kit.ambassador import serve
from longshore_kit.errors import SettingsError

_USAGE: Final = 64
"""EX_USAGE of sysexits: starting again does not help, editing does."""


def main() -> None:
    """Serve until SIGTERM; a wrong setting ends with exit code 64 and a line for each."""
    if "--help" in sys.argv[1:]:
        print(NfsSettings.help("longshore-ambassador-nfs"))  # noqa: T201 - what was asked for
        return
    try:
        settings = NfsSettings.from_environment(os.environ)
        source = NfsSource(
            settings.media_path,
            settings.nfs_pattern,
            exclude=settings.nfs_exclude,
            settle_seconds=settings.nfs_settle_seconds,
            marker_file=settings.nfs_marker_file,
        )
        serve(source, settings)
    except SettingsError as exc:
        print(exc, file=sys.stderr)  # noqa: T201 - logging is set up from the settings that may be wrong
        sys.exit(_USAGE)


if __name__ == "__main__":
    main()
