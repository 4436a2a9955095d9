"""What a worker writes, as it comes: an engine shows the end of a log, and only what is new of it is printed."""

import time
from typing import Final

import typer

from longshore.cli.common import Exit, complain
from longshore.cli.place import Place
from longshore.cli.seen import records_of
from longshore.cli.table import write_log
from longshore.explain import explain_job, explain_record, safe
from longshore.state import State

_LOOK_SECONDS: Final = 1.0
_HEAD: Final = 64
"""What is looked for of a log in what was there before, in characters."""


def follow(place: Place, item: str, stage: str) -> Exit:
    """Print what the item's workers write until the item is done or has failed, and say on stderr which."""
    before, run = "", (0, "")
    while job := place.engine.jobs().get(item):
        if run != (job.attempt, job.stage):
            before, run = "", (job.attempt, job.stage)
            if job.attempt > 1 and not job.is_finished:
                complain(f"attempt {job.attempt} of {job.attempts}")
        text = place.engine.log(job, stage)
        write_log(news(before, text))
        before = text or before
        if job.is_finished:
            complain(explain_job(job, time.time(), place.command("retry", item)))
            return Exit.OK if job.state is State.DONE else Exit.SOME_FAILED
        try:
            time.sleep(_LOOK_SECONDS)  # another process's log: only looking tells
        except KeyboardInterrupt:
            raise typer.Exit(Exit.INTERRUPTED) from None
    record = records_of(place).get(item)
    if record is None:
        complain(f"{safe(item)} has no log{' any more' if before else ''}. See: {place.command('explain', item)}")
        return Exit.SOME_FAILED
    complain(explain_record(record, time.time(), place.command("retry", item)))
    return Exit.OK if record.state is State.DONE else Exit.SOME_FAILED


def news(before: str, now: str) -> str:
    """What the end of a log has that an earlier look at it had not; all of it where nothing of that is left."""
    if now.startswith(before):
        return now[len(before) :]
    # The end has moved on, and may now begin in the midst of a character.
    now = now.lstrip("\ufffd")
    at = before.find(now[:_HEAD]) if now else -1
    while at >= 0:
        if now.startswith(before[at:]):
            return now[len(before) - at :]
        at = before.find(now[:_HEAD], at + 1)
    return now
