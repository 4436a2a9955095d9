"""What of each kind is an item, what is given of it, and what acknowledging takes away."""

from contextlib import AbstractContextManager
from typing import Any

import pytest

from support.programs import Running, running
from support.queues import NASTY_NAMES
from support.servers.redis import RedisServer

pytestmark = pytest.mark.slow
TEXTS = {"plain": "text", "json": '{"a": [1, null]}', "list": "[1]", "bytes": b"\xff"}
GIVEN = {
    "plain": {"value": "text"},
    "json": {"a": [1, None]},
    "list": {"value": "[1]"},
    "bytes": {"value": "/w==", "encoding": "base64"},
}


def ambassador(server: RedisServer, kind: str, **settings: str) -> AbstractContextManager[Running]:
    """The ambassador over the key `items`, or over all keys."""
    place = {"REDIS_PATTERN": "*"} if kind == "keys" else {"REDIS_KEY": "items"}
    environ = {"REDIS_URL": server.url, "REDIS_KIND": kind, **place, **settings}
    return running("longshore-ambassador-redis", environ)


def fill(server: RedisServer, kind: str, names: Any) -> None:
    """Put these in, in their order."""
    client: Any = server.client()
    match kind:
        case "hash":
            client.hset("items", mapping=dict.fromkeys(names, "{}"))
        case "list":
            client.rpush("items", *names)
        case "set":
            client.sadd("items", *names)
        case "zset":
            client.zadd("items", {name: score for score, name in enumerate(names)})
        case _:
            for name in names:
                client.set(name, "{}")


@pytest.mark.parametrize("kind", ["hash", "list", "set", "zset", "keys"])
def test_every_name_is_an_item(redis: RedisServer, kind: str) -> None:
    """Whatever is in it; lists and sorted sets keep their order, what has none is sorted."""
    fill(redis, kind, NASTY_NAMES)
    with ambassador(redis, kind) as one:
        names = one.names()
        codes = {one.item(name).status_code for name in NASTY_NAMES}

    assert (names, codes) == (list(NASTY_NAMES) if kind in {"list", "zset"} else sorted(NASTY_NAMES), {200})


def test_values_of_a_hash(redis: RedisServer) -> None:
    """A JSON object is the data, a text is a value, and what is no text is base64."""
    client: Any = redis.client()
    client.hset("items", mapping=TEXTS)
    with ambassador(redis, "hash") as one:
        assert {name: one.item(name).json()["data"] for name in one.names()} == GIVEN


def test_values_of_keys(redis: RedisServer) -> None:
    """A string as a hash's field; a hash by its fields; of anything else what it is."""
    client: Any = redis.client()
    client.mset({f"job:{name}": value for name, value in TEXTS.items()})
    client.hset("job:hash", mapping={"a": "1", "b": b"\xff"})
    client.rpush("job:queue", "x")
    client.set("other", "x")
    with ambassador(redis, "keys", REDIS_PATTERN="job:*") as one:
        given = {name: one.item(name).json()["data"] for name in one.names()}

    assert given == {
        **{f"job:{name}": data for name, data in GIVEN.items()},
        "job:hash": {"a": "1", "b": "/w==", "encodings": {"b": "base64"}},
        "job:queue": {"type": "list"},
    }


@pytest.mark.parametrize("kind", ["list", "set", "zset"])
def test_members_that_are_json_have_their_name_in_them(redis: RedisServer, kind: str) -> None:
    """`REDIS_NAME_FIELD`; what has no name is told of, and left out."""
    members = ['{"id": "b", "n": 1}', '{"id": 7}', "no json", '{"id": null}']
    fill(redis, kind, members)
    with ambassador(redis, kind, REDIS_NAME_FIELD="id", REDIS_ACK="true") as one:
        names = one.names()
        data = one.item("b").json()["data"]
        one.done("b")
        left = one.names()
        log = one.stop()

    assert (sorted(names), data, left) == (["7", "b"], {"id": "b", "n": 1}, ["7"])
    assert '"count": 2' in log


def test_entries_of_a_stream(redis: RedisServer) -> None:
    """An id is a name, the fields are the data; what is added and what is deleted shows."""
    client: Any = redis.client()
    ids = [client.xadd("items", {"a": str(number), "b": b"\xff"}).decode() for number in range(3)]
    with ambassador(redis, "stream") as one:
        first = one.names()
        data = one.item(ids[0]).json()["data"]
        client.xdel("items", ids[1])
        ids.append(client.xadd("items", {"a": "3"}).decode())
        second = one.names()
        codes = [one.item(name).status_code for name in (ids[1], "-", "+", "5", "a-b")]

    assert (first, second, codes) == (ids[:3], [ids[0], ids[2], ids[3]], [404] * 5)
    assert data == {"a": "0", "b": "/w==", "encodings": {"b": "base64"}}


