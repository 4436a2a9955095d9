"""`top`: what is at work now, the longest first, with the last that each worker wrote."""

import time
from typing import Final

from rich.text import Text

from longshore.cli.common import told_to_people
from longshore.cli.place import FileWord, Place, Where, placed
from longshore.cli.status import WatchOption, live_jobs, show
from longshore.cli.table import lines_of
from longshore.cli.view import COLOURS
from longshore.explain import duration, last_line, safe
from longshore.state import Job
from longshore_kit.logs import configure

_ROWS: Final = 30
"""Each has its log read, in a cluster by a request."""
_HEADINGS: Final = ["STATE", "ITEM", "FOR", "ATTEMPT", "STAGE", "LAST WORDS"]


@placed
def top(file: FileWord = None, *, watch: WatchOption = False, where: Where) -> None:
    """
    Show what is at work, and its last words.

    The longest first, each with the last line that its worker wrote. The source is not asked; `status` says what waits.

    Example: longshore top queue.yaml --watch

    Exit codes: 0 shown · 1 the cluster does not answer · 2 misuse · 130 interrupted.
    """
    configure("auto", level="ERROR")
    with told_to_people():
        place, _ = where.open(file)
        with place:
            show(lambda width: _look(place, width), watch=watch)


def _look(place: Place, width: int) -> Text:
    jobs = live_jobs(place.engine.jobs())
    if not jobs:
        return Text(f"nothing is at work. {place.no_manager()}".rstrip())
    now, shown = time.time(), jobs[:_ROWS]
    table = [_cells(job, now, last_line(place.engine.log(job)) or last_line(job.reason)) for job in shown]
    lines = list(lines_of(_HEADINGS, table, [COLOURS[job.state] for job in shown], width))
    if more := len(jobs) - len(shown):
        lines.append(Text(f"and {more} more"))
    return Text("\n").join(lines)


def _cells(job: Job, now: float, words: str) -> list[str]:
    return [
        str(job.state),
        safe(job.item),
        duration(now - job.since),
        f"{job.attempt}/{job.attempts}",
        job.stage,
        words,
    ]
