"""A folder with a queue in it, and `longshore` run on it as a person would: by its command."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

EXAMPLES = Path(__file__).parents[2] / "examples"
_MADE = shutil.ignore_patterns("out", ".longshore", "results")
TIMEOUT_SECONDS = 300
"""For one command: far longer than any takes, since machines are slow at times."""

# Tells on disk when it runs and whether it ran before, or beside itself.
WITNESS = """\
key=$(printf %s "$LONGSHORE_ITEM" | sha256sum | cut -c1-32)
mkdir "$OUT_PATH/$key.running" || echo overlap >> "$OUT_PATH/$key.log"
test -e "$OUT_PATH/$key.done" && echo again >> "$OUT_PATH/$key.log"
echo start >> "$OUT_PATH/$key.log"
"""
WITNESS_END = """
touch "$OUT_PATH/$key.done"
rmdir "$OUT_PATH/$key.running"
"""


@dataclass(frozen=True)
class LocalRun:
    """A queue file over `items/`, with results in `out/`."""

    folder: Path

    @property
    def file(self) -> Path:
        """The queue file."""
        return self.folder / "queue.yaml"

    @property
    def out(self) -> Path:
        """Where workers write."""
        return self.folder / "out"

    def add_items(self, *names: str) -> None:
        """Files that are items."""
        for name in names:
            path = self.folder / "items" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(name, encoding="utf-8")

    def define(self, script: str, **parts: Any) -> None:
        """The queue file: `script` is the worker, in a shell, with the item's path as `$1`."""
        document = {
            "queue": {"name": "local"},
            "volumes": {
                "media": {"hostPath": {"path": "./items"}, "readOnly": True},
                "out": {"hostPath": {"path": "./out", "type": "DirectoryOrCreate"}},
            },
            "source": {"kind": "nfs", "volumes": ["media"], "nfs": {"pattern": "**/*", "settleSeconds": 0}},
            "worker": {"command": ["sh", "-c", script, "sh", "${item.path}"], "volumes": ["media", "out"]},
            "scaling": {"max": 4},
        }
        self.file.write_text(yaml.safe_dump(document | parts, allow_unicode=True), encoding="utf-8")

    def command(self, *arguments: str) -> list[str]:
        """`longshore` with these arguments."""
        return [sys.executable, "-m", "longshore", *arguments]

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """`longshore run` in the background, with what it prints in its pipes."""
        return subprocess.Popen(
            self.command("run", str(self.file), *arguments),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
        )

    def longshore(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """One command, to its end; of one that never comes to it, where it was is told."""
        try:
            return subprocess.run(
                self.command(*arguments),
                capture_output=True,
                stdin=subprocess.DEVNULL,
                text=True,
                timeout=TIMEOUT_SECONDS,
                check=False,
                env={**os.environ, "COLUMNS": "200"},
            )
        except subprocess.TimeoutExpired as exc:
            said = b"\n".join(part for part in (exc.stdout, exc.stderr) if isinstance(part, bytes)).decode()
            raise AssertionError(f"{exc.cmd} did not end within {exc.timeout} s, and has said:\n{said}") from None

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`longshore run FILE --until-done`, to its end."""
        return self.longshore("run", str(self.file), "--until-done", *arguments)

    def rows(self) -> list[dict[str, Any]]:
        """What `longshore ls -o json` says."""
        rows: list[dict[str, Any]] = json.loads(self.longshore("ls", str(self.file), "-o", "json").stdout)
        return rows

    def states(self) -> dict[str, str]:
        """Each item's state."""
        return {row["item"]: row["state"] for row in self.rows()}

    def witnesses(self) -> list[Sequence[str]]:
        """What the workers told of themselves, a list per item."""
        return [path.read_text().split() for path in self.out.glob("*.log")]


def example(folder: Path, name: str, **instead: str) -> LocalRun:
    """A fresh copy of an example below a folder, with other texts in its queue file: a server's address, an image."""
    shutil.copytree(EXAMPLES / name, folder / name, ignore=_MADE)
    fresh = LocalRun(folder / name)
    text = fresh.file.read_text(encoding="utf-8")
    for before, after in instead.items():
        assert before in text
        text = text.replace(before, after)
    fresh.file.write_text(text, encoding="utf-8")
    return fresh


def await_file(path: Path, process: subprocess.Popen[str]) -> None:
    """Wait for a worker to make a file; the run under test must not end before."""
    while not path.exists():
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.05)
