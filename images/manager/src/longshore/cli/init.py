"""`longshore init`: a first queue file, out of flags and, in a terminal, of answers."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from longshore.cli.common import misuse, told_to_people
from longshore.cli.place import file_command
from longshore.cli.table import write
from longshore.draft import ITEMS_AT, Draft, SourceKind, text_of, words_of
from longshore.queuefile import parse
from longshore_kit.documents import nearest

_COMMAND = "echo '${name}'"


def init(
    *,
    source: Annotated[
        SourceKind | None, typer.Option("--source", help="What the items come from.", show_default=False)
    ] = None,
    at: Annotated[
        str,
        typer.Option(
            "--at",
            metavar="TEXT",
            help="Where they are: a folder, a bucket, a server, a file, a URL or a command, as the source has it.",
        ),
    ] = "",
    image: Annotated[str, typer.Option("--image", metavar="IMAGE", help="The worker's image.")] = "",
    command: Annotated[
        str,
        typer.Option(
            "--command",
            metavar="COMMAND",
            help="The worker's program and arguments, quoted as for a shell; ${name} in it is the item's name.",
        ),
    ] = "",
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="The queue's name; default: its folder's.")] = "",
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The file to write.")] = Path(
        "queue.yaml"
    ),
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
) -> None:
    """
    Write a first queue file, with comments in it.

    They say what may be changed. In a terminal it asks for what no option says. Example:

    longshore init --source nfs --at ./videos --command "echo '${name}'"

    Exit codes: 0 written · 2 misuse, or the file is there already.
    """
    if output.exists() and not force:
        misuse(f"{output} is there already: choose another --output, or give --force")
    with told_to_people():
        draft = _asked(source, at, image, command, name) if sys.stdin.isatty() else None
        if draft is None:
            if source is None or not (image or command):
                misuse("give --source, and --image or --command; in a terminal they are asked for")
            draft = Draft(source, at, image, words_of(command, "--command"), name)
        text = text_of(draft)
        parse(text, str(output))
        try:
            with output.open("w" if force else "x", encoding="utf-8") as file:
                file.write(text)
        except OSError as exc:
            misuse(f"{output}: can't be written: {exc.strerror}")
    write(f"{output} is written. Look at it, then: {file_command('check', output)}")


def _asked(source: SourceKind | None, at: str, image: str, command: str, name: str) -> Draft:
    """What the options say, and the answers to what they don't."""
    kind = source or _kind_asked()
    words, default = ITEMS_AT[kind]
    at = at or typer.prompt(f"Where the items are: {words}", default=default, err=True, show_default=bool(default))
    if not (image or command):
        image = typer.prompt("The worker's image; nothing for a program of this machine", default="", err=True)
        hint = "The worker's command" if not image else "Its command; nothing for the image's own"
        command = typer.prompt(hint, default="" if image else _COMMAND, err=True)
    return Draft(kind, at, image, words_of(command, "--command"), name)


def _kind_asked() -> SourceKind:
    question = f"What the items come from: {', '.join(SourceKind)}"
    kind: SourceKind = typer.prompt(question, value_proc=_kind, default=SourceKind.NFS.value, err=True)
    return kind


def _kind(answer: str) -> SourceKind:
    try:
        return SourceKind(answer.strip())
    except ValueError:
        raise typer.BadParameter(
            f"expected one of {', '.join(SourceKind)}{nearest(answer, [str(kind) for kind in SourceKind])}"
        ) from None
