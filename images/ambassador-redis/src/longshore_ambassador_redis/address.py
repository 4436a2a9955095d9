"""Where a Redis is, from one URL: a server, a master that sentinels know, or a cluster. Pure; passwords are refused."""

from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import unquote, urlsplit

Way = Literal["server", "sentinel", "cluster"]
_WAYS: Final[dict[str, Way]] = {"": "server", "sentinel": "sentinel", "cluster": "cluster"}
_PORTS: Final[dict[Way, int]] = {"server": 6379, "sentinel": 26379, "cluster": 6379}


@dataclass(frozen=True)
class Address:
    """What a URL says."""

    way: Way
    hosts: tuple[tuple[str, int], ...]
    is_tls: bool
    service: str
    """The master's name, where sentinels know it."""
    database: int


def parse_address(url: str) -> Address:
    """
    The address in a URL.

    Raises:
        ValueError: it is none; the text says what is wrong.
    """
    scheme, _, way_name = urlsplit(url).scheme.partition("+")
    parts = urlsplit(url)
    if scheme not in {"redis", "rediss"} or way_name not in _WAYS:
        raise ValueError("expected redis://, rediss://, redis+sentinel:// or redis+cluster://")
    if "@" in parts.netloc:
        raise ValueError(
            "it has a user or password in it: set REDIS_USERNAME, and REDIS_PASSWORD or REDIS_PASSWORD_FILE"
        )
    way = _WAYS[way_name]
    hosts = tuple(_host(one, _PORTS[way]) for one in parts.netloc.split(",") if one)
    if not hosts:
        raise ValueError("it names no host")
    if way == "server" and len(hosts) > 1:
        raise ValueError("it names several hosts: use redis+sentinel:// or redis+cluster://")
    steps = [unquote(step) for step in parts.path.split("/") if step]
    service = steps.pop(0) if way == "sentinel" and steps else ""
    if way == "sentinel" and not service:
        raise ValueError("it names no master: redis+sentinel://host:26379/mymaster/0")
    if len(steps) > 1 or any(not step.isdecimal() for step in steps) or (way == "cluster" and steps):
        raise ValueError(f"{parts.path!r} is no database: expected a number, and none for a cluster")
    return Address(way, hosts, scheme == "rediss", service, int(steps[0]) if steps else 0)


def _host(text: str, port: int) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{text}")
        found = parts.hostname or "", parts.port or port
    except ValueError as exc:
        raise ValueError(f"{text!r} is no host and port") from exc
    return found
