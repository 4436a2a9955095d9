"""A queue on Docker as people run and look at one: by `longshore run --engine docker`, on a real daemon."""

import json
import os
import random
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from support.cluster import images
from support.daemon import containers, remove_all, volumes
from support.queues import shell_stage
from support.runs import WITNESS, WITNESS_END, LocalRun, await_file

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("docker")]
FILES = {"a.txt": b"one\n", "b c.txt": b"two\n"}
"""Those of the how-to."""


def state_of(run: LocalRun) -> Path:
    """Where a queue's state is."""
    return run.folder / ".longshore/local"


@pytest.fixture
def local(tmp_path: Path) -> Iterator[LocalRun]:
    """A folder for a queue; what the queue has on the daemon goes with it."""
    run = LocalRun(tmp_path)
    run.out.mkdir()
    run.out.chmod(0o777)
    yield run
    remove_all(state_of(run))


def define(run: LocalRun, script: str, **parts: Any) -> None:
    """The queue file: the worker is a shell script in an image with a shell."""
    command = ["sh", "-c", script, "sh", "${item.path}"]
    pod = {"spec": {"terminationGracePeriodSeconds": 5}}
    worker = {"image": images.BASE, "command": command, "volumes": ["media", "out"], "podTemplate": pod}
    run.define("", worker=worker, **parts)


def define_chain(run: LocalRun, *stages: dict[str, Any]) -> None:
    """The queue file of a chain."""
    worker = {
        "stages": [{**stage, "image": images.BASE} for stage in stages],
        "adapterImage": images.project_image("multi-worker"),
    }
    run.define("", worker=worker)


def test_the_engine_is_chosen_once_and_remembered(local: LocalRun) -> None:
    """Jobs are on the daemon: every later command looks there, and another engine is refused with what to do."""
    local.add_items("a b.txt")
    define(local, 'cp "$MEDIA_PATH/$1" "$OUT_PATH/"; echo copied > "$LONGSHORE_RESULT_FILE"')
    first = local.run("--engine", "docker")
    other = local.run("--engine", "process")
    second = local.run()

    assert (first.returncode, first.stderr, second.returncode) == (0, "", 0)
    assert other.returncode == 2
    assert other.stderr == (
        "longshore: the Jobs of this queue are with the engine docker, and so is what is known of its items: leave "
        "--engine out, or begin anew with --engine process --state-folder FOLDER\n"
    )
    assert [(row["item"], row["state"], row["reason"]) for row in local.rows()] == [("a b.txt", "done", "copied")]
    assert (local.out / "a b.txt").read_text() == "a b.txt"
    assert (containers(state_of(local)), volumes(state_of(local))) == ([], [])


def test_a_field_that_docker_can_not_honour_is_refused_before_anything_runs(local: LocalRun) -> None:
    """By name, with what to do; nothing is made."""
    local.add_items("a")
    define(local, "true")
    text = local.file.read_text(encoding="utf-8").replace("terminationGracePeriodSeconds: 5", "nodeSelector: {a: b}")
    local.file.write_text(text, encoding="utf-8")
    ended = local.run("--engine", "docker")

    assert (ended.returncode, ended.stderr, containers(state_of(local), "--all")) == (
        2,
        "longshore: the Docker engine can't honour podTemplate.spec.nodeSelector: leave it out here\n",
        [],
    )


def test_a_shipped_image_that_was_not_built_is_told_before_anything_runs(local: LocalRun) -> None:
    """No registry is asked for it: there, somebody else may have the name."""
    local.add_items("a")
    local.define("", worker={"image": "longshore/none"})
    ended = local.run("--engine", "docker")

    words = "the Docker engine finds no image longshore/none:0.1.0 here: build the shipped ones with `make images`"
    assert (ended.returncode, ended.stderr) == (2, f"longshore: {words}\n")


