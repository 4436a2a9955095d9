"""`longshore run`: ambassador, manager and view of one queue, in one process on one machine."""

import contextlib
import enum
import os
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from typing import Annotated, Final

import typer

from longshore.cli.common import (
    Exit,
    FileArgument,
    StateOption,
    VolumeOption,
    complain,
    misuse,
    told_to_people,
)
from longshore.cli.place import file_command, folders_of
from longshore.cli.view import Ending, JsonView, LiveView, TextView, View, is_terminal
from longshore.engines.base import LocalEngine
from longshore.explain import safe
from longshore.holding import held_back
from longshore.local import Ambassador, EngineKind, LocalQueue, Managing, open_queue
from longshore.manager import Manager, SourcePoller, Survey, limits_of
from longshore.patience import Postponed
from longshore.queuefile import load
from longshore.source import HttpSource
from longshore.web.actions import Actions, Retry
from longshore.web.board import Board, Inside
from longshore.web.settings import TOKEN_VARIABLES, StatusSettings
from longshore_kit.logs import configure, get_logger
from longshore_kit.signals import stop_on_signals

_STOP_PAUSE: Final = 0.2
_STOP_SLACK: Final = 5.0
"""What a worker's supervisor gets beside the worker's own grace: it answers at once, if the machine lets it."""
_GRACE: Final = 30
"""A cluster's own, where the queue says none."""
_NAMED: Final = 3
_STARTS_AT_ONCE: Final = 4


class RunOutput(enum.StrEnum):
    """How `run` shows what happens."""

    TEXT = "text"
    JSON = "json"


def run(
    file: FileArgument,
    *,
    until_done: Annotated[
        bool, typer.Option("--until-done", help="End when every listed item is done or failed.")
    ] = False,
    output: Annotated[
        RunOutput, typer.Option("--output", "-o", help="json: one object per line and change.")
    ] = RunOutput.TEXT,
    engine: Annotated[
        EngineKind | None,
        typer.Option(
            help="Who runs the workers: this machine, or Docker. Remembered for the queue; default: process.",
            show_default=False,
        ),
    ] = None,
    volume: VolumeOption = None,
    state: StateOption = None,
    status_port: Annotated[
        int,
        typer.Option(
            min=0, max=65535, metavar="PORT", help="Where the status page is, on this machine; 0: anywhere free."
        ),
    ] = 0,
    no_status: Annotated[bool, typer.Option("--no-status", help="Serve no status page.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show the manager's own log too.")] = False,
) -> None:
    """
    Run a queue on this machine.

    Starts its ambassador and a manager, and a worker per item. A live table in a terminal, a line per change elsewhere.
    Ctrl-C stops the workers too; what they were at is started again by the next run. Run it again at any time: what is
    done stays done.

    A page shows how it goes, at the address that is printed; with STATUS_TOKEN or STATUS_TOKEN_FILE set it can retry.

    Example: longshore run queue.yaml --until-done
    """
    configure("auto", level="INFO" if verbose else "ERROR")
    with told_to_people():
        settings = None if no_status else StatusSettings.from_environment(os.environ)
        for name in TOKEN_VARIABLES:
            os.environ.pop(name, None)  # what we start, and what that starts, inherits the rest
        local = open_queue(load(file, folders=folders_of(volume or ())), state, engine)
        with contextlib.closing(local.engine(os.environ)) as workers:
            workers.check(local.sample_bundle(workers))
            local.prepare()
            local.remember_engine()

            def typed(verb: str, *items: str) -> str:
                return file_command(verb, file, *items, volumes=volume, state=state)

            page = _Page(status_port, settings) if settings else None
            work = _Run(local, workers, _view(output, local, workers), os.environ, typed=typed, page=page)
            code = work.go(until_done=until_done)
    raise typer.Exit(code)


def _view(output: RunOutput, local: LocalQueue, engine: LocalEngine) -> View:
    if output is RunOutput.JSON:
        return JsonView()
    return LiveView(local.queue, engine) if is_terminal() else TextView()


def _has_ended(survey: Survey) -> bool:
    """Whether nothing is left to do, and the source that it listens to knows."""
    return survey.is_worked_through and not survey.source_error and not survey.is_telling


def _grace_seconds(local: LocalQueue, engine: LocalEngine) -> float:
    pod = local.sample_bundle(engine).job["spec"]["template"]["spec"]
    return float(pod.get("terminationGracePeriodSeconds", _GRACE))


@dataclass(frozen=True)
class _Page:
    """How the status page is served."""

    port: int
    settings: StatusSettings


