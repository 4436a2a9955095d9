"""A source that never shrinks, worked through by managers that are killed: how many Jobs are kept, and what runs twice.

    .venv/bin/python bench/never_shrinking.py                 # 20,000 items, keep.finished 500, five kills
    .venv/bin/python bench/never_shrinking.py --items 2000

Workers are shells that write a line. Prints the most Jobs seen at once, runs per item, what the ledger takes, and the
rate.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support.runs import LocalRun

KEPT = 500
LIVE = 8


def jobs_of(run: LocalRun) -> int:
    """Jobs on disk, live ones included."""
    return sum(1 for _ in (run.folder / ".longshore/local/jobs").glob("*/*/manifest.json"))


def runs_of(run: LocalRun) -> Counter[str]:
    """How often each item ran."""
    told = run.out / "ran"
    return Counter(told.read_text(encoding="utf-8").split("\n")[:-1]) if told.exists() else Counter()


def main() -> None:
    """Kill the manager five times on the way, then let it end."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=20_000)
    items = parser.parse_args().items
    with tempfile.TemporaryDirectory() as folder:
        run = LocalRun(Path(folder))
        (run.folder / "all.txt").write_text("".join(f"item {number:06}\n" for number in range(items)), encoding="utf-8")
        (run.folder / "items").mkdir()
        source = {"kind": "list", "list": {"file": "all.txt"}}
        script = 'echo "$LONGSHORE_ITEM" >> "$OUT_PATH/ran"'
        run.define(script, source=source, keep={"finished": KEPT}, scaling={"max": LIVE})
        run.file.write_text(run.file.read_text(encoding="utf-8").replace("${item.path}", "x"), encoding="utf-8")
        began, most = time.monotonic(), 0
        for kill in range(1, 7):
            # Not into pipes: nobody would read them, and a full one stops the manager.
            command = run.command("run", str(run.file), "--until-done")
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
            while process.poll() is None and (kill == 6 or sum(runs_of(run).values()) < kill * items // 6):
                most = max(most, jobs_of(run))
                time.sleep(0.2)
            process.kill()
            process.wait()
        seconds, runs = time.monotonic() - began, runs_of(run)
        file = run.folder / ".longshore/local/ledger.jsonl"
        ledger = file.stat().st_size if file.exists() else 0
    print(f"{len(runs):,} of {items:,} items ran, {sum(count > 1 for count in runs.values())} of them more than once")
    print(f"at most {most} Jobs at once: {KEPT} are kept, {LIVE} may live; the ledger has {ledger / 1024:,.0f} KiB")
    print(f"{items / seconds:.1f} items per second, five kills included")


if __name__ == "__main__":
    main()
