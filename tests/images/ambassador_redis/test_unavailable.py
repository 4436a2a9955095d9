"""A server that says no, is away, or is another one by now: 503 in words, and never a part of a list."""

import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis as redis_client

from contract.ambassador_contract import until_listed
from images.ambassador_redis.test_kinds import ambassador
from support.cluster.tools import path_of
from support.programs import running
from support.servers.process import each, free_port, until
from support.servers.redis import PASSWORD, RedisServer, SentinelServer, join

pytestmark = pytest.mark.slow
PROGRAM = "longshore-ambassador-redis"


def refusal(environ: dict[str, str]) -> str:
    """Why there is no list."""
    with running(PROGRAM, environ) as one:
        reply = one.get("/api/v1/items")
    assert reply.status_code == 503
    message: str = reply.json()["message"]
    return message


@pytest.mark.parametrize("kind", ["hash", "list", "set", "zset", "stream"])
def test_a_key_that_holds_something_else(redis: RedisServer, kind: str) -> None:
    """WRONGTYPE, and what to do."""
    redis.client().set("items", "a string")
    environ = {"REDIS_URL": redis.url, "REDIS_KIND": kind, "REDIS_KEY": "items"}

    assert refusal(environ).startswith("the key holds something else than REDIS_KIND says: correct one of the two")


def test_a_group_that_is_not_there(redis: RedisServer) -> None:
    """How to make it."""
    client: Any = redis.client()
    client.xadd("items", {"a": "1"})
    environ = {"REDIS_URL": redis.url, "REDIS_KIND": "stream", "REDIS_KEY": "items", "REDIS_GROUP": "nobody"}

    assert "XGROUP CREATE key group 0" in refusal(environ)
    assert "XGROUP CREATE key group 0" in refusal(environ | {"REDIS_ACK": "true"})


@pytest.fixture(scope="module")
def guarded() -> Iterator[RedisServer]:
    """A server with a password and users."""
    with RedisServer(password=PASSWORD) as server:
        client: Any = server.client()
        client.execute_command(*f"ACL SETUSER reader on >reader-{PASSWORD} ~items +hkeys +hget +ping +client".split())
        client.execute_command(*f"ACL SETUSER writer on >writer-{PASSWORD} ~items +hkeys +hget +hdel +client".split())
        client.hset("items", "a", "1")
        yield server


def test_no_password_and_a_wrong_one(guarded: RedisServer) -> None:
    """NOAUTH and WRONGPASS, without either in the words."""
    environ = {"REDIS_URL": guarded.url, "REDIS_KEY": "items"}

    assert refusal(environ).startswith("the server asks for a password: set REDIS_PASSWORD")
    wrong = refusal(environ | {"REDIS_PASSWORD": "wrong-canary"})
    assert (wrong.startswith("user or password is wrong"), "canary" in wrong) == (True, False)


def test_a_user_that_may_only_read_is_enough(guarded: RedisServer) -> None:
    """Four commands; told to acknowledge it is refused, in words, and nothing is lost."""
    environ = {
        "REDIS_URL": guarded.url,
        "REDIS_KEY": "items",
        "REDIS_USERNAME": "reader",
        "REDIS_PASSWORD": f"reader-{PASSWORD}",
    }
    with running(PROGRAM, environ) as one:
        read = one.names(), one.item("a").status_code, one.get("/api/v1").json()["capabilities"]
    with running(PROGRAM, environ | {"REDIS_ACK": "true"}) as one:
        refused = one.done("a")
        names = one.names()

    assert read == (["a"], 200, [])
    assert (refused.status_code, names) == (503, ["a"])
    assert "the user may not do that" in refused.json()["message"]


def test_a_password_from_a_file(guarded: RedisServer, tmp_path: Path) -> None:
    """As a mounted Secret gives it, with or without a newline at its end."""
    (tmp_path / "password").write_text(f"writer-{PASSWORD}\n")
    environ = {
        "REDIS_URL": guarded.url,
        "REDIS_KEY": "items",
        "REDIS_USERNAME": "writer",
        "REDIS_PASSWORD_FILE": str(tmp_path / "password"),
        "REDIS_ACK": "true",
    }
    with running(PROGRAM, environ) as one:
        assert (one.names(), one.done("none").status_code) == (["a"], 204)


