"""The sheet of small pictures and the WebVTT file that says when each is shown. Pure.

https://www.w3.org/TR/webvtt1/ and, for `#xywh=`, https://www.w3.org/TR/media-frags/
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

COLUMNS: Final = 10
ROWS: Final = 10
"""Pictures on one sheet: beyond it players load the next, instead of one that grows without end."""


@dataclass(frozen=True)
class Grid:
    """How small pictures lie on their sheets."""

    columns: int
    rows: int
    width: int
    height: int
    """Of one small picture, in pixels."""
    sheets: int


def grid_for(count: int, width: int, height: int, small_width: int) -> Grid:
    """The grid for `count` pictures of this size, each scaled to `small_width` at most."""
    shown = min(small_width, width)
    columns = min(COLUMNS, count)
    return Grid(
        columns=columns,
        rows=min(ROWS, math.ceil(count / columns)),
        width=shown,
        height=max(1, round(height * shown / width)),
        sheets=math.ceil(count / (COLUMNS * ROWS)),
    )


def sheet_name(number: int) -> str:
    """The file of a sheet, counted from 1."""
    return f"sprite{number:02d}.jpg"


def web_vtt(starts: Sequence[float], end: float, grid: Grid) -> str:
    """One cue per picture, from its time to the next one's; the last to `end`."""
    cues = ["WEBVTT\n"]
    per_sheet = grid.columns * grid.rows
    for index, start in enumerate(starts):
        until = starts[index + 1] if index + 1 < len(starts) else max(end, start + 0.001)
        sheet, place = divmod(index, per_sheet)
        row, column = divmod(place, grid.columns)
        box = f"{column * grid.width},{row * grid.height},{grid.width},{grid.height}"
        cues.append(f"{_clock(start)} --> {_clock(until)}\n{sheet_name(sheet + 1)}#xywh={box}\n")
    return "\n".join(cues)


def _clock(seconds: float) -> str:
    milliseconds = round(max(0.0, seconds) * 1000)
    hours, rest = divmod(milliseconds, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    return f"{hours:02d}:{minutes:02d}:{rest // 1000:02d}.{rest % 1000:03d}"
