"""What the commands share: their arguments, their exit codes, and how a mistake is told."""

import enum
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final, NoReturn, TypeAlias

import typer

from longshore.explain import safe
from longshore_kit.errors import ItemRejected, LongshoreError, ManifestRefused, SettingsError


class Exit(enum.IntEnum):
    """How a command ended; each command's help says which of them it has."""

    OK = 0
    SOME_FAILED = 1
    MISUSE = 2
    INTERRUPTED = 130


EXIT_CODES: Final = "Exit codes: 0 as asked · 1 an item failed, or could not be found · 2 misuse · 130 interrupted."

FileArgument: TypeAlias = Annotated[Path, typer.Argument(help="The queue file.", show_default=False, metavar="FILE")]
VolumeOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--volume", metavar="NAME=FOLDER", help="Put a folder of this machine in a volume's place.", show_default=False
    ),
]
StateOption: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--state-folder",
        metavar="FOLDER",
        help="Where the queue's state lies; default: .longshore/<queue> beside FILE.",
        show_default=False,
    ),
]


def complain(message: str) -> None:
    """Words for a person, on stderr: our lines stay lines, and no terminal obeys what somebody else has put in them."""
    told = "\n".join(safe(line) for line in message.split("\n"))
    sys.stderr.write(f"longshore: {told}\n")


def misuse(message: str) -> NoReturn:
    """End with a word on what to change."""
    complain(message)
    raise typer.Exit(Exit.MISUSE)


@contextmanager
def told_to_people() -> Iterator[None]:
    """Turn an error of ours into its message and an exit code: no traceback for a mistake, or a store that is down."""
    try:
        yield
    except (SettingsError, ManifestRefused, ItemRejected) as exc:
        misuse(str(exc))
    except LongshoreError as exc:
        complain(str(exc))
        raise typer.Exit(Exit.SOME_FAILED) from exc
