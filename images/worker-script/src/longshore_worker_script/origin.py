"""What of an item is to be fetched: an object, or what a URL leads to. Pure.

Refuses URLs to hosts that are not allowed, redirects included.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from longshore_kit.errors import ItemRejected

_HOST: Final = re.compile(r"[a-z0-9._-]+|[0-9a-f:.]+")
_ODD: Final = re.compile(r"[\\\s\x00-\x20\x7f]")


@dataclass(frozen=True)
class S3Object:
    """One object."""

    bucket: str
    key: str


@dataclass(frozen=True)
class WebPage:
    """What is at a URL."""

    url: str

    @property
    def key(self) -> str:
        """What stands in a key's place: the host and port as written, the path, and the query where there is one."""
        parts = urlsplit(self.url)
        query = f"?{parts.query}" if parts.query else ""
        return f"{parts.netloc.lower()}{unquote(parts.path).rstrip('/')}{query}"


def origin_of(data: Mapping[str, Any], allowed_hosts: Sequence[str]) -> S3Object | WebPage:
    """
    Where an item's input is.

    Raises:
        ItemRejected: its data names none, or one that may not be fetched.
    """
    url, bucket, key = data.get("url"), data.get("bucket"), data.get("key")
    if isinstance(url, str):
        check_url(url, allowed_hosts)
        return WebPage(url)
    if isinstance(bucket, str) and isinstance(key, str) and bucket and key:
        return S3Object(bucket, key)
    has = ", ".join(map(str, data)) or "nothing"
    raise ItemRejected(f"the item names nothing to fetch: it needs bucket and key, or url; it has {has}")


def check_url(url: str, allowed_hosts: Sequence[str]) -> None:
    """
    Whether a URL may be fetched; for redirects too.

    Raises:
        ItemRejected: it may not; the text says why.
    """
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").rstrip(".").lower()
    except ValueError as exc:
        raise ItemRejected("the item's url is none: its host or port can't be read") from exc
    # Before anything of it is told: there may be a password in it.
    if "@" in parts.netloc:
        raise ItemRejected("the item's url has a user or password in it")
    if parts.scheme not in {"http", "https"} or not host:
        raise ItemRejected(f"{url[:200]!r} is no http:// or https:// URL")
    # Whoever connects may read a backslash, a space or a control character as the end of the host, and we did not.
    if _ODD.search(url) or not _HOST.fullmatch(host):
        raise ItemRejected(f"{url[:200]!r} has characters that no URL has: encode them")
    if not any(_matches(host, allowed.lower()) for allowed in allowed_hosts):
        allowed = ", ".join(allowed_hosts) or "none"
        raise ItemRejected(f"{host} is not among ALLOWED_HOSTS, which are: {allowed}")


def _matches(host: str, allowed: str) -> bool:
    return host.endswith(allowed[1:]) if allowed.startswith("*.") else host == allowed
