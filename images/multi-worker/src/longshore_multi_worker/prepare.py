"""The step `prepare`, before the first stage: the folder that stages share, and an item file for each of them.

Owns what a chain finds when it begins: an open, empty folder, and each stage's item, made of the item's own by the
stage's template. Starts nothing; an item that a template does not fit is refused here, before any stage has begun.
"""

import os
import stat
from pathlib import Path
from typing import Final

from longshore_kit import contract
from longshore_kit.chain import CHAIN_VARIABLE, Chain
from longshore_kit.contract import Item
from longshore_kit.errors import ItemFailed, SettingsError
from longshore_kit.worker import Work

ITEM_FILE: Final = "item.json"
_OPEN: Final = 0o777
"""Stages have the user ids of their images; what one leaves, another reads."""


def prepare(work: Work) -> str:
    """
    Make ready what the stages of `work` begin with.

    Raises:
        SettingsError: it is not told of any stages.
        ItemRejected: a stage's template refers to what the item has not.
        ItemFailed: a folder is missing, or can't be opened to all.
    """
    text = work.environ.get(CHAIN_VARIABLE)
    if not text:
        raise SettingsError(f"{CHAIN_VARIABLE} is not set: the manager sets it, from worker.stages")
    chain = Chain.from_text(text)
    item = Item(work.item, work.data)
    # All of them first: an item that is refused leaves nothing half made.
    files = {link.name: contract.encode(chain.item_of(link, item)) for link in chain.links}
    _open_to_all(Path(chain.work_folder))
    for name, data in files.items():
        _write(Path(chain.stages_folder) / name, data)
    return f"prepared {', '.join(files)}"


def _open_to_all(folder: Path) -> None:
    try:
        mode = stat.S_IMODE(folder.stat().st_mode)
        if mode & _OPEN != _OPEN:
            folder.chmod(_OPEN)
    except OSError as exc:
        raise ItemFailed(
            f"the folder that stages share, {folder}, can't be opened to all of them: {exc.strerror}; "
            "mount an emptyDir or a volume there that this user may change"
        ) from exc


def _write(folder: Path, data: bytes) -> None:
    aside = folder / f".{ITEM_FILE}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        aside.unlink(missing_ok=True)
        with open(aside, "xb", opener=lambda path, flags: os.open(path, flags, 0o444)) as file:
            os.fchmod(file.fileno(), 0o444)  # whatever the umask: its reader is another user
            file.write(data)
        aside.replace(folder / ITEM_FILE)
    except OSError as exc:
        raise ItemFailed(f"the item file of a stage can't be written: {exc.filename}: {exc.strerror}") from exc
