"""Whether a queue starts items, as a person has said."""

from pathlib import Path

import pytest

from longshore.control import FileControl, Mode
from longshore_kit.errors import SettingsError


def test_a_queue_runs_until_somebody_says_otherwise(tmp_path: Path) -> None:
    """And again when it is resumed; every other look sees it at once."""
    control, other = FileControl(tmp_path), FileControl(tmp_path)
    seen = [other.mode()]
    for mode in (Mode.PAUSED, Mode.DRAINING, Mode.RUNNING, Mode.RUNNING):
        control.set_mode(mode)
        seen.append(other.mode())

    assert seen == [Mode.RUNNING, Mode.PAUSED, Mode.DRAINING, Mode.RUNNING, Mode.RUNNING]
    assert [mode.may_start for mode in Mode] == [True, False, False]
    assert list(tmp_path.iterdir()) == []


def test_what_was_said_is_seen_until_something_else_is_said(tmp_path: Path) -> None:
    """Who drains waits for a manager to have seen this very word."""
    control, manager = FileControl(tmp_path), FileControl(tmp_path)
    control.set_mode(Mode.PAUSED)
    manager.note_seen(Mode.PAUSED)
    seen = [control.is_seen(mode) for mode in Mode]
    control.set_mode(Mode.DRAINING)

    assert (seen, control.is_seen(Mode.PAUSED), control.is_seen(Mode.DRAINING)) == ([False, True, False], False, False)


def test_what_nobody_can_read_starts_nothing(tmp_path: Path) -> None:
    """It is told with what it may be: a queue that was to stand still must not go on."""
    (tmp_path / "mode").write_text("stop!")

    with pytest.raises(SettingsError) as told:
        FileControl(tmp_path).mode()

    words = "says 'stop!', and may say running, paused, draining: resume the queue to begin anew"
    assert str(told.value) == f"{tmp_path / 'mode'} {words}"


def test_what_is_no_text_is_told_like_any_other_odd_word(tmp_path: Path) -> None:
    """Whatever has got into the file."""
    (tmp_path / "mode").write_bytes(b"\xff\xfe")

    with pytest.raises(SettingsError) as told:
        FileControl(tmp_path).mode()

    assert str(told.value).partition(" says ")[2].partition(", and")[0] == repr("\\xff\\xfe")
