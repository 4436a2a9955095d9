"""How many workers may live at once: the law, and what it is decided on. Pure.

Everything is read back from Jobs and from the list, so a manager that was just started decides as the last one did.
A limit only: what it allows is made of items that wait, and nothing is kept warm. docs/scaling.md compares the laws.
No time is trusted alone: clocks step, and the API server's, the nodes' and the manager's differ.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate, pairwise
from typing import Final, Literal, TypeAlias

Law: TypeAlias = Literal["staffing", "book", "fixed"]
STEP_SECONDS: Final = 60.0
"""The book's law comes down by one in so long, at whole multiples of it: the same moments for every manager."""
_RECENT: Final = 20
"""Finished items that say how long one takes, where none has finished within the window."""
_BESIDE_SECONDS: Final = 300.0
"""For so long a place counts beside what its workers took: their start, and the pauses between attempts.

A guess. What is more is a clock that stepped, or a pod that no node had room for, and asks for no more places.
"""
_LOOKS: Final = 12
"""Parts of the past window; in each is looked twice how many were wanted: at its end, and when most waited."""


@dataclass(frozen=True)
class Rule:
    """The numbers of the queue file that the law keeps to."""

    law: Law = "staffing"
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
    steady: float = 0.0
    """The same without the busiest part of the window: a batch is worked off, and makes no rate."""
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
        rate = f"{_short(load.steady * 60)} new a minute (batches aside)"
        if rule.law == "book":
            rate = f"{_short(load.arrivals * 60)} new a minute"
        seconds = load.processing_seconds if rule.law == "book" else load.place_seconds
        is_held = rule.law == "staffing" and max(rule.minimum, staffing(load, rule)) < self.parallelism
        held = f" More were wanted within the last {rule.window:g} s." if is_held else ""
        return (
            f"{self.parallelism} at once, {bounds}: {rate} of {_short(seconds or 0)} s each, and {load.waiting} "
            f"waiting to be worked off in {rule.drain_seconds:g} s, would keep {_short(self.offered)} at work; "
            f"{load.live} are now.{held}"
        )


def _short(number: float) -> str:
    """Three figures, and no powers of ten."""
    return f"{number:,.0f}" if number >= 1000 else f"{number:.3g}"  # noqa: PLR2004 - what has four


