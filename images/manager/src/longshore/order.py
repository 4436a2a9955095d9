"""Which of the items that wait comes next: the queue's order, and turns between groups. Pure.

A line is made once for each listing; asking it for the next few costs a pass over what is before them.
"""

import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from heapq import heapify, heappop, heapreplace
from typing import Final, Literal, TypeAlias

Order: TypeAlias = Literal["listed", "name", "newest", "random"]
NO_GROUP: Final = ""
"""The group of names in which the expression finds nothing."""


@dataclass(frozen=True)
class Turns:
    """How a queue's items take their turns."""

    order: Order = "listed"
    group_by: str = ""
    """A regular expression: items belong together if its first group, or all of it, matches the same text."""

    def group_of(self, name: str) -> str:
        """The group that an item belongs to."""
        found = re.search(self.group_by, name) if self.group_by else None
        if found is None:
            return NO_GROUP
        return (found[1] if found.re.groups else found[0]) or NO_GROUP


@dataclass(frozen=True)
class Line:
    """The listed items in the order of their turns."""

    names: Sequence[str] = ()
    groups: Mapping[str, str] | None = None
    """Each item's group; None: there are none."""
    turns: Turns = field(default_factory=Turns)

    def waiting(self, is_held: Callable[[str], bool]) -> Iterator[str]:
        """Those that are not held, in order, as if there were no groups."""
        return (name for name in self.names if not is_held(name))

    def group_of(self, name: str) -> str:
        """The group of an item, listed or not."""
        return (self.groups or {}).get(name) or self.turns.group_of(name)

    def first(
        self,
        count: int,
        is_held: Callable[[str], bool],
        live: Iterable[str],
        last_started: Mapping[str, float] | None = None,
    ) -> list[str]:
        """
        The next `count` that are not held. With groups, the one that has the fewest of `live`, names of items at work,
        comes next, then the one that had its last turn the longest ago; its own order counts within it.

        `last_started`: when an item of a group was started last, by the group; in seconds since the epoch.
        """
        waiting = self.waiting(is_held)
        if self.groups is None:
            return [name for name, _ in zip(waiting, range(count), strict=False)]
        lanes: dict[str, list[str]] = defaultdict(list)
        for name in waiting:
            if len(lane := lanes[self.groups[name]]) < count:
                lane.append(name)
        at_work: dict[str, int] = defaultdict(int)
        for name in live:
            at_work[self.group_of(name)] += 1
        return list(_in_turns(lanes, at_work, last_started or {}, count))


def line_of(names: Sequence[str], turns: Turns, first_seen: Mapping[str, float]) -> Line:
    """The line of a listing; `first_seen`: when items came that were not there at the beginning."""
    ordered: Sequence[str] = names
    match turns.order:
        case "name":
            ordered = sorted(names)
        case "newest":
            # Of those that were there before anybody looked, the last in the list came last.
            ordered = latest = list(reversed(names))
            latest.sort(key=lambda name: first_seen.get(name, 0.0), reverse=True)
        case "random":
            ordered = sorted(names, key=_shuffled)
    return Line(ordered, {name: turns.group_of(name) for name in names} if turns.group_by else None, turns)


def turns_taken(started: Iterable[tuple[str, float]], turns: Turns) -> dict[str, float]:
    """When each group had its last turn, by what was started when; nothing where there are no groups."""
    taken: dict[str, float] = {}
    for name, at in started if turns.group_by else ():
        group = turns.group_of(name)
        taken[group] = max(at, taken.get(group, 0.0))
    return taken


def _in_turns(
    lanes: Mapping[str, list[str]], at_work: Mapping[str, int], last_started: Mapping[str, float], count: int
) -> Iterator[str]:
    # Among groups that never had a turn, the one whose first item is the nearest in the line.
    heap = [(at_work.get(group, 0), last_started.get(group, 0.0), place, 0, group) for place, group in enumerate(lanes)]
    heapify(heap)
    while heap and count > 0:
        busy, _, place, at, group = heap[0]
        yield lanes[group][at]
        count -= 1
        if at + 1 < len(lanes[group]):
            heapreplace(heap, (busy + 1, math.inf, place, at + 1, group))
        else:
            heappop(heap)


def _shuffled(name: str) -> bytes:
    """By the name alone: every manager, and every start of one, shuffles alike."""
    return blake2b(name.encode(errors="surrogatepass"), digest_size=8).digest()
