"""The laws: the book's own numbers, and what must hold whatever arrives, whoever decides and whatever clocks do."""

import math
import random
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longshore.scaling import History, Law, Life, Load, Rule, book_step, decide, staffing

BEGAN = 1_800_000_000.0
RULE = Rule(maximum=1000)
LAWS: tuple[Law, ...] = ("staffing", "book", "fixed")

seconds = st.floats(0, 7200)


@st.composite
def lives(draw: st.DrawFn) -> Life:
    """Any life at all, with clocks that agree on nothing."""
    listed = draw(st.none() | seconds)
    created = draw(st.none() | seconds)
    finished = None if created is None else draw(st.none() | seconds)
    listed, created, finished = (None if one is None else BEGAN + one for one in (listed, created, finished))
    return Life(listed, created, finished, draw(st.floats(0, 600)))


histories = st.lists(lives(), max_size=60).map(History)


def stream(seed: int, rate: float = 0.2, mean: float = 30.0, until: float = 7200.0) -> list[Life]:
    """What comes by chance, and is worked on at once: Poisson arrivals, log-normal times."""
    chance = random.Random(seed)  # noqa: S311 - made-up items
    made, at = [], 0.0
    while (at := at + chance.expovariate(rate)) < until:
        took = chance.lognormvariate(math.log(mean) - 0.125, 0.5)
        made.append(Life(BEGAN + at, BEGAN + at, BEGAN + at + took, took))
    return made


def seen_at(now: float, all_lives: list[Life]) -> list[Life]:
    """What of these can be seen at a moment."""
    return [
        one if one.finished is not None and one.finished <= now else replace(one, finished=None, seconds=0.0)
        for one in all_lives
        if one.created is not None and one.created <= now
    ]


def regular(interarrival: float, processing: float) -> list[Life]:
    """An hour of items that come and end like clockwork."""
    moments = [BEGAN + number * interarrival for number in range(1, int(3600 / interarrival) + 1)]
    return seen_at(BEGAN + 3600, [Life(at, at, at + processing, processing) for at in moments])


@pytest.mark.parametrize(
    ("interarrival", "processing", "expected"), [(60, 30, 1), (60, 60, 2), (60, 120, 3), (16, 60, 4)]
)
def test_the_books_numbers(interarrival: float, processing: float, expected: int) -> None:
    """Processing time over workers is below the interarrival time, with as few workers as that takes."""
    assert book_step(0, processing / interarrival, RULE, may_step_down=False) == expected


def test_the_book_comes_down_to_where_one_fewer_would_not_do() -> None:
    """From 6 at an item in 16 s of 60 s: 5, and it stays 5, since 90 % of 4 are not enough."""
    assert book_step(6, 60 / 16, RULE, may_step_down=True) == 5
    assert book_step(5, 60 / 16, RULE, may_step_down=True) == 5


def test_the_book_comes_down_only_when_it_is_due() -> None:
    """Down by one a minute."""
    assert book_step(6, 60 / 16, RULE, may_step_down=False) == 6


@pytest.mark.parametrize(("interarrival", "processing", "expected"), [(60, 30, 1), (60, 60, 2), (60, 120, 3)])
def test_the_books_numbers_are_read_back_from_jobs(interarrival: float, processing: float, expected: int) -> None:
    """The same, where all that is known is what Jobs carry, and nothing waits."""
    rule = Rule("book", maximum=1000, drain_seconds=math.inf)

    assert decide(History(regular(interarrival, processing)), rule, BEGAN + 3600).parallelism == expected


def test_nothing_to_do_asks_for_the_minimum() -> None:
    """An hour after the last item ended."""
    for law in LAWS:
        done = History([Life(BEGAN, BEGAN, BEGAN + 10, 10.0)] * 30)

        assert decide(done, Rule(law, minimum=0, maximum=9), BEGAN + 3600).parallelism == 0
        assert decide(done, Rule(law, minimum=2, maximum=9), BEGAN + 3600).parallelism == 2


def test_all_may_start_before_anything_has_finished() -> None:
    """Nothing is known of how long an item takes: the maximum is the only bound."""
    history = History([Life(BEGAN)] * 20)

    assert decide(history, Rule(maximum=4), BEGAN).parallelism == 4
    assert decide(history, Rule(maximum=50), BEGAN).parallelism == 20


def test_a_small_batch_is_not_worked_off_one_by_one() -> None:
    """20 items of a second would fit into the drain time one after the other; nobody wants that."""
    before = [Life(BEGAN, BEGAN, BEGAN + 1, 1.0)] * 20

    assert decide(History([*before, *[Life(BEGAN + 3600)] * 20]), Rule(maximum=4), BEGAN + 3600).parallelism == 4


