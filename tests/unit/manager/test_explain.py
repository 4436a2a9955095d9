"""One sentence per item, safe to print."""

import pytest

from longshore.explain import (
    Line,
    duration,
    explain_job,
    explain_record,
    explain_waiting,
    last_line,
    safe,
    shown_in_terminal,
)
from longshore.state import Record, State
from support.queues import job_for

NOW = 100.0


def told(state: State, **fields: object) -> str:
    """What is said of a Job in `state`, without the clock's time, which is the reader's own."""
    sentence = explain_job(job_for("a.mp4", state, since=40.0, **fields), NOW, "RETRY")
    head, _, rest = sentence.partition("since ")
    return f"{head}since {rest[len('2026-11-24 04:53:32 ') :]}"


@pytest.mark.parametrize(
    ("state", "fields", "sentence"),
    [
        (State.RUNNING, {"attempt": 1}, "a.mp4 is running since (1 min), attempt 1 of 3."),
        (State.STARTING, {}, "a.mp4 is starting since (1 min): its Job is made, its worker not yet up."),
        (
            State.STARTING,
            {"attempt": 1, "exit_code": 1, "reason": "Traceback\nOSError: gone"},
            "a.mp4 is starting again since (1 min); attempt 1 of 3 ended with exit code 1: OSError: gone.",
        ),
        (
            State.DONE,
            {"attempt": 2, "processing_seconds": 3.2, "reason": "12 pictures"},
            "a.mp4 is done since (1 min), after 3.2 s of work in 2 attempts: 12 pictures.",
        ),
        (
            State.FAILED,
            {"attempt": 1, "exit_code": 65, "reason": "no video stream"},
            "a.mp4 failed since (1 min) after 1 attempt, exit code 65: no video stream. Once mended: RETRY",
        ),
        (
            State.FAILED,
            {"reason": "${item.x}: no such value"},
            "a.mp4 failed since (1 min) before its first attempt: ${item.x}: no such value. Once mended: RETRY",
        ),
    ],
)
def test_a_job_is_told_in_one_sentence(state: State, fields: dict[str, object], sentence: str) -> None:
    """State, since when, why, and what to do."""
    assert told(state, **fields) == sentence


def test_a_record_is_told_like_a_job() -> None:
    """An item whose Job is gone still has its reason."""
    sentence = explain_record(Record("a", State.FAILED, 40.0, "bad"), NOW, "RETRY")

    assert sentence.endswith("(1 min): bad. Once mended: RETRY")


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (Line(0, 0, 2, no_manager="nobody. Start one: RUN"), "a is waiting: nobody. Start one: RUN"),
        (Line(5, 2, 2), "a is waiting: all 2 workers are busy (scaling.max), 5 items ahead of it."),
        (Line(0, 2, 2), "a is waiting: all 2 workers are busy (scaling.max), it is next."),
        (Line(0, 1, 2), "a is waiting: it is about to be started."),
        (Line(0, 9, None), "a is waiting: it is about to be started."),
        (Line(0, 0, 2, no_manager="nobody", trouble="exceeded quota."), "a is waiting: exceeded quota."),
    ],
)
def test_why_an_item_waits(line: Line, sentence: str) -> None:
    """What keeps it from being started, nobody who would, all places taken, or it is just about to be."""
    assert explain_waiting("a", line) == sentence


@pytest.mark.parametrize(
    ("text", "shown"),
    [("a\nb", "a\\nb"), ("\x1b[31mred", "\\x1b[31mred"), ("動画 🎬", "動画 🎬"), ("\u202eevil", "\\u202eevil")],
)
def test_what_a_terminal_would_obey_is_spelled_out(text: str, shown: str) -> None:
    """A name can't colour, clear or turn around what a person reads."""
    assert safe(text) == shown


def test_a_log_in_a_terminal_keeps_its_lines_and_colours_alone() -> None:
    """No title, no bell, no clear screen, nothing of the right-to-left."""
    log = "\x1b[1;31mred\x1b[0m\t1\n\x1b]0;title\x07\x1b[2J\u202eno\rend é\n"

    assert shown_in_terminal(log) == ("\x1b[1;31mred\x1b[0m\t1\n\\x1b]0;title\\x07\\x1b[2J\\u202eno\nend é\n")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", ""),
        ("\n \n", ""),
        ("one\ntwo\n\n", "two"),
        ("\x1b[32m10 %\r\x1b[32m100 %\x1b[0m\n", "100 %"),
        ("bad\x07", "bad\\x07"),
        ("x" * 500, f"{'x' * 399}…"),
    ],
)
def test_a_reason_is_the_last_line_as_a_person_has_seen_it(text: str, line: str) -> None:
    """The same wherever it is told."""
    assert last_line(text) == line


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-3, "0.0 s"),
        (0.42, "0.4 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (200, "3 min 20 s"),
        (7500, "2 h 5 min"),
        (273600, "3 d 4 h"),
    ],
)
def test_durations_are_told_as_people_say_them(seconds: float, said: str) -> None:
    """Two units at most; a clock that was set back gives no negative ages."""
    assert duration(seconds) == said
