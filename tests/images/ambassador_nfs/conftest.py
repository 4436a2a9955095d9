"""Fixtures of ambassador-nfs."""

import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from images.ambassador_nfs.media import Media
from longshore_kit import logs


@pytest.fixture
def media(tmp_path: Path) -> Media:
    """An empty folder."""
    return Media(tmp_path / "media")


@pytest.fixture
def public_media() -> Iterator[Media]:
    """An empty folder that every user may read, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Media(Path(folder))


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """What was logged, as a program would see it."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    logs.configure("json")
    root.addHandler(caplog.handler)
    yield caplog
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