def test_a_batch_is_spread_over_the_drain_time() -> None:
    """500 items of 10 s in 600 s would be 9 at once; the root of 500 is more; twice that would be a rate, and wrong."""
    before = [Life(BEGAN, BEGAN, BEGAN + 10, 10.0)] * 20
    history = History([*before, *[Life(BEGAN + 3600)] * 500])

    assert decide(history, replace(RULE, drain_seconds=600), BEGAN + 3600).parallelism == 23
    assert decide(history, replace(RULE, drain_seconds=60), BEGAN + 3600).parallelism == 84


def test_a_limit_is_held_while_a_batch_is_worked_off() -> None:
    """What is left of a batch would ask for fewer and fewer, and never be done in time."""
    before = [Life(BEGAN, BEGAN, BEGAN + 10, 10.0)] * 20
    batch = BEGAN + 3600
    begun = [Life(batch, batch + 1, batch + 11, 10.0)] * 80
    decision = decide(History([*before, *begun, *[Life(batch)] * 420]), replace(RULE, drain_seconds=60), batch + 20)

    assert decision.parallelism >= 84
    assert "More were wanted within the last 300 s" in decision.sentence()


def test_items_that_take_longer_than_before_are_seen_before_they_end() -> None:
    """What has been at work for longer than others took counts by what it has taken so far."""
    short = [Life(BEGAN + at, BEGAN + at, BEGAN + at + 5, 5.0) for at in range(0, 600, 10)]
    long = [Life(BEGAN + at, BEGAN + at) for at in range(600, 900, 10)]

    load = History([*short, *long]).load(BEGAN + 900, 300)

    assert load.place_seconds is not None
    assert load.place_seconds > 50


def test_few_ends_of_many_begun_are_no_reason_for_more() -> None:
    """100 began at once and one has ended: an item takes 10 s, and not what all of them have spent so far."""
    many = [Life(BEGAN, BEGAN)] * 99

    load = History([*many, Life(BEGAN, BEGAN, BEGAN + 9, 9.0)]).load(BEGAN + 10, 300)

    assert load.place_seconds == pytest.approx(10, abs=1)


def test_failed_attempts_count_and_pauses_between_them_do_not() -> None:
    """What its workers took, all attempts, is what an item takes; its place is held for longer."""
    load = History([Life(BEGAN, BEGAN, BEGAN + 90, 60.0)]).load(BEGAN + 100, 300)

    assert (load.processing_seconds, load.place_seconds) == (60.0, 90.0)


def test_a_place_in_a_full_cluster_counts_for_a_while_only() -> None:
    """Half an hour without room for its pod is no reason to want a hundred times the workers."""
    load = History([Life(BEGAN, BEGAN, BEGAN + 1810, 10.0)]).load(BEGAN + 1820, 300)

    assert load.place_seconds == pytest.approx(300, abs=10)


@given(histories, st.sampled_from(LAWS), st.integers(0, 50), st.integers(1, 50), seconds)
def test_the_limit_keeps_to_its_bounds(history: History, law: Law, minimum: int, more: int, after: float) -> None:
    """Never below `scaling.min`, never above `scaling.max`."""
    rule = Rule(law, minimum, minimum + more)

    assert minimum <= decide(history, rule, BEGAN + after).parallelism <= minimum + more


@given(histories, st.sampled_from(LAWS), st.integers(0, 50), seconds)
def test_growth_is_frozen_while_workers_find_no_room(history: History, law: Law, minimum: int, after: float) -> None:
    """No more than live already: not even for the minimum."""
    decision = decide(history, Rule(law, minimum, 100), BEGAN + after, is_frozen=True)

    assert decision.parallelism <= history.live


@given(histories, st.sampled_from(LAWS), st.integers(1, 20), st.booleans(), seconds)
def test_more_that_waits_never_asks_for_fewer(
    history: History, law: Law, more: int, is_seen: bool, after: float
) -> None:
    """The law is monotone in what waits."""
    now = BEGAN + after
    added = [Life(now if is_seen else None)] * more

    fewer = decide(history, Rule(law, maximum=10_000), now).parallelism
    assert fewer <= decide(History([*history.lives, *added]), Rule(law, maximum=10_000), now).parallelism


loads = st.builds(
    Load,
    waiting=st.integers(0, 1000),
    live=st.integers(0, 100),
    steady=st.floats(0, 10),
    place_seconds=st.floats(0, 3600),
)


@given(loads, st.integers(0, 100), st.floats(0, 5), st.floats(0, 600))
def test_more_load_never_asks_for_fewer(load: Load, waiting: int, steady: float, longer: float) -> None:
    """The law is monotone in each of its three numbers."""
    more = replace(
        load,
        waiting=load.waiting + waiting,
        steady=load.steady + steady,
        place_seconds=(load.place_seconds or 0) + longer,
    )

    assert staffing(load, RULE) <= staffing(more, RULE)


