"""The command `longshore-worker-script [fetch|run|store]`: one start, one item, one exit code."""

import os
import sys
from typing import Final

from longshore_kit.contract import ExitCode
from longshore_kit.worker import run
from longshore_worker_script.settings import ScriptSettings
from longshore_worker_script.steps import STEPS, everything

PROGRAM: Final = "longshore-worker-script"


def main() -> None:
    """Do the item that the environment names; the exit code says how it went."""
    words = sys.argv[1:]
    if "--help" in words:
        print(f"{PROGRAM}: all steps; {PROGRAM} fetch | run | store: one of them")  # noqa: T201 - what was asked for
        print(ScriptSettings.help(PROGRAM))  # noqa: T201 - the same
        return
    if len(words) > 1 or (words and words[0] not in STEPS):
        print(f"{PROGRAM}: expected nothing, or one of {', '.join(STEPS)}", file=sys.stderr)  # noqa: T201 - no log yet
        sys.exit(ExitCode.USAGE)
    sys.exit(run(STEPS[words[0]] if words else everything, os.environ))


if __name__ == "__main__":
    main()
