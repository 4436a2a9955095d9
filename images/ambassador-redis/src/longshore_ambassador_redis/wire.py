"""The wire to a Redis, or what speaks like it. The only module that imports redis.

Owns how it is reached, timeouts, and what an error means. A question that walks through many elements has a connection
of its own, and ends with it: a cursor of one process means nothing to the next, and a list may not go on there.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeAlias

import redis
import redis.cluster
import redis.sentinel
from redis.backoff import NoBackoff
from redis.retry import Retry

from longshore_ambassador_redis.settings import RedisSettings
from longshore_ambassador_redis.stream import ServerError
from longshore_kit.errors import SourceUnavailable

CONNECT_SECONDS: Final = 5.0
READ_SECONDS: Final = 30.0
"""A server that reads a million fields answers nobody for a second or two."""
RECEIVE_BYTES: Final = 256 * 1024
_TOKEN_BYTES: Final = 16
_SCAN_COUNT: Final = 1000

Client: TypeAlias = Any
"""A client of redis: what commands give depends on the command, and its types say little."""


class Redis:
    """One Redis. For several threads."""

    def __init__(self, settings: RedisSettings) -> None:
        self._settings: Final = settings
        self._made: Client = None

    def ask(self, *command: str | bytes | int, **options: bool) -> Any:  # noqa: ANN401 - whatever the command gives
        """
        One command, where its key is; `options` are the client's own, for commands whose answers have two forms.

        Raises:
            SourceUnavailable: the server did not answer, or said no.
        """
        with self._told():
            return self._client().execute_command(*command, **options)

    def stream(self, key: str, *command: str | bytes | int) -> Iterator[bytes]:
        """
        The reply to one command as it comes in, in pieces, in RESP 2: see stream.py.

        Raises:
            SourceUnavailable: as `ask`; what came before is no reply.
        """
        with self._told(), self._connection(self._server_of(key)) as connection:
            token = os.urandom(_TOKEN_BYTES).hex().encode()
            # Behind it comes an answer that nothing in it can look like: so its end is seen without reading it.
            connection.send_packed_command(
                [b"".join(connection.pack_command(*command)), b"".join(connection.pack_command("ECHO", token))]
            )
            end = b"$%d\r\n%s\r\n" % (len(token), token)
            yield from _until(end, connection._sock.recv)  # noqa: SLF001 - its own reader makes an object of everything

    def scan(self, pattern: str) -> Iterator[list[bytes]]:
        """
        Keys that match, in pieces, some perhaps twice; of a cluster those of every master.

        Raises:
            SourceUnavailable: as `stream`.
        """
        with self._told():
            client = self._client()
            is_cluster = self._settings.address.way == "cluster"
            servers = [client.get_redis_connection(one) for one in client.get_primaries()] if is_cluster else [client]
            for server in servers:
                # By the connection itself: a client would make a new one where this breaks, and go on in the middle of
                # another process' keys.
                with self._connection(server) as connection:
                    cursor: bytes | int = b"0"
                    while True:
                        connection.send_command("SCAN", cursor, "MATCH", pattern, "COUNT", _SCAN_COUNT)
                        cursor, found = connection.read_response()
                        yield found
                        if int(cursor) == 0:
                            break

    def _server_of(self, key: str) -> Client:
        client = self._client()
        if self._settings.address.way != "cluster":
            return client
        # A command of its own: the client learns by it where the key has gone, should it have moved.
        client.exists(key)
        return client.get_redis_connection(client.get_node_from_key(key))

    @contextlib.contextmanager
    def _connection(self, client: Client) -> Iterator[Any]:
        """One connection, for this alone; it goes when anything is left unread in it."""
        pool = client.connection_pool
        connection = pool.get_connection()
        try:
            yield connection
        except BaseException:
            connection.disconnect()
            raise
        finally:
            pool.release(connection)

    def _client(self) -> Client:
        # Made when it is first needed: one of a cluster, or of sentinels, asks at once.
        if self._made is None:
            self._made = _connect(self._settings)
        return self._made

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (redis.RedisError, ServerError, OSError) as exc:
            raise SourceUnavailable(in_words(exc)) from exc


def _until(end: bytes, receive: Callable[[int], bytes]) -> Iterator[bytes]:
    held = b""
    while True:
        piece = receive(RECEIVE_BYTES)
        if not piece:
            raise redis.ConnectionError("the server closed the connection in the middle of its answer")
        held += piece
        if held.endswith(end):
            yield held[: -len(end)]
            return
        # What may be the beginning of the end is kept back.
        yield held[: -len(end)]
        held = held[-len(end) :]


def _connect(settings: RedisSettings) -> Client:
    address = settings.address
    common: dict[str, Any] = {
        "username": settings.redis_username or None,
        "password": settings.redis_password.get_secret_value() if settings.redis_password else None,
        "socket_connect_timeout": CONNECT_SECONDS,
        "socket_timeout": READ_SECONDS,
        "protocol": 2,
        "client_name": "longshore-ambassador-redis",
        **_tls(settings),
    }
    match address.way:
        case "cluster":
            node: Any = redis.cluster.ClusterNode  # it has no types
            nodes = [node(host, port) for host, port in address.hosts]
            return redis.RedisCluster(startup_nodes=nodes, require_full_coverage=True, **common)
        case "sentinel":
            password = settings.redis_sentinel_password
            sentinel = {
                **{
                    name: value for name, value in common.items() if name not in {"username", "password", "client_name"}
                },
                "password": password.get_secret_value() if password else None,
            }
            sentinels: Any = redis.sentinel.Sentinel  # nor has this
            known = sentinels(list(address.hosts), sentinel_kwargs=sentinel, **common)
            return known.master_for(address.service, db=address.database, retry=_once())
        case _:
            ((host, port),) = address.hosts
            return redis.Redis(host=host, port=port, db=address.database, retry=_once(), **common)


def _once() -> Retry:
    """A connection that has died since it was used last is made anew, once; all else is told."""
    return Retry(NoBackoff(), 1)


def _tls(settings: RedisSettings) -> dict[str, Any]:
    if not settings.address.is_tls:
        return {}
    return {
        "ssl": True,
        "ssl_ca_certs": str(settings.redis_ca_file) if settings.redis_ca_file else None,
        "ssl_certfile": str(settings.redis_cert_file) if settings.redis_cert_file else None,
        "ssl_keyfile": str(settings.redis_key_file) if settings.redis_key_file else None,
    }


def in_words(exc: Exception) -> str:
    """What a server said, or why it said nothing, and what to do about it."""
    text = str(exc).strip() or type(exc).__name__
    for code, meaning in _MEANINGS.items():
        if code in text:
            return f"{meaning} ({text[:200]})"
    return text[:300]


_MEANINGS: Final = {
    "WRONGTYPE": "the key holds something else than REDIS_KIND says: correct one of the two",
    "NOAUTH": "the server asks for a password: set REDIS_PASSWORD or REDIS_PASSWORD_FILE",
    "Authentication required": "the server asks for a password: set REDIS_PASSWORD or REDIS_PASSWORD_FILE",
    "WRONGPASS": "user or password is wrong",
    "invalid username-password pair": "user or password is wrong",
    "NOPERM": "the user may not do that: see the README for what it needs",
    "has no permissions": "the user may not do that: see the README for what it needs",
    "LOADING": "the server is loading its data; it is asked again",
    "loading the dataset": "the server is loading its data; it is asked again",
    "MASTERDOWN": "the replica has lost its master; it is asked again",
    "READONLY": "this is a replica, which can't be written to",
    "NOGROUP": "there is no such consumer group: XGROUP CREATE key group 0",
    "CLUSTERDOWN": "the cluster is down; it is asked again",
}
