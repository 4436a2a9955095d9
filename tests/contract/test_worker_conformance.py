"""The worker's conformance rules: right workers keep them all, and each wrong one breaks just its own."""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from longshore_kit.conform import CheckResult, Violation, WorkerContract, check, check_worker
from longshore_kit.conform.rules import NothingToCheck, rules_of

# Fails without the variable, and with an item file that was cut off.
READ = 'set -eu; grep -q "}$" "$WORK_ITEM_FILE"; '
RIGHT = f'{READ} printf done > "$LONGSHORE_RESULT_FILE"'
# In several steps, as a shell runs its trap between two commands.
LONG = "for step in 1 2 3 4 5 6 7 8; do sleep 0.1; done"

KIT_WORKER = """
import os, sys, threading
from longshore_kit.worker import run
sys.exit(run(lambda work: threading.Event().wait(0.4) and None, os.environ))
"""

WRONG: Sequence[tuple[str, str, str]] = (
    ("test_good_item_ends_with_0", "fails", f"{READ} exit 3"),
    ("test_done_item_is_done_again", "once only", f'{RIGHT}; mkdir "$OUT/made"'),
    ("test_item_that_is_no_json_is_not_done", "never looks", 'set -eu; : "$WORK_ITEM_FILE"'),
    ("test_missing_item_file_is_not_done", "does nothing", f'test -n "${{WORK_ITEM_FILE:-}}" || exit 0; {RIGHT}'),
    ("test_stopped_worker_does_not_say_done", "says done", f"{READ} trap 'exit 0' TERM; {LONG}"),
    ("test_stopped_worker_does_not_say_done", "goes on", f"{READ} trap 'sleep 60' TERM; {LONG}"),
    ("test_result_is_short_text", "long", f'{READ} printf "%5000s" x > "$LONGSHORE_RESULT_FILE"'),
    ("test_result_is_short_text", "no text", f'{READ} printf "\\377" > "$LONGSHORE_RESULT_FILE"'),
    ("test_nothing_is_left_running", "leaves a child", f"{RIGHT}; sleep 60 &"),
)
"""The rule that is broken, how, and the shell script that does it."""


class TestKitWorker(WorkerContract):
    """A worker that is made with the kit's runner."""

    command = (sys.executable, "-c", KIT_WORKER)
    environ = os.environ


class TestShellWorker(WorkerContract):
    """A shell script, with the trap of docs/worker-contract.md."""

    command = ("sh", "-c", f"trap 'exit 143' TERM; {RIGHT}; {LONG}")


def results_of(script: str, environ: Mapping[str, str], *, grace: float = 2, timeout: float = 60) -> list[CheckResult]:
    """What comes of every rule for a shell script, without much patience; in seconds."""

    class Hurried(WorkerContract):
        grace_seconds = grace
        timeout_seconds = timeout

    tried = Hurried()
    tried.command, tried.environ = ("sh", "-c", script), {"PATH": os.environ["PATH"], **environ}
    return check(tried)


@pytest.mark.parametrize(
    ("rule", "script"), [pytest.param(rule, script, id=f"{rule}-{how}") for rule, how, script in WRONG]
)
def test_a_wrong_worker_breaks_just_its_rule(rule: str, script: str, tmp_path: Path) -> None:
    """A worker with one fault fails the one rule that names it."""
    results = results_of(script, {"OUT": str(tmp_path)})

    assert [result.rule for result in results if result.outcome == "failed"] == [rule]


def test_a_worker_that_never_ends_fails() -> None:
    """A worker that does not end is killed, and fails the one rule that it must end."""
    results = results_of(f"{READ} sleep 60", {}, timeout=0.5)

    assert [result.detail for result in results if result.outcome == "failed"] == [
        f"sh -c {READ} sleep 60: expected an end within 0.5 s, got none, so it was killed; give it a smaller item"
    ]


def test_every_rule_has_a_wrong_worker() -> None:
    """No rule is there that nothing has ever broken."""
    assert {rule for rule, _, _ in WRONG} == set(rules_of(WorkerContract))


def test_a_worker_that_finishes_after_sigterm_is_right() -> None:
    """Exit code 0 after SIGTERM is right for who finished the item all the same, within the grace."""
    script = f"trap '' TERM; {RIGHT}; {LONG}"

    assert {result.outcome for result in results_of(script, {})} == {"passed"}


def test_a_worker_too_quick_to_be_stopped_is_not_tried() -> None:
    """What ends before it can be stopped is skipped in so many words, not passed."""
    results = {result.rule: result for result in results_of(RIGHT, {})}

    stopped = results.pop("test_stopped_worker_does_not_say_done")
    assert (stopped.outcome, stopped.detail[:36]) == ("skipped", "it ends before it can be stopped: af")
    assert {result.outcome for result in results.values()} == {"passed"}


