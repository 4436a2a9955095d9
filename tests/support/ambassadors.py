"""An in-memory source that tests change as they go, and the kit's web app served on real sockets."""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import waitress.server
from flask import Flask

from longshore_kit.contract import Item, ItemList
from longshore_kit.errors import ItemNotFound, SourceUnavailable


class MemorySource:
    """Items in memory. `fail` makes the store be down; `on_list` is called at each listing."""

    def __init__(self, names: Iterable[str] = (), data: Mapping[str, Any] | None = None) -> None:
        self.listed = ItemList(tuple(names))
        self.data = data
        self.is_down = False
        self.on_list: Callable[[], None] = lambda: None

    def show(self, *names: str) -> None:
        """From now on these are the items."""
        self.listed = ItemList(names)

    def list_items(self) -> ItemList:
        self.on_list()
        if self.is_down:
            raise SourceUnavailable("the store is down")
        return self.listed

    def get_item(self, name: str) -> Item:
        if self.is_down:
            raise SourceUnavailable("the store is down")
        if name not in self.listed.names:
            raise ItemNotFound(f"there is no item {name!r}")
        return Item(name, {"path": name} if self.data is None else self.data)


class AckSource(MemorySource):
    """A source that shrinks when told."""

    def acknowledge(self, name: str) -> None:
        self.listed = ItemList(tuple(one for one in self.listed.names if one != name))


@contextmanager
def serving(app: Flask, *, threads: int = 8, host: str = "127.0.0.1") -> Iterator[str]:
    """The app behind the server that ambassadors use, on a port of its own; its URL."""
    server: Any = waitress.server.create_server(app, map={}, host=host, port=0, threads=threads)
    loop = threading.Thread(target=server.run, daemon=True)
    loop.start()
    try:
        yield f"http://{host}:{server.effective_port}"
    finally:
        server.task_dispatcher.shutdown(cancel_pending=True, timeout=1)
        server.trigger.pull_trigger(lambda: [channel.close() for channel in list(server._map.values())])
        loop.join(10)
