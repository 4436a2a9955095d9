"""A folder of files and a clock, both in the test's hands."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from longshore_ambassador_nfs.source import NfsSource

NOBODY = 65534


class Clock:
    """Both clocks of a source. They stand still, a little before all that the test writes, unless moved."""

    def __init__(self) -> None:
        self.now = time.time()
        self.ticks = 0.0

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.ticks

    def advance(self, seconds: float) -> None:
        self.now += seconds
        self.ticks += seconds


class Media:
    """The folder under MEDIA_PATH."""

    def __init__(self, root: Path) -> None:
        root.mkdir(exist_ok=True)
        self.root = root
        self.clock = Clock()

    def source(self, *patterns: str, **settings: Any) -> NfsSource:
        """A source over the folder, with the test's clocks."""
        settings.setdefault("settle_seconds", 30)
        return NfsSource(
            self.root, patterns or ("**/*.mp4",), clock=self.clock.time, monotonic=self.clock.monotonic, **settings
        )

    def write(self, name: str, content: bytes = b"film", *, age: float = 3600) -> Path:
        """A file that was modified `age` seconds ago."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        modified = self.clock.now - age
        os.utime(path, (modified, modified))
        return path


@contextmanager
def as_nobody() -> Iterator[None]:
    """Without root's right to read everything; changes nothing for anybody else."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def scanned_folders(media: Media, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A list that grows with each folder that is read from now on, relative to the root."""
    scanned: list[str] = []
    scandir = os.scandir

    def spy(path: bytes) -> Any:
        scanned.append(os.path.relpath(os.fsdecode(path), media.root))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", spy)
    return scanned


def break_scandir(monkeypatch: pytest.MonkeyPatch, suffix: bytes, code: int) -> None:
    """Reading a folder whose path ends in `suffix` fails from now on, after its first entry."""
    scandir = os.scandir

    @contextmanager
    def broken(path: bytes) -> Iterator[Any]:
        def entries() -> Iterator[os.DirEntry[bytes]]:
            yield next(found)
            raise OSError(code, os.strerror(code))

        with scandir(path) as found:
            yield entries() if path.endswith(suffix) else found

    monkeypatch.setattr(os, "scandir", broken)
