"""Which items a command is about: the options that choose among them, and whether a row is chosen. Changes nothing."""

import re
from dataclasses import dataclass
from typing import Annotated, Final, TypeAlias

import typer

from longshore.cli.table import Row
from longshore.state import State

_DURATION: Final = re.compile(r"(\d{1,9})([smhd])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def seconds_of(text: str) -> float:
    """The seconds of a duration on a command line: 30s, 5m, 2h, 1d."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise typer.BadParameter(f"{text!r}: expected a number with s, m, h or d behind it, such as 30s, 5m, 2h or 1d")
    return float(int(match[1]) * _SECONDS[match[2]])


StateOption: TypeAlias = Annotated[
    list[State] | None,
    typer.Option("--state", "-s", help="Only items in this state; may be given again.", show_default=False),
]
ReasonOption: TypeAlias = Annotated[
    str,
    typer.Option(
        "--reason", metavar="TEXT", help="Only items with this in their reason or result, in small letters or large."
    ),
]
OlderOption: TypeAlias = Annotated[
    float | None,
    typer.Option(
        "--older",
        metavar="DURATION",
        parser=seconds_of,
        help="Only items that are in their state for longer: 30s, 5m, 2h, 1d. Of a waiting one that is not known.",
        show_default=False,
    ),
]
NewerOption: TypeAlias = Annotated[
    float | None,
    typer.Option(
        "--newer", metavar="DURATION", parser=seconds_of, help="Only those in it for less.", show_default=False
    ),
]


@dataclass(frozen=True)
class Choice:
    """What the options choose; what is empty chooses everything."""

    states: tuple[State, ...] = ()
    reason: str = ""
    older: float | None = None
    newer: float | None = None

    def takes(self, row: Row, now: float) -> bool:
        """Whether a row is chosen; one without a time is neither older nor newer than any."""
        if self.states and row.state not in self.states:
            return False
        return is_about(row.reason, self.reason) and self._is_of_age(row, now)

    def _is_of_age(self, row: Row, now: float) -> bool:
        if self.older is self.newer is None:
            return True
        if row.since is None:
            return False
        age = now - row.since
        return (self.older is None or age > self.older) and (self.newer is None or age < self.newer)


def is_about(reason: str, text: str) -> bool:
    """Whether a reason has this text in it, in small letters or large."""
    return text.casefold() in " ".join(reason.split()).casefold()
