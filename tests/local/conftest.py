"""Queues on this machine, run by the `longshore` command."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from support.runs import LocalRun


@pytest.fixture
def local(tmp_path: Path) -> Iterator[LocalRun]:
    """A folder for one queue; nothing of it runs on when the test has ended."""
    run = LocalRun(tmp_path)
    (tmp_path / "items").mkdir()
    yield run
    left = [one for one in psutil.process_iter() if _is_of(one, str(tmp_path))]
    for process in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(left)


def _is_of(process: psutil.Process, folder: str) -> bool:
    try:
        return any(folder in argument for argument in process.cmdline())
    except psutil.Error:
        return False
