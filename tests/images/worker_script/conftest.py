"""Fixtures of worker-script: one store for all tests, and two buckets for each."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from images.worker_script.command import Place
from support.servers.s3 import S3Server


@pytest.fixture(scope="session")
def store() -> Iterator[S3Server]:
    """A store."""
    with S3Server() as server:
        yield server


@pytest.fixture
def place(store: S3Server, tmp_path: Path) -> Place:
    """Where one test's items come from, and where its results go."""
    return Place(store, tmp_path, store.make_bucket(), store.make_bucket())
