"""What a log line looks like."""

import io
import json
import logging
from typing import Any

import pytest

from longshore_kit.logs import LogFormat, configure, get_logger

pytestmark = pytest.mark.usefixtures("own_logging")


class Terminal(io.StringIO):
    """A stream that a person reads."""

    def isatty(self) -> bool:
        return True


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    """The lines of a JSON log, without their times."""
    parsed = [json.loads(line) for line in stream.getvalue().splitlines()]
    return [{name: value for name, value in line.items() if name != "timestamp"} for line in parsed]


def test_json_line() -> None:
    """A line has its message, level, logger, time in UTC, and the fields of the logger and the event."""
    stream = io.StringIO()
    configure("json", stream=stream)
    get_logger("longshore.test", item="動画\n").info("job created", job="q-1")

    assert lines(stream) == [
        {"message": "job created", "level": "info", "logger": "longshore.test", "item": "動画\n", "job": "q-1"}
    ]
    assert json.loads(stream.getvalue())["timestamp"].endswith("Z")
    assert stream.getvalue().count("\n") == 1


def test_json_shows_what_a_terminal_would_obey() -> None:
    """A name is spelled out as far as it is no plain text, and still read back as it is."""
    name = "ümlaut 動画 \x9b2J \u202e \u2028 \x7f \xa0 \ud800 \U000e0001 🎞"
    stream = io.StringIO()
    configure("json", stream=stream)
    get_logger("longshore.test").info("done", item=name, **{"k\x9b": 1})

    written = stream.getvalue()
    assert (written.removesuffix("\n").isprintable(), json.loads(written)["item"]) == (True, name)
    assert (json.loads(written)["k\x9b"], "ümlaut 動画 \\u009b2J \\u202e" in written, "🎞" in written) == (1, True, True)


@pytest.mark.parametrize(
    ("log_format", "stream", "is_json"),
    [
        ("auto", io.StringIO, True),
        ("auto", Terminal, False),
        ("json", Terminal, True),
        ("text", io.StringIO, False),
    ],
)
def test_format(log_format: LogFormat, stream: type[io.StringIO], is_json: bool) -> None:
    """Auto is text in a terminal and JSON elsewhere; who names a format gets it."""
    written = stream()
    configure(log_format, stream=written)
    get_logger("longshore.test").info("started")

    assert written.getvalue().startswith("{") == is_json


def test_text_shows_control_characters() -> None:
    """A name in a field can't forge a line of the log or colour a terminal."""
    stream = Terminal()
    configure("text", stream=stream)
    get_logger("longshore.test").info("done", item="a\nERROR \x1b[31mred")

    assert (stream.getvalue().count("\n"), "\x1b[31mred" in stream.getvalue()) == (1, False)


def test_levels() -> None:
    """Ours is logged from the level that was asked for, everybody else's from WARNING."""
    stream = io.StringIO()
    configure("json", level="INFO", stream=stream)
    get_logger("longshore.test").debug("no")
    get_logger("longshore.test").info("yes")
    logging.getLogger("werkzeug").info("no")
    logging.getLogger("werkzeug").warning("yes, %s", "too")

    assert [(line["logger"], line["message"]) for line in lines(stream)] == [
        ("longshore.test", "yes"),
        ("werkzeug", "yes, too"),
    ]


def test_exceptions_are_one_line() -> None:
    """An exception in JSON is in its line, not in lines of its own."""
    stream = io.StringIO()
    configure("json", stream=stream)
    try:
        int("bad")
    except ValueError:
        get_logger("longshore.test").exception("tick failed")

    (line,) = lines(stream)
    assert (line["level"], line["exception"][0]["exc_type"], line["exception"][0]["exc_value"]) == (
        "error",
        "ValueError",
        "invalid literal for int() with base 10: 'bad'",
    )


def test_configured_twice() -> None:
    """Who sets up logging again gets each line once."""
    stream = io.StringIO()
    configure("json", stream=stream)
    configure("json", stream=stream)
    get_logger("longshore.test").info("started")

    assert len(lines(stream)) == 1
