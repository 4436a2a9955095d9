"""The worker runner: how a handler ends, and with which exit code the worker does."""

import json
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import pytest

from longshore_kit.contract import ExitCode
from longshore_kit.errors import ItemFailed, ItemRejected, SettingsError
from longshore_kit.worker import Handler, Work, run

pytestmark = pytest.mark.usefixtures("own_logging", "own_signals")


@dataclass(frozen=True)
class Place:
    """A folder with an item file and a place for the result."""

    folder: Path

    def environ(self, item: bytes = b'{"path": "a"}', **more: str) -> dict[str, str]:
        """The environment of a start."""
        (self.folder / "item.json").write_bytes(item)
        return {
            "WORK_ITEM_FILE": str(self.folder / "item.json"),
            "LONGSHORE_ITEM": "動画",
            "LONGSHORE_QUEUE": "q",
            "LONGSHORE_RESULT_FILE": str(self.folder / "result"),
            **more,
        }

    def run(self, handler: Handler, environ: Mapping[str, str] | None = None) -> tuple[ExitCode, bytes | None]:
        """The exit code and the result."""
        code = run(handler, self.environ() if environ is None else environ)
        result = self.folder / "result"
        return code, result.read_bytes() if result.exists() else None


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A folder of the test's own."""
    return Place(tmp_path)


def raising(error: BaseException) -> Handler:
    """A handler that raises."""

    def handle(_: Work) -> NoReturn:
        raise error

    return handle


def signalling(number: signal.Signals, then: Callable[[], str] = lambda: "done") -> Handler:
    """A handler that is sent a signal in its midst."""

    def handle(_: Work) -> str:
        os.kill(os.getpid(), number)
        return then()

    return handle


def never_called(_: Work) -> NoReturn:
    """A handler that must not be reached."""
    raise AssertionError


def test_handler_gets_its_work(place: Place) -> None:
    """A handler is given the item's name and data, the queue, and the environment."""
    seen: list[Work] = []
    environ = place.environ(b'{"a": [1, "\xc3\xa9"]}', EVERY="5")
    place.run(seen.append, environ)

    assert seen == [Work(item="動画", data={"a": [1, "é"]}, queue="q", environ=environ)]


@pytest.mark.parametrize(
    ("returned", "result"),
    [
        (None, b""),
        ("", b""),
        ("5 pictures é", "5 pictures é".encode()),
        ({"n": 5, "é": None}, '{"n":5,"é":null}'.encode()),
    ],
)
def test_result(place: Place, returned: str | Mapping[str, Any] | None, result: bytes) -> None:
    """What a handler returns is the result: text as it is, an object as JSON; the item is done."""
    assert place.run(lambda _: returned) == (ExitCode.DONE, result)


@pytest.mark.parametrize(
    ("error", "code", "reason"),
    [
        (ItemRejected("no video"), ExitCode.REJECTED, b"no video"),
        (SettingsError("EVERY is not set"), ExitCode.USAGE, b"EVERY is not set"),
        (ItemFailed("disk full"), ExitCode.RETRY, b"disk full"),
        (KeyError("path"), ExitCode.RETRY, b"KeyError: 'path'"),
        (MemoryError(), ExitCode.RETRY, b"MemoryError: "),
    ],
)
def test_errors(place: Place, error: Exception, code: ExitCode, reason: bytes) -> None:
    """What a handler raises says whether to retry, and is the reason; an unforeseen error is tried again."""
    assert place.run(raising(error)) == (code, reason)


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (b"", "the item's data is no valid JSON (Expecting value: line 1 column 1 (char 0)); it begins with b''"),
        (b"[]", "the item's data is no JSON object"),
        (b"null", "the item's data is no JSON object"),
    ],
)
def test_bad_item_file(place: Place, item: bytes, reason: str) -> None:
    """An item file that holds no JSON object rejects the item, without a retry."""
    assert place.run(never_called, place.environ(item)) == (ExitCode.REJECTED, reason.encode())


