"""A file that is written once."""

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from longshore.once import written_once


def test_who_comes_later_reads_what_is_there(tmp_path: Path) -> None:
    """The first one's words stay."""
    path = tmp_path / "name"

    assert [written_once(path, "first\n"), written_once(path, "second\n")] == ["first\n", "first\n"]


def test_all_who_come_at_once_read_the_same(tmp_path: Path) -> None:
    """One of them writes, and nothing else is left in the folder."""
    start = Barrier(16)

    def write(number: int) -> str:
        start.wait()
        return written_once(tmp_path / "name", f"{number}\n" * 1000)

    with ThreadPoolExecutor(16) as pool:
        read = set(pool.map(write, range(16)))

    assert (read, [one.name for one in tmp_path.iterdir()]) == ({(tmp_path / "name").read_text()}, ["name"])


def test_what_could_not_be_written_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk is not filled further, start by start."""

    def fail(path: Path, _: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(Path, "hardlink_to", fail)
    with pytest.raises(OSError, match="No space left"):
        written_once(tmp_path / "name", "words")

    assert list(tmp_path.iterdir()) == []
