"""What processes share that run tests side by side: a folder that outlives them, and whose turn it is.

Whoever is killed holds nobody up: the kernel lets go of what he held.
"""

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path


def cache_folder() -> Path:
    """Where builds, images and the node's state are kept between runs."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "longshore"


@contextlib.contextmanager
def alone(name: str) -> Iterator[None]:
    """One process of this machine at a time, for each name; the others wait."""
    with (_locks() / name).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def together(name: str, begin: Callable[[], None], end: Callable[[], None]) -> Iterator[None]:
    """Any number of processes at a time, for each name: the first of them begins, the last that goes ends."""
    with (_locks() / f"{name}.users").open("w") as users:
        with alone(name):
            fcntl.flock(users, fcntl.LOCK_SH)
            begin()
        try:
            yield
        finally:
            with alone(name), contextlib.suppress(BlockingIOError):
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                end()


def _locks() -> Path:
    folder = cache_folder() / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