def test_a_stream_in_its_group_is_what_the_group_has_not_acknowledged(redis: RedisServer) -> None:
    """Delivered to somebody or not yet; acknowledged by XACK, and the entries stay."""
    client: Any = redis.client()
    ids = [client.xadd("items", {"a": str(number)}).decode() for number in range(4)]
    client.xgroup_create("items", "workers", "0")
    client.xreadgroup("workers", "somebody", {"items": ">"}, count=2)
    client.xack("items", "workers", ids[0])
    with ambassador(redis, "stream", REDIS_GROUP="workers") as reader:
        read_only = reader.names()
    with ambassador(redis, "stream", REDIS_GROUP="workers", REDIS_ACK="true") as one:
        listed = one.names()
        codes = [one.done(ids[3]).status_code, one.done(ids[3]).status_code]
        left = one.names()

    assert (read_only, listed, codes, left) == (ids[1:], ids[1:], [204, 204], ids[1:3])
    assert client.xlen("items") == 4


def test_an_entry_that_was_deleted_while_it_was_pending_is_let_go(redis: RedisServer) -> None:
    """It will never come again, and must not be listed for ever."""
    client: Any = redis.client()
    name = client.xadd("items", {"a": "1"}).decode()
    client.xgroup_create("items", "workers", "0")
    with ambassador(redis, "stream", REDIS_GROUP="workers", REDIS_ACK="true") as one:
        before = one.names()
        client.xdel("items", name)
        code = one.item(name).status_code
        after = one.names()

    assert (before, code, after) == ([name], 404, [])


@pytest.mark.parametrize("kind", ["hash", "list", "set", "zset", "keys"])
def test_done_takes_the_item_out_once(redis: RedisServer, kind: str) -> None:
    """Told twice, or of what never was, nothing else goes."""
    fill(redis, kind, ["a", "b"])
    with ambassador(redis, kind, REDIS_ACK="true") as one:
        codes = [one.done(name).status_code for name in ("a", "a", "never")]
        left = one.names()

    assert (codes, left) == ([204] * 3, ["b"])


def test_what_is_twice_in_a_list_is_one_item(redis: RedisServer) -> None:
    """A name is one item, and done it is gone from every place."""
    fill(redis, "list", ["a", "b", "a"])
    with ambassador(redis, "list", REDIS_ACK="true") as one:
        names = one.names()
        one.done("a")
        left = one.names()

    assert (names, left) == (["a", "b"], ["b"])


@pytest.mark.parametrize("kind", ["hash", "list", "set", "zset", "stream", "keys"])
def test_what_is_not_there_is_an_empty_list(redis: RedisServer, kind: str) -> None:
    """Redis keeps no empty collections: none is the same as an empty one."""
    with ambassador(redis, kind) as one:
        assert one.names() == []


def test_names_that_are_no_text_are_left_out_and_told(redis: RedisServer) -> None:
    """JSON can't carry them; the others go on, and it is said once."""
    client: Any = redis.client()
    client.hset("items", mapping={b"\xff\xfe": "1", "good": "1"})
    with ambassador(redis, "hash") as one:
        names = [one.names(), one.names()]
        log = one.stop()

    assert (names, log.count("not UTF-8")) == ([["good"]] * 2, 1)


@pytest.mark.parametrize("kind", ["list", "set", "zset"])
def test_members_of_one_name_are_one_item(redis: RedisServer, kind: str) -> None:
    """One of them is given; done takes all of them away, as any that stayed would be worked on again."""
    members = ['{"id": "a", "n": 1}', '{"id": "a", "n": 2}', '{"id": "b", "n": 3}']
    fill(redis, kind, members)
    with ambassador(redis, kind, REDIS_NAME_FIELD="id", REDIS_ACK="true") as one:
        names = one.names()
        given = one.item("a").json()["data"]["n"]
        done = one.done("a").status_code
        left, gone = one.names(), one.item("a").status_code

    assert (sorted(names), given in {1, 2}, done, left, gone) == (["a", "b"], True, 204, ["b"], 404)


def test_a_member_that_was_written_anew_since_it_was_listed_is_found(redis: RedisServer) -> None:
    """By its name: what it holds now is given, and done takes that away."""
    client: Any = redis.client()
    fill(redis, "list", ['{"id": "a", "n": 1}'])
    with ambassador(redis, "list", REDIS_NAME_FIELD="id", REDIS_ACK="true") as one:
        one.names()
        client.lset("items", 0, '{"id": "a", "n": 2}')
        given = one.item("a").json()["data"]["n"]
        done = one.done("a").status_code

    assert (given, done, client.llen("items")) == (2, 204, 0)
