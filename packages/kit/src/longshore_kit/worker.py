"""The worker runner: one start, one item, one exit code. docs/worker-contract.md says the same in words.

    def handle(work: Work) -> str: ...            # returns the result, in words or as an object
    def main() -> None: sys.exit(run(handle, os.environ))

Owns reading the item, mapping how the handler ended to an exit code, and writing the result. Refuses to exit with 0
unless the handler returned: a worker that is stopped exits with 143, and another attempt takes the item up.
"""

import signal
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, TypeAlias

from longshore_kit import contract
from longshore_kit.contract import ExitCode, ItemData
from longshore_kit.errors import ItemRejected, LongshoreError, SettingsError
from longshore_kit.logs import configure, get_logger


@dataclass(frozen=True)
class Work:
    """What a worker was started with."""

    item: str
    """The item's name."""
    data: ItemData
    """The item's data, as the source gave it."""
    queue: str
    environ: Mapping[str, str]
    """The environment, for the worker's own settings."""


class Stopped(BaseException):
    """SIGTERM or SIGINT came while the handler ran: clean up in `finally`, let it pass."""


Handler: TypeAlias = Callable[[Work], str | Mapping[str, Any] | None]


def run(handler: Handler, environ: Mapping[str, str]) -> ExitCode:
    """
    Do one item: read it, call `handler`, write its result or reason, and say with which code to exit.

    What the handler returns is the result (an object is written as JSON). It raises `ItemRejected` for an item that
    no attempt can do, `SettingsError` for a worker that was started wrongly; anything else means: try again.
    """
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    configure("auto")
    log = get_logger("longshore.worker", item=environ.get(contract.ITEM_NAME_VARIABLE, ""))
    try:
        code, outcome = _outcome(handler, environ)
    except Stopped:
        code, outcome = ExitCode.STOPPED, "stopped by a signal before the item was finished"
    _ignore_signals()
    try:
        _write_result(environ, outcome)
    except OSError as exc:
        # The work is what counts: an item that is done stays done.
        log.warning("result not written", reason=str(exc))
    if code is not ExitCode.DONE:
        log.error("item not done", reason=outcome, exit_code=int(code))
    return code


def _outcome(handler: Handler, environ: Mapping[str, str]) -> tuple[ExitCode, str]:
    try:
        result = _result_text(handler(_read_work(environ)))
    except ItemRejected as exc:
        return ExitCode.REJECTED, str(exc)
    except SettingsError as exc:
        return ExitCode.USAGE, str(exc)
    except LongshoreError as exc:
        return ExitCode.RETRY, str(exc)
    except Exception as exc:  # noqa: BLE001 - the loop of a worker: whatever a handler raises is the item's reason
        traceback.print_exc()
        return ExitCode.RETRY, f"{type(exc).__name__}: {exc}"
    return ExitCode.DONE, result


def _result_text(returned: str | Mapping[str, Any] | None) -> str:
    if returned is None:
        return ""
    return returned if isinstance(returned, str) else contract.encode(returned).decode()


def _read_work(environ: Mapping[str, str]) -> Work:
    path = environ.get(contract.ITEM_FILE_VARIABLE)
    if not path:
        raise SettingsError(f"{contract.ITEM_FILE_VARIABLE} is not set: it names the file with the item's data as JSON")
    try:
        data = contract.decode(Path(path).read_bytes())
    except OSError as exc:
        raise SettingsError(f"{contract.ITEM_FILE_VARIABLE}={path}: {exc.strerror}") from exc
    except contract.Malformed as exc:
        raise ItemRejected(f"the item's data is {exc}") from exc
    if not isinstance(data, dict):
        raise ItemRejected("the item's data is no JSON object")
    return Work(
        item=environ.get(contract.ITEM_NAME_VARIABLE, ""),
        data=data,
        queue=environ.get(contract.QUEUE_VARIABLE, ""),
        environ=environ,
    )


def _write_result(environ: Mapping[str, str], outcome: str) -> None:
    path = environ.get(contract.RESULT_FILE_VARIABLE)
    if path:
        # The end is kept: the last line of a reason says more than the first. A cut character is dropped.
        tail = outcome.encode(errors="replace")[-contract.RESULT_MAX_BYTES :].decode(errors="ignore")
        Path(path).write_text(tail, encoding="utf-8")


def _stop(_number: int, _frame: FrameType | None) -> NoReturn:
    # Once is enough: a second signal must not interrupt the handler's cleaning up.
    _ignore_signals()
    raise Stopped


def _ignore_signals() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
