"""Builders: a queue, an item and a Job of a test's own, with only what the test is about said out loud."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from longshore.queuefile import Queue, QueueFile
from longshore.state import Job, State
from longshore_kit.contract import Item, ItemList

SOURCE = {"kind": "custom", "custom": {"url": "http://127.0.0.1:9"}}


def queue_with(folder: Path = Path("/queue"), *, name: str = "q", **parts: Any) -> Queue:
    """A queue whose worker does nothing, with `parts` of the queue file in place of the defaults."""
    document = {"source": SOURCE, "worker": {"command": ["true"]}} | parts
    return Queue(name=name, spec=QueueFile.model_validate(document), folder=folder)


def shell_queue(folder: Path, script: str, **parts: Any) -> Queue:
    """A queue whose worker is a shell script; `$1` is the item's name."""
    return queue_with(folder, worker={"command": ["sh", "-c", script, "sh", "${name}"]}, **parts)


def shell_stage(name: str, script: str, **keys: Any) -> dict[str, Any]:
    """A stage that is a shell script; `$1` is the item's name."""
    return {"name": name, "command": ["sh", "-c", script, "sh", "${name}"], **keys}


def item_named(name: str, data: Mapping[str, Any] | None = None) -> Item:
    """An item with `data`, by default its path, as ambassador-nfs gives it."""
    return Item(name=name, data={"path": name} if data is None else data)


def listing_of(*names: str) -> ItemList:
    """A whole list of these names."""
    return ItemList(names)


def job_for(item: str, state: State = State.RUNNING, **fields: Any) -> Job:
    """A Job of `item` in `state`."""
    values: dict[str, Any] = {"name": f"q-{item}", "uid": f"uid-{item}", "created": 0.0, "since": 0.0, "attempts": 3}
    return Job(item=item, state=state, **(values | fields))


def jobs_of(*jobs: Job) -> dict[str, Job]:
    """Jobs as an engine gives them."""
    return {job.item: job for job in jobs}


NASTY_NAMES: Sequence[str] = (
    "with space.mp4",
    " leading and trailing ",
    "quo'te\".mp4",
    "new\nline.mp4",
    "tab\tand\rreturn",
    "per%2Fcent%00.mp4",
    "-rf",
    "--help",
    "動画.mp4",
    "🎬.mp4",
    "caf\u00e9.mp4",
    "cafe\u0301.mp4",
    "a/b",
    "a-b",
    "/leading/slash",
    "trailing/",
    "double//slash",
    "dots/../up",
    "back\\slash",
    "dollar$HOME $(HOME) ${HOME} $$",
    "semi;colon&amp|pipe`tick`",
    "*?[glob]{a,b}",
    "<script>alert(1)</script>",
    "\x1b[31mred",
    "#fragment?query=1",
    "...",
    "UPPER.MP4",
    "upper.mp4",
    "x" * 1024,
    "é" * 512,
)
"""Names that have broken something somewhere, all of them allowed."""