def test_a_server_that_is_killed_while_it_answers_gives_no_shorter_list() -> None:
    """A million fields are read; in the middle of it the server goes: an error, and afterwards all of them."""
    with RedisServer() as server:
        client: Any = server.client()
        client.eval("for i = 1, 300000 do redis.call('hset', 'items', 'field ' .. i, i) end", 0)
        with ambassador(server, "hash") as one:
            complete = len(one.names())
            client.hset("items", "one more", "1")
            lists: list[int] = []
            stop = threading.Event()

            def ask() -> None:
                while not stop.is_set():
                    reply = one.get("/api/v1/items")
                    lists.append(len(reply.json()["items"]) if reply.status_code == 200 else reply.status_code)

            asking = threading.Thread(target=ask)
            asking.start()
            for _ in range(3):
                server.kill()
                server.revive()
            stop.set()
            asking.join()
            after = len(one.names())

    assert complete == 300_000
    assert set(lists) <= {300_001, 503}
    assert after == 300_001


def test_a_server_that_is_killed_in_the_midst_of_a_walk_gives_no_shorter_list() -> None:
    """Keys are walked over in many steps: a cursor of the server before means nothing to the one after."""
    with RedisServer() as server:
        client: Any = server.client()
        client.eval("for i = 1, 100000 do redis.call('set', 'key ' .. i, i) end", 0)
        with ambassador(server, "keys") as one:
            complete = len(one.names())
            lists: list[int] = []
            stop = threading.Event()

            def ask() -> None:
                while not stop.is_set():
                    reply = one.get("/api/v1/items")
                    lists.append(len(reply.json()["items"]) if reply.status_code == 200 else reply.status_code)

            asking = threading.Thread(target=ask)
            asking.start()
            for _ in range(5):
                server.kill()
                server.revive()
            stop.set()
            asking.join()
            after = len(one.names())

    assert (complete, after) == (100_000, 100_000)
    assert set(lists) <= {100_000, 503}


def test_a_server_that_loads_is_503_until_it_has() -> None:
    """LOADING: its data is on its disk, and not there yet."""
    slowly: Any = {"key_load_delay": "500", "loading_process_events_interval_bytes": "1024"}
    with RedisServer(save="", appendonly="no", **slowly) as server:
        client: Any = server.client()
        client.eval("for i = 1, 4000 do redis.call('set', 'key ' .. i, i) end redis.call('hset', 'items', 'a', 1)", 0)
        client.save()
        with ambassador(server, "hash") as one:
            before = one.names()
            server.kill()
            revival = threading.Thread(target=server.revive)
            revival.start()
            replies = []
            while revival.is_alive():
                # Not the reply itself: it would keep its connection, of which an ambassador takes a hundred.
                reply = one.get("/api/v1/items")
                replies.append((reply.status_code, reply.json()))
            revival.join()
            after = until_listed(one)

    messages = {told["message"] for code, told in replies if code == 503}
    assert (before, after) == (["a"], ["a"])
    assert any(message.startswith("the server is loading its data") for message in messages), messages
    assert all(told["items"] == ["a"] for code, told in replies if code == 200)


def test_tls_with_an_authority_and_a_client_certificate(tmp_path: Path) -> None:
    """rediss://: the server's certificate is checked, and ours is shown."""
    make_certificates(tmp_path)
    with TlsServer(tmp_path) as server:
        client: Any = server.client()
        client.hset("items", "a", "1")
        environ = {
            "REDIS_URL": f"rediss://127.0.0.1:{server.tls_port}/0",
            "REDIS_KEY": "items",
            "REDIS_CA_FILE": str(tmp_path / "ca.pem"),
        }
        own = {"REDIS_CERT_FILE": str(tmp_path / "server.pem"), "REDIS_KEY_FILE": str(tmp_path / "server.key")}
        with running(PROGRAM, environ | own) as one:
            names = one.names()
        without = refusal(environ)
        untrusted = refusal({**environ, **own, "REDIS_CA_FILE": ""})

    assert names == ["a"]
    assert without
    assert "certificate verify failed" in untrusted


