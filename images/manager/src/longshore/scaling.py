"""How many workers may live at once. Fixed at `scaling.max` for now; the law of docs/design.md takes this place.

Pure: what is known of the load comes in, a number goes out.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Load:
    """What the Jobs say about the work to be done."""

    waiting: int
    """Items that are listed and have no Job."""
    live: int
    """Jobs that are starting or running."""


def parallelism(minimum: int, maximum: int, load: Load) -> int:
    """How many Jobs should live now, within [minimum, maximum]: all that may, as long as there is work for them."""
    return max(minimum, min(maximum, load.waiting + load.live))
