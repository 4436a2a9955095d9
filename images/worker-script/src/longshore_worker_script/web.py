"""The wire to the web. The only module that imports requests.

Follows redirects itself, as each leads to a host that must be allowed too. Takes no credentials from anywhere.
"""

import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urljoin, urlsplit

import requests
from requests.utils import get_environ_proxies

from longshore_kit.errors import ItemFailed, ItemRejected
from longshore_worker_script.origin import check_url

CHUNK_BYTES: Final = 1024 * 1024
_TIMEOUTS: Final = (5, 60)
_HOPS: Final = 10
_ATTEMPTS: Final = 4
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_BAD: Final = frozenset({400, 404, 405, 410, 414, 451})
"""What no other attempt changes."""
_OK: Final = 200


class Web:
    """The hosts that may be asked."""

    def __init__(self, allowed_hosts: Sequence[str]) -> None:
        self._allowed: Final = allowed_hosts

    def fetch(self, url: str, target: Path, limit: int) -> str:
        """
        What is at `url` as a file; its ETag, or nothing.

        Raises:
            ItemRejected: it is not there, leads where it must not, or is larger than `limit`.
            ItemFailed: it could not be fetched this time.
        """
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return self._fetch(url, target, limit)
            except ItemFailed:
                if attempt == _ATTEMPTS:
                    raise
                time.sleep(min(10.0, 0.2 * 2**attempt) * random.uniform(0.5, 1))  # noqa: S311 - spreads load
        raise AssertionError  # pragma: no cover

    def _fetch(self, url: str, target: Path, limit: int) -> str:
        with requests.Session() as session:
            # No .netrc; proxies are asked for by themselves.
            session.trust_env = False
            try:
                with self._reply(session, url) as reply:
                    return _saved(reply, target, limit)
            except requests.RequestException as exc:
                raise ItemFailed(f"{urlsplit(url).hostname} could not be read: {type(exc).__name__}") from exc

    def _reply(self, session: requests.Session, url: str) -> requests.Response:
        for _ in range(_HOPS):
            check_url(url, self._allowed)
            reply = session.get(
                url,
                stream=True,
                timeout=_TIMEOUTS,
                allow_redirects=False,
                proxies=get_environ_proxies(url),
                headers={"Accept-Encoding": "identity"},
            )
            if reply.status_code not in _REDIRECTS:
                return reply
            url = urljoin(url, reply.headers.get("Location", ""))
            reply.close()
        raise ItemRejected(f"more than {_HOPS} redirects, the last one to {urlsplit(url).hostname}")


def _saved(reply: requests.Response, target: Path, limit: int) -> str:
    host = urlsplit(reply.url).hostname
    if reply.status_code != _OK:
        error = ItemRejected if reply.status_code in _BAD else ItemFailed
        raise error(f"{host} answered {reply.status_code} {reply.reason}")
    size = 0
    with target.open("wb") as file:
        for chunk in reply.iter_content(CHUNK_BYTES):
            size += len(chunk)
            if limit and size > limit:
                raise ItemRejected(f"what {host} sends has more than {limit} bytes, which MAX_INPUT_BYTES allows")
            file.write(chunk)
    told = reply.headers.get("Content-Length")
    if told is not None and told != str(size):
        raise ItemFailed(f"{host} told {told} bytes, {size} arrived")
    return reply.headers.get("ETag", "").strip('"')
