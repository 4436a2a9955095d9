"""How many workers may live at once: the law, and what it is decided on. Pure.

Everything is read back from Jobs and from the list, so a manager that was just started decides as the last one did.
A limit only: what it allows is made of items that wait, and nothing is kept warm. docs/scaling.md compares the laws.
"""

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Final, Literal, TypeAlias

Law: TypeAlias = Literal["staffing", "book", "fixed"]
STEP_SECONDS: Final = 60.0
"""The book's law comes down by one in so long, at whole multiples of it: the same moments for every manager."""
_RECENT: Final = 20
"""Finished items that say how long one takes, where none has finished within the window."""
_LOOKS: Final = 12
"""Moments of the past window at which is looked how many were wanted."""


@dataclass(frozen=True)
class Rule:
    """The numbers of the queue file that the law keeps to."""

    law: Law = "fixed"
    minimum: int = 0
    maximum: int = 1
    drain_seconds: float = 60.0
    """How soon what waits should be worked off."""
    window: float = 300.0
    """Seconds over which arrivals and times are averaged, and for which what was wanted is remembered."""
    tolerance: float = 0.1
    """The book's law comes down only while the load is by so much below what one fewer could do."""


@dataclass(frozen=True, slots=True)
class Life:
    """One item's way through the queue, in seconds since the epoch."""

    listed: float | None
    """When it was first seen in the list; None: it was there before anybody looked."""
    created: float | None = None
    """When its Job was made; None: it waits."""
    finished: float | None = None
    """When it was done, or failed; None: not yet."""
    seconds: float = 0.0
    """What its workers took, all attempts."""


@dataclass(frozen=True)
class Load:
    """What there is to do at one moment."""

    waiting: int = 0
    """Items that are listed and have no Job."""
    live: int = 0
    """Jobs that are starting or running."""
    arrivals: float = 0.0
    """New items per second, over the window."""
    processing_seconds: float | None = None
    """What the workers of an item take on average, queueing excluded; None: none has finished yet."""
    place_seconds: float | None = None
    """For how long an item holds its place: its worker's start, its attempts and the pauses between them included."""


@dataclass(frozen=True)
class Decision:
    """How many Jobs may live now, and why."""

    parallelism: int
    load: Load
    rule: Rule
    offered: float | None = None
    """How many would be at work on average, with what waits spread over the drain time; None: not measured yet."""
    is_frozen: bool = False
    """No more than there are, since workers that were started find no room."""

    def sentence(self) -> str:
        """What was decided on what, for people."""
        load, rule = self.load, self.rule
        bounds = f"between scaling.min {rule.minimum} and scaling.max {rule.maximum}"
        now = f"{load.waiting} waiting, {load.live} at work"
        if self.is_frozen:
            return f"{self.parallelism} at once, and no more while workers find no room: {now}."
        if rule.law == "fixed":
            return f"{self.parallelism} at once: scaling.max, while there is work: {now}."
        if self.offered is None or load.place_seconds is None:
            return f"{self.parallelism} at once, {bounds}: nothing has finished yet to measure by; {now}."
        rate = f"{load.arrivals * 60:.3g} new a minute"
        drain = f"worked off in {rule.drain_seconds:g} s"
        return (
            f"{self.parallelism} at once, {bounds}: {rate}, {load.place_seconds:.3g} s each, and {load.waiting} "
            f"waiting to be {drain} keep {self.offered:.3g} at work; {load.live} are."
        )