class _Run:
    def __init__(
        self,
        local: LocalQueue,
        engine: LocalEngine,
        view: View,
        environ: Mapping[str, str],
        *,
        typed: Callable[..., str],
        page: _Page | None = None,
    ) -> None:
        self.typed = typed
        self.page = page
        self.local = local
        self.engine = engine
        self.view = view
        self.log = get_logger("longshore.run", queue=local.queue.name)
        self.ambassador = Ambassador(local, environ, self.log)
        self.survey = Survey(items=None)
        self._held_back = ""
        self._is_full = False

    def go(self, *, until_done: bool) -> Exit:
        done = threading.Event()
        with self.local.managing() as managing:
            url = self.ambassador.start()
            poller = SourcePoller(HttpSource(url, trouble=self.ambassador.trouble), self.log)
            pool = ThreadPoolExecutor(_STARTS_AT_ONCE, thread_name_prefix="start")
            manager = Manager(
                self.local.queue,
                items=HttpSource(url),
                poller=poller,
                engine=self.engine,
                ledger=self.local.ledger(),
                pool=pool,
                log=self.log,
                control=self.local.control(),
            )

            def on_stop() -> None:
                done.set()
                manager.wake()

            interrupted = stop_on_signals(on_stop)

            board = self._board(manager)

            def on_tick(survey: Survey) -> None:
                self.survey = survey
                board.note(survey)
                self.view.show(survey)
                self._say_what_holds_back(survey, manager.fullness())
                if self.ambassador.misuse or (until_done and _has_ended(survey)):
                    done.set()

            try:
                with self.view, self._served(board, manager):
                    manager.run(done, on_tick, board.note_failure)
                    # What is still being started is seen, and stopped, with the others.
                    pool.shutdown(cancel_futures=True)
                    if interrupted.is_set():
                        self._stop_workers(managing)
            finally:
                pool.shutdown(wait=False, cancel_futures=True)
                self.ambassador.stop()
        return self._end(interrupted=interrupted.is_set())

    def _say_what_holds_back(self, survey: Survey, fullness: Postponed | None) -> None:
        """Once each time, and when it is over."""
        breaker = survey.verdict.breaker if survey.verdict else None
        words = held_back(survey.mode, breaker, resume=self.typed("resume"))
        is_full = fullness is not None and not words
        if fullness is not None and is_full:
            # Its reason names another Job at each try.
            again = f"no Job can be made just now, and it is tried again: {fullness.reason}"
            words = self._held_back if self._is_full else again
        if words != self._held_back:
            self.view.say(safe(words) or "starting items again")
        self._held_back, self._is_full = words, is_full

    def _board(self, manager: Manager) -> Board:
        inside = Inside(
            log=self.engine.log,
            troubles=manager.troubles,
            fullness=manager.fullness,
            retry_command=lambda item: self.typed("retry", item),
        )
        return Board(self.local.queue.name, limits_of(self.local.queue), version=version("longshore"), inside=inside)

    def _served(self, board: Board, manager: Manager) -> contextlib.AbstractContextManager[object]:
        if self.page is None:
            return contextlib.nullcontext()
        from longshore.web.serving import status_server  # noqa: PLC0415 - a fifth of a second that no other command pays

        server = status_server(
            board,
            self.page.settings,
            port=self.page.port,
            host="127.0.0.1",
            variable="--status-port",
            actions=Actions(retry=Retry(self.engine, self.local.ledger(), manager.wake), control=self.local.control()),
        )
        self.view.serve(f"http://127.0.0.1:{server.port}")
        return server

    def _stop_workers(self, managing: Managing) -> None:
        jobs = [job for job in self.engine.jobs().values() if job.is_live]
        if not managing.is_last():
            jobs = [job for job in jobs if self.engine.is_supervised_here(job)]
        workers = f"{len(jobs)} {'worker' if len(jobs) == 1 else 'workers'}"
        self.view.say(f"stopping {workers}; Ctrl-C again leaves them to end by themselves" if jobs else "stopping")
        grace = _grace_seconds(self.local, self.engine) + _STOP_SLACK
        until = time.monotonic() + grace
        changed = threading.Event()
        while jobs := [job for job in jobs if self.engine.stop_workers([job])]:
            if time.monotonic() >= until:
                names = ", ".join(safe(job.item) for job in jobs[:_NAMED])
                more = f" and {len(jobs) - _NAMED} more" if len(jobs) > _NAMED else ""
                complain(f"not stopped within {grace:g} s, so left to end by themselves: {names}{more}")
                return
            # No event tells of a supervisor that another process started.
            changed.wait(_STOP_PAUSE)

    def _end(self, *, interrupted: bool) -> Exit:
        if self.ambassador.misuse:
            misuse(f"the ambassador refuses its settings:\n{self.ambassador.misuse}")
        ending = Ending.of(self.survey, self.engine, self.local.queue, self.typed("dead"))
        self.view.end(ending)
        if interrupted:
            complain(f"stopped. To go on: {self.typed('run')}")
            return Exit.INTERRUPTED
        return Exit.SOME_FAILED if ending.counts["failed"] else Exit.OK
