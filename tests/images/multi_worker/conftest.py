"""Fixtures of multi-worker: a Docker daemon, and pipelines of shell stages in an image with nothing of ours."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from support.cluster import images

COMMAND: Final = (sys.executable, "-m", "longshore_multi_worker")
LABEL: Final = "longshore.dev/pipeline-item"


@dataclass(frozen=True)
class Ended:
    """How a run ended."""

    code: int
    out: str
    log: str
    result: str


@dataclass(frozen=True)
class Pipe:
    """A pipeline file, and the item that goes through it."""

    folder: Path

    def write(self, *stages: dict[str, Any], **parts: Any) -> None:
        """The file; each stage in an image with a shell."""
        document = {"stages": [{"image": images.BASE, **stage} for stage in stages], **parts}
        (self.folder / "pipeline.yaml").write_text(yaml.safe_dump(document, allow_unicode=True), encoding="utf-8")

    def start(self, data: dict[str, Any] | None = None, **settings: str) -> "subprocess.Popen[str]":
        """`multi-worker run`, as any worker is started."""
        (self.folder / "item.json").write_text(json.dumps({"path": "a.txt"} if data is None else data))
        (self.folder / "result").unlink(missing_ok=True)
        environ = {
            "PATH": os.environ["PATH"],
            "WORK_ITEM_FILE": str(self.folder / "item.json"),
            "LONGSHORE_ITEM": str(self.folder),
            "LONGSHORE_QUEUE": "q",
            "LONGSHORE_RESULT_FILE": str(self.folder / "result"),
            "ALLOW_DOCKER": "true",
            **settings,
        }
        return subprocess.Popen(
            [*COMMAND, "run", str(self.folder / "pipeline.yaml")],
            env=environ,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def end(self, process: "subprocess.Popen[str]") -> Ended:
        """How it ended."""
        out, log = process.communicate(timeout=300)
        result = self.folder / "result"
        return Ended(process.returncode, out, log, result.read_text(encoding="utf-8") if result.exists() else "")

    def run(self, data: dict[str, Any] | None = None, **settings: str) -> Ended:
        """One start, to its end."""
        return self.end(self.start(data, **settings))


def left() -> Sequence[str]:
    """What is there of any pipeline: containers and volumes."""
    ours = f"label={LABEL}"
    containers = images.docker("ps", "--all", "--quiet", "--filter", ours).split()
    return [*containers, *images.docker("volume", "ls", "--quiet", "--filter", ours).split()]


@pytest.fixture
def pipe(docker: None, tmp_path: Path) -> Iterator[Pipe]:  # noqa: ARG001 - there must be one
    """A pipeline; nothing of it is left at the end."""
    yield Pipe(tmp_path)
    assert left() == []
