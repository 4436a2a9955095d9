"""`longshore run` on a real folder with real processes: the whole queue on one machine."""

import json
import random
import signal
import subprocess
from pathlib import Path

import psutil
import pytest

from support.queues import NASTY_NAMES
from support.runs import WITNESS, WITNESS_END, LocalRun, await_file
from support.waiting import until

FILE_NAMES = [name for name in NASTY_NAMES if len(name.encode()) < 250 and not name.startswith("/")]
NESTED = [name for name in FILE_NAMES if "//" not in name and not name.endswith("/") and ".." not in name]


def test_every_item_is_worked_through_and_the_exit_code_is_0(local: LocalRun) -> None:
    """A folder goes in, results come out, and the command ends."""
    local.add_items("a.txt", "b.txt", "sub/c.txt")
    local.define('cp "$MEDIA_PATH/$1" "$OUT_PATH/$(basename "$1")"')

    ended = local.run()

    assert (ended.returncode, ended.stderr) == (0, "")
    assert {path.name: path.read_text() for path in local.out.iterdir()} == {
        "a.txt": "a.txt", "b.txt": "b.txt", "c.txt": "sub/c.txt",
    }  # fmt: skip
    assert ended.stdout.splitlines()[-1].endswith("3 done")


def test_a_second_run_starts_no_worker(local: LocalRun) -> None:
    """What is done stays done."""
    local.add_items("a", "b")
    local.define(f"{WITNESS}{WITNESS_END}")
    local.run()

    ended = local.run()

    assert (ended.returncode, local.witnesses()) == (0, [["start"], ["start"]])


def test_a_new_item_is_started_by_the_next_run(local: LocalRun) -> None:
    """A queue goes on where it stopped, with what has come since."""
    local.add_items("a")
    local.define(f"{WITNESS}{WITNESS_END}")
    local.run()
    local.add_items("b")

    local.run()

    assert (local.states(), local.witnesses()) == ({"a": "done", "b": "done"}, [["start"], ["start"]])


def test_failed_items_make_exit_code_1_and_are_told_with_their_reasons(local: LocalRun) -> None:
    """The last word names what failed and why."""
    local.add_items("bad", "good")
    local.define('case "$1" in bad) echo "no video stream" >&2; exit 65;; esac')

    ended = local.run()

    assert (ended.returncode, ended.stdout.splitlines()[-2:]) == (
        1,
        [ended.stdout.splitlines()[-2][:10] + "1 done · 1 failed", "failed: bad: no video stream"],
    )


def test_nasty_names_go_through_the_whole_chain_unharmed(local: LocalRun) -> None:
    """Ambassador, manager and worker agree on every name, and each item has its own output."""
    local.add_items(*NESTED)
    local.define(
        'printf %s "$LONGSHORE_ITEM" > "$OUT_PATH/$(printf %s "$1" | sha256sum | cut -c1-32)"',
        source={
            "kind": "nfs",
            "volumes": ["media"],
            "nfs": {"pattern": ["**/*", "**/.*"], "settleSeconds": 0},
        },
    )

    ended = local.run()
    listed = set(local.states())

    assert (ended.returncode, ended.stderr) == (0, "")
    assert {path.read_bytes().decode() for path in local.out.iterdir()} == listed
    assert set(NESTED) - listed == {name for name in NESTED if name.startswith(".")}


def test_json_output_is_an_object_per_line_and_a_summary(local: LocalRun) -> None:
    """Programs read along."""
    local.add_items("bad")
    local.define("exit 65", retry={"attempts": 1})

    lines = [json.loads(line) for line in local.run("-o", "json").stdout.splitlines()]

    assert [line["state"] for line in lines[:-1]][-1] == "failed"
    assert {key: lines[-1][key] for key in ("summary", "failed")} == {
        "summary": {"waiting": 0, "starting": 0, "running": 0, "done": 0, "failed": 1},
        "failed": {"bad": "exit code 65, without a word"},
    }


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("settleSeconds", "settleSecond"), "no such key; did you mean 'settleSeconds'?"),
        (("./items", "./nothing"), "finds no folder"),
        (
            ("kind: nfs", "kind: nsf"),
            "source.kind: expected 'nfs', 's3', 'redis', 'kafka', 'list' or 'custom'; did you mean 'nfs'?",
        ),
    ],
)
def test_a_mistake_in_the_file_ends_with_2_and_a_word_on_it(
    local: LocalRun, change: tuple[str, str], words: str
) -> None:
    """Misuse is told before anything starts, without a traceback."""
    local.define("true")
    local.file.write_text(local.file.read_text().replace(*change))

    ended = local.run()

    assert (ended.returncode, words in ended.stderr, "Traceback" in ended.stderr) == (2, True, False)


