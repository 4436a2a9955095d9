"""ambassador-redis keeps what every shipped ambassador keeps, for each kind, over a real server."""

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from contract.ambassador_contract import AmbassadorContract
from support.servers.redis import PASSWORD, RedisServer

pytestmark = pytest.mark.slow


class RedisBackend:
    """One key of one server with a password."""

    program = "longshore-ambassador-redis"
    secrets = (PASSWORD,)

    def __init__(self, server: RedisServer, kind: str) -> None:
        self._server = server
        self._kind = kind
        self._numbers = itertools.count()
        place = {"REDIS_PATTERN": "keys:*"} if kind == "keys" else {"REDIS_KEY": kind}
        self.environ = {
            "REDIS_URL": server.url,
            "REDIS_PASSWORD": PASSWORD,
            "REDIS_KIND": kind,
            "REDIS_ACK": "true",
            **place,
        }

    @property
    def client(self) -> Any:
        return self._server.client()

    def add(self) -> str:
        number = next(self._numbers)
        name = f"item {number}/é%"
        match self._kind:
            case "hash":
                self.client.hset("hash", name, "1")
            case "list":
                self.client.rpush("list", name)
            case "set":
                self.client.sadd("set", name)
            case "zset":
                self.client.zadd("zset", {name: number})
            case "stream":
                return str(self.client.xadd("stream", {"a": "1"}).decode())
            case _:
                name = f"keys:{name}"
                self.client.set(name, "1")
        return name

    def remove(self, name: str) -> None:
        match self._kind:
            case "hash":
                self.client.hdel("hash", name)
            case "list":
                self.client.lrem("list", 0, name)
            case "set":
                self.client.srem("set", name)
            case "zset":
                self.client.zrem("zset", name)
            case "stream":
                self.client.xdel("stream", name)
            case _:
                self.client.delete(name)

    def kill(self) -> None:
        self._server.kill()

    def revive(self) -> None:
        self._server.revive()


@pytest.fixture(scope="module")
def guarded() -> Iterator[RedisServer]:
    """A server of its own, as it is killed."""
    with RedisServer(password=PASSWORD) as server:
        yield server


@pytest.fixture(scope="module", params=["hash", "stream", "list", "set", "zset", "keys"])
def backend(guarded: RedisServer, request: pytest.FixtureRequest) -> RedisBackend:
    """Each kind."""
    return RedisBackend(guarded, request.param)


class TestRedisAmbassador(AmbassadorContract):
    """Every rule, for each kind."""
