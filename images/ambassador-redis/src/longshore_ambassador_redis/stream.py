"""A long reply read in pieces: its elements without a list of them all, or only whether it is the same as before.

RESP 2: https://redis.io/docs/latest/develop/reference/protocol-spec/. Pure. A million fields are 15 MB on the wire, and
ten times that as objects.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from typing import Final

_LINE: Final = b"\r\n"


class ServerError(Exception):
    """The server's reply is an error, or none that was asked for; the text is its own."""


class Digest:
    """A digest of pieces as they pass by: the same bytes have the same, however they were cut."""

    def __init__(self) -> None:
        self._hash: Final = hashlib.blake2b(digest_size=16)

    def of(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """The same pieces."""
        for piece in pieces:
            self._hash.update(piece)
            yield piece

    @property
    def value(self) -> bytes:
        """Of all that has passed by."""
        return self._hash.digest()


def digest_of(pieces: Iterable[bytes]) -> bytes:
    """The digest of a whole reply."""
    digest = Digest()
    for _ in digest.of(pieces):
        pass
    return digest.value


def elements(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """
    The elements of an array of texts.

    Raises:
        ServerError: it is an error, or no such array.
    """
    reader = _Reader(pieces)
    head = reader.line()
    if head[:1] == b"-":
        raise ServerError(head[1:].decode(errors="replace"))
    if head[:1] != b"*":
        raise ServerError(f"expected an array, got {head[:60]!r}")
    yield from reader.texts(int(head[1:]))


class _Reader:
    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces: Final = pieces
        self._held = b""
        self._at = 0

    def line(self) -> bytes:
        while (end := self._held.find(_LINE, self._at)) < 0:
            self._more()
        found = self._held[self._at : end]
        self._at = end + 2
        return found

    def texts(self, count: int) -> Iterator[bytes]:
        for _ in range(count):
            # Spelled out, not by `line`: this runs a million times for a million fields.
            while (end := self._held.find(_LINE, self._at)) < 0:
                self._more()
            if self._held[self._at] != ord("$"):
                raise ServerError(f"expected a text, got {self._held[self._at : self._at + 60]!r}")
            start = end + 2
            stop = start + int(self._held[self._at + 1 : end])
            while len(self._held) < stop + 2:
                shift = self._more()
                start, stop = start - shift, stop - shift
            yield self._held[start:stop]
            self._at = stop + 2

    def _more(self) -> int:
        """Read on, and let go of what is used: by how much everything has moved."""
        shift, self._at = self._at, 0
        try:
            self._held = self._held[shift:] + next(self._pieces)
        except StopIteration:
            raise ServerError("the reply ended too early") from None
        return shift


Pieces = Callable[[], Iterator[bytes]]
"""Asks again, and gives the pieces of the reply."""
