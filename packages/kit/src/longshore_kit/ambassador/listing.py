"""The list as it was last seen: asked for by one thread at a time, encoded once, cut into pages.

Owns what may be handed out of a source's list. Leaves out, and reports once, names that the contract does not allow.
Never hands out an older list because the source did not answer.
"""

import base64
import binascii
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final

from longshore_kit import contract
from longshore_kit.contract import ItemList
from longshore_kit.errors import SourceUnavailable
from longshore_kit.logs import Logger
from longshore_kit.source import Source

_REPORTED_MAX: Final = 20
_KEPT_MAX: Final = 100_000
"""Names of a list whose bytes are kept beside it."""


class TokenExpired(Exception):
    """The list has changed since this page's token was given out: the reader starts again."""


class TokenInvalid(ValueError):
    """This is no token of ours."""


@dataclass(frozen=True)
class Listed:
    """One state of the list, with its bytes."""

    items: ItemList

    @cached_property
    def etag(self) -> str:
        """A strong validator: the same list has the same one, in every process."""
        return f'"{self.items.version}"'

    @property
    def is_long(self) -> bool:
        """Whether its bytes are made anew each time, in pieces: who has a long list asks for it no more."""
        return len(self.items.names) > _KEPT_MAX

    def pieces(self) -> Iterator[bytes]:
        """The list as it is sent, never whole."""
        return contract.list_pieces(self.items)

    @cached_property
    def size_bytes(self) -> int:
        """How long that is."""
        return sum(map(len, self.pieces()))

    @cached_property
    def body(self) -> bytes:
        """The list as it is sent, whole, and kept."""
        return contract.encode_list(self.items)

    def page(self, limit: int | None, token: str) -> "Listed":
        """
        Up to `limit` names, from where `token` says; without a limit, all that follow.

        Raises:
            TokenExpired: the token is of another state of the list.
            TokenInvalid: it is no token.
        """
        start = self._start(token) if token else 0
        names = self.items.names
        end = len(names) if limit is None else min(len(names), start + limit)
        next_token = _encode_token(self.items.version, end) if end < len(names) else ""
        page = ItemList(names[start:end], next_token, self.items.pending_count)
        return _Page(page, whole=self.items.version, start=start)

    def _start(self, token: str) -> int:
        version, start = _decode_token(token)
        if version != self.items.version:
            raise TokenExpired
        if not 0 <= start <= len(self.items.names):
            raise TokenInvalid("the token leads out of the list")
        return start


@dataclass(frozen=True)
class _Page(Listed):
    whole: str = ""
    start: int = 0

    @cached_property
    def etag(self) -> str:
        return f'"{self.whole}-{self.start}-{len(self.items.names)}"'


@dataclass
class CurrentList:
    """The source's list, asked for anew each time, by one thread at a time."""

    source: Source
    log: Logger
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _seen: ItemList | None = None
    _listed: Listed | None = None
    _left_out: frozenset[str] = frozenset()
    _is_down: bool = False
    _answered_at: float | None = None

    def fetch(self) -> Listed:
        """
        The list as it is now; the same object, bytes and all, while it does not change.

        Raises:
            SourceUnavailable: the source did not answer.
        """
        with self._lock:
            try:
                seen = self.source.list_items()
            except SourceUnavailable as exc:
                self._report_down(exc)
                raise
            self._report_up()
            if self._listed is None or self._seen is None or _differs(seen, self._seen):
                self._listed = self._take(seen)
            self._seen = seen
            return self._listed

    def answered_within(self, seconds: float) -> bool:
        """Whether the source's latest answer was a good one, and is that young."""
        return not self._is_down and self._answered_at is not None and time.monotonic() - self._answered_at <= seconds

    def _take(self, seen: ItemList) -> Listed:
        names, left_out = contract.split_names(seen.names)
        if left_out and left_out.keys() != self._left_out:
            some = {ascii(name[:80]): problem for name, problem in list(left_out.items())[:_REPORTED_MAX]}
            self.log.warning("names left out of the list: rename them", count=len(left_out), names=some)
        self._left_out = frozenset(left_out)
        return Listed(seen if len(names) == len(seen.names) else replace(seen, names=names))

    def _report_down(self, exc: SourceUnavailable) -> None:
        if not self._is_down:
            self.log.warning("source unavailable", reason=str(exc))
        self._is_down = True

    def _report_up(self) -> None:
        if self._is_down:
            self.log.info("source available again")
        self._is_down = False
        self._answered_at = time.monotonic()


def _differs(one: ItemList, other: ItemList) -> bool:
    return one is not other and (one.names, one.pending_count) != (other.names, other.pending_count)


def _encode_token(version: str, start: int) -> str:
    return base64.urlsafe_b64encode(f"{version}:{start}".encode()).decode()


def _decode_token(token: str) -> tuple[str, int]:
    try:
        version, start = base64.urlsafe_b64decode(token.encode()).decode().split(":")
        return version, int(start)
    except (ValueError, binascii.Error) as exc:
        raise TokenInvalid("the token is none that was given out here") from exc
