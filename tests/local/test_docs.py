"""The documentation is true: its links lead somewhere, its queue files are read, its programs run."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from longshore.queuefile import QueueFile, parse
from longshore_kit.conform import check_source, check_worker

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "examples/**/*.md", "images/*/*.md", "packages/*/*.md")
    for path in ROOT.glob(pattern)
)
LINK = re.compile(r"\]\((?!https?:)([^)#\s]+)")


def page_id(path: Path) -> str:
    """A page by its place."""
    return str(path.relative_to(ROOT))


def blocks(path: Path, language: str) -> list[str]:
    """The code blocks of a page."""
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_links_lead_somewhere(page: Path) -> None:
    """A link to a file of the repository is to one that is there."""
    targets = LINK.findall(page.read_text(encoding="utf-8"))

    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", [page for page in PAGES if "source:" in page.read_text()], ids=page_id)
def test_queue_files_in_pages_are_read(page: Path) -> None:
    """What a reader copies is taken; a block that shows a part is read with the rest in place."""
    read = [spec for block in blocks(page, "yaml") if (spec := spec_of(block)) is not None]

    assert read


def spec_of(block: str) -> QueueFile | None:
    """The queue file in a block; None where it shows no source."""
    if "source:" not in block:
        return None
    return parse(block if "worker:" in block else f"{block}\nworker: {{command: ['true']}}")


@pytest.fixture
def ambassador(tmp_path: Path) -> Iterator[str]:
    """The ambassador of the kit's README, running; its URL."""
    code = blocks(ROOT / "packages/kit/README.md", "python")[0]
    (tmp_path / "orders.py").write_text(code, encoding="utf-8")
    process = subprocess.Popen(
        [sys.executable, "orders.py"],
        cwd=tmp_path,
        env={**os.environ, "LISTEN_PORT": "0", "HEALTH_PORT": "0", "EXIT_WITH_PARENT": "true"},
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    said = process.stderr.readline()
    found = re.search(r"http://127\.0\.0\.1:\d+|\"port\": ?(\d+)", said)
    assert found, said
    yield found[0] if found[0].startswith("http") else f"http://127.0.0.1:{found[1]}"
    process.terminate()
    process.communicate()


def test_the_ambassador_of_the_kits_page_is_a_right_one(ambassador: str) -> None:
    """It keeps every rule that it can be asked about."""
    results = check_source(ambassador)

    assert {result.rule for result in results if result.outcome == "failed"} == set()
    assert sum(result.outcome == "passed" for result in results) > len(results) / 2


def test_the_worker_of_the_kits_page_is_a_right_one(tmp_path: Path) -> None:
    """It does its item and rejects a bad one."""
    code = blocks(ROOT / "packages/kit/README.md", "python")[1]
    (tmp_path / "greet.py").write_text(code, encoding="utf-8")

    results = check_worker([sys.executable, str(tmp_path / "greet.py")], data={"customer": "Ada"}, environ=os.environ)

    assert {result.rule for result in results if result.outcome == "failed"} == set()
