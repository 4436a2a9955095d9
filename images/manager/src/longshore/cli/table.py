"""Items as rows: which there are, in which order, and how they stand in a table of text."""

import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from longshore.cli.view import COLOURS
from longshore.explain import duration, last_line, reason_of, safe, shown_in_terminal
from longshore.manager import Survey
from longshore.plan import waiting_items
from longshore.state import State

_ORDER = list(State)


@dataclass(frozen=True)
class Row:
    """One item as `ls` shows it. Times are seconds since the epoch."""

    item: str
    state: State
    since: float | None
    attempt: int
    reason: str
    """All that is known of it."""
    job: str = ""
    stage: str = ""
    """Of a chain: the one at which it is or ended."""
    exit_code: int | None = None
    line: str = ""
    """The reason as a table shows it."""

    def as_json(self) -> dict[str, object]:
        """For programs: names as they are, times as numbers, the reason whole."""
        return {name: value for name, value in asdict(self).items() if name != "line"}


def rows_of(survey: Survey) -> list[Row]:
    """Every item that is listed or kept, the lively ones first, then by name."""
    rows = [
        Row(
            job.item,
            job.counted,
            job.since,
            job.attempt,
            job.told_reason,
            job.name,
            job.stage,
            job.exit_code,
            reason_of(job),
        )
        for job in survey.jobs.values()
    ]
    names = survey.items.names if survey.items else ()
    rows += [
        Row(record.item, record.state, record.at, 0, record.reason, line=last_line(record.reason))
        for record in survey.records.of_items(names)
        if record.item not in survey.jobs
    ]
    if survey.items:
        waiting = waiting_items(survey.items, survey.jobs, survey.records)
        rows += [Row(name, State.WAITING, None, 0, "") for name in waiting]
    return sorted(rows, key=lambda row: (_ORDER.index(row.state), row.item))


def print_table(rows: list[Row], *, wide: bool) -> None:
    """State and item are always whole; in a terminal the reason is cut to what is left of the line, elsewhere never."""
    now, console = time.time(), Console(highlight=False)
    headings = ["STATE", "ITEM", "FOR", *(["ATTEMPT", "JOB"] if wide else []), "REASON OR RESULT"]
    table = [[*_cells(row, now, wide=wide), row.line] for row in rows]
    if not console.is_terminal:
        # Plain lines, one after the other: who reads a hundred thousand of them waits for none but these.
        sys.stdout.writelines(f"{line}\n" for line in _aligned(headings, table))
        return
    for line in lines_of(headings, table, [COLOURS[row.state] for row in rows], None if wide else console.width):
        console.print(line, no_wrap=True, crop=False, overflow="ignore")


def lines_of(headings: list[str], table: list[list[str]], styles: list[str], room: int | None) -> Iterator[Text]:
    """A table in columns, each row's first cell in its style; a line that is longer than `room` cells is cut."""
    for plain, first, style in zip(
        _aligned(headings, table), (row[0] for row in [headings, *table]), ["", *styles], strict=True
    ):
        line = Text(plain)
        line.stylize(style, 0, len(first))
        if room is not None and line.cell_len > room:
            line.truncate(room, overflow="ellipsis")
        yield line


def _aligned(headings: list[str], table: list[list[str]]) -> Iterator[str]:
    """Each row as one line, its columns as wide as the widest of them."""
    widths = [max(map(_width, column)) for column in zip(headings, *table, strict=True)]
    for cells in [headings, *table]:
        yield "  ".join(_padded(cell, width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def _width(cell: str) -> int:
    return len(cell) if cell.isascii() else cell_len(cell)


def _padded(cell: str, width: int) -> str:
    return cell.ljust(width) if cell.isascii() else set_cell_size(cell, width)


def _cells(row: Row, now: float, *, wide: bool) -> list[str]:
    age = duration(now - row.since) if row.since is not None else ""
    return [str(row.state), safe(row.item), age, *([str(row.attempt or ""), row.job] if wide else [])]


def write(text: str) -> None:
    """A line, or more, as it is."""
    sys.stdout.write(f"{text}\n")


def write_log(text: str) -> None:
    """What a worker wrote: as it is for a pipe, and for a terminal without what one would obey."""
    sys.stdout.write(shown_in_terminal(text) if sys.stdout.isatty() else text)
    sys.stdout.flush()
