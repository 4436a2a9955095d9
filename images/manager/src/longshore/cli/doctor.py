"""`longshore doctor` and `check`: whether a queue can work where it is, part by part."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import typer
from rich.console import Console
from rich.text import Text

from longshore.checkup import Finding, Health
from longshore.cli.common import Exit, FileArgument, StateOption, VolumeOption, told_to_people
from longshore.cli.place import FileWord, Where, folders_of, placed
from longshore.explain import safe
from longshore_kit.errors import SettingsError
from longshore_kit.logs import configure

_COLOURS = {Health.OK: "green", Health.WRONG: "red", Health.UNKNOWN: "yellow"}


@placed
def doctor(file: FileWord = None, *, where: Where) -> None:
    """
    Look at every part that a queue needs to work.

    Here: its worker, its state folder, its source. In a cluster: its version, your rights and the manager's, the
    manager's pod, the source, whether a worker would be let in (a dry run), volume claims, and what is left of quotas.

    Example: longshore doctor -q thumbs -n media

    Exit codes: 0 nothing is wrong · 1 something is · 2 misuse.
    """
    configure("auto", level="ERROR")
    with told_to_people():
        place, _ = where.open(file)
        with place:
            _report(place.check_up())


def check(file: FileArgument, *, volume: VolumeOption = None, state_folder: StateOption = None) -> None:
    """
    Look at a queue file, and at all that it needs here.

    In one report. The same as `doctor FILE`, which is for queues in a cluster too; but each mistake in the file is a
    line of the report, with its line, its key and the nearest key that there is.

    Example: longshore check queue.yaml

    Exit codes: 0 nothing is wrong · 1 something is · 2 misuse.
    """
    configure("auto", level="ERROR")
    with told_to_people():
        folders_of(volume or ())
        _report(_of_file(file, Where(volume, state_folder)))


def _of_file(file: Path, where: Where) -> Iterator[Finding]:
    try:
        place, _ = where.open(str(file))
    except SettingsError as exc:
        for line in str(exc).splitlines():
            yield Finding(Health.WRONG, "queue file", line)
        return
    with place:
        yield Finding(Health.OK, "queue file", f"it defines the queue {place.name}")
        yield from place.check_up()


def _report(findings: Iterable[Finding]) -> None:
    """A line for each as it is found, and the exit code."""
    console = Console(highlight=False, soft_wrap=True)
    health = []
    for finding in findings:
        health.append(finding.health)
        line = Text(f"{finding.health:<9}{safe(finding.part)}: {safe(finding.words)}")
        line.stylize(_COLOURS[finding.health], 0, len(finding.health))
        console.print(line)
    raise typer.Exit(Exit.SOME_FAILED if Health.WRONG in health else Exit.OK)
