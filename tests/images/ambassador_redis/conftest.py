"""Fixtures of ambassador-redis: one server for all tests, emptied for each."""

from collections.abc import Iterator

import pytest

from support.servers.redis import RedisServer


@pytest.fixture(scope="session", params=["redis", "valkey"])
def server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    """A server without a password, of either kind."""
    with RedisServer(is_valkey=request.param == "valkey") as server:
        yield server


@pytest.fixture
def redis(server: RedisServer) -> RedisServer:
    """The same, empty."""
    server.client().flushall()
    return server
