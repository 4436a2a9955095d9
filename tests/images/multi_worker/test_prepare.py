"""`multi-worker prepare`: what a chain finds when its first stage begins."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from images.multi_worker.conftest import COMMAND
from longshore_kit.chain import Chain, Link


def prepare(folder: Path, links: tuple[Link, ...], data: Any, **environ: str) -> "subprocess.CompletedProcess[str]":
    """The adapter, with a folder for each thing."""
    (folder / "item.json").write_text(json.dumps(data))
    chain = Chain(str(folder / "work"), str(folder / "stages"), links)
    own = {
        "WORK_ITEM_FILE": str(folder / "item.json"),
        "LONGSHORE_ITEM": "the name",
        "LONGSHORE_RESULT_FILE": str(folder / "result"),
        "STAGES": chain.as_text(),
    }
    return subprocess.run(
        [*COMMAND, "prepare"], env={**os.environ, **own, **environ}, capture_output=True, text=True, check=False
    )


def test_each_stage_has_its_item_and_all_an_open_folder(tmp_path: Path) -> None:
    """Readable by whatever user a stage has, whatever the umask; written by none."""
    (tmp_path / "work").mkdir(mode=0o755)
    template = {"in": "${MEDIA_PATH}/${item.path}", "n": "${item.n}"}
    links = (Link("find", {"MEDIA_PATH": "/m"}, template), Link("blur", {}, None))
    ended = prepare(tmp_path, links, {"path": "a b", "n": 3})
    again = prepare(tmp_path, links, {"path": "a b", "n": 4})

    assert (ended.returncode, again.returncode, (tmp_path / "result").read_text()) == (0, 0, "prepared find, blur")
    assert json.loads((tmp_path / "stages/find/item.json").read_text()) == {"in": "/m/a b", "n": 4}
    assert json.loads((tmp_path / "stages/blur/item.json").read_text()) == {"path": "a b", "n": 4}
    assert (tmp_path / "work").stat().st_mode & 0o777 == 0o777
    assert (tmp_path / "stages/find/item.json").stat().st_mode & 0o777 == 0o444


def test_an_item_that_does_not_fit_leaves_nothing_half_made(tmp_path: Path) -> None:
    """65, with the stage and the reference; not even the stages before have a file."""
    (tmp_path / "work").mkdir()
    ended = prepare(tmp_path, (Link("find", {}, None), Link("blur", {}, {"x": ["${item.no.thing}"]})), {"path": "a"})

    assert (ended.returncode, (tmp_path / "result").read_text()) == (
        65,
        "the item of stage blur: ${item.no.thing}: the item has no such value; its data has path",
    )
    assert not (tmp_path / "stages").exists()


@pytest.mark.parametrize(
    ("environ", "code", "words"),
    [
        ({"STAGES": ""}, 64, "STAGES is not set: the manager sets it, from worker.stages"),
        ({"STAGES": "{}"}, 64, "STAGES holds no chain of stages"),
        ({}, 1, "can't be opened to all of them: No such file or directory; mount an emptyDir"),
    ],
)
def test_what_is_missing_is_said(tmp_path: Path, environ: dict[str, str], code: int, words: str) -> None:
    """A variable is the manager's, a folder the pod's."""
    ended = prepare(tmp_path, (Link("find", {}, None),), {"path": "a"}, **environ)

    assert (ended.returncode, words in (tmp_path / "result").read_text()) == (code, True), ended
