"""A chain of stages as people run and look at one on a laptop."""

import json
import re
from pathlib import Path

import pytest
import yaml

from support.queues import shell_stage
from support.runs import LocalRun

pytestmark = pytest.mark.slow

FIND = 'grep -q face "$MEDIA_PATH/$1" || { echo "no face in it" > "$LONGSHORE_RESULT_FILE"; exit 65; }; echo found'
BLUR = 'sleep 0.2; cp "$MEDIA_PATH/$1" "$OUT_PATH/$1"; echo blurred > "$LONGSHORE_RESULT_FILE"'


@pytest.fixture
def chain(tmp_path: Path) -> LocalRun:
    """Two stages over two files, one of which fails the first."""
    run = LocalRun(tmp_path)
    run.add_items("a face.txt", "nothing.txt")
    stages = [shell_stage("find", FIND, volumes=["media"]), shell_stage("blur", BLUR, volumes=["media", "out"])]
    run.define("", worker={"stages": stages})
    return run


def test_a_chain_is_run_and_explained(chain: LocalRun) -> None:
    """What is done says what each stage took, what failed names the stage; both keep their places in ls and logs."""
    ended = chain.run()
    rows = {row["item"]: row for row in chain.rows()}
    explained = [chain.longshore("explain", str(chain.file), item).stdout for item in ("a face.txt", "nothing.txt")]
    logs = chain.longshore("logs", str(chain.file), "nothing.txt", "--stage", "find")

    assert ended.returncode == 1, ended
    assert "failed: nothing.txt: stage find, exit code 65: no face in it" in ended.stdout
    assert {item: (row["state"], row["stage"], row["exit_code"], row["reason"]) for item, row in rows.items()} == {
        "a face.txt": ("done", "blur", 0, "blurred"),
        "nothing.txt": ("failed", "find", 65, "stage find, exit code 65: no face in it"),
    }
    assert re.search(
        r"in 1 attempt \(multi-worker [0-9.]+ s, find [0-9.]+ s, blur [0-9.]+ s\): blurred\.", explained[0]
    )
    assert "failed" in explained[1]
    assert "after 1 attempt in stage find, exit code 65: no face in it." in explained[1]
    assert (chain.out / "a face.txt").read_text() == "a face.txt"
    none = "its worker wrote nothing, or nothing of it is kept any more"
    assert (logs.returncode, logs.stderr) == (
        1,
        f"longshore: nothing.txt has no log of stage find: {none}. See: {hint(chain)}\n",
    )


def hint(chain: LocalRun) -> str:
    """What to type instead."""
    return f"longshore explain {chain.file} nothing.txt"


@pytest.mark.parametrize(
    ("stage", "words"),
    [("fnd", "there is no stage 'fnd'; did you mean 'find'?"), ("x", "there are multi-worker, find, blur")],
)
def test_a_stage_that_there_is_not_is_misuse(chain: LocalRun, stage: str, words: str) -> None:
    """With the nearest name, or all of them."""
    ended = chain.longshore("logs", str(chain.file), "nothing.txt", "--stage", stage)

    assert (ended.returncode, words in " ".join(ended.stderr.replace("│", " ").split())) == (2, True), ended.stderr


def test_a_program_of_a_stage_that_is_not_here_is_told_before_anything_runs(chain: LocalRun) -> None:
    """With the place in the file where it stands."""
    chain.define("", worker={"stages": [{"name": "find", "command": ["no-such-program"]}]})
    ended = chain.run()

    words = "the process engine finds no program 'no-such-program': install it, or correct worker.stages[0].command"
    assert (ended.returncode, ended.stderr.strip()) == (2, f"longshore: {words}")


def test_a_chains_manifest_is_whole_yaml(chain: LocalRun) -> None:
    """What a person reads, and kubectl takes, has no anchors; what has been read is the Job."""
    text = chain.longshore("manifest", str(chain.file), "a face.txt").stdout
    as_json = chain.longshore("manifest", str(chain.file), "a face.txt", "-o", "json").stdout

    assert "&id" not in text
    assert yaml.safe_load(text) == json.loads(as_json)
