"""The how-to on pipelines is true: its files and commands are taken from the page and run."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
PAGE = Path(__file__).parents[2] / "docs/how-to/compose-a-pipeline.md"


def blocks(language: str) -> list[str]:
    """The code blocks of the page."""
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def test_two_programs_are_one_pipeline(tmp_path: Path) -> None:
    """As a reader types it: two texts are sorted and packed, and what each stage took is said."""
    (tmp_path / "queue.yaml").write_text(blocks("yaml")[0], encoding="utf-8")
    environ = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    make, run, logs = blocks("sh")

    ended = [
        subprocess.run(["bash", "-ec", script], cwd=tmp_path, env=environ, capture_output=True, text=True, check=True)  # noqa: S607 - the reader's shell
        for script in (make, run, logs)
    ]

    assert "multi-worker " in ended[1].stdout
    assert ended[1].stdout.endswith("apples\npears\npears\n")
    assert ended[2].stdout == "of an item that is done no log is kept\n"
    assert sorted(path.name for path in (tmp_path / "sorted").iterdir()) == ["fruit.txt.gz", "two letters.txt.gz"]
