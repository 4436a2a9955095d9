"""How a command tells a person what is wrong."""

import pytest
import typer

from longshore.cli.common import Exit, complain, told_to_people
from longshore_kit.errors import LongshoreError, SettingsError


def test_a_complaint_keeps_its_lines_and_harms_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """An item or a source may have put anything in it, half a character too, that no stream could take."""
    complain("two mistakes:\n  ümlaut\x1b]0;x\x07\n  \x9b2J \u202e \ud800")

    assert capsys.readouterr().err == ("longshore: two mistakes:\n  ümlaut\\x1b]0;x\\x07\n  \\x9b2J \\u202e \\ud800\n")


@pytest.mark.parametrize(("kind", "code"), [(SettingsError, Exit.MISUSE), (LongshoreError, Exit.SOME_FAILED)])
def test_an_error_of_ours_is_told_the_same_way(
    kind: type[LongshoreError], code: Exit, capsys: pytest.CaptureFixture[str]
) -> None:
    """With its exit code, and without a traceback."""
    with pytest.raises(typer.Exit) as ended, told_to_people():
        raise kind("it says:\n\x1b[31mred")

    assert (ended.value.exit_code, capsys.readouterr().err) == (code, "longshore: it says:\n\\x1b[31mred\n")