def test_settings_that_the_ambassador_refuses_end_with_2(local: LocalRun) -> None:
    """What only the ambassador can judge is told by it."""
    local.define("true")
    local.file.write_text(local.file.read_text().replace("settleSeconds: 0", "markerFile: ../x"))

    ended = local.longshore("run", str(local.file), "--until-done")

    assert (ended.returncode, "NFS_MARKER_FILE" in ended.stderr) == (2, True)


def test_ctrl_c_stops_the_workers_and_says_how_to_go_on(local: LocalRun) -> None:
    """What was running is started again by the next run, at no attempt's cost."""
    local.add_items("a")
    local.define(
        'test -e "$OUT_PATH/go" && exit 0; touch "$OUT_PATH/up"; trap "touch $OUT_PATH/asked; exit 1" TERM; '
        "while :; do sleep 0.05; done",
        retry={"attempts": 1},
    )
    process = local.start("-o", "json")
    assert process.stdout is not None
    for line in process.stdout:
        if '"running"' in line:
            break
    await_file(local.out / "up", process)

    process.send_signal(signal.SIGINT)
    _, complaint = process.communicate(timeout=60)
    (local.out / "go").touch()
    again = local.run()

    assert (process.returncode, complaint) == (130, f"longshore: stopped. To go on: longshore run {local.file}\n")
    assert ((local.out / "asked").exists(), again.returncode, local.states()) == (True, 0, {"a": "done"})


def test_a_supervisor_that_does_not_answer_keeps_nobody_waiting(local: LocalRun) -> None:
    """Its worker's grace and a bit more, then the run ends and says whose worker it has left."""
    local.add_items("a")
    pod = {"podTemplate": {"spec": {"terminationGracePeriodSeconds": 0}}}
    local.define("true", worker={"command": ["sh", "-c", "touch $OUT_PATH/up; sleep 1000"], "volumes": ["out"], **pod})
    process = local.start()
    await_file(local.out / "up", process)
    (supervisor,) = [one for one in psutil.process_iter() if is_supervisor(one, local.folder)]

    supervisor.suspend()
    process.send_signal(signal.SIGTERM)
    _, complaint = process.communicate(timeout=60)

    assert (process.returncode, complaint.splitlines()) == (
        130,
        [
            "longshore: not stopped within 5 s, so left to end by themselves: a",
            f"longshore: stopped. To go on: longshore run {local.file}",
        ],
    )


def test_that_no_job_can_be_made_is_said_once_and_when_it_is_over(local: LocalRun) -> None:
    """Silence would look like work, and a line for each try would hide it."""
    local.define("true")
    process = local.start()
    assert process.stdout is not None
    assert "status: " in process.stdout.readline()
    run = psutil.Process(process.pid)
    run.rlimit(psutil.RLIMIT_FSIZE, (0, psutil.RLIM_INFINITY))  # as a full disk: no file may have a byte
    local.add_items("a")
    said = [next(line for line in process.stdout if "no Job" in line)]
    aside = local.folder / ".longshore/local/aside"
    tried = aside.stat().st_mtime_ns
    until(lambda: aside.stat().st_mtime_ns != tried)
    run.rlimit(psutil.RLIMIT_FSIZE, (psutil.RLIM_INFINITY, psutil.RLIM_INFINITY))
    for line in process.stdout:
        said.append(line)
        if "done" in line:
            break
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)

    words = [line.strip().split("  ", 1)[1] for line in said if "no Job" in line or "again" in line]
    assert ("File too large" in words[0], words[0].partition(": ")[0], words[1:]) == (
        True, "no Job can be made just now, and it is tried again", ["starting items again"],
    )  # fmt: skip


def is_supervisor(process: psutil.Process, folder: Path) -> bool:
    """Whether a process sees to a Job of the queue in `folder`."""
    try:
        words = process.cmdline()
    except psutil.Error:
        return False
    return any(word.endswith("supervisor.py") for word in words) and any(str(folder) in word for word in words)


@pytest.mark.slow
def test_kill_9_at_fifty_random_moments_loses_and_repeats_nothing(local: LocalRun) -> None:
    """Invariants 1 and 2 under fire: no item twice at once, none again after it was done, all worked through."""
    seed = random.randrange(2**32)  # noqa: S311 - moments, not secrets
    print(f"seed {seed}")  # noqa: T201 - pytest shows it when the test fails
    moments = random.Random(seed)  # noqa: S311 - moments, not secrets
    local.add_items(*(f"item {number}" for number in range(200)))
    local.define(f"{WITNESS} sleep 1 {WITNESS_END}", scaling={"max": 6})

    kills_in_the_middle = 0
    for _ in range(50):
        process = local.start()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(moments.uniform(0.2, 2.0))
        process.kill()
        process.communicate()
        kills_in_the_middle += len(list(local.out.glob("*.done"))) < 200
    ended = local.run()

    assert (ended.returncode, kills_in_the_middle > 25) == (0, True)
    assert local.witnesses() == [["start"]] * 200


