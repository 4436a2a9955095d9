"""`multi-worker run`: a chain of ordinary containers on a Docker host, seen from outside as one worker."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from images.multi_worker.conftest import LABEL, Pipe, left
from support.cluster import images
from support.cluster.docker import OwnDocker
from support.queues import shell_stage
from support.servers.registry import half_registry
from support.waiting import until

pytestmark = pytest.mark.slow


def names() -> list[str]:
    """Containers of pipelines that run now."""
    return images.docker("ps", "--filter", f"label={LABEL}", "--format", "{{.Names}}").split()


def test_a_chain_looks_like_one_worker(pipe: Pipe) -> None:
    """In order, over a folder that they share, each with an item of its own; the last one's words are the result."""
    pipe.write(
        shell_stage("first", 'cat "$WORK_ITEM_FILE"; echo one > "${work}/left"', item={"in": "${work}/${item.path}"}),
        shell_stage("last", '(cat "$WORK_PATH/left"; cat "$WORK_ITEM_FILE") > "$LONGSHORE_RESULT_FILE"'),
    )
    ended = pipe.run({"path": "a b.txt", "n": [1]})

    assert (ended.code, ended.result) == (0, 'one\n{"path":"a b.txt","n":[1]}'), ended.log
    assert ended.out == '{"in":"/work/a b.txt"}'
    assert [json.loads(line)["stage"] for line in ended.log.splitlines() if "stage ended" in line] == ["first", "last"]


