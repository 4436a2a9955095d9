"""Fixtures of ambassador-s3: one store for all tests, and a bucket for each."""

from collections.abc import Iterator

import pytest

from images.ambassador_s3.buckets import Bucket
from support.servers.s3 import S3Server


@pytest.fixture(scope="session")
def store() -> Iterator[S3Server]:
    """A store."""
    with S3Server() as server:
        yield server


@pytest.fixture
def bucket(store: S3Server) -> Bucket:
    """An empty bucket."""
    return Bucket(store, store.make_bucket())
