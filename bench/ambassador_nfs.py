"""What listing a folder costs ambassador-nfs in CPU seconds, beside the naive way, in the same run.

    .venv/bin/python bench/ambassador_nfs.py                # 100,000 files in a temporary folder
    .venv/bin/python bench/ambassador_nfs.py --files 5000 --folder /mnt/nas/scratch

The naive way is `sorted(root.rglob("*.mp4"))` with a stat of each, at every poll. Figures, not a test.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from longshore_ambassador_nfs.source import NfsSource

SHAPES: dict[str, Callable[[int], str]] = {
    "one folder": lambda n: f"clip-{n:06}.mp4",
    "100 per folder": lambda n: f"{n // 100:05}/clip-{n:06}.mp4",
    "by day, 4 deep": lambda n: f"cam-{n % 10}/2026/{n // 3000 % 12 + 1:02}/{n // 100 % 30 + 1:02}/clip-{n:06}.mp4",
}


def make(root: Path, shape: Callable[[int], str], files: int) -> None:
    """`files` empty files an hour old, as finished files are."""
    old = time.time() - 3600
    for number in range(files):
        path = root / shape(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        os.utime(path, (old, old))


def naive(root: Path, settle_seconds: float) -> list[str]:
    """What the first version of everybody's script does."""
    now = time.time()
    return [
        path.relative_to(root).as_posix()
        for path in sorted(root.rglob("*.mp4"))
        if path.is_file() and now - path.stat().st_mtime >= settle_seconds
    ]


def cpu(action: Callable[[], object], times: int = 1) -> float:
    """CPU seconds of the quickest of `times` runs, user and system."""
    costs = []
    for _ in range(times):
        start = time.process_time()
        action()
        costs.append(time.process_time() - start)
    return min(costs)


def bench(root: Path, name: str, files: int) -> None:
    """One shape of tree: make it, measure, print a block."""
    make(root, SHAPES[name], files)
    # An hour ahead: the folders that were made just now count as quiet ones.
    source = NfsSource(root, ("**/*.mp4",), settle_seconds=30, clock=lambda: time.time() + 3600)
    costs = {"first listing": cpu(source.list_items)}
    unchanged = source.list_items()
    costs["unchanged"] = cpu(source.list_items, times=5)
    assert source.list_items() is unchanged
    root.joinpath(SHAPES[name](0)).with_name("new.mp4").touch()
    costs["one file added"] = cpu(source.list_items)
    without = NfsSource(root, ("**/*.mp4",), settle_seconds=0)
    costs["first, settle 0"] = cpu(without.list_items)
    by_hand = cpu(lambda: naive(root, 0), times=2)
    assert list(source.list_items().names) == sorted(naive(root, 0))
    print(f"{name}: {len(unchanged.names):,} files")
    for what, seconds in costs.items():
        print(f"  {what:16} {seconds:8.4f} s CPU   naive {by_hand:.3f} s   {by_hand / max(seconds, 1e-6):9,.1f} times")


def main() -> None:
    """Every shape, each in its own temporary folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, default=None, help="where to make the files; default: the system's")
    arguments = parser.parse_args()
    for name in SHAPES:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            bench(Path(folder), name, arguments.files)


if __name__ == "__main__":
    main()
