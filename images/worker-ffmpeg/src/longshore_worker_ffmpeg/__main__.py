"""The command `longshore-worker-ffmpeg`: one start, one video, one exit code."""

import os
import sys

from longshore_kit.worker import run
from longshore_worker_ffmpeg.settings import FfmpegSettings
from longshore_worker_ffmpeg.thumbnails import make_thumbnails


def main() -> None:
    """Do the item that the environment names; the exit code says how it went."""
    if "--help" in sys.argv[1:]:
        print(FfmpegSettings.help("longshore-worker-ffmpeg"))  # noqa: T201 - what was asked for
        return
    sys.exit(run(make_thumbnails, os.environ))


if __name__ == "__main__":
    main()
