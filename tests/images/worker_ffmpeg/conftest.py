"""Fixtures of worker-ffmpeg."""

from pathlib import Path

import pytest

from images.worker_ffmpeg.command import Place
from support.videos import Videos


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Videos:
    """Small videos, each made once."""
    return Videos(tmp_path_factory.mktemp("videos"))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Two empty folders, and the worker between them."""
    place = Place(tmp_path)
    place.media.mkdir()
    place.thumbs.mkdir()
    return place
