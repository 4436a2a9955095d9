"""The commands that say whether a queue starts items: pause, resume, drain. What runs goes on in any case."""

import time
from typing import Annotated, Final

import typer

from longshore.cli.common import Exit, complain, told_to_people
from longshore.cli.place import FileWord, Place, Where, placed
from longshore.cli.table import write
from longshore.control import Mode
from longshore.state import Job, State
from longshore_kit.logs import configure

_LOOK_SECONDS: Final = 1.0


@placed
def pause(file: FileWord = None, *, where: Where) -> None:
    """
    Start nothing new until `resume`; what runs goes on.

    It outlives the manager, and a restart of everything.

    Example: longshore pause -q thumbs -n media

    Exit codes: 0 paused · 1 the cluster does not answer · 2 misuse.
    """
    _say(where, file, Mode.PAUSED, "paused: nothing new is started. To go on: {resume}")


@placed
def resume(file: FileWord = None, *, where: Where) -> None:
    """
    Start items again, after `pause` or `drain`.

    Example: longshore resume -q thumbs -n media

    Exit codes: 0 resumed · 1 the cluster does not answer · 2 misuse.
    """
    _say(where, file, Mode.RUNNING, "resumed")


@placed
def drain(
    file: FileWord = None,
    *,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until nothing runs any more.")] = True,
    where: Where,
) -> None:
    """
    Start nothing new, and wait until nothing runs.

    Before an upgrade, or for good.

    Example: longshore drain queue.yaml

    Exit codes: 0 nothing runs any more · 1 the cluster does not answer · 2 misuse · 130 interrupted; it stays draining.
    """
    configure("auto", level="ERROR")
    with told_to_people():
        place, _ = where.open(file, to_change=True)
        with place:
            place.control().set_mode(Mode.DRAINING)
            if idle := place.no_manager():
                complain(idle)
            if wait:
                _wait(place, has_manager=not idle)
            write(f"{place.name} is draining: nothing new is started. To go on: {place.command('resume')}")


def _ends_by_itself(job: Job, place: Place) -> bool:
    """Whether it is worth waiting for; what nobody starts again is not."""
    return job.is_live and (job.state is State.RUNNING or not place.no_worker())


def _say(where: Where, file: str | None, mode: Mode, words: str) -> None:
    configure("auto", level="ERROR")
    with told_to_people():
        place, _ = where.open(file, to_change=True)
        with place:
            place.control().set_mode(mode)
            write(f"{place.name} is {words.format(resume=place.command('resume'))}")
            if mode is Mode.RUNNING and (idle := place.no_manager()):
                write(idle)


def _wait(place: Place, *, has_manager: bool) -> None:
    """Until nothing runs, and a manager that there is has nothing more to start that it had begun with before."""
    control, told = place.control(), -1
    while True:
        # What was seen first counts: what it had begun with is among the Jobs that are looked at afterwards.
        is_quiet = not has_manager or control.is_seen(Mode.DRAINING)
        live = sum(_ends_by_itself(job, place) for job in place.engine.jobs().values())
        if is_quiet and not live:
            return
        if live != told:
            complain(f"{live} at work still" if live else "waiting for the manager to see it")
            told = live
        try:
            time.sleep(_LOOK_SECONDS)  # another process does the work: only looking tells
        except KeyboardInterrupt:
            raise typer.Exit(Exit.INTERRUPTED) from None
