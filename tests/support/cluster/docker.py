"""Docker's daemon, where none runs: started for a while, and ended by its process id."""

import contextlib
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from support.cluster import tools

_START_SECONDS = 60.0


@contextlib.contextmanager
def running_docker() -> Iterator[None]:
    """
    A daemon that answers, for as long as this is held.

    Raises:
        tools.Missing: there is none, and none can be started here.
    """
    if _answers():
        yield
        return
    folder = tools.cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "dockerd.log").open("wb") as log:
        process = subprocess.Popen([tools.path_of("dockerd")], stdout=log, stderr=log, start_new_session=True)
    try:
        _until_it_answers(process, folder / "dockerd.log")
        yield
    finally:
        process.terminate()
        process.wait()


def _answers() -> bool:
    ended = subprocess.run([tools.path_of("docker"), "version"], capture_output=True, check=False)
    return ended.returncode == 0


def _until_it_answers(process: "subprocess.Popen[bytes]", log: Path) -> None:
    until = time.monotonic() + _START_SECONDS
    while not _answers():
        if process.poll() is not None or time.monotonic() > until:
            raise tools.Missing(f"dockerd did not start:\n{log.read_text(errors='replace')[-1000:]}")
        time.sleep(0.2)  # a daemon tells nobody that it answers
