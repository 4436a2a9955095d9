"""An ambassador's command as it runs in its image: a process of its own, over HTTP, with signals and an exit code."""

import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import requests

from longshore_kit.contract import quote_name


def installed(program: str) -> Path:
    """Where a command of this repository is installed."""
    return Path(sys.executable).with_name(program)


@dataclass(frozen=True)
class Running:
    """The command, serving."""

    url: str
    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)
    """What it has logged so far."""

    def get(self, path: str, **headers: str) -> requests.Response:
        """A reply, however long the store behind it takes."""
        return requests.get(self.url + path, headers=headers, timeout=120)

    def names(self) -> list[str]:
        """The list, which must be there."""
        reply = self.get("/api/v1/items")
        assert reply.status_code == 200, reply.text
        names: list[str] = reply.json()["items"]
        return names

    def item(self, name: str) -> requests.Response:
        """The reply for one item."""
        return self.get(f"/api/v1/items/{quote_name(name)}")

    def done(self, name: str) -> requests.Response:
        """Tell it that an item is done."""
        return requests.post(f"{self.url}/api/v1/items/{quote_name(name)}/done", timeout=120)

    def stop(self) -> str:
        """SIGTERM, and what the command logged in its life."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=30)
        return self.log()

    def log(self) -> str:
        """What it has logged so far; all of it once it has ended."""
        return "".join(self.lines)


@contextmanager
def running(program: str, environ: Mapping[str, str]) -> Iterator[Running]:
    """The command with these settings. The socket listens before it starts, so nobody has to wait for it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        process = subprocess.Popen(
            [installed(program)],
            env={"LISTEN_FD": str(listener.fileno()), "HEALTH_PORT": "0", "LOG_FORMAT": "json", **environ},
            pass_fds=[listener.fileno()],
            stderr=subprocess.PIPE,
            text=True,
        )
    one = Running(url, process)
    reader = threading.Thread(target=_read, args=(process, one.lines), daemon=True)
    reader.start()
    try:
        yield one
    finally:
        process.kill()
        process.wait()
        reader.join()


def _read(process: subprocess.Popen[str], lines: list[str]) -> None:
    assert process.stderr is not None
    lines.extend(iter(process.stderr.readline, ""))
    process.stderr.close()