class TlsServer(RedisServer):
    """One with a second port that asks for a client certificate."""

    def __init__(self, folder: Path) -> None:
        self.tls_port = free_port()
        super().__init__(
            tls_port=str(self.tls_port),
            tls_cert_file=str(folder / "server.pem"),
            tls_key_file=str(folder / "server.key"),
            tls_ca_cert_file=str(folder / "ca.pem"),
        )


def make_certificates(folder: Path) -> None:
    """An authority, and one certificate of it for 127.0.0.1."""

    def openssl(*words: str) -> None:
        subprocess.run([path_of("openssl"), *words], cwd=folder, check=True, capture_output=True)

    new = ("-newkey", "rsa:2048", "-nodes")
    openssl("req", "-x509", *new, "-days", "2", "-subj", "/CN=ca", "-keyout", "ca.key", "-out", "ca.pem")
    openssl("req", *new, "-subj", "/CN=server", "-keyout", "server.key", "-out", "server.csr")
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    signed = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "names")
    openssl("x509", "-req", "-in", "server.csr", *signed, "-out", "server.pem")


def test_a_failover_is_followed() -> None:
    """Sentinels say who the master is: when it dies, the next one is asked, without a restart."""
    with RedisServer(password=PASSWORD) as first:
        replica = RedisServer(password=PASSWORD, replicaof=f"127.0.0.1 {first.port}")
        with each(replica, SentinelServer(first)) as (_, sentinel):
            assert isinstance(sentinel, SentinelServer)
            client: Any = first.client()
            client.hset("items", "a", "1")
            client.wait(1, 60_000)
            environ = {
                "REDIS_URL": f"redis+sentinel://127.0.0.1:{sentinel.port}/mymaster/0",
                "REDIS_PASSWORD": PASSWORD,
                "REDIS_KEY": "items",
                "REDIS_ACK": "true",
            }
            with running(PROGRAM, environ) as one:
                before = one.names()
                until_known(sentinel)
                first.kill()
                until_master(sentinel, replica.port)
                after = until_listed(one)
                done = one.done("a").status_code

    assert (before, after, done) == (["a"], ["a"], 204)


def until_known(sentinel: SentinelServer) -> None:
    """Wait until the sentinel has heard of the replica."""
    assert sentinel.process is not None
    until(sentinel.has_replica, sentinel.process, sentinel.folder / "log")


def until_master(sentinel: SentinelServer, port: int) -> None:
    """Wait until the sentinel has made another server the master."""
    assert sentinel.process is not None
    until(lambda: sentinel.master() == port, sentinel.process, sentinel.folder / "log")


def test_a_cluster_is_asked_where_the_key_is() -> None:
    """Three masters: a key on one of them, and keys on all; one master missing is no shorter list."""
    servers = [RedisServer(cluster_enabled="yes", cluster_node_timeout="2000") for _ in range(3)]
    with each(*servers):
        join(servers)
        nodes = [redis_client.cluster.ClusterNode("127.0.0.1", server.port) for server in servers]  # type: ignore[no-untyped-call]
        client: Any = redis_client.cluster.RedisCluster(startup_nodes=nodes)
        for number in range(30):
            client.set(f"job:{number:02}", "{}")
            client.hset("items", f"field {number:02}", "1")
        client.close()
        url = "redis+cluster://" + ",".join(f"127.0.0.1:{server.port}" for server in servers)
        with running(PROGRAM, {"REDIS_URL": url, "REDIS_KIND": "keys", "REDIS_PATTERN": "job:*"}) as keys:
            with running(PROGRAM, {"REDIS_URL": url, "REDIS_KEY": "items"}) as fields:
                listed = keys.names(), fields.names(), keys.item("job:07").status_code
            servers[0].kill()
            missing = keys.get("/api/v1/items").status_code
            servers[0].revive()
            after = until_listed(keys)

    expected = [f"job:{number:02}" for number in range(30)]
    assert listed == (expected, [f"field {number:02}" for number in range(30)], 200)
    assert (missing, after) == (503, expected)