@dataclass(frozen=True)
class History:
    """Lives of items, counted by time. Building costs a sort; each question costs a few searches."""

    lives: Sequence[Life]
    unseen: int = 0
    """Items that wait, of whose way nothing is known but that."""
    _listed: Sequence[float] = field(init=False, repr=False)
    _created: Sequence[float] = field(init=False, repr=False)
    _finished: Sequence[float] = field(init=False, repr=False)
    _sums: dict[str, Sequence[float]] = field(init=False, repr=False)
    _left: Sequence[float] = field(init=False, repr=False)
    _unseen: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        jobs = sorted((one for one in self.lives if one.created is not None), key=lambda one: one.created or 0)
        ended = sorted((one for one in jobs if one.finished is not None), key=lambda one: one.finished or 0)
        # A clock that steps back must make nothing take less than no time.
        places = [max(0.0, (one.finished or 0) - (one.created or 0)) for one in ended]
        known = {
            "_listed": sorted(one.listed for one in self.lives if one.listed is not None),
            "_created": [one.created for one in jobs],
            "_finished": [one.finished for one in ended],
            "_left": sorted(max(one.created or 0, one.listed or 0) for one in jobs),
            "_unseen": self.unseen + sum(one.listed is None for one in self.lives),
            "_sums": {
                "created": _summed(one.created or 0 for one in jobs),
                "created of ended": _summed(one.created or 0 for one in ended),
                "places": _summed(places),
                "seconds": _summed(one.seconds for one in ended),
            },
        }
        for name, value in known.items():
            object.__setattr__(self, name, value)

    def load(self, at: float, window: float) -> Load:
        """What there was to do then; `at` may be any moment up to now."""
        listed, left = bisect_right(self._listed, at), bisect_right(self._left, at)
        created, finished = bisect_right(self._created, at), bisect_right(self._finished, at)
        live = max(0, created - finished)
        since = min(max(0, finished - _RECENT), finished)
        if (within := bisect_right(self._finished, at - window)) < finished:
            since = within
        number = finished - since
        sums = self._sums
        elapsed = at * created - sums["created"][created] - (at * finished - sums["created of ended"][finished])
        places = sums["places"][finished] - sums["places"][since]
        seconds = sums["seconds"][finished] - sums["seconds"][since]
        return Load(
            waiting=max(0, self._unseen + listed - left),
            live=live,
            arrivals=(listed - bisect_right(self._listed, at - window)) / window,
            processing_seconds=seconds / number if number else None,
            # Those at work count by what they have taken so far: long ones are seen before they end.
            place_seconds=(places + max(0.0, elapsed)) / number if number else None,
        )


def decide(history: History, rule: Rule, now: float, *, is_frozen: bool = False) -> Decision:
    """How many Jobs may live now, within the rule's bounds; `is_frozen`: workers that were started find no room."""
    load = history.load(now, rule.window)
    offered = _offered(load, rule)
    if rule.law == "fixed" or offered is None:
        wanted = load.waiting + load.live
    elif rule.law == "book":
        wanted = _book(history, rule, now)
    else:
        wanted = max(staffing(history.load(at, rule.window), rule) for at in _looks(now, rule.window))
    if is_frozen:
        wanted = min(wanted, load.live)
    bounded = max(rule.minimum, min(rule.maximum, wanted))
    return Decision(bounded, load, rule, offered, is_frozen)


def staffing(load: Load, rule: Rule) -> int:
    """
    The square-root law: as many as are at work on average, some more for chance, and those that work off what waits.

    By Little's law λT are at work on average; with √(λT) more an item that comes seldom waits (Halfin and Whitt 1981).
    """
    if load.place_seconds is None:
        return load.waiting + load.live
    steady = load.arrivals * load.place_seconds
    backlog = load.waiting * load.place_seconds / rule.drain_seconds
    return math.ceil(steady + math.sqrt(steady) + backlog) if load.waiting or steady else 0


def book_step(parallelism: int, offered: float, rule: Rule, *, may_step_down: bool) -> int:
    """
    The book's law: up at once where processing time over workers is not below the interarrival time; down by one while
    that would hold for one fewer too, with its 90 %.
    """
    if parallelism <= offered:
        return math.floor(offered) + 1
    if may_step_down and parallelism > 0 and offered <= (1 - rule.tolerance) * (parallelism - 1):
        return parallelism - 1
    return parallelism


def _offered(load: Load, rule: Rule) -> float | None:
    seconds = load.processing_seconds if rule.law == "book" else load.place_seconds
    if seconds is None:
        return None
    return seconds * (load.arrivals + load.waiting / rule.drain_seconds)


def _book(history: History, rule: Rule, now: float) -> int:
    """Played from the beginning of the window, with as many as lived then: what any other manager would find too."""
    began = now - rule.window
    wanted = history.load(began, rule.window).live
    # At whole minutes, since that is when one step down is due; and now.
    minute = math.floor(began / STEP_SECONDS) + 1
    while (at := minute * STEP_SECONDS) < now:
        wanted = book_step(wanted, _offered(history.load(at, rule.window), rule) or 0.0, rule, may_step_down=True)
        minute += 1
    return book_step(wanted, _offered(history.load(now, rule.window), rule) or 0.0, rule, may_step_down=False)


def _looks(now: float, window: float) -> Iterable[float]:
    """Now, and moments of the window before it, at multiples of the same step for every manager."""
    step = window / _LOOKS
    first = math.floor(now / step)
    return [now, *(number * step for number in range(first - _LOOKS + 1, first + 1))]


def _summed(values: Iterable[float]) -> Sequence[float]:
    """Sums of the first 0, 1, 2 … values."""
    return list(accumulate(values, initial=0.0))
