"""The command `longshore-ambassador-s3`: reads the environment, serves the bucket, chooses the exit code."""

import os
import sys
from typing import Final

from longshore_ambassador_s3.settings import S3SourceSettings
from longshore_ambassador_s3.source import AT_ONCE, S3Source
from longshore_kit.ambassador import serve
from longshore_kit.errors import SettingsError
from longshore_kit.s3 import RawLister, connect

_USAGE: Final = 64
"""EX_USAGE of sysexits: starting again does not help, editing does."""


def main() -> None:
    """Serve until SIGTERM; a wrong setting ends with exit code 64 and a line for each."""
    if "--help" in sys.argv[1:]:
        print(S3SourceSettings.help("longshore-ambassador-s3"))  # noqa: T201 - what was asked for
        return
    try:
        settings = S3SourceSettings.from_environment(os.environ)
        client = connect(settings, connections=settings.threads)
        serve(S3Source(settings, client, RawLister(settings, client, connections=AT_ONCE)), settings)
    except SettingsError as exc:
        print(exc, file=sys.stderr)  # noqa: T201 - logging is set up from the settings that may be wrong
        sys.exit(_USAGE)


if __name__ == "__main__":
    main()
