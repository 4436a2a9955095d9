"""Whose turn it is: the queue's order, and turns between groups."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longshore.order import Line, Order, Turns, line_of

NAMES = ("b/2", "a/1", "c", "b/1", "a/2")
NOBODY = frozenset[str]()


def first(line: Line, count: int = 9, held: frozenset[str] = NOBODY, live: tuple[str, ...] = ()) -> list[str]:
    """The next few."""
    return line.first(count, held.__contains__, live)


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("listed", ["b/2", "a/1", "c", "b/1", "a/2"]),
        ("name", ["a/1", "a/2", "b/1", "b/2", "c"]),
        # Those that came while somebody looked come first, the latest before; then the end of the list.
        ("newest", ["a/1", "c", "a/2", "b/1", "b/2"]),
    ],
)
def test_an_order_is_kept(order: Order, expected: list[str]) -> None:
    """As the queue file says."""
    assert first(line_of(NAMES, Turns(order), {"a/1": 20.0, "c": 10.0})) == expected


def test_a_random_order_is_the_same_for_every_manager() -> None:
    """It is made of the names alone; the list's own order says nothing."""
    shuffled = first(line_of(NAMES, Turns("random"), {}))

    assert sorted(shuffled) == sorted(NAMES)
    assert shuffled == first(line_of(NAMES[::-1], Turns("random"), {}))
    assert shuffled != sorted(NAMES)


def test_what_is_held_is_passed_over() -> None:
    """It has a Job, or could not be started a moment ago."""
    assert first(line_of(NAMES, Turns(), {}), 2, frozenset({"b/2", "c"})) == ["a/1", "b/1"]


def test_groups_take_turns() -> None:
    """Ten thousand files of one customer do not hold up another's ten."""
    names = (*(f"big/{number}" for number in range(10_000)), "small/1", "small/2", "tiny/1")
    line = line_of(names, Turns(group_by="^([^/]+)/"), {})

    assert first(line, 6) == ["big/0", "small/1", "tiny/1", "big/1", "small/2", "big/2"]


def test_who_has_the_fewest_at_work_comes_next() -> None:
    """What runs counts: a group that has four at work waits for the others to have as many."""
    line = line_of(("a/5", "a/6", "b/1", "b/2", "c/1"), Turns(group_by="^[^/]+"), {})

    assert first(line, 4, live=("a/1", "a/2", "c/0")) == ["b/1", "c/1", "b/2", "a/5"]


def test_who_had_its_turn_the_longest_ago_comes_next() -> None:
    """With one at a time there is nobody at work to compare."""
    line = line_of(("a/1", "a/2", "b/1", "c/1"), Turns(group_by="^[^/]+"), {})

    assert line.first(3, NOBODY.__contains__, (), {"a": 30.0, "b": 20.0}) == ["c/1", "b/1", "a/1"]


@pytest.mark.parametrize(
    ("group_by", "name", "group"),
    [
        ("^([^/]+)/", "customer/a.mp4", "customer"),
        ("[^.]+$", "a.mp4", "mp4"),
        ("^(x)?a", "a", ""),
        ("^([^/]+)/", "no slash", ""),
        ("", "anything", ""),
    ],
)
def test_a_group_is_what_the_expression_finds(group_by: str, name: str, group: str) -> None:
    """Its first group, or all of it; where it finds nothing, all such names are one group."""
    assert Turns(group_by=group_by).group_of(name) == group


@given(
    names=st.lists(st.text("ab/1", min_size=1, max_size=4), unique=True, max_size=30),
    order=st.sampled_from(["listed", "name", "newest", "random"]),
    count=st.integers(0, 40),
    held=st.sets(st.text("ab/1", max_size=4), max_size=5),
)
def test_every_item_has_its_turn_once(names: list[str], order: Order, count: int, held: set[str]) -> None:
    """Whatever the order and the groups: none is left out, none comes twice, no group is more than one ahead."""
    line = line_of(names, Turns(order, "^[^/]*"), {})
    free = [name for name in names if name not in held]
    found = first(line, count, frozenset(held))

    assert len(found) == min(count, len(free))
    assert sorted(first(line, len(names), frozenset(held))) == sorted(free)
    taken = Counter(Turns(order, "^[^/]*").group_of(name) for name in found)
    left = Counter(Turns(order, "^[^/]*").group_of(name) for name in free if name not in found)
    assert all(taken[group] >= max(taken.values(), default=0) - 1 for group in left)