def test_a_daemon_that_is_away_is_told(local: LocalRun, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its address, and what to do."""
    monkeypatch.setenv("DOCKER_HOST", "unix:///no/docker.sock")
    define(local, "true")
    ended = local.run("--engine", "docker")

    assert ended.returncode == 1
    assert ended.stderr.startswith("longshore: the Docker daemon at unix:///no/docker.sock can't be asked: ")
    assert ended.stderr.endswith("Start it, or set DOCKER_HOST to another\n")


@pytest.mark.parametrize("before", ["", "no engine\n"])
def test_a_damaged_memory_of_the_engine_is_told(local: LocalRun, before: str) -> None:
    """With its file: nobody can tell where the Jobs are."""
    local.add_items("a")
    define(local, "true")
    state_of(local).mkdir(parents=True)
    (state_of(local) / "engine").write_text(before, encoding="utf-8")
    ended = local.run("--engine", "docker")

    assert ended.returncode == 2
    assert ended.stderr.startswith(f"longshore: {state_of(local)}/engine says no engine, process or docker: ")


def test_a_queue_from_before_there_was_a_choice_is_one_of_processes(local: LocalRun) -> None:
    """Its Jobs are folders: another engine would know nothing of them."""
    local.add_items("a")
    local.define("true")
    local.run()
    (state_of(local) / "engine").unlink()
    ended = local.run("--engine", "docker")

    assert (ended.returncode, "are with the engine process" in ended.stderr) == (2, True)


def test_kill_9_at_random_moments_loses_and_repeats_nothing(local: LocalRun) -> None:
    """Containers go on without their manager, and the next one takes up where the last one was."""
    seed = random.randrange(2**32)  # noqa: S311 - moments, not secrets
    print(f"seed {seed}")  # noqa: T201 - pytest shows it when the test fails
    moments = random.Random(seed)  # noqa: S311 - moments, not secrets
    local.add_items(*(f"item {number}" for number in range(20)))
    define(local, f"{WITNESS} sleep 1 {WITNESS_END}")

    kills_in_the_middle = 0
    for _ in range(8):
        process = local.start("--engine", "docker")
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(moments.uniform(0.5, 3.0))
        process.kill()
        process.communicate()
        kills_in_the_middle += len(list(local.out.glob("*.done"))) < 20
    ended = local.run()

    assert (ended.returncode, kills_in_the_middle > 3) == (0, True)
    assert local.witnesses() == [["start"]] * 20
    assert (containers(state_of(local)), volumes(state_of(local))) == ([], [])


def test_ctrl_c_stops_the_workers_too(local: LocalRun) -> None:
    """They are asked first; what they were at is started again by the next run, as the same attempt."""
    local.add_items("a")
    script = (
        "trap 'touch $OUT_PATH/asked; exit 1' TERM; touch $OUT_PATH/up; until test -e $OUT_PATH/go; do sleep 0.1; done"
    )
    define(local, script, retry={"attempts": 1})
    process = local.start("--engine", "docker")
    await_file(local.out / "up", process)
    process.send_signal(signal.SIGINT)
    _, complaint = process.communicate(timeout=120)
    running = containers(state_of(local))
    (local.out / "go").touch()
    again = local.run()

    assert (process.returncode, complaint) == (130, f"longshore: stopped. To go on: longshore run {local.file}\n")
    assert (running, (local.out / "asked").exists(), again.returncode) == ([], True, 0)
    assert [(row["state"], row["attempt"]) for row in local.rows()] == [("done", 1)]


def test_more_done_items_than_are_kept_become_records(local: LocalRun) -> None:
    """As with any engine: their Jobs leave the daemon, and nothing runs twice for it."""
    local.add_items(*(f"item {number}" for number in range(8)))
    define(local, f"{WITNESS}{WITNESS_END}", keep={"finished": 2})
    ended = [local.run("--engine", "docker").returncode for _ in range(2)]

    assert (ended, local.witnesses(), set(local.states().values())) == ([0, 0], [["start"]] * 8, {"done"})
    # Two Jobs, each a record and an outcome; a few more are entered beyond those that must be.
    assert len(containers(state_of(local), "--all")) == 4


def test_a_chain_is_run_and_explained(local: LocalRun) -> None:
    """What is done says what each stage took, what failed names the stage, whose log is kept; retry begins anew."""
    local.add_items("a face.txt", "nothing.txt")
    find = 'grep -q face "$MEDIA_PATH/$1" || { echo looked; echo "no face in it" > "$LONGSHORE_RESULT_FILE"; exit 65; }'
    blur = 'cp "$MEDIA_PATH/$1" "$OUT_PATH/"; echo blurred > "$LONGSHORE_RESULT_FILE"'
    define_chain(
        local, shell_stage("find", find, volumes=["media"]), shell_stage("blur", blur, volumes=["media", "out"])
    )
    ended = local.run("--engine", "docker")
    rows = {row["item"]: row for row in local.rows()}
    explained = local.longshore("explain", str(local.file), "a face.txt").stdout
    log = local.longshore("logs", str(local.file), "nothing.txt", "--stage", "find")
    (local.folder / "items/nothing.txt").write_text("a face after all", encoding="utf-8")
    retried = local.longshore("retry", str(local.file), "nothing.txt")
    again = local.run()

    assert "failed: nothing.txt: stage find, exit code 65: no face in it" in ended.stdout
    assert {item: (row["state"], row["stage"], row["exit_code"], row["reason"]) for item, row in rows.items()} == {
        "a face.txt": ("done", "blur", 0, "blurred"),
        "nothing.txt": ("failed", "find", 65, "stage find, exit code 65: no face in it"),
    }
    assert re.search(r"\(multi-worker [0-9.]+ s, find [0-9.]+ s, blur [0-9.]+ s\): blurred\.", explained), explained
    assert (log.returncode, log.stdout) == (0, "looked\n")
    assert (retried.returncode, again.returncode) == (0, 0)
    assert (local.out / "nothing.txt").read_text() == "a face after all"


def test_the_how_to_is_true(tmp_path: Path) -> None:
    """Its file and its commands, as a reader types them; at the end nothing is left, neither here nor on the daemon."""
    page = (Path(__file__).parents[2] / "docs/how-to/docker.md").read_text(encoding="utf-8")
    (file,), scripts = (re.findall(rf"^```{of}\n(.*?)^```", page, re.MULTILINE | re.DOTALL) for of in ("yaml", "sh"))
    assert "debian:stable-slim" in file
    folder = tmp_path / "sums"
    folder.mkdir()
    (folder / "queue.yaml").write_text(file.replace("debian:stable-slim", images.BASE), encoding="utf-8")
    environ = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    make, run, look, remove = (script.replace("/QUEUE", "/sums") for script in scripts)

    ended = [
        subprocess.run(["bash", "-ec", script], cwd=folder, env=environ, capture_output=True, text=True, check=True)  # noqa: S607 - the reader's shell
        for script in (make, run, look)
    ]
    sums = {path.name: path.read_text(encoding="utf-8") for path in (folder / "sums").iterdir()}
    subprocess.run(["bash", "-ec", remove], cwd=folder, env=environ, check=True)  # noqa: S607 - as above

    assert sums == {f"{name}.sha256": f"{sha256(text).hexdigest()}  -\n" for name, text in FILES.items()}
    assert ended[1].stdout.count("done") >= len(FILES)
    names = sorted(line.partition(":")[0] for line in ended[2].stdout.splitlines() if line.startswith("sums-"))
    assert len(names) == 2 * len(FILES)
    assert [name.removesuffix(".1.outcome") for name in names[1::2]] == names[::2]
    assert images.docker("ps", "--all", "--quiet", "--filter", "label=longshore.dev/queue=sums") == ""
    assert sorted(path.name for path in folder.iterdir()) == ["files", "queue.yaml", "sums"]


def test_hostile_values_stay_values(local: LocalRun) -> None:
    """Shell metacharacters, references and ways up, in an item's name and in its data."""
    name = "a/b .. $(touch pwned) `id` ${work} $HOME; rm -rf *"
    local.add_items(name)
    show = 'cat "$WORK_ITEM_FILE" > "$OUT_PATH/seen"; printf "%s" "$LONGSHORE_ITEM" > "$OUT_PATH/name"'
    item = {"in": "${work}/${item.path}", "as": "${item.path}"}
    define_chain(local, shell_stage("first", "true"), shell_stage("last", show, volumes=["out"], item=item))
    ended = local.run("--engine", "docker")

    assert ended.returncode == 0, ended
    assert json.loads((local.out / "seen").read_text()) == {"in": f"/work/{name}", "as": name}
    assert (local.out / "name").read_text() == name
