"""`longshore run` as a person sees it: in a terminal of its own."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from support.runs import LocalRun
from support.terminals import Terminal


@contextmanager
def terminal(local: LocalRun, *arguments: str) -> Iterator[Terminal]:
    """`longshore run` of the queue in a terminal."""
    one = Terminal(local.command("run", str(local.file), *arguments))
    try:
        yield one
    finally:
        one.close()


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
