"""`longshore run` as a person sees it: in a terminal of its own."""

import signal
import subprocess

from support.runs import LocalRun
from support.terminals import Terminal


def terminal(local: LocalRun, *arguments: str) -> Terminal:
    """`longshore run` of the queue in a terminal."""
    return Terminal(local.command("run", str(local.file), *arguments))


def test_a_table_shows_what_runs_and_a_bar_how_far_it_is(local: LocalRun) -> None:
    """Each running item with its worker's last words; a failure stays on the screen; the end is a full bar."""
    local.add_items("good", "bad\x1b[31m")
    # The good one waits until the test has seen it.
    local.define(
        'echo "half way" >&2; case $1 in good) until test -e "$OUT_PATH/go"; do sleep 0.1; done;; *) exit 65;; esac'
    )

    with terminal(local, "--until-done") as screen:
        screen.until("half way")
        screen.until(r"failed    bad\x1b[31m")
        (local.out / "go").touch()
        code = screen.end()

    assert (code, "2 of 2" in screen.text(), "1 done · 1 failed" in screen.text()) == (1, True, True), screen.text()


def test_ctrl_c_in_the_terminal_says_how_to_go_on(local: LocalRun) -> None:
    """The workers are stopped, and the last line is the command to type."""
    local.add_items("a")
    local.define("echo busy >&2; sleep 1000 & wait")

    with terminal(local) as screen:
        screen.until("busy")
        screen.process.send_signal(signal.SIGINT)
        code = screen.end()

    last = " ".join(screen.text().split())
    assert (code, last.endswith(f"To go on: longshore run {local.file}")) == (130, True), screen.text()


def test_ctrl_c_at_a_question_changes_nothing(local: LocalRun) -> None:
    """On a line of its own, and with the exit code that says so."""
    local.add_items("a")
    local.define("exit 65")
    local.run()
    with Terminal(local.command("retry", str(local.file), "--all")) as screen:
        screen.until("Go on? [y/N]: ")
        screen.interrupt()
        code = screen.end()

    assert (code, screen.text().rstrip().splitlines()[-1]) == (130, "longshore: interrupted"), screen.text()
    assert local.states() == {"a": "failed"}


def test_a_log_in_a_terminal_does_nothing_to_it(local: LocalRun) -> None:
    """Whatever a worker writes; into a pipe it goes as it is."""
    local.add_items("a")
    local.define("printf '\\033]0;title\\007\\033[31mred\\033[0m\\n'; exit 65")
    local.run()
    with Terminal(local.command("logs", str(local.file), "a")) as screen:
        code = screen.end()
    piped = local.longshore("logs", str(local.file), "a").stdout

    # The colours are there, and the text that a test sees is without.
    assert (code, screen.text().strip()) == (0, "\\x1b]0;title\\x07red")
    assert piped == "\x1b]0;title\x07\x1b[31mred\x1b[0m\n"


def test_what_is_watched_goes_into_a_pipe_too(local: LocalRun) -> None:
    """A screen after the other, each when it is made."""
    local.add_items("a")
    local.define("true")
    command = local.command("status", str(local.file), "--watch")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        heads = [line for line in (process.stdout.readline() for _ in range(12)) if line.startswith("local: ")][:2]
        process.send_signal(signal.SIGINT)
        process.stdout.read()

    assert (len(heads), process.returncode) == (2, 130)