@pytest.mark.slow
def test_two_managers_on_one_folder_start_each_item_once(local: LocalRun) -> None:
    """All that managers share is the folder, and that is enough; both end when everything is done."""
    local.add_items(*(f"item {number}" for number in range(100)))
    local.define(f"{WITNESS}{WITNESS_END}")

    managers = [local.start("--until-done") for _ in range(2)]
    outputs = [manager.communicate(timeout=300) for manager in managers]

    assert [(manager.returncode, err) for manager, (_, err) in zip(managers, outputs, strict=True)] == [(0, "")] * 2
    assert local.witnesses() == [["start"]] * 100


def test_invariant_5_more_done_items_than_are_kept_become_records(local: LocalRun) -> None:
    """A source that never shrinks costs a few bytes per item, and nothing runs twice for it."""
    local.add_items(*(f"item {number}" for number in range(30)))
    local.define(f"{WITNESS}{WITNESS_END}", keep={"finished": 5})

    ended = [local.run().returncode for _ in range(2)]

    assert (ended, local.witnesses()) == ([0, 0], [["start"]] * 30)
    assert set(local.states().values()) == {"done"}
    assert len(list((local.folder / ".longshore/local/jobs").glob("*/*"))) <= 5


def test_invariant_6_a_changed_queue_leaves_what_runs_alone(local: LocalRun) -> None:
    """New items get the new definition; what runs ends as it began."""
    local.add_items("old")
    local.define(
        'touch "$OUT_PATH/up"; while ! test -e "$OUT_PATH/go"; do sleep 0.05; done; echo first > "$OUT_PATH/$1"'
    )
    process = local.start()
    await_file(local.out / "up", process)
    process.kill()
    process.communicate()
    local.add_items("new")
    local.define('touch "$OUT_PATH/go"; echo second > "$OUT_PATH/$1"')

    local.run()

    assert {name: (local.out / name).read_text() for name in ("old", "new")} == {"old": "first\n", "new": "second\n"}


def test_invariant_3_an_unmounted_source_starts_and_forgets_nothing(local: LocalRun) -> None:
    """A folder that has vanished is no empty folder."""
    local.add_items("a", "b")
    local.define(f"{WITNESS}{WITNESS_END}")
    local.run()
    (local.folder / "items").rename(local.folder / "elsewhere")
    (local.folder / "items").mkdir()
    local.file.write_text(local.file.read_text().replace("settleSeconds: 0", "settleSeconds: 0\n    markerFile: .here"))

    listed = local.longshore("ls", str(local.file), "-o", "name")

    assert (listed.stdout, "source is unavailable" in listed.stderr) == ("a\nb\n", True)


def test_all_failed_items_are_tried_again_when_somebody_says_so(local: LocalRun) -> None:
    """After a full disk nobody wants to type a thousand names."""
    local.add_items("a", "b", "c")
    local.define('test "$1" = a || test -e "$OUT_PATH/mended" || exit 65')
    local.run()
    (local.out / "mended").touch()

    ended = local.longshore("retry", str(local.file), "--all", "--yes")

    assert (ended.returncode, local.states()) == (0, {"a": "done", "b": "waiting", "c": "waiting"})


def test_files_that_are_still_written_are_waited_for(local: LocalRun) -> None:
    """`--until-done` does not end while the source has items that it will list by itself."""
    local.add_items("a")
    # Longer than any start takes: the first look must come before it has settled.
    source = {"kind": "nfs", "volumes": ["media"], "nfs": {"pattern": "**/*", "settleSeconds": 15}}
    local.define("true", source=source)

    ended = local.run()

    assert (ended.returncode, "1 not listed yet: still settling" in ended.stdout) == (0, True)
    assert local.states() == {"a": "done"}


def test_a_source_that_lists_nothing_is_told(local: LocalRun) -> None:
    """A pattern that matches nothing looks like success otherwise."""
    local.define("true")

    ended = local.run()

    assert (ended.returncode, "the source lists nothing" in ended.stdout) == (0, True)


def test_a_failed_item_is_tried_again_when_somebody_says_so(local: LocalRun) -> None:
    """`longshore retry` is deleting the dead letter; nothing else is touched."""
    local.add_items("a")
    local.define('test -e "$OUT_PATH/mended" || exit 65')
    local.run()
    stays = local.run().returncode
    (local.out / "mended").touch()

    said = local.longshore("retry", str(local.file), "a")
    again = local.run()
    twice = local.longshore("retry", str(local.file), "a")

    assert (stays, said.returncode, said.stdout, again.returncode, twice.returncode) == (
        1, 0, f"a will be tried again\nno manager is running. Start one: longshore run {local.file}\n", 0, 1,
    )  # fmt: skip
