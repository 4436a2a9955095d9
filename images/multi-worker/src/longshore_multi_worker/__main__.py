"""The command `longshore-multi-worker prepare | run PIPELINE`: one start, one item, one exit code."""

import os
import sys
from pathlib import Path
from typing import Final

from longshore_kit.contract import ExitCode
from longshore_kit.worker import run
from longshore_multi_worker.prepare import prepare
from longshore_multi_worker.settings import MultiWorkerSettings

PROGRAM: Final = "longshore-multi-worker"
_HELP: Final = f"""{PROGRAM} prepare
    Before the first stage of a chain: makes each stage's item file of the item's own. The manager starts it, and
    tells it of the stages in the variable STAGES.
{PROGRAM} run PIPELINE
    On a Docker host: does the item with the stages in the file PIPELINE, each in a container of its own.
"""


def main() -> None:
    """Do what the words say; the exit code says how it went."""
    match sys.argv[1:]:
        case ["prepare"]:
            sys.exit(run(prepare, os.environ))
        case ["run", path] if path != "--help":
            from longshore_multi_worker.pipe import runner  # noqa: PLC0415 - Docker's client, which a cluster has no need of

            sys.exit(run(runner(Path(path)), os.environ))
        case words if "--help" in words:
            print(_HELP)  # noqa: T201 - what was asked for
            print(MultiWorkerSettings.help(f"{PROGRAM} run"))  # noqa: T201 - the same
        case _:
            print(f"{PROGRAM}: expected prepare, or run PIPELINE; see --help", file=sys.stderr)  # noqa: T201 - no log yet
            sys.exit(ExitCode.USAGE)


if __name__ == "__main__":
    main()
