"""How long to wait after so many failures: twice as long each time, up to a limit. Pure."""

from dataclasses import dataclass
from typing import Final

_DOUBLINGS_MAX: Final = 30  # past every limit in use, and far from where a float overflows


def backoff(failures: int, *, first: float, most: float) -> float:
    """Seconds to wait after `failures` in a row, at least one: `first`, then doubled, `most` at most."""
    return min(most, first * 2.0 ** min(max(failures, 1) - 1, _DOUBLINGS_MAX))


@dataclass(frozen=True)
class Postponed:
    """Something that could not be done just now."""

    until: float
    """When it is tried again, in seconds since the epoch."""
    failures: int
    reason: str


def postponed_again(known: Postponed | None, now: float, reason: str, *, first: float, most: float) -> Postponed:
    """The same, after one more failure."""
    failures = known.failures + 1 if known else 1
    return Postponed(now + backoff(failures, first=first, most=most), failures, reason)
