"""One sentence about one item: what state, since when, why, and what to do next. Pure, for every place that tells.

Text that came from items or workers is made safe to print: `safe` shows control characters instead of sending them.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain, zip_longest
from typing import Final

from longshore.state import Job, Record, State

_LINE_MOST: Final = 400
"""Characters of one line that is said of an item; `logs` has all that its worker wrote."""
# What a terminal obeys. https://ecma-international.org/publications-and-standards/standards/ecma-48/
_COLOURS: Final = re.compile(r"(\x1b\[[0-9;:]*m)")
_ESCAPES: Final = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)")


@dataclass(frozen=True)
class Line:
    """Where a waiting item stands."""

    ahead: int
    """Waiting items that come before it."""
    live: int
    limit: int | None
    """Workers that may be at work now; None where it can't be seen."""
    most: int | None = None
    """Workers at most, `scaling.max`."""
    held: str = ""
    """What keeps all items from being started: the queue is paused, or nothing that is started can run."""
    no_manager: str = ""
    """That no manager works on the queue, and what to do about it; empty when one does."""
    trouble: str = ""
    """What keeps it from being started."""


def safe(text: str) -> str:
    """`text` on one line, with what a terminal would obey, or hide, spelled out: a newline as `\\n`."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def last_line(text: str) -> str:
    """The last line of a log, a reason or a result, as a person would have seen it; empty where there is none."""
    lines = [line for line in seen_lines(text) if line.strip()]
    line = lines[-1].strip() if lines else ""
    return line if len(line) <= _LINE_MOST else f"{line[: _LINE_MOST - 1]}…"


def seen_lines(text: str) -> Sequence[str]:
    """A log's lines, safe to show: without colours and cursor movements, of a progress bar what it drew last."""
    lines = _ESCAPES.sub("", text).replace("\r\n", "\n").split("\n")
    return [safe(line.rstrip("\r").rsplit("\r", 1)[-1].expandtabs()) for line in lines]


def shown_in_terminal(text: str) -> str:
    """A log for a terminal: its lines, tabs and colours, each drawing of a bar on a line, and all else spelled out."""
    parts = _COLOURS.split(text.replace("\r\n", "\n").replace("\r", "\n"))
    plain = ("".join(char if char in "\n\t" else safe(char) for char in part) for part in parts[::2])
    return "".join(chain.from_iterable(zip_longest(plain, parts[1::2], fillvalue="")))


def reason_of(job: Job) -> str:
    """Why a Job is where it is, on one line, with the stage that said so."""
    return f"{safe(job.at_stage)}{last_line(job.reason)}"


def duration(seconds: float) -> str:
    """Seconds as people say them: 0.4 s, 12 s, 3 min 20 s, 2 h 5 min, 3 d 4 h."""
    if seconds < 10:  # noqa: PLR2004 - below it a tenth matters
        return f"{max(0.0, seconds):.1f} s"
    whole = int(seconds)
    for size, unit, small, small_unit in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // small
            return f"{whole // size} {unit} {rest} {small_unit}" if rest else f"{whole // size} {unit}"
    return f"{whole} s"


def explain_job(job: Job, now: float, retry_command: str, no_worker: str = "") -> str:
    """What became of an item that has a Job; `no_worker`: nobody starts again what was stopped, in words."""
    item = safe(job.item)
    since = f"since {_clock(job.since)} ({duration(now - job.since)})"
    tries = f"attempt {job.attempt} of {job.attempts}"
    why = f": {_last_words(job.reason)}" if job.reason else ""
    match job.state:
        case State.STARTING if job.is_suspended:
            return f"{item} is waiting {since}, with a Job{why}."
        case State.STARTING if no_worker:
            return f"{item} is waiting to be started again{why}; {no_worker}"
        case State.RUNNING:
            at = f"stage {job.stage}, " if job.stage else ""
            return f"{item} is running {since}, {at}{tries}."
        case State.STARTING if job.attempt == 0:
            return f"{item} is starting {since}: its Job is made, its worker not yet up{why}."
        case State.STARTING:
            code = f" with exit code {job.exit_code}" if job.exit_code is not None else ""
            return f"{item} is starting again {since}; {tries} ended{_in_stage(job)}{code}{why}."
        case State.DONE:
            work = f"{duration(job.processing_seconds)} of work in {_count(job.attempt, 'attempt')}"
            return f"{item} is done {since}, after {work}{_stage_times(job)}{why}."
        case _:
            return f"{item} failed {since} {explain_failure(job)}. Once mended: {retry_command}"


def explain_failure(job: Job) -> str:
    """How a failed item's work ended, without its name and time: `after 3 attempts, exit code 1: disk full`."""
    tried = f"after {_count(job.attempt, 'attempt')}" if job.attempt else "before its first attempt"
    tried += _in_stage(job)
    # A worker without a word has its exit code for a reason.
    is_told = job.exit_code is None or job.reason.startswith(f"exit code {job.exit_code},")
    code = "" if is_told else f", exit code {job.exit_code}"
    return f"{tried}{code}: {_last_words(job.reason)}" if job.reason else f"{tried}{code}"


def explain_record(record: Record, now: float, retry_command: str) -> str:
    """What became of an item whose Job has moved to the ledger."""
    since = f" since {_clock(record.at)} ({duration(now - record.at)})" if record.at is not None else ""
    if record.state is State.DONE:
        return f"{safe(record.item)} is done{since}; its Job is no longer kept."
    return f"{safe(record.item)} failed{since}: {_last_words(record.reason)}. Once mended: {retry_command}"


def explain_waiting(item: str, line: Line) -> str:
    """Why a listed item has no Job yet."""
    if line.trouble:
        return f"{safe(item)} is waiting: {safe(line.trouble).rstrip('.')}."
    if line.no_manager:
        return f"{safe(item)} is waiting: {line.no_manager}"
    if line.held:
        return f"{safe(item)} is waiting: {safe(line.held).rstrip('.')}."
    if line.limit is not None and line.live >= line.limit:
        place = f"{_count(line.ahead, 'item')} ahead of it" if line.ahead else "it is next"
        bound = (
            "scaling.max" if line.most is None or line.limit >= line.most else f"for now; scaling.max is {line.most}"
        )
        return f"{safe(item)} is waiting: all {line.limit} workers are busy ({bound}), {place}."
    return f"{safe(item)} is waiting: it is about to be started."


def _in_stage(job: Job) -> str:
    return f" in stage {job.stage}" if job.stage else ""


def _stage_times(job: Job) -> str:
    """` (detect 0.3 s, blur 1.2 s)`, of a chain."""
    times = ", ".join(f"{name} {duration(seconds)}" for name, seconds in job.stage_seconds)
    return f" ({times})" if times else ""


def _last_words(text: str) -> str:
    """The last line of a reason: a traceback's point, a log's end."""
    return last_line(text).rstrip(".")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")