def test_a_worker_of_arguments_is_not_asked_about_its_file() -> None:
    """A command that takes its item from its arguments reads no item file, so that those rules are skipped."""
    results = check_worker(["true"], environ=os.environ, reads_item_file=False)

    assert {result.rule: result.outcome for result in results} == {
        "test_good_item_ends_with_0": "passed",
        "test_done_item_is_done_again": "passed",
        "test_item_that_is_no_json_is_not_done": "skipped",
        "test_missing_item_file_is_not_done": "skipped",
        "test_stopped_worker_does_not_say_done": "skipped",
        "test_result_is_short_text": "skipped",
        "test_nothing_is_left_running": "passed",
    }


def test_a_worker_sees_its_item_and_its_variables() -> None:
    """The item's data, name, queue and a place for the result are there as in a Job, beside the given environment."""
    script = """
    set -eu
    test "$(cat "$WORK_ITEM_FILE")" = '{"path": "a b"}'
    test "$LONGSHORE_ITEM $LONGSHORE_QUEUE $MEDIA_PATH" = "conform conform /media"
    printf ok > "$LONGSHORE_RESULT_FILE"
    """
    environ = {"PATH": os.environ["PATH"], "MEDIA_PATH": "/media", "WORK_ITEM_FILE": "/not/this"}
    results = check_worker(["sh", "-c", script], data={"path": "a b"}, environ=environ)

    assert [result.detail for result in results if result.outcome == "failed"] == []


def test_a_violation_says_what_the_worker_said() -> None:
    """A violation names the command, the exit code, the worker's last words, and what to do."""
    tried = WorkerContract()
    tried.command = ("sh", "-c", "echo no disk; exit 7")
    with pytest.raises(Violation) as raised:
        tried.test_good_item_ends_with_0()

    assert str(raised.value) == (
        "sh -c echo no disk; exit 7: expected exit code 0, got exit code 7, saying 'no disk'; "
        "see what it says; is the item good, and the environment whole?"
    )


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (
            ["/no/such/program", "-v"],
            "/no/such/program: nothing to check: [Errno 2] No such file or directory: '/no/such/program'; ",
        ),
        (["/"], "/: nothing to check: [Errno 13] Permission denied: '/'; "),
        (["a\0b"], "a\0b: nothing to check: embedded null byte; "),
        ([], "the command: nothing to check: it is empty; "),
    ],
)
def test_a_command_that_can_not_be_started_is_nothing_to_check(command: Sequence[str], said: str) -> None:
    """It says nothing of any rule: one error that names it and says what to do, not a failure for each."""
    with pytest.raises(NothingToCheck) as raised:
        check_worker(command, environ={})

    assert str(raised.value) == f"{said}name a program that can be started here"


def test_a_rule_that_is_not_tried_names_the_other_as_it_is_printed() -> None:
    """What is skipped for another rule's failure says which, by its title."""
    results = {result.rule: result for result in results_of(f"{READ} exit 3", {})}

    assert results["test_result_is_short_text"].detail == (
        "it needs an item that can be done; see: good item ends with 0"
    )


def test_the_documented_shell_script_is_right(tmp_path: Path) -> None:
    """The script that docs/worker-contract.md shows keeps every rule, stopped in its midst too, and leaves no part."""
    text = (Path(__file__).parents[2] / "docs" / "worker-contract.md").read_text(encoding="utf-8")
    script = text.partition("```sh\n")[2].partition("```")[0]
    programs = tmp_path / "programs"
    programs.mkdir()
    # Slow, so that it can be stopped; and a jq of our own, as few machines have one.
    put_program(programs / "gzip", f'#!/bin/sh\n{LONG}\ncat "$2"\n')
    put_program(programs / "jq", f"#!{sys.executable}\nimport json, sys\nprint(json.load(open(sys.argv[3]))['path'])\n")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "film.mp4").write_text("film")
    out = tmp_path / "out"
    out.mkdir()
    environ = {"PATH": f"{programs}:{os.environ['PATH']}", "MEDIA_PATH": str(tmp_path), "OUT_PATH": str(out)}

    results = check_worker(["sh", "-c", script], data={"path": "a/film.mp4"}, environ=environ)

    assert {result.rule: result.detail for result in results if result.outcome != "passed"} == {
        "test_result_is_short_text": "it writes no result"
    }
    made = {str(path.relative_to(out)): path.read_text() for path in out.rglob("*") if path.is_file()}
    assert made == {"a/film.mp4.gz": "film"}


def put_program(path: Path, text: str) -> None:
    """A program of a test's own."""
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
