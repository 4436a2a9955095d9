"""What is new of a log of which only the end is seen."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longshore.cli.follow import news

LINES = "".join(f"line {number}\n" for number in range(200))


@pytest.mark.parametrize(
    ("before", "now", "new"),
    [
        ("", "a\n", "a\n"),
        ("a\n", "a\nb\n", "b\n"),
        ("a\n", "a\n", ""),
        ("a\n", "", ""),
        (LINES[:1000], LINES[100:1100], LINES[1000:1100]),
        (LINES[:1000], f"\ufffd{LINES[100:1100]}", LINES[1000:1100]),
        (LINES[:100], LINES[500:700], LINES[500:700]),
    ],
)
def test_only_what_is_new_is_printed(before: str, now: str, new: str) -> None:
    """As long as the two looks overlap nothing is printed twice; after a gap all there is."""
    assert news(before, now) == new


@given(st.lists(st.integers(1, 900), min_size=1, max_size=12))
def test_looks_that_overlap_give_the_whole(steps: list[int]) -> None:
    """However it grows, the pieces make up the log."""
    log = "".join(f"line {number}\n" for number in range(1500))
    printed, before, at = "", "", 0
    for step in steps:
        at = min(at + step, len(log))
        now = log[max(0, at - 1000) : at]
        printed, before = printed + news(before, now), now

    assert printed == log[:at]
