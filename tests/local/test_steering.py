"""A queue day by day, as a person steers and reads it: status, pause, resume, drain, and the breaker."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from support.runs import LocalRun, await_file
from support.waiting import until

pytestmark = pytest.mark.slow
HOLD = 'touch "$OUT_PATH/$1.up"; while ! test -e "$OUT_PATH/go"; do sleep 0.05; done'


def longshore(run: LocalRun, verb: str, *options: str) -> str:
    """What a command about the queue prints; it must end well."""
    ended = run.longshore(verb, str(run.file), *options)
    assert ended.returncode == 0, ended
    return ended.stdout


def end(process: "subprocess.Popen[str]") -> tuple[str, str]:
    """What a run has printed, after it has ended well."""
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, (out, err)
    return out, err


def test_pause_outlives_the_manager_and_resume_ends_it(local: LocalRun) -> None:
    """What runs goes on; nothing new is started, by the next manager neither."""
    local.add_items("a", "b", "c")
    local.define(HOLD, scaling={"max": 1})
    process = local.start()
    await_file(local.out / "a.up", process)
    said = longshore(local, "pause")
    process.kill()
    process.communicate()
    (local.out / "go").touch()
    again = local.start("--until-done")
    until(lambda: local.states()["a"] == "done")
    states, explained = local.states(), longshore(local, "explain", "b")
    status = longshore(local, "status")
    resumed = longshore(local, "resume")
    out, _ = end(again)

    resume = f"longshore resume {local.file}"
    assert said == f"local is paused: nothing new is started. To go on: {resume}\n"
    assert states == {"a": "done", "b": "waiting", "c": "waiting"}
    assert explained == f"b is waiting: the queue is paused: nothing new is started; to go on: {resume}.\n"
    assert f"the queue is paused: nothing new is started; to go on: {resume}\n" in status
    assert resumed == "local is resumed\n"
    assert re.findall(r"^\S+  (the queue .*|starting .*)$", out, re.MULTILINE) == [
        f"the queue is paused: nothing new is started; to go on: {resume}",
        "starting items again",
    ]
    assert set(local.states().values()) == {"done"}


def test_drain_waits_until_nothing_runs(local: LocalRun) -> None:
    """And says how much there is still to wait for."""
    local.add_items("a", "b")
    local.define(HOLD, scaling={"max": 1})
    process = local.start()
    await_file(local.out / "a.up", process)
    draining = subprocess.Popen(
        local.command("drain", str(local.file)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert draining.stderr is not None
    waited = draining.stderr.readline()
    (local.out / "go").touch()
    out, _ = draining.communicate(timeout=60)
    states = local.states()
    process.kill()
    process.communicate()

    resume = f"longshore resume {local.file}"
    assert waited == "longshore: 1 at work still\n"
    assert (draining.returncode, out) == (
        0,
        f"local is draining: nothing new is started. To go on: {resume}\n",
    )
    assert states == {"a": "done", "b": "waiting"}


def test_status_says_it_all_on_one_screen(local: LocalRun) -> None:
    """Numbers, what is decided and why, what runs, what failed last; as JSON too."""
    local.add_items("bad\x1b[31m", "good", "later")
    script = f'case "$1" in bad*) echo "no <b>face</b>" >&2; exit 65;; good) {HOLD};; esac'
    local.define(script, scaling={"max": 1})
    process = local.start()
    await_file(local.out / "good.up", process)
    until(lambda: local.states()["bad\x1b[31m"] == "failed")
    text = longshore(local, "status")
    as_json = json.loads(longshore(local, "status", "-o", "json"))
    process.kill()
    process.communicate()
    (local.out / "go").touch()

    assert text.startswith("local: 1 waiting  0 starting  1 running  0 done  1 failed")
    assert "1 at once, between scaling.min 0 and scaling.max 1: " in text
    assert re.search(r"^running   good  for [0-9.]+ s$", text, re.MULTILINE)
    assert "failed    bad\\x1b[31m  no <b>face</b>\n" in text
    assert "\x1b" not in text
    assert as_json["counts"] == {"waiting": 1, "starting": 0, "running": 1, "done": 0, "failed": 1}
    assert (as_json["mode"], as_json["manager"], as_json["breaker"]["is_open"]) == ("running", "running", False)
    assert as_json["scaling"]["parallelism"] == 1
    assert [job["name"] for job in as_json["failed"]] == ["bad\x1b[31m"]


def test_logs_follow_a_worker_to_its_end(local: LocalRun) -> None:
    """What comes is printed once, over attempts; the exit code says what became of the item."""
    local.add_items("a")
    script = f'echo "try $(ls "$OUT_PATH" | wc -l)"; {HOLD}; rm "$OUT_PATH/go"; echo late; sleep 2; exit 1'
    local.define(script, retry={"attempts": 2})
    process = local.start("--until-done")
    await_file(local.out / "a.up", process)
    following = subprocess.Popen(
        local.command("logs", str(local.file), "a", "--follow"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert following.stdout is not None
    lines = [following.stdout.readline()]
    (local.out / "go").touch()
    lines.append(following.stdout.readline())
    lines.append(following.stdout.readline())
    (local.out / "go").touch()
    out, err = following.communicate(timeout=120)
    process.communicate(timeout=120)

    assert (lines, out) == (["try 0\n", "late\n", "try 1\n"], "late\n")
    assert following.returncode == 1
    assert "longshore: attempt 2 of 2\n" in err
    assert re.search(r"^longshore: a failed since .* after 2 attempts", err, re.MULTILINE)


def test_following_what_is_done_says_its_result(local: LocalRun) -> None:
    """Nothing of its log is kept; exit code 0. What was never started has no log."""
    local.add_items("a")
    local.define('echo made > "$LONGSHORE_RESULT_FILE"')
    local.run()
    done, never = (local.longshore("logs", str(local.file), item, "-f") for item in ("a", "b"))

    assert (done.returncode, done.stdout, done.stderr.endswith(" of work in 1 attempt: made.\n")) == (0, "", True)
    assert (never.returncode, never.stderr) == (1, f"longshore: b has no log. See: longshore explain {local.file} b\n")


def test_top_shows_what_is_at_work(local: LocalRun) -> None:
    """The longest first, each with its last words."""
    local.add_items("a", "b")
    local.define(f'echo "half way through $1"; {HOLD}')
    process = local.start("--until-done")
    await_file(local.out / "a.up", process)
    await_file(local.out / "b.up", process)
    text = longshore(local, "top")
    (local.out / "go").touch()
    end(process)
    after = longshore(local, "top")

    rows = [re.split(r" {2,}", line) for line in re.sub(r"[0-9.]+ s", "<age>", text).splitlines()]
    assert rows[0] == ["STATE", "ITEM", "FOR", "ATTEMPT", "STAGE", "LAST WORDS"]
    assert sorted(rows[1:]) == [["running", one, "<age>", "1/3", f"half way through {one}"] for one in "ab"]
    assert after.startswith("nothing is at work. no manager is running. Start one: ")


def test_a_broken_worker_costs_a_handful_of_jobs_and_mended_goes_on_by_itself(local: LocalRun) -> None:
    """Five hundred items wait; none is lost, and nobody has to say that it is mended."""
    local.add_items(*(f"item {number:03}" for number in range(500)))
    tool = local.folder / "tool"
    local.define(f'test -x "{tool}" || exit 127; "{tool}"', scaling={"max": 100, "law": "fixed"}, retry={"attempts": 1})
    process = local.start("--until-done")
    until(lambda: '"is_open": true' in longshore(local, "status", "-o", "json"))
    rows = [row for row in local.rows() if row["state"] != "waiting"]
    explained = longshore(local, "explain", "item 499")
    tool.write_text("#!/bin/sh\n", encoding="utf-8")
    tool.chmod(0o755)
    out, _ = process.communicate(timeout=300)
    states = list(local.states().values())

    # Processes are seen to run before they are seen to fail: five, and as many more as were.
    assert 5 <= len(rows) <= 25
    assert explained.startswith("item 499 is waiting: the breaker is open: ")
    assert "the breaker is open: " in out
    assert "starting items again\n" in out
    assert (states.count("waiting"), states.count("done") >= 480) == (0, True)


@pytest.mark.parametrize("word", ["pause", "resume", "drain", "status", "top"])
def test_a_queue_that_there_is_not_is_told(tmp_path: Path, word: str) -> None:
    """As by every command."""
    ended = LocalRun(tmp_path).longshore(word, str(tmp_path / "none.yaml"))

    assert (ended.returncode, "none.yaml: can't be read" in ended.stderr) == (2, True)


def test_groups_take_turns(local: LocalRun) -> None:
    """One customer's many files don't hold up another's few."""
    local.add_items(*(f"big/{number:02}" for number in range(12)), "small/1", "small/2")
    local.define('echo "$1" >> "$OUT_PATH/order"', scaling={"max": 1}, queue={"name": "local", "groupBy": "^([^/]+)/"})
    ended = local.run()
    order = (local.out / "order").read_text().split()

    assert ended.returncode == 0
    assert sorted(order[:4]) == ["big/00", "big/01", "small/1", "small/2"]