@dataclass(frozen=True)
class History:
    """Lives of items, counted by time. Building costs a few sorts; each question a few searches and one short pass."""

    lives: Sequence[Life]
    unseen: int = 0
    """Items that wait beside them, of whose way nothing is known but that."""
    waiting: int = field(init=False)
    """Items without a Job, whatever the clocks say."""
    live: int = field(init=False)
    """Jobs that have not ended, whatever the clocks say."""
    _unseen: int = field(init=False, repr=False)
    _listed: Sequence[float] = field(init=False, repr=False)
    _left: Sequence[float] = field(init=False, repr=False)
    _created: Sequence[float] = field(init=False, repr=False)
    _finished: Sequence[float] = field(init=False, repr=False)
    _created_of_finished: Sequence[float] = field(init=False, repr=False)
    _created_of_live: Sequence[float] = field(init=False, repr=False)
    _sums: dict[str, Sequence[float]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        ended = sorted(
            (one.finished, _began(one), max(0.0, one.seconds)) for one in self.lives if one.finished is not None
        )
        of_live = sorted(one.created for one in self.lives if one.created is not None and one.finished is None)
        began = [began for _, began, _ in ended]
        created = sorted([*began, *of_live])
        finished = [finished for finished, _, _ in ended]
        known = {
            "waiting": self.unseen + sum(one.created is None and one.finished is None for one in self.lives),
            "live": len(of_live),
            "_unseen": self.unseen + sum(one.listed is None for one in self.lives),
            "_listed": sorted(one.listed for one in self.lives if one.listed is not None),
            # The API server cuts a Job's time to whole seconds: none is made before its item was listed.
            "_left": sorted(
                max(_began(one), _began(one) if one.listed is None else one.listed)
                for one in self.lives
                if one.created is not None or one.finished is not None
            ),
            "_created": created,
            "_finished": finished,
            "_created_of_finished": began,
            "_created_of_live": of_live,
            "_sums": {
                "created": _summed(created),
                "finished": _summed(finished),
                "seconds": _summed(seconds for _, _, seconds in ended),
                "places": _summed(min(end - start, seconds + _BESIDE_SECONDS) for end, start, seconds in ended),
            },
        }
        for name, value in known.items():
            object.__setattr__(self, name, value)

    def load(self, at: float, window: float) -> Load:
        """What there was to do at a moment, as far as it can be told from when things happened."""
        listed, left = bisect_right(self._listed, at), bisect_left(self._left, at)
        finished = bisect_right(self._finished, at)
        within = bisect_right(self._finished, at - window)
        since = within if within < finished else max(0, finished - _RECENT)
        number = finished - since
        seconds = self._sums["seconds"]
        return Load(
            waiting=max(0, self._unseen + listed - left),
            live=max(0, bisect_right(self._created, at) - finished),
            arrivals=(listed - bisect_right(self._listed, at - window)) / window,
            steady=self._steady(at, window),
            processing_seconds=(seconds[finished] - seconds[since]) / number if number else None,
            place_seconds=self._place_seconds(at, window, since, finished) if number else None,
        )

    def now(self, at: float, window: float) -> Load:
        """What there is to do now: what waits and what lives is counted by what it is, and not by any clock."""
        return replace(self.load(at, window), waiting=self.waiting, live=self.live)

    def busiest(self, after: float, until: float) -> float | None:
        """The moment of the most waiting items, of those at which one was listed; None: none was."""
        first, last = bisect_right(self._listed, after), bisect_right(self._listed, until)
        moments = self._listed[first:last]
        if not moments:
            return None
        left = self._left
        index, _ = max(enumerate(moments), key=lambda one: one[0] - bisect_left(left, one[1]))
        return moments[index]

    def _steady(self, at: float, window: float) -> float:
        step = window / _LOOKS
        counts = [bisect_right(self._listed, at - number * step) for number in range(_LOOKS, -1, -1)]
        most = max(after - before for before, after in pairwise(counts))
        return (counts[-1] - counts[0] - most) / (window - step)

    def _place_seconds(self, at: float, window: float, since: int, finished: int) -> float:
        """
        The lesser of two means, each of which errs upwards only.

        By item: of those that ended, and of those at work for longer than these, so that long ones are seen before
        they end. By place (Little 1961): seconds for which places were held in the window, over items that ended in
        it. A place is not held for longer than the window is, so a clock that steps forward makes no burst; while many
        have begun and few have ended, it is far too much.
        """
        number = finished - since
        places = self._sums["places"][finished] - self._sums["places"][since]
        mean = places / number
        before = at - mean
        longer = [at - created for created in self._created_of_finished[finished:] if created < before]
        longer += [at - created for created in self._created_of_live[: bisect_left(self._created_of_live, before)]]
        most = max(window, mean)
        by_item = (places + sum(min(one, most) for one in longer)) / (number + len(longer))
        if self._finished[since] <= at - window:
            return by_item
        # Not below 0: sums of seconds since 1970 are exact to a millisecond or so.
        return min(by_item, max(0.0, self._held(at) - self._held(at - window)) / number)

    def _held(self, at: float) -> float:
        """Seconds that all places together were held until then."""
        created, finished = bisect_right(self._created, at), bisect_right(self._finished, at)
        sums = self._sums
        return at * (created - finished) - sums["created"][created] + sums["finished"][finished]


def decide(history: History, rule: Rule, now: float, *, is_frozen: bool = False) -> Decision:
    """
    How many Jobs may live now, within the rule's bounds.

    `is_frozen`: workers that were started find no room. Then no more than live already, not even the minimum.
    """
    load = history.now(now, rule.window)
    offered = _offered(load, rule)
    if rule.law == "fixed" or offered is None:
        wanted = load.waiting + load.live
    elif rule.law == "book":
        wanted = _book(history, rule, now)
    else:
        looks = (history.load(at, rule.window) for at in _looks(history, rule.window, now))
        wanted = max(staffing(one, rule) for one in (load, *looks))
    bounded = max(rule.minimum, min(rule.maximum, wanted))
    return Decision(min(bounded, load.live) if is_frozen else bounded, load, rule, offered, is_frozen)


def staffing(load: Load, rule: Rule) -> int:
    """
    The square-root law: as many as are at work on average, some more for chance, and those that work off what waits.

    By Little's law λT are at work on average; with √(λT) more an item that comes seldom waits (Halfin and Whitt 1981).
    What waits is worked off in the drain time, but never by fewer than the root of its number: 20 short ones by 5.
    """
    if load.place_seconds is None:
        return load.waiting + load.live
    steady = load.steady * load.place_seconds
    backlog = max(load.waiting * load.place_seconds / rule.drain_seconds, math.sqrt(load.waiting))
    return math.ceil(steady + math.sqrt(steady) + backlog)


def book_step(parallelism: int, offered: float, rule: Rule, *, may_step_down: bool) -> int:
    """
    The book's law: up at once where processing time over workers is not below the interarrival time; down by one while
    that would hold for one fewer too, with its 90 %. Nothing offered asks for none.
    """
    if 0 < offered >= parallelism:
        return math.floor(offered) + 1
    if may_step_down and parallelism > 0 and offered <= (1 - rule.tolerance) * (parallelism - 1):
        return parallelism - 1
    return parallelism


def _offered(load: Load, rule: Rule) -> float | None:
    is_book = rule.law == "book"
    seconds, rate = (load.processing_seconds, load.arrivals) if is_book else (load.place_seconds, load.steady)
    return None if seconds is None else seconds * (rate + load.waiting / rule.drain_seconds)


def _book(history: History, rule: Rule, now: float) -> int:
    """Played from the beginning of the window, with as many as lived then: what any other manager would find too."""
    at = now - rule.window
    wanted = history.load(at, rule.window).live
    while at < now:
        # One step down is due at whole minutes. Upwards it goes at once: when most waited, at the minute, and now.
        before, at = at, min((math.floor(at / STEP_SECONDS) + 1) * STEP_SECONDS, now)
        if (busiest := history.busiest(before, at)) is not None:
            wanted = book_step(
                wanted, _offered(history.load(busiest, rule.window), rule) or 0.0, rule, may_step_down=False
            )
        load = history.now(at, rule.window) if at == now else history.load(at, rule.window)
        wanted = book_step(wanted, _offered(load, rule) or 0.0, rule, may_step_down=at < now)
    return wanted


def _looks(history: History, window: float, now: float) -> Iterable[float]:
    """
    Moments of the window before now, the same for every manager: ends of its parts, and in each when most waited.

    The first keep the limit while what waits becomes less; the others remember what was decided when items came.
    """
    step = window / _LOOKS
    last = math.floor(now / step)
    for number in range(last - _LOOKS + 1, last + 2):
        if number <= last:
            yield number * step
        if (busiest := history.busiest((number - 1) * step, min(number * step, now))) is not None:
            yield busiest


def _began(life: Life) -> float:
    """When its Job was made; where a clock stepped back over that, so long before its end as its workers took."""
    if life.finished is None:
        return life.created or 0.0
    if life.created is None or life.created > life.finished:
        return life.finished - max(0.0, life.seconds)
    return life.created


def _summed(values: Iterable[float]) -> Sequence[float]:
    """Sums of the first 0, 1, 2 … values."""
    return list(accumulate(values, initial=0.0))
