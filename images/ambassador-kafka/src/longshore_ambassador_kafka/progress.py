"""What of one partition is known: the records from the committed offset on, and which of them are done. Pure.

Owns when an offset may be committed: when all records below it are done. Done ones above a gap are held, and written
beside the committed offset, so that a restart loses none. Not every offset is a record (compaction, transactions), so
only what was read counts.
"""

import base64
import binascii
import bisect
import zlib
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

METADATA_MAX: Final = 4000
"""Characters beside a committed offset; a broker takes 4096 bytes (offset.metadata.max.bytes)."""
_PREFIX: Final = "longshore:"
_BITMAP_MAX: Final = 8 * 1024 * 1024
"""Offsets that a mark of done ones may reach ahead: a megabyte when it is unpacked."""


@dataclass
class Progress:
    """One partition, from `start` to `position`."""

    start: int
    """The committed offset: all below is done."""
    position: int = 0
    """What is read next."""
    end: int = 0
    """Where it ended when it was looked at last: one after the last record."""
    offsets: "array[int]" = field(default_factory=lambda: array("q"))
    """Of records from `start` on, ascending."""
    times: "array[int]" = field(default_factory=lambda: array("q"))
    """When each was written, in milliseconds since the epoch."""
    done: set[int] = field(default_factory=set)
    """Offsets that are done, and wait for those below."""

    def __post_init__(self) -> None:
        self.position = max(self.position, self.start)

    def add(self, offset: int, timestamp_ms: int) -> None:
        """One more record that was read; what was read before is passed over."""
        if offset >= self.position:
            self.offsets.append(offset)
            self.times.append(timestamp_ms)
            self.position = offset + 1

    def skip_to(self, offset: int) -> None:
        """Up to here there are no more records."""
        self.position = max(self.position, offset)

    def waiting(self) -> Iterator[tuple[int, int]]:
        """Time and offset of each record that is not done, in order."""
        return (
            (time, offset) for offset, time in zip(self.offsets, self.times, strict=True) if offset not in self.done
        )

    @property
    def waiting_count(self) -> int:
        """How many there are."""
        return len(self.offsets) - len(self.done.intersection(self.offsets)) if self.done else len(self.offsets)

    def has(self, offset: int) -> bool:
        """Whether there is a record at this offset."""
        index = bisect.bisect_left(self.offsets, offset)
        return index < len(self.offsets) and self.offsets[index] == offset

    def finish(self, offset: int) -> None:
        """A record is done; one below `start` was so already."""
        if offset >= self.start:
            self.done.add(offset)

    def committable(self) -> int:
        """The offset below which all is done."""
        for offset in self.offsets:
            if offset not in self.done:
                return offset
        return max(self.position, self.start)

    def move_to(self, start: int) -> None:
        """The committed offset is here now: what is below is done with."""
        index = bisect.bisect_left(self.offsets, start)
        del self.offsets[:index], self.times[:index]
        self.done = {offset for offset in self.done if offset >= start}
        self.start, self.position = start, max(self.position, start)


def encode_done(start: int, done: Iterable[int]) -> str:
    """The done offsets above `start` as a mark beside it; of too many, those that are nearest."""
    ahead = sorted(offset - start for offset in done if offset >= start)
    while ahead:
        bits = bytearray(ahead[-1] // 8 + 1)
        for offset in ahead:
            bits[offset // 8] |= 1 << offset % 8
        text = _PREFIX + base64.b85encode(zlib.compress(bytes(bits), 9)).decode()
        if len(text) <= METADATA_MAX and ahead[-1] < _BITMAP_MAX:
            return text
        ahead = ahead[: len(ahead) * 3 // 4]
    return ""


def decode_done(start: int, mark: str | None) -> set[int]:
    """What such a mark says; anything else beside an offset is somebody else's, and says nothing."""
    if not mark or not mark.startswith(_PREFIX):
        return set()
    try:
        packed = base64.b85decode(mark.removeprefix(_PREFIX))
        bits = zlib.decompressobj().decompress(packed, _BITMAP_MAX // 8)
    except (ValueError, binascii.Error, zlib.error):
        return set()
    return {start + index * 8 + bit for index, byte in enumerate(bits) if byte for bit in range(8) if byte >> bit & 1}
