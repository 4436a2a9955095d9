"""The command `longshore-multi-worker prepare`: one start, one item, one exit code."""

import os
import sys
from typing import Final

from longshore_kit.contract import ExitCode
from longshore_kit.worker import run
from longshore_multi_worker.prepare import prepare

PROGRAM: Final = "longshore-multi-worker"
_HELP: Final = f"""{PROGRAM} prepare
    Before the first stage of a chain: makes each stage's item file of the item's own. The manager starts it, and
    tells it of the stages in the variable STAGES."""


def main() -> None:
    """Do what the words say; the exit code says how it went."""
    match sys.argv[1:]:
        case ["prepare"]:
            sys.exit(run(prepare, os.environ))
        case words if "--help" in words:
            print(_HELP)  # noqa: T201 - what was asked for
        case _:
            print(f"{PROGRAM}: expected prepare; see --help", file=sys.stderr)  # noqa: T201 - no log yet
            sys.exit(ExitCode.USAGE)


if __name__ == "__main__":
    main()
