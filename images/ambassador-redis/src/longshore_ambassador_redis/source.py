"""What a Redis holds as a source of items. The contract: docs/source-contract.md."""

import contextlib
from collections.abc import Iterator
from typing import Final

from longshore_ambassador_redis.kinds import Kind
from longshore_ambassador_redis.stream import ServerError
from longshore_ambassador_redis.wire import in_words
from longshore_kit.contract import Item, ItemList
from longshore_kit.errors import ItemNotFound, SourceUnavailable


class RedisSource:
    """The items of one kind."""

    def __init__(self, kind: Kind) -> None:
        self._kind: Final = kind
        self._list = ItemList(())

    def list_items(self) -> ItemList:
        """As `Source.list_items`: in the order of a list, sorted set or stream; else sorted."""
        with _told():
            names = self._kind.names(self._list.names)
        if names is not None:
            found = tuple(names)
            del names  # a million of them are not held twice
            if found != self._list.names:
                self._list = ItemList(found)
        return self._list

    def get_item(self, name: str) -> Item:
        """As `Source.get_item`."""
        with _told():
            data = self._kind.data(name)
        if data is None:
            raise ItemNotFound(f"there is no item {name!r}, or not any more")
        return Item(name, data)


class AcknowledgingRedisSource(RedisSource):
    """The same, with the capability `ack`: what is done is taken out."""

    def acknowledge(self, name: str) -> None:
        """As `AcknowledgingSource.acknowledge`."""
        with _told():
            self._kind.remove(name)


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """What stands in a reply's place, as what it means."""
    try:
        yield
    except ServerError as exc:
        raise SourceUnavailable(in_words(exc)) from exc
