"""How long to wait after failures."""

from hypothesis import given
from hypothesis import strategies as st

from longshore.patience import backoff


def test_each_failure_doubles_the_pause() -> None:
    """One, two, four, up to the limit."""
    assert [backoff(failures, first=1, most=5) for failures in (1, 2, 3, 4)] == [1, 2, 4, 5]


@given(failures=st.integers(0, 10**6))
def test_no_number_of_failures_is_too_much(failures: int) -> None:
    """A night without the source must not end the waiting in an error."""
    assert 2 <= backoff(failures, first=2, most=30) <= 30
