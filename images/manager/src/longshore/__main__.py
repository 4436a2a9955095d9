"""The entry points: the `longshore` command, and `longshore-manager`, which a cluster runs."""

import os
import sys
from typing import Final

from longshore.cli.app import make_app
from longshore_kit.errors import SettingsError

_USAGE: Final = 64
"""EX_USAGE of sysexits: starting again does not help, editing does."""


def main() -> None:
    """Run the command line; the exit code says how it ended."""
    make_app()()


def manager() -> None:
    """
    Manage a queue in a cluster until SIGTERM; a wrong setting ends with exit code 64 and a line for each.

    `--try` sends one item through instead; exit code 1 when it did not get through.
    """
    # The extra `kubernetes` is needed from here on, which a laptop has not.
    try:
        from longshore.service import ManagerSettings, serve  # noqa: PLC0415 - see above
        from longshore.trial import try_one  # noqa: PLC0415 - the same
    except ModuleNotFoundError as exc:
        words = f"{exc.name} is not installed: longshore-manager needs longshore with its extra [kubernetes]"
        print(words, file=sys.stderr)  # noqa: T201 - no log yet
        sys.exit(_USAGE)

    if "--help" in sys.argv[1:]:
        print(ManagerSettings.help("longshore-manager"))  # noqa: T201 - what was asked for
        return
    try:
        settings = ManagerSettings.from_environment(os.environ)
        if sys.argv[1:] != ["--try"]:
            serve(settings)
        elif not try_one(settings, lambda line: print(line, flush=True)):  # noqa: T201 - for a person
            sys.exit(1)
    except SettingsError as exc:
        print(exc, file=sys.stderr)  # noqa: T201 - logging is set up from the settings that may be wrong
        sys.exit(_USAGE)


if __name__ == "__main__":
    main()
