"""What the commands share: their arguments, their exit codes, and how a mistake is told."""

import enum
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final, NoReturn, TypeAlias

import typer

from longshore.local import LocalQueue, open_queue
from longshore.queuefile import load
from longshore_kit.contract import name_problem
from longshore_kit.errors import ItemRejected, LongshoreError, ManifestRefused, SettingsError


class Exit(enum.IntEnum):
    """How a command ended; each command's help says which of them it has."""

    OK = 0
    SOME_FAILED = 1
    MISUSE = 2
    INTERRUPTED = 130


EXIT_CODES: Final = "Exit codes: 0 as asked · 1 an item failed, or could not be found · 2 misuse · 130 interrupted."


def _valid_item(name: str) -> str:
    if problem := name_problem(name):
        raise typer.BadParameter(f"no item can have this name: {problem}")
    return name


FileArgument: TypeAlias = Annotated[Path, typer.Argument(help="The queue file.", show_default=False, metavar="FILE")]
ItemArgument: TypeAlias = Annotated[
    str,
    typer.Argument(
        help="The item's name; before one with a leading dash put --.",
        show_default=False,
        metavar="ITEM",
        callback=_valid_item,
    ),
]
ItemsArgument: TypeAlias = Annotated[
    list[str] | None, typer.Argument(help="The items' names; before one with a leading dash put --.", metavar="ITEM...")
]
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


def command_line(
    verb: str, file: Path, *items: str, volumes: list[str] | None = None, state: Path | None = None
) -> str:
    """A command of ours for a person to paste into a shell, whatever its file and item are called."""
    options = [f"--volume={volume}" for volume in volumes or ()]
    options += [f"--state-folder={state}"] if state else []
    end = ["--"] if any(word.startswith("-") for word in (str(file), *items)) else []
    return " ".join(["longshore", verb, *map(_typed, [*options, *end, str(file), *items])])


def _typed(word: str) -> str:
    """`word` as one word of a shell; what can't be typed in bash's own notation."""
    if word.isprintable():
        return shlex.quote(word)
    return f"$'{''.join(map(_typed_character, word))}'"


def _typed_character(char: str) -> str:
    if char in "\\'":
        return f"\\{char}"
    return char if char.isprintable() else "".join(f"\\x{byte:02x}" for byte in char.encode())


def complain(message: str) -> None:
    """A line for a person, on stderr."""
    sys.stderr.write(f"longshore: {message}\n")


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


def open_file(file: Path, volumes: list[str] | None, state: Path | None) -> LocalQueue:
    """
    The queue that a command was given.

    Raises:
        SettingsError: the file, or an option, is wrong.
    """
    folders = {}
    for volume in volumes or ():
        name, _, folder = volume.partition("=")
        if not name or not folder:
            raise SettingsError(f"--volume {volume}: expected NAME=FOLDER, such as --volume media=./videos")
        folders[name] = Path(folder)
    return open_queue(load(file, folders=folders), state)
