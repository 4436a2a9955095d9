"""The seam between an ambassador's store and the web app: what the author of an ambassador writes.

A source lists names and gives items, no more: keeping track is the manager's work, so that an ambassador stays tiny.
"""

from typing import Protocol, runtime_checkable

from longshore_kit.contract import Item, ItemList


class Source(Protocol):
    """A store of items. Calls come from several threads; `list_items` never from two at once."""

    def list_items(self) -> ItemList:
        """
        Every item in the source now, whole, in the source's order; an empty source gives an empty list.

        A source that knows that nothing has changed returns the same object as last time; that makes an unchanged
        list cost nothing. Names outside of the contract may be in it: the app reports them and leaves them out.

        Raises:
            SourceUnavailable: the store did not answer, or not wholly; safe to retry. Never an empty list instead.
        """

    def get_item(self, name: str) -> Item:
        """
        One item with its data; `name` is a valid name, whether it was listed or not.

        Raises:
            ItemNotFound: the store has no such item, or not any more.
            SourceUnavailable: the store did not answer; safe to retry.
        """


@runtime_checkable
class AcknowledgingSource(Source, Protocol):
    """A source that only shrinks when told: a consumer group, a list. The app then offers the capability `ack`."""

    def acknowledge(self, name: str) -> None:
        """
        `name` is done and need not be listed again. At least once: a name that is already gone is no error.

        Raises:
            SourceUnavailable: the store did not take it; safe to retry.
        """
