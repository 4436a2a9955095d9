"""SIGTERM and SIGINT as one event."""

import signal
import subprocess
import sys

import pytest

# The main thread does nothing but take and give back the lock of the event that the signal leads to.
BUSY = """
import threading
from longshore_kit.signals import stop_on_signals
wake = threading.Event()
stopping = stop_on_signals(wake.set)
print("ready", flush=True)
while not stopping.is_set():
    wake.clear()
    wake.wait(0.00001)
"""

STUCK = """
import threading, time
from longshore_kit.signals import stop_on_signals
stopping = stop_on_signals()
print("ready", flush=True)
stopping.wait()
print("stopping", flush=True)
threading.Event().wait()
"""


def start(program: str) -> "subprocess.Popen[str]":
    """A program that has its handlers."""
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_never_waits_for_a_lock_of_what_it_interrupts(number: signal.Signals) -> None:
    """Whatever the main thread is in the middle of, it is told, and goes on."""
    for _ in range(10):
        process = start(BUSY)
        process.send_signal(number)
        try:
            code = process.wait(30)
        finally:
            process.kill()
            process.communicate()

        assert code == 0


def test_a_second_sigint_ends_at_once() -> None:
    """For a person who won't wait."""
    process = start(STUCK)
    process.send_signal(signal.SIGINT)
    assert process.stdout is not None
    assert process.stdout.readline() == "stopping\n"
    process.send_signal(signal.SIGINT)
    try:
        code = process.wait(30)
    finally:
        process.kill()
        process.communicate()

    assert code == 130
