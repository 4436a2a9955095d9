"""worker-ffmpeg as it is started in its image: one process, an environment, an exit code."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

COMMAND: Final = (sys.executable, "-m", "longshore_worker_ffmpeg")
TIMEOUT_SECONDS: Final = 120
"""For one video: far longer than any takes, since machines are slow at times."""


@dataclass(frozen=True)
class Ended:
    """How a run ended."""

    code: int
    log: str
    result: str
    """What it left in the result file."""


@dataclass(frozen=True)
class Place:
    """A media folder, a folder for thumbnails, and the worker between them."""

    folder: Path

    @property
    def media(self) -> Path:
        """Where videos lie."""
        return self.folder / "media"

    @property
    def thumbs(self) -> Path:
        """Where pictures appear."""
        return self.folder / "thumbs"

    def put(self, video: Path | bytes, path: str = "video.mp4") -> str:
        """The item's path, after putting the video there."""
        file = self.media / path
        file.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(video, bytes):
            file.write_bytes(video)
        else:
            file.unlink(missing_ok=True)
            os.link(video, file)
        return path

    def environ(self, path: str, **settings: str) -> dict[str, str]:
        """The environment of a start for the item of this path."""
        item, result = self.folder / "item.json", self.folder / "result"
        item.write_text(json.dumps({"path": path}), encoding="utf-8")
        result.unlink(missing_ok=True)
        return {
            "PATH": os.environ["PATH"],
            "WORK_ITEM_FILE": str(item),
            "LONGSHORE_ITEM": path,
            "LONGSHORE_RESULT_FILE": str(result),
            "MEDIA_PATH": str(self.media),
            "THUMBS_PATH": str(self.thumbs),
            **settings,
        }

    def ended(self, code: int, log: str) -> Ended:
        """What a process that ended left behind."""
        result = self.folder / "result"
        return Ended(code, log, result.read_text(encoding="utf-8") if result.exists() else "")

    def run(self, path: str, **settings: str) -> Ended:
        """The worker on one item, to its end."""
        done = subprocess.run(
            COMMAND,
            env=self.environ(path, **settings),
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
        assert done.stdout == ""
        return self.ended(done.returncode, done.stderr)

    def make(self, video: Path, path: str = "video.mp4", **settings: str) -> "Thumbnails":
        """The pictures of a video that is good."""
        ended = self.run(self.put(video, path), **settings)
        assert ended.code == 0, ended.log
        return Thumbnails(self.thumbs / path, ended)

    def visible(self) -> list[str]:
        """Every file and folder in the folder for thumbnails, hidden ones too."""
        return sorted(str(path.relative_to(self.thumbs)) for path in self.thumbs.rglob("*"))


@dataclass(frozen=True)
class Thumbnails:
    """What was made of one video."""

    folder: Path
    ended: Ended

    @property
    def index(self) -> Mapping[str, Any]:
        """index.json."""
        index: Mapping[str, Any] = json.loads((self.folder / "index.json").read_text(encoding="utf-8"))
        return index

    @property
    def images(self) -> list[Path]:
        """The pictures, in the index's order."""
        return [self.folder / image["file"] for image in self.index["images"]]

    @property
    def times(self) -> list[float]:
        """The pictures' times."""
        return [image["time_seconds"] for image in self.index["images"]]

    def contents(self) -> dict[str, bytes]:
        """Every file's bytes."""
        return {path.name: path.read_bytes() for path in self.folder.iterdir()}
