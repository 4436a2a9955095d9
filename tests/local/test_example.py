"""examples/01-thumbnails as a newcomer gets it: the steps of `make demo`, each as its own process, on real videos."""

import json
import math
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import yaml

from longshore_worker_ffmpeg.ffmpeg import find_ffmpeg
from support.runs import LocalRun

EXAMPLE = Path(__file__).parents[2] / "examples/01-thumbnails"
MADE = shutil.ignore_patterns("videos", "thumbs", ".longshore")
"""What `make demo` may have left in the clone."""


class Example(LocalRun):
    """The example's folder: videos in `videos/`, pictures in `thumbs/`."""

    @property
    def videos(self) -> dict[str, Path]:
        """The videos, by the names of their items."""
        folder = self.folder / "videos"
        return {path.relative_to(folder).as_posix(): path for path in folder.rglob("*.mp4")}

    @property
    def thumbs(self) -> Path:
        """Where pictures appear."""
        return self.folder / "thumbs"

    @property
    def every(self) -> int:
        """What the queue file says."""
        return int(yaml.safe_load(self.file.read_text(encoding="utf-8"))["worker"]["env"]["EVERY"])

    def script(self, name: str) -> str:
        """A script of the example, run to its end; what it printed."""
        command = [sys.executable, str(self.folder / name)]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def index(self, item: str) -> dict[str, Any]:
        """An item's index.json."""
        index: dict[str, Any] = json.loads((self.thumbs / item / "index.json").read_text(encoding="utf-8"))
        return index

    def pictures(self) -> set[Path]:
        """Every picture on disk, without the sheets."""
        return set(self.thumbs.rglob("thumb*.png"))

    def times(self) -> dict[Path, int]:
        """When each file of the results was written, in nanoseconds."""
        return {path: path.stat().st_mtime_ns for path in self.thumbs.rglob("*") if path.is_file()}


@pytest.fixture
def example(local: LocalRun) -> Example:
    """A fresh copy with the real videos in it, as fetch_videos.py puts them there."""
    folder = local.folder / "01-thumbnails"
    shutil.copytree(EXAMPLE, folder, ignore=MADE)
    fresh = Example(folder)
    fresh.script("fetch_videos.py")
    return fresh


@pytest.fixture
def worked_through(example: Example) -> Example:
    """The same after its first run, which ended well."""
    ended = example.run()
    assert (ended.returncode, ended.stderr) == (0, "")
    return example


def frames_of(video: Path) -> int:
    """How many frames a full decode gives."""
    command = [find_ffmpeg(), "-nostdin", "-v", "error", "-i", str(video), "-map", "0:V:0", "-fps_mode", "passthrough"]
    output = subprocess.run([*command, "-f", "framecrc", "-"], check=True, capture_output=True, text=True).stdout
    return sum(not line.startswith("#") for line in output.splitlines())


def sources_of(page: Path) -> list[Path]:
    """The files that a page's pictures name."""
    found: list[str] = []

    class Images(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            if tag == "img":
                found.append(dict(attrs)["src"] or "")

    Images().feed(page.read_text(encoding="utf-8"))
    return [page.parent / unquote(source) for source in found]


def test_every_video_gets_its_pictures(worked_through: Example) -> None:
    """One picture out of every EVERY frames of each video, the first included, and an index that names them."""
    assert len(worked_through.videos) == 4
    for item, video in worked_through.videos.items():
        folder, index = worked_through.thumbs / item, worked_through.index(item)
        wanted = math.ceil(frames_of(video) / worked_through.every)

        assert [image["frame"] for image in index["images"]] == [n * worked_through.every for n in range(wanted)]
        assert sorted(path.name for path in folder.iterdir()) == sorted(
            [*(image["file"] for image in index["images"]), *index["sprite"]["sheets"], "index.json", "thumbs.vtt"]
        )


def test_fetching_again_changes_nothing(example: Example) -> None:
    """`make demo` may be run twice: whole videos are left alone, and none is left half."""
    before = {path: path.stat().st_mtime_ns for path in (example.folder / "videos").iterdir()}

    said = example.script("fetch_videos.py")

    assert said == f"4 videos in {example.folder / 'videos'}\n"
    assert {path: path.stat().st_mtime_ns for path in (example.folder / "videos").iterdir()} == before
    assert sorted(before) == sorted(example.videos.values())


def test_a_second_run_starts_no_worker(worked_through: Example) -> None:
    """No item changes, and no file of the results is written anew."""
    before = worked_through.times()

    ended = worked_through.run("-o", "json")

    lines = [json.loads(line) for line in ended.stdout.splitlines()]
    assert (ended.returncode, ended.stderr) == (0, "")
    assert [line for line in lines if "item" in line] == []
    assert lines[-1]["summary"] == {"waiting": 0, "starting": 0, "running": 0, "done": 4, "failed": 0}
    assert worked_through.times() == before


def test_only_a_new_video_is_worked_on(worked_through: Example) -> None:
    """The README's promise to who puts videos of their own into the folder."""
    before = worked_through.times()
    shutil.copyfile(worked_through.videos["bikes.mp4"], worked_through.folder / "videos" / "mine.mp4")

    lines = [json.loads(line) for line in worked_through.run("-o", "json").stdout.splitlines()]

    assert {line["item"] for line in lines if "item" in line} == {"mine.mp4"}
    assert lines[-1]["summary"]["done"] == 5
    after = worked_through.times()
    assert {path: after[path] for path in before} == before


def test_the_contact_sheet_shows_every_picture(example: Example) -> None:
    """One page, each picture once, and every source is a file, whatever the video's name holds."""
    odd = example.folder / "videos" / "my films: part 1" / 'é #1? 100%41 "q" & <b>.mp4'
    odd.parent.mkdir()
    shutil.copyfile(example.videos["carphone_distorted.mp4"], odd)
    assert example.run().returncode == 0

    said = example.script("contact_sheet.py")

    (page,) = example.folder.rglob("*.html")
    shown = sources_of(page)
    assert said == f"the pictures are in {example.thumbs}; look at them all in {page}\n"
    assert sorted(shown) == sorted(example.pictures())
    assert f"<h1>5 videos, {len(shown)} pictures</h1>" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("command", "words"),
    [("ls", "done   bikes.mp4"), ("explain", "bikes.mp4"), ("manifest", "kind: Job")],
)
def test_the_readmes_commands_for_looking_work(worked_through: Example, command: str, words: str) -> None:
    """Each line of the README's table ends well and tells of the item."""
    item = [] if command == "ls" else ["bikes.mp4"]
    readme = (worked_through.folder / "README.md").read_text(encoding="utf-8")

    ended = worked_through.longshore(command, str(worked_through.file), *item)

    assert f"`{' '.join(['.venv/bin/longshore', command, 'examples/01-thumbnails/queue.yaml', *item])}`" in readme
    assert (ended.returncode, ended.stderr, words in ended.stdout) == (0, "", True), ended.stdout
