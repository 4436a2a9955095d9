"""What is kept of items whose Jobs are gone, as a value: done, or failed and why. Pure.

A store that knows names keeps them; one that must stay small keeps of a done item twelve bytes of its digest, which
answer whether an item is done and give its name back only when the source lists it again.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from longshore.names import item_digest
from longshore.state import Record, State

DIGEST_BYTES: Final = 12
"""Of a done item: two of a million items have the same with a chance of one in 10^17."""
_REMEMBERED_MAX: Final = 300_000

Key: TypeAlias = str | bytes
"""What a record is found by: its item's name or, where that is not kept, its digest."""


class Digests:
    """Digests of one queue's items, remembered, as every look asks for all that is listed."""

    def __init__(self, queue: str) -> None:
        self._queue: Final = queue
        self._known: dict[str, bytes] = {}

    def of(self, item: str) -> bytes:
        """Twelve bytes."""
        digest = self._known.get(item)
        if digest is None:
            if len(self._known) >= _REMEMBERED_MAX:
                self._known = {}
            digest = self._known[item] = bytes.fromhex(item_digest(self._queue, item)[: 2 * DIGEST_BYTES])
        return digest


@dataclass(frozen=True)
class Records:
    """Every record of a queue at one moment."""

    named: Mapping[str, Record] = field(default_factory=dict)
    """By the item's name."""
    hashed: AbstractSet[bytes] = frozenset()
    """Done items of which only the digest is kept."""
    digests: Digests | None = None
    """How those digests are made; needed where there are any."""
    done_at: float | None = None
    """When an item was last done, of those whose Jobs are gone; of some nothing else is kept."""

    def __contains__(self, item: str) -> bool:
        return item in self.named or self._is_hashed(item)

    def __len__(self) -> int:
        return len(self.named) + len(self.hashed)

    def get(self, item: str) -> Record | None:
        """The item's record; of one that is only hashed it is not known when it was done."""
        return self.named.get(item) or (Record(item, State.DONE) if self._is_hashed(item) else None)

    def key_of(self, item: str) -> Key:
        """What the item's record is found by, if it has one."""
        return self.digests.of(item) if self.digests and self._is_hashed(item) else item

    def all_keys(self) -> Iterator[Key]:
        """What each is found by."""
        yield from self.named
        yield from self.hashed

    def is_done(self, key: Key) -> bool:
        """Whether there is a record of this key, and its item was done."""
        if isinstance(key, bytes):
            return key in self.hashed
        return (record := self.named.get(key)) is not None and record.state is State.DONE

    def unlisted(self, names: Collection[str]) -> Iterator[Key]:
        """Keys of the records of items that are not among `names`, a set."""
        yield from (item for item in self.named if item not in names)
        if self.hashed and self.digests:
            listed = {self.digests.of(name) for name in names}
            yield from (digest for digest in self.hashed if digest not in listed)

    def of_items(self, names: Iterable[str]) -> Iterator[Record]:
        """Every record whose item is known by name: those that keep it, and hashed ones among `names`."""
        yield from self.named.values()
        if self.hashed:
            yield from (Record(name, State.DONE) for name in names if name not in self.named and self._is_hashed(name))

    def count(self, state: State, beside: Collection[str] = ()) -> int:
        """How many there are of a state, without those of the items in `beside`, which have a Job too."""
        named = sum(record.state is state and item not in beside for item, record in self.named.items())
        if state is not State.DONE or not self.hashed:
            return named
        return named + len(self.hashed) - sum(item not in self.named and self._is_hashed(item) for item in beside)

    def _is_hashed(self, item: str) -> bool:
        return bool(self.hashed) and self.digests is not None and self.digests.of(item) in self.hashed