def test_missing_item_file(place: Place) -> None:
    """A start without its item file is misuse, and says what is missing."""
    environ = place.environ()
    (place.folder / "item.json").unlink()
    path = environ["WORK_ITEM_FILE"]

    assert place.run(never_called, environ) == (
        ExitCode.USAGE,
        f"WORK_ITEM_FILE={path}: No such file or directory".encode(),
    )
    assert place.run(never_called, environ | {"WORK_ITEM_FILE": ""}) == (
        ExitCode.USAGE,
        b"WORK_ITEM_FILE is not set: it names the file with the item's data as JSON",
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopped(place: Place, number: signal.Signals) -> None:
    """A handler that is stopped has not finished its item, whatever it would have returned."""
    assert place.run(signalling(number)) == (
        ExitCode.STOPPED,
        b"stopped by a signal before the item was finished",
    )


def test_stopped_handler_cleans_up(place: Place) -> None:
    """A stopped handler's `finally` runs, and a second signal does not interrupt it."""
    cleaned: list[str] = []

    def handle(_: Work) -> str:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            cleaned.append("up")
        return "done"

    assert (place.run(handle)[0], cleaned) == (ExitCode.STOPPED, ["up"])


def test_handler_that_catches_every_exception_is_stopped(place: Place) -> None:
    """A handler's `except Exception` does not swallow the stop."""

    def handle(_: Work) -> str:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except Exception:  # noqa: BLE001 - what many handlers do
            return "swallowed"
        return "done"

    assert place.run(handle)[0] == ExitCode.STOPPED


def test_signal_after_the_work_changes_nothing(place: Place) -> None:
    """A signal after the handler has returned leaves a finished item finished."""
    code, _ = place.run(lambda _: "done")
    os.kill(os.getpid(), signal.SIGTERM)

    assert code == ExitCode.DONE


@pytest.mark.parametrize("text", ["x" * 5000, "é" * 5000, "x" + "é" * 5000, "動" * 2000])
def test_long_result(place: Place, text: str) -> None:
    """Of a long result the last 4096 bytes are kept, without half a character."""
    _, result = place.run(lambda _: text)

    assert result is not None
    assert text.endswith(result.decode())
    assert 4096 - 3 < len(result) <= 4096


def test_result_that_is_no_utf8(place: Place) -> None:
    """Half a character in a result is replaced: the item is done all the same."""
    assert place.run(lambda _: "a\ud800b") == (ExitCode.DONE, b"a?b")


def test_result_that_is_no_json(place: Place) -> None:
    """A result that JSON has no words for is the handler's error."""
    code, reason = place.run(lambda _: {"a": float("nan")})

    assert (code, (reason or b"")[:11]) == (ExitCode.RETRY, b"ValueError:")


def test_result_that_can_not_be_written(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    """An item that is done stays done, and one warning says that its result is lost."""
    missing = str(place.folder / "missing" / "result")
    code, _ = place.run(lambda _: "done", place.environ(LONGSHORE_RESULT_FILE=missing))
    (line,) = capsys.readouterr().err.splitlines()

    assert (code, json.loads(line)["level"], json.loads(line)["message"]) == (
        ExitCode.DONE,
        "warning",
        "result not written",
    )


def test_without_a_result_file(place: Place) -> None:
    """A worker that is started by hand needs no place for a result."""
    assert place.run(lambda _: "done", place.environ(LONGSHORE_RESULT_FILE="")) == (ExitCode.DONE, None)


def test_failure_is_logged_once(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    """An item that is not done is one line in the log, with its name, reason and exit code; a done one is none."""
    place.run(lambda _: "done")
    place.run(raising(ItemRejected("no video")))
    (line,) = [json.loads(line) for line in capsys.readouterr().err.splitlines()]

    assert {name: line[name] for name in ("level", "message", "item", "reason", "exit_code")} == {
        "level": "error",
        "message": "item not done",
        "item": "動画",
        "reason": "no video",
        "exit_code": 65,
    }
