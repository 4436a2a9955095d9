"""`longshore doctor`: whether a queue can work where it is, part by part."""

import typer
from rich.console import Console
from rich.text import Text

from longshore.checkup import Health
from longshore.cli.common import Exit, told_to_people
from longshore.cli.place import FileWord, Where, placed
from longshore.explain import safe
from longshore_kit.logs import configure

_COLOURS = {Health.OK: "green", Health.WRONG: "red", Health.UNKNOWN: "yellow"}


@placed
def doctor(file: FileWord = None, *, where: Where) -> None:
    """
    Look at every part that a queue needs to work.

    Here: its worker, its state folder, its source. In a cluster: its version, your rights and the manager's, the
    manager's pod, the source, whether a worker would be let in (a dry run), volume claims, and what is left of quotas.

    Exit codes: 0 nothing is wrong · 1 something is · 2 misuse.
    """
    configure("auto", level="ERROR")
    console = Console(highlight=False, soft_wrap=True)
    health = []
    with told_to_people():
        place, _ = where.open(file)
        with place:
            for finding in place.check_up():
                health.append(finding.health)
                line = Text(f"{finding.health:<9}{safe(finding.part)}: {safe(finding.words)}")
                line.stylize(_COLOURS[finding.health], 0, len(finding.health))
                console.print(line)
    raise typer.Exit(Exit.SOME_FAILED if Health.WRONG in health else Exit.OK)
