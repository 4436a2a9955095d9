"""What one look of the manager costs at 100,000 known items: CPU of a tick, unchanged and with one item new.

    python bench/manager_cycle.py [--items 100000] [--kept 1000]

Beside it, in the same run: parsing the same list from JSON once, which is what a manager without conditional
requests pays at every poll. Figures are CPU seconds of this machine; compare the ratios.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from longshore.control import FileControl
from longshore.engines.process import ProcessEngine
from longshore.ledger import FileLedger
from longshore.manager import Manager, SourcePoller
from longshore.manifests import bundle_for
from longshore.names import job_name
from longshore.queuefile import Queue, QueueFile
from longshore.state import Record, State
from longshore_kit import contract
from longshore_kit.contract import Item, ItemList
from longshore_kit.logs import get_logger

ROUNDS = 9


class FixedItems:
    """A source that holds what it is given."""

    def __init__(self, names: list[str]) -> None:
        self.items = ItemList(tuple(names))

    def list_items(self, *, wait_seconds: float = 0) -> ItemList:  # noqa: ARG002 - nothing to wait for
        """The list: the same object as before, as after a 304."""
        return self.items

    def get_item(self, name: str) -> Item:
        """One item."""
        return Item(name, {"path": name})

    def wants_acks(self) -> bool:
        """It does not."""
        return False

    def acknowledge(self, name: str) -> None:
        """Never called."""


def cpu(work: Callable[[], object]) -> float:
    """The median CPU seconds of one call."""
    spent = []
    for _ in range(ROUNDS):
        began = time.process_time()
        work()
        spent.append(time.process_time() - began)
    return statistics.median(spent)


def fill(folder: Path, queue: Queue, names: list[str], kept: int) -> None:
    """A queue that has done every item: `kept` Jobs, and a record for each of the others."""
    engine = ProcessEngine(folder, working_folder=folder, mounts={})
    for name in names[:kept]:
        layout = engine.layout(job_name(queue.name, name))
        made = bundle_for(queue, Item(name, {"path": name}), layout)
        engine._make_folder(made, engine._folder(made.name))  # noqa: SLF001 - Jobs without their 1,000 workers
        status = {"phase": "complete", "since": 1.0, "attempt": 1, "exit_code": 0}
        (engine._folder(made.name) / "status.json").write_text(json.dumps(status))  # noqa: SLF001 - as above
    engine.close()
    FileLedger(folder / "ledger.jsonl").enter([Record(name, State.DONE, 1.0) for name in names[kept:]])


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--kept", type=int, default=1000, help="Jobs kept; the others are in the ledger")
    options = parser.parse_args()
    names = [f"camera-{number % 40:02d}/2026-11/{number:07d}.mp4" for number in range(options.items)]
    document = {
        "source": {"kind": "custom", "custom": {"url": "http://127.0.0.1:9"}},
        "worker": {"command": ["true"]},
        "keep": {"finished": options.items},
    }
    queue = Queue("bench", QueueFile.model_validate(document), Path("/"))
    with tempfile.TemporaryDirectory() as folder:
        fill(Path(folder), queue, names, options.kept)
        items = FixedItems(names)
        poller = SourcePoller(items, get_logger("longshore.bench"))
        engine = ProcessEngine(Path(folder), working_folder=Path(folder), mounts={})
        ledger = FileLedger(Path(folder) / "ledger.jsonl")
        log = get_logger("longshore")
        control = FileControl(Path(folder))
        pool = ThreadPoolExecutor(1)
        manager = Manager(
            queue, items=items, poller=poller, engine=engine, ledger=ledger, pool=pool, log=log, control=control
        )
        poller.poll()
        began = time.process_time()
        manager.tick()
        first = time.process_time() - began
        tick = cpu(manager.tick)

        def after_a_listing() -> None:
            poller.poll()
            manager.tick()

        listing = cpu(after_a_listing)
        body = contract.encode(items.items.to_wire())
        parse = cpu(lambda: contract.parse_item_list(body))
        engine.close()
    print(f"{options.items} known items, {options.kept} of them Jobs; CPU seconds, median of {ROUNDS}")
    print(f"  first tick of a fresh manager     {first:8.4f}")
    print(f"  tick, nothing new                 {tick:8.4f}")
    print(f"  tick after one more good listing  {listing:8.4f}")
    print(f"  parsing the list from JSON        {parse:8.4f}   ({parse / tick:.1f} x the tick)")


if __name__ == "__main__":
    main()
