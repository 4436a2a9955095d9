"""Files with lines NAME=value."""

import pytest

from longshore_kit.envfile import variables
from longshore_kit.errors import SettingsError


def test_a_value_is_all_that_comes_after_the_first_equals_sign() -> None:
    """Quotes, spaces, signs and separators of other kinds included."""
    text = "\ufeff# keys\n\n  # and more\nA=1\nB=x=y z\r\nC='q'\nD=a\u2028b\x0bc\nE=\n F =$A # no remark\n"

    assert variables(text, "f") == {
        "A": "1", "B": "x=y z", "C": "'q'", "D": "a\u2028b\x0bc", "E": "", "F": "$A # no remark",
    }  # fmt: skip


@pytest.mark.parametrize("line", ["NAME", "=value", "A B=1", "1A=x", "export A=1", "A=canary\0x"])
def test_a_line_that_is_none_is_told_by_its_number_alone(line: str) -> None:
    """What stands in it may be a secret."""
    with pytest.raises(SettingsError) as told:
        variables(f"A=1\n{line}\n", "keys.env")

    assert str(told.value) == "keys.env:2: expected NAME=value without a NUL, an empty line, or one that begins with #"
