"""The how-tos on workers and ambassadors are true: each program is taken from its page, and keeps its contract."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from longshore_kit.conform import check_source, check_worker
from support.runs import LocalRun
from support.servers.process import connects, free_port
from support.waiting import until

pytestmark = pytest.mark.slow
DOCS = Path(__file__).parents[2] / "docs/how-to"
FILES = {"python": "program.py", "sh": "program.sh", "javascript": "program.mjs", "go": "program.go"}


def block(page: str, language: str) -> str:
    """The program of a page in a language."""
    (found,) = re.findall(
        rf"^```{language}\n(.*?)^```", (DOCS / page).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    return str(found)


def command_of(page: str, language: str, folder: Path) -> Sequence[str]:
    """What starts the program of a page; skipped where nothing here can."""
    file = folder / FILES[language]
    file.write_text(block(page, language), encoding="utf-8")
    tool = shutil.which({"python": sys.executable, "sh": "sh", "javascript": "node", "go": "go"}[language])
    if tool is None:
        pytest.skip(f"nothing here runs {language}")
    if language == "go":
        environ = {**os.environ, "CGO_ENABLED": "0", "GO111MODULE": "off"}
        subprocess.run([tool, "vet", file], cwd=folder, env=environ, check=True)
        subprocess.run([tool, "build", "-o", "program", file], cwd=folder, env=environ, check=True)
        return [str(folder / "program")]
    return [tool, str(file)]


@pytest.mark.parametrize("language", ["python", "sh", "javascript", "go"])
def test_a_worker_keeps_the_worker_contract(tmp_path: Path, language: str) -> None:
    """In every language of the page: done, refused, stopped, killed, and what it has written is whole."""
    command = command_of("write-a-worker.md", language, tmp_path)
    if language == "sh" and not shutil.which("jq"):
        pytest.skip("the shell's worker reads its item with jq")
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a b.txt").write_text("ärger\n" * 200_000, encoding="utf-8")
    environ = {**os.environ, "MEDIA_PATH": str(tmp_path / "in"), "OUT_PATH": str(tmp_path / "out")}
    results = check_worker(command, data={"path": "a b.txt"}, environ=environ)
    result = tmp_path / "result"
    bad = [run_with(command, environ, tmp_path, item, result) for item in ('{"path": "none"}', "{}", "no JSON")]

    assert [one for one in results if one.outcome == "failed"] == []
    assert (tmp_path / "out/a b.txt").read_text(encoding="utf-8").splitlines()[0].lower() == "ärger"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a b.txt"]
    assert bad == [65, 65, 65]


def run_with(command: Sequence[str], environ: dict[str, str], folder: Path, item: str, result: Path) -> int:
    """The exit code for an item, which must come with a word of why."""
    (folder / "item.json").write_text(item, encoding="utf-8")
    result.unlink(missing_ok=True)
    own = {"WORK_ITEM_FILE": str(folder / "item.json"), "LONGSHORE_RESULT_FILE": str(result), "LONGSHORE_ITEM": "x"}
    ended = subprocess.run(command, env={**environ, **own}, capture_output=True, check=False, timeout=60)
    assert result.read_text(encoding="utf-8").strip()
    return ended.returncode


@contextmanager
def served(command: Sequence[str], folder: Path) -> Iterator[str]:
    """Where an ambassador answers that was started so."""
    port = free_port()
    environ = {**os.environ, "LISTEN_PORT": str(port), "HEALTH_PORT": "0", "ITEMS_FILE": str(folder / "items.txt")}
    process = subprocess.Popen(command, env=environ, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        until(lambda: connects(port))
        yield url
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("language", ["python", "go"])
def test_an_ambassador_of_the_page_serves_a_queue(local: LocalRun, language: str) -> None:
    """As the page ends: its command in a queue file, and `longshore run`."""
    command = command_of("write-an-ambassador.md", language, local.folder)
    (local.folder / "items.txt").write_text("one\na/b c\n", encoding="utf-8")
    custom = {"command": list(command), "env": {"ITEMS_FILE": "items.txt"}}
    local.define("true", source={"kind": "custom", "custom": custom}, worker={"command": ["true"]})
    ended = local.run()

    assert (ended.returncode, local.states()) == (0, {"one": "done", "a/b c": "done"}), ended.stderr


@pytest.mark.parametrize("language", ["python", "go"])
def test_an_ambassador_keeps_the_source_contract(tmp_path: Path, language: str) -> None:
    """In every language of the page, with names that are hard to ask for."""
    command = command_of("write-an-ambassador.md", language, tmp_path)
    names = ["one", "a/b c", "/leading", "double//slash", "per%2Fcent", "動画.mp4", "..a/../b", "?query#x"]
    (tmp_path / "items.txt").write_text("\n".join([*names, "one", ""]), encoding="utf-8")
    with served(command, tmp_path) as url:
        results = check_source(url)
        (tmp_path / "items.txt").unlink()
        without = check_source(url)

    assert [one for one in results if one.outcome == "failed"] == []
    assert sum(one.outcome == "passed" for one in results) > 5
    assert any(one.outcome == "failed" for one in without)
