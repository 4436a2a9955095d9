"""Fixtures of ambassador-redis: one server for all tests, emptied for each."""

from collections.abc import Iterator

import pytest

from support.servers.redis import RedisServer


@pytest.fixture(scope="session")
def server() -> Iterator[RedisServer]:
    """A server without a password."""
    with RedisServer() as server:
        yield server


@pytest.fixture
def redis(server: RedisServer) -> RedisServer:
    """The same, empty."""
    server.client().flushall()
    return server
