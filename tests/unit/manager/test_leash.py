"""A program on a leash: it ends when who holds the leash does, with all that it has started."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from support.waiting import until

SCRIPT = """
setsid sh -c 'echo $$ > {folder}/detached; exec sleep 1000' &
(sh -c 'echo $$ > {folder}/child; exec sleep 1000' &)
echo $$ > {folder}/program
{then}
"""

PATIENCE_SECONDS = 30
"""For a leash that never ends; one that does takes two at most."""


@contextmanager
def leashed(folder: Path, then: str = "wait; sleep 1000") -> Iterator[subprocess.Popen[bytes]]:
    """A shell on a leash, with a child and one that has left its session, all of them up."""
    command = [sys.executable, "-m", "longshore.leash", "sh", "-c", SCRIPT.format(folder=folder, then=then)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as leash:
        try:
            until(lambda: all((folder / name).exists() for name in ("detached", "child", "program")))
            yield leash
        finally:
            leash.kill()
            for pid in pids(folder):
                with_no_error(pid)


def with_no_error(pid: int) -> None:
    """Kill what a failing test has left."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def pids(folder: Path) -> list[int]:
    """Of the program, its child and the detached one."""
    return [int((folder / name).read_text()) for name in ("program", "child", "detached")]


def living(folder: Path) -> list[int]:
    """Those of them that are there."""
    return [pid for pid in pids(folder) if psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie"]


@pytest.mark.parametrize("how", ["its input ends", "SIGTERM", "the program ends"])
def test_nothing_of_a_program_outlives_its_leash(tmp_path: Path, how: str) -> None:
    """Nor what has left its session, whatever ends it."""
    then = f"while ! test -e {tmp_path}/go; do sleep 0.05; done; exit 7" if how == "the program ends" else "wait"
    with leashed(tmp_path, then) as leash:
        match how:
            case "its input ends":
                assert leash.stdin is not None
                leash.stdin.close()
            case "SIGTERM":
                leash.send_signal(signal.SIGTERM)
            case _:
                (tmp_path / "go").touch()
        code = leash.wait(timeout=PATIENCE_SECONDS)

        assert living(tmp_path) == []
        assert code == (7 if how == "the program ends" else 128 + signal.SIGTERM)


def test_a_signal_that_comes_as_the_program_starts_ends_it_too(tmp_path: Path) -> None:
    """The program itself sends it, before anything else can have happened."""
    script = f"trap '' TERM; kill -TERM $PPID; echo $$ > {tmp_path}/program; sleep 1000"
    with subprocess.Popen(
        [sys.executable, "-m", "longshore.leash", "sh", "-c", script], stdin=subprocess.PIPE
    ) as leash:
        leash.wait(timeout=PATIENCE_SECONDS)

    assert not psutil.pid_exists(int((tmp_path / "program").read_text()))


def test_a_leash_that_is_killed_takes_its_program_along(tmp_path: Path) -> None:
    """SIGKILL leaves nobody time to clean up: the kernel ends the program itself."""
    with leashed(tmp_path) as leash:
        leash.kill()
        leash.wait()
        program = int((tmp_path / "program").read_text())

        until(lambda: program not in living(tmp_path))


@pytest.mark.parametrize(("parent", "code"), [("os.getppid()", 0), ("os.getpid()", -signal.SIGKILL)])
def test_a_program_whose_leash_ended_before_it_began_never_begins(parent: str, code: int) -> None:
    """The kernel tells of an end only who has asked before it; nobody is a parent of its own."""
    program = f"import os; from longshore.descendants import die_with; die_with({parent})"
    ended = subprocess.run([sys.executable, "-c", program], check=False, timeout=PATIENCE_SECONDS)

    assert ended.returncode == code


def test_a_program_that_is_not_there_is_told(capfd: pytest.CaptureFixture[str]) -> None:
    """127, as a shell has it."""
    command = [sys.executable, "-m", "longshore.leash", "no-such-program"]
    code = subprocess.run(command, stdin=subprocess.DEVNULL, check=False).returncode

    assert (code, capfd.readouterr().err) == (127, "no-such-program: can't be started: No such file or directory\n")