def test_stages_may_be_other_users_on_a_root_that_they_can_not_write_to(pipe: Pipe, tmp_path: Path) -> None:
    """The shared folder is open to each; its item is read-only; a folder of the host is where it is asked for."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out").chmod(0o777)
    image = images.image_of("user-10007", "ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\nUSER 10007\n")
    pipe.write(
        shell_stage("first", 'id -u > "$WORK_PATH/who"; chmod 600 /longshore/item.json && exit 3; true', image=image),
        shell_stage("last", 'id -u | cat "$WORK_PATH/who" - > "$OUT_PATH/who"', volumes=["out"]),
        volumes={"out": {"hostPath": {"path": str(tmp_path / "out")}}},
    )
    ended = pipe.run()

    assert (ended.code, (tmp_path / "out/who").read_text()) == (0, "10007\n0\n"), ended


@pytest.mark.parametrize(
    ("script", "code", "reason"),
    [
        ('echo "no face" > "$LONGSHORE_RESULT_FILE"; exit 65', 65, "stage last: no face"),
        ("echo 'no such flag' >&2; exit 64", 65, "stage last: no such flag"),
        ("echo 'disk full' >&2; exit 3", 1, "stage last: disk full"),
        ("exit 9", 1, "stage last: exit code 9, without a word"),
    ],
)
def test_a_failed_stage_fails_the_item_and_is_named(pipe: Pipe, script: str, code: int, reason: str) -> None:
    """65 where no other attempt would help; nothing of it is left in any case."""
    pipe.write(shell_stage("first", "true"), shell_stage("last", script))
    ended = pipe.run()

    assert (ended.code, ended.result) == (code, reason)


@pytest.mark.parametrize(
    ("stage", "code", "words"),
    [
        ({"command": ["no-such-program"]}, 1, "stage only: it can't be started: "),
        ({"image": "registry.invalid/nobody/none:1"}, 1, "there is no image 'registry.invalid/nobody/none:1' here"),
        ({"item": {"x": "${item.no}"}}, 65, "the item of stage only: ${item.no}: the item has no such value; its data"),
        ({"args": ["${item.no}"]}, 65, "${item.no}: the item has no such value; its data has path"),
        ({"existingSecret": "none"}, 64, "stages.only.existingSecret: "),
    ],
)
def test_what_can_not_be_started_is_said(pipe: Pipe, stage: dict[str, Any], code: int, words: str) -> None:
    """In the words of who knows, with the stage; a template that asks for what is not there starts nothing."""
    pipe.write({**shell_stage("only", "true"), **stage})
    ended = pipe.run()

    assert (ended.code, words in ended.result) == (code, True), ended.result


def test_a_pull_that_ends_in_its_midst_says_why(pipe: Pipe) -> None:
    """The daemon answers that it has begun, and tells the rest in the stream alone."""
    with half_registry() as image:
        pipe.write({**shell_stage("only", "true"), "image": image})
        ended = pipe.run()

    assert (ended.code, "it can't be pulled: " in ended.result, "unknown blob" in ended.result) == (1, True, True), (
        ended
    )


def test_what_an_item_holds_stays_a_value(pipe: Pipe) -> None:
    """No shell, no reference and no expansion ever looks at it."""
    hostile = "../$(id) `id` ${work} $HOME $(WORK_PATH) $$ ; rm -rf / \n--help"
    script = 'printf "%s" "$2" > "$WORK_PATH/it"; test "$2" = "$VALUE"'
    stage = shell_stage("first", script, env={"VALUE": "${item.path}"})
    stage["command"] = [*stage["command"], "${item.path}"]
    pipe.write(stage, shell_stage("last", 'cat "$WORK_PATH/it" > "$LONGSHORE_RESULT_FILE"'))
    ended = pipe.run({"path": hostile})

    assert (ended.code, ended.result) == (0, hostile.strip()), ended


def test_a_secret_is_a_file_and_reaches_one_stage(pipe: Pipe, tmp_path: Path) -> None:
    """As variables of the stage that names it; of nobody else, and in no log."""
    (tmp_path / "store").write_text("# keys\nTOKEN=canary=17\n")
    pipe.write(
        shell_stage("first", 'test "$TOKEN" = canary=17', existingSecret="store"),
        shell_stage("last", 'test -z "$TOKEN"'),
    )
    ended = pipe.run(SECRETS_FOLDER=str(tmp_path))

    assert (ended.code, "canary" in ended.out + ended.log + ended.result) == (0, False), ended


def test_limits_are_kept(pipe: Pipe) -> None:
    """A stage that wants more memory than it may have is told apart from one that merely fails."""
    pipe.write(
        shell_stage("only", "exec python3 -c 'x = bytearray(400_000_000)'", resources={"limits": {"memory": "64Mi"}})
    )
    ended = pipe.run()

    assert (ended.code, "OOMKilled" in ended.result or "137" in ended.result) == (1, True), ended


def test_sigterm_reaches_the_stage_and_never_ends_with_0(pipe: Pipe) -> None:
    """It gets its time to stop in; then all of it is gone."""
    script = "trap 'echo asked; exit 0' TERM; echo up; while :; do sleep 0.1; done"
    pipe.write(shell_stage("first", script), shell_stage("last", "true"))
    process = pipe.start()
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    process.send_signal(signal.SIGTERM)
    ended = pipe.end(process)

    assert (ended.code, ended.result) == (143, "stopped by a signal before the item was finished")


def test_a_stage_that_is_killed_fails_the_attempt_by_its_name(pipe: Pipe) -> None:
    """Whoever killed it."""
    pipe.write(shell_stage("first", "sleep 1000"), shell_stage("last", "true"))
    process = pipe.start()
    until(lambda: len(names()) == 1)
    images.docker("kill", *names())
    ended = pipe.end(process)

    assert (ended.code, ended.result) == (1, "stage first: exit code 137, without a word")


def test_what_a_killed_one_has_left_is_removed_by_the_next_start(pipe: Pipe, tmp_path: Path) -> None:
    """By the label of its item; what carries no label of ours stays."""
    (tmp_path / "go").touch()
    other = images.docker("run", "--detach", images.BASE, "sleep", "1000")
    try:
        pipe.write(
            shell_stage("first", 'test -e "$GO_PATH/go" && sleep 1000; true', volumes=["go"]),
            volumes={"go": {"hostPath": {"path": str(tmp_path)}}},
        )
        process = pipe.start()
        until(lambda: len(names()) == 1)
        process.kill()
        process.communicate()
        behind = len(left())
        (tmp_path / "go").unlink()
        ended = pipe.run()
        running = images.docker("inspect", "--format", "{{.State.Running}}", other)
    finally:
        images.docker("rm", "--force", other)

    assert (behind > 1, ended.code, running) == (True, 0, "true"), ended


def test_a_large_item_goes_through(pipe: Pipe) -> None:
    """A mebibyte of JSON is a file like any other."""
    pipe.write(shell_stage("only", 'wc -c < "$WORK_ITEM_FILE" > "$LONGSHORE_RESULT_FILE"'))
    ended = pipe.run({"text": "x" * (1024 * 1024)})

    assert (ended.code, ended.result) == (0, str(1024 * 1024 + 11))


def test_it_is_off_unless_it_is_asked_for(pipe: Pipe) -> None:
    """A socket that is there by chance is no permission."""
    pipe.write(shell_stage("only", "true"))
    ended = pipe.run(ALLOW_DOCKER="")

    assert (
        ended.code,
        ended.result.startswith("ALLOW_DOCKER is not true: who may speak to a Docker daemon is root"),
    ) == (
        64,
        True,
    )


def test_a_daemon_that_is_away_is_told(pipe: Pipe) -> None:
    """Where it was looked for; another attempt may find it."""
    pipe.write(shell_stage("only", "true"))
    ended = pipe.run(DOCKER_HOST="unix:///nowhere.sock")

    assert (ended.code, ended.result.startswith("the Docker daemon at unix:///nowhere.sock can't be asked: ")) == (
        1,
        True,
    )


def test_a_daemon_that_is_killed_fails_the_attempt_and_the_next_one_begins_anew(pipe: Pipe, tmp_path: Path) -> None:
    """The reason says so; what the dead daemon has left goes when it is back."""
    (tmp_path / "go").mkdir()
    (tmp_path / "go").chmod(0o777)
    script = 'touch "$GO_PATH/up"; test -e "$GO_PATH/end" || sleep 1000'
    with OwnDocker() as own:
        own.load(images.BASE)
        pipe.write(
            shell_stage("first", script, volumes=["go"]),
            shell_stage("last", "echo both > $LONGSHORE_RESULT_FILE"),
            volumes={"go": {"hostPath": {"path": str(tmp_path / "go")}}},
        )
        process = pipe.start(DOCKER_HOST=own.host)
        until((tmp_path / "go/up").exists)
        own.end(signal.SIGKILL)
        failed = pipe.end(process)
        own.start()
        (tmp_path / "go/end").touch()
        ended = pipe.run(DOCKER_HOST=own.host)
        behind = own.docker("ps", "--all", "--quiet") + own.docker("volume", "ls", "--quiet")

    assert failed.code == 1
    assert failed.result.startswith(f"stage first: the Docker daemon at {own.host} does not run stage first: ")
    assert (ended.code, ended.result, behind) == (0, "both", "")


def test_the_image_runs_a_pipeline_with_the_hosts_socket(pipe: Pipe, tmp_path: Path) -> None:
    """As its README says: as a user of its own, in the group that the socket has."""
    pipe.write(
        shell_stage("first", 'cat "$WORK_ITEM_FILE" > "$WORK_PATH/seen"'),
        shell_stage("last", 'cat "$WORK_PATH/seen"'),
    )
    (tmp_path / "item.json").write_text('{"path": "a.txt"}', encoding="utf-8")
    tmp_path.chmod(0o755)
    socket = Path("/var/run/docker.sock")
    said = images.docker(
        *("run", "--rm", "--read-only", "--volume", f"{socket}:{socket}", "--group-add", str(socket.stat().st_gid)),
        *("--volume", f"{tmp_path}:/w:ro", "--env", "WORK_ITEM_FILE=/w/item.json", "--env", "ALLOW_DOCKER=true"),
        *(images.project_image("multi-worker"), "run", "/w/pipeline.yaml"),
    )

    assert said == '{"path":"a.txt"}'
