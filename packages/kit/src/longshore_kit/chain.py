"""What the adapter of a chain is told: which stages there are, and what each one's item is made of. Pure.

Owns the words between who builds the pod and the adapter, in the variable STAGES, and the making of a stage's item.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Self

from longshore_kit.contract import Item, ItemData
from longshore_kit.errors import ItemRejected, SettingsError
from longshore_kit.programs import WORK
from longshore_kit.references import fill_json

CHAIN_VARIABLE: Final = "STAGES"


@dataclass(frozen=True)
class Link:
    """One stage."""

    name: str
    folders: Mapping[str, str]
    """The folders of its volumes, by their variables."""
    item: Mapping[str, Any] | None
    """The template of its item; None: the item's own data."""


@dataclass(frozen=True)
class Chain:
    """All stages, in order."""

    work_folder: str
    """What they share, as each of them sees it."""
    stages_folder: str
    """Where their item files go, each in a folder of the stage's name."""
    links: tuple[Link, ...]

    def as_text(self) -> str:
        """As JSON, for the variable."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_text(cls, text: str) -> Self:
        """
        What `as_text` wrote.

        Raises:
            SettingsError: nothing of the kind.
        """
        try:
            told = json.loads(text)
            links = tuple(Link(**link) for link in told.pop("links"))
            return cls(**told, links=links)
        except (ValueError, TypeError, KeyError, AttributeError) as exc:
            raise SettingsError(
                f"{CHAIN_VARIABLE} holds no chain of stages ({exc}): the manager sets it, from worker.stages"
            ) from exc

    def item_of(self, link: Link, item: Item) -> ItemData:
        """
        The data of a stage's item.

        Raises:
            ItemRejected: its template refers to what the item has not; the message names stage and reference.
        """
        if link.item is None:
            return item.data
        try:
            filled: ItemData = fill_json(link.item, item, {**link.folders, WORK: self.work_folder})
        except ItemRejected as exc:
            raise ItemRejected(f"the item of stage {link.name}: {exc}") from exc
        return filled
