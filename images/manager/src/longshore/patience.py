"""How long to wait after so many failures: twice as long each time, up to a limit. Pure."""

from typing import Final

_DOUBLINGS_MAX: Final = 30  # past every limit in use, and far from where a float overflows


def backoff(failures: int, *, first: float, most: float) -> float:
    """Seconds to wait after `failures` in a row, at least one: `first`, then doubled, `most` at most."""
    return min(most, first * 2.0 ** min(max(failures, 1) - 1, _DOUBLINGS_MAX))
