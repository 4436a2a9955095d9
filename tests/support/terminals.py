"""A terminal of its own for a command, as a person sees it."""

import contextlib
import os
import pty
import re
import signal
import struct
import subprocess
import termios
from fcntl import ioctl
from typing import Self

from support.runs import TIMEOUT_SECONDS

COLUMNS = 100
_PATIENCE_SECONDS = 5.0
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")


class Terminal:
    """A command in a pseudo-terminal, and everything it has written there; a context, which it does not outlive."""

    def __init__(self, command: list[str]) -> None:
        self._ours, theirs = pty.openpty()
        ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, COLUMNS, 0, 0))
        self.process = subprocess.Popen(
            command,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**os.environ, "TERM": "xterm-256color"},
            start_new_session=True,
        )
        os.close(theirs)
        self._written = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing of it runs on."""
        self.process.kill()
        self.process.wait()
        os.close(self._ours)

    def until(self, words: str) -> None:
        """Read on until `words` have been written."""
        while words not in self.text():
            assert self._read(), self.text()

    def type(self, words: str) -> None:
        """A line, as a person ends it."""
        os.write(self._ours, f"{words}\n".encode())

    def interrupt(self) -> None:
        """Ctrl-C until it ends: one that comes just before it reads an answer is seen when it has read one."""
        while self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(_PATIENCE_SECONDS)

    def end(self) -> int:
        """The exit code, after everything was read."""
        while self._read():
            pass
        return self.process.wait(TIMEOUT_SECONDS)

    def text(self) -> str:
        """What was written, without colours and movements of the cursor."""
        return _CONTROL.sub("", self._written.decode(errors="replace"))

    def _read(self) -> bool:
        try:
            chunk = os.read(self._ours, 65536)
        except OSError:  # Linux says EIO when nobody has the other end open any more
            chunk = b""
        self._written += chunk
        return bool(chunk)
