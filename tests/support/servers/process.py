"""A real server as a child process on loopback: started, killed, started again with its data, and never left behind."""

import contextlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self

import pytest

START_SECONDS = 120.0
"""How long a server may take to answer: far longer than any does, since machines are slow at times."""


def program(name: str, install: str) -> str:
    """Where a program is: beside this Python, or on the PATH; a skip that says what to install where it is nowhere."""
    beside = shutil.which(name, path=str(Path(sys.executable).parent))
    found = beside or shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed: {install}")
    return found


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nobody listens on just now."""
    with socket.create_server((host, 0)) as listener:
        return int(listener.getsockname()[1])


class Server(ABC):
    """One server; a context that is held while it is needed."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.host = host
        """Where it listens: on loopback, or for pods of our own cluster on the node's own address."""
        self._stack = contextlib.ExitStack()
        self.folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="longshore-server-")))
        self.process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def command(self) -> Sequence[str]:
        """What is run."""

    @abstractmethod
    def is_up(self) -> bool:
        """Whether it answers a real request; raises, or says no, while it does not."""

    def environ(self) -> Mapping[str, str] | None:
        """Its environment; None: ours."""
        return None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command(), cwd=self.folder, env=self.environ(), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        until(self.is_up, self.process, self.folder / "log")

    def kill(self) -> None:
        """SIGKILL, as a node that loses its power."""
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None

    revive = start
    """Start it again: same address, same data."""

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as undo:
            undo.callback(self._end)
            self.start()
            undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def _end(self) -> None:
        self.kill()
        self._stack.close()


def until(is_up: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until a server answers; what it has said is told when it never does."""
    end = time.monotonic() + START_SECONDS
    while True:
        with contextlib.suppress(Exception):  # whatever its client makes of nobody there
            if is_up():
                return
        last = log.read_text(errors="replace")[-2000:]
        assert process.poll() is None, f"it ended with {process.returncode}: {last}"
        assert time.monotonic() < end, f"it never answered: {last}"
        time.sleep(0.05)  # nothing tells when a server listens


@contextlib.contextmanager
def each(*servers: Server) -> Iterator[tuple[Server, ...]]:
    """Several, started one after the other."""
    with contextlib.ExitStack() as stack:
        yield tuple(stack.enter_context(server) for server in servers)


def connects(port: int) -> bool:
    """Whether somebody listens."""
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) == 0