@given(st.integers(0, 50), st.integers(0, 50), st.floats(0, 50), st.floats(0, 50), st.booleans())
def test_more_load_never_makes_the_book_ask_for_fewer(
    workers: int, more_workers: int, offered: float, more: float, may_step_down: bool
) -> None:
    """Neither does a higher start."""
    fewer = book_step(workers, offered, RULE, may_step_down=may_step_down)

    assert fewer <= book_step(workers + more_workers, offered + more, RULE, may_step_down=may_step_down)


@pytest.mark.parametrize(("law", "most"), [("staffing", 60), ("book", 150)])
@pytest.mark.parametrize("seed", range(3))
def test_noise_makes_no_flapping(law: Law, most: int, seed: int) -> None:
    """A load that is steady but for chance: a look in 10 s, and less than one change in so many; each is small."""
    everything = stream(seed)
    limits = []
    for look in range(360):
        now = BEGAN + 3600 + 10 * look
        limits.append(decide(History(seen_at(now, everything)), Rule(law, maximum=1000), now).parallelism)

    assert sum(one != two for one, two in pairwise(limits)) < most
    assert max(limits) < 25


@given(histories, st.sampled_from(LAWS), seconds, st.randoms(use_true_random=False))
def test_whoever_decides_decides_the_same(history: History, law: Law, after: float, chance: random.Random) -> None:
    """A manager that was just started, and reads the same Jobs in another order, goes on where the last one was."""
    shuffled = list(history.lives)
    chance.shuffle(shuffled)

    before = decide(history, Rule(law, maximum=1000), BEGAN + after)
    assert decide(History(shuffled), Rule(law, maximum=1000), BEGAN + after).parallelism == before.parallelism


@given(st.integers(0, 1000), st.sampled_from(LAWS))
@settings(max_examples=30)
def test_what_has_long_become_a_record_is_not_missed(seed: int, law: Law) -> None:
    """Two windows of Jobs are enough: `keep.finished` and the ledger may have taken the others."""
    now = BEGAN + 3600
    everything = seen_at(now, stream(seed))
    rule = Rule(law, maximum=1000)
    kept = [one for one in everything if one.finished is None or one.finished > now - 2 * rule.window - 1]

    assert decide(History(kept), rule, now).parallelism == decide(History(everything), rule, now).parallelism


@given(histories, st.floats(0, 14_400))
def test_no_clock_makes_a_negative_number(history: History, after: float) -> None:
    """Whatever times are told, and in whatever order, nothing takes less than no time."""
    for load in (history.load(BEGAN + after, 300), history.now(BEGAN + after, 300)):
        assert min(load.waiting, load.live, load.arrivals, load.steady) >= 0
        assert load.processing_seconds is None or load.processing_seconds >= 0
        assert load.place_seconds is None or load.place_seconds >= 0


@given(
    seed=st.integers(0, 1000),
    step=st.floats(-7200, 7200),
    after=st.floats(1, 900),
    law=st.sampled_from(("staffing", "book")),
)
@settings(max_examples=100)
def test_a_clock_that_steps_makes_no_burst(seed: int, step: float, after: float, law: Law) -> None:
    """Every clock steps at once, back or forward, while some are at work: the limit stays of the same size."""
    stepped = BEGAN + 3600

    def told(at: float | None) -> float | None:
        return at if at is None or at < stepped else at + step

    everything = [
        replace(one, listed=told(one.listed), created=told(one.created), finished=told(one.finished))
        for one in seen_at(stepped + after, stream(seed))
    ]
    rule = Rule(law, maximum=1000)

    decision = decide(History(everything), rule, stepped + after + step)

    # 6 are at work on average. Seen without a step: 9 to 12; with one: 20, as two times share a window for a while.
    assert decision.parallelism <= 30


@pytest.mark.parametrize("law", LAWS)
def test_the_sentence_says_on_what_was_decided(law: Law) -> None:
    """Before anything has finished, with a measured load, and frozen."""
    rule = Rule(law, maximum=10)
    first = decide(History([Life(BEGAN)] * 3), rule, BEGAN)
    measured = decide(History(seen_at(BEGAN + 3600, stream(1))), rule, BEGAN + 3600)
    frozen = decide(History([Life(BEGAN)] * 3), rule, BEGAN, is_frozen=True)

    assert "3 waiting" in first.sentence()
    assert f"{measured.parallelism} at once" in measured.sentence()
    assert "find no room" in frozen.sentence()
