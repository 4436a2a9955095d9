"""What `longshore run` shows: a live table in a terminal, a line per change elsewhere, or JSON lines."""

import contextlib
import json
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Final, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from longshore.engines.base import Engine
from longshore.explain import duration, last_line, reason_of, safe
from longshore.manager import Survey
from longshore.queuefile import Queue
from longshore.sources import looked_for
from longshore.state import Job, State
from longshore_kit.errors import EngineError

_ROWS: Final = 12
_FAILURES_SHOWN: Final = 5
_QUIET_SECONDS: Final = 30.0
COLOURS: Final = {
    State.WAITING: "dim",
    State.STARTING: "yellow",
    State.RUNNING: "cyan",
    State.DONE: "green",
    State.FAILED: "red",
}


def is_terminal() -> bool:
    """Whether stdout is one, so that a live table makes sense."""
    return sys.stdout.isatty()


@dataclass(frozen=True)
class Ending:
    """What is said at the end."""

    counts: Mapping[str, int]
    failed: Mapping[str, str]
    """Items that failed, with their reasons."""
    all_failed: str = ""
    """The command that lists them all."""
    nothing: str = ""
    """Why there may be nothing at all; empty where the source was never asked, or did not answer."""

    @classmethod
    def of(cls, survey: Survey, engine: Engine, queue: Queue, all_failed: str) -> Self:
        """As it is now, after the last tick's actions."""
        now = Survey(survey.items, engine.jobs(), survey.records)
        failed = {job.item: reason_of(job) for job in now.jobs.values() if job.state is State.FAILED}
        failed |= {
            record.item: last_line(record.reason)
            for record in now.records.named.values()
            if record.state is State.FAILED
        }
        has_answered = survey.items is not None and not survey.source_error
        nothing = f"the source lists nothing: it looks for {looked_for(queue.spec.source)}" if has_answered else ""
        return cls(now.counts(), failed, all_failed, nothing)


class View(ABC):
    """One way to show a run; a context that is held while it goes on."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    @abstractmethod
    def show(self, survey: Survey) -> None:
        """One tick."""

    @abstractmethod
    def say(self, words: str) -> None:
        """Something for a person, in passing."""

    def serve(self, address: str) -> None:
        """Where the status page is."""
        self.say(f"status: {address}")

    @abstractmethod
    def end(self, ending: Ending) -> None:
        """The last word."""


class JsonView(View):
    """An object per line: one per change, and a summary at the end."""

    def show(self, survey: Survey) -> None:
        for job in survey.changes:
            self._write(
                {
                    "time": _iso(survey.at),
                    "item": job.item,
                    "state": job.state,
                    "attempt": job.attempt,
                    "seconds": job.processing_seconds,
                    "reason": job.told_reason,
                    **({"stage": job.stage, "stage_seconds": dict(job.stage_seconds)} if job.stage else {}),
                }
            )

    def say(self, words: str) -> None:
        self._write({"time": _iso(time.time()), "message": words})

    def serve(self, address: str) -> None:
        """Nothing: each line is a change. Who reads them and wants the page has it on a port of their choice."""

    def end(self, ending: Ending) -> None:
        self._write({"time": _iso(time.time()), "summary": dict(ending.counts), "failed": dict(ending.failed)})

    def _write(self, line: Mapping[str, object]) -> None:
        sys.stdout.write(json.dumps(line, ensure_ascii=False) + "\n")
        sys.stdout.flush()


class TextView(View):
    """A line per change, and one about the whole after every quiet half minute."""

    def __init__(self) -> None:
        self._said_at = time.monotonic()
        self._error = ""
        self._pending = 0

    def show(self, survey: Survey) -> None:
        for job in survey.changes:
            # That a Job was made says nothing that its worker's start, a moment later, does not.
            if job.state is not State.STARTING or job.reason:
                self.say(_line(job))
        if survey.source_error and not self._error:
            self.say(f"the source is unavailable: {safe(survey.source_error)}")
        self._error = survey.source_error
        pending = survey.items.pending_count if survey.items else 0
        if pending and not self._pending:
            self.say(_not_settled(pending))
        self._pending = pending
        if time.monotonic() - self._said_at > _QUIET_SECONDS:
            self.say(_summary(survey.counts(), pending))

    def say(self, words: str) -> None:
        self._said_at = time.monotonic()
        sys.stdout.write(f"{time.strftime('%H:%M:%S')}  {words}\n")
        sys.stdout.flush()

    def end(self, ending: Ending) -> None:
        self.say(_summary(ending.counts))
        if ending.nothing and not any(ending.counts.values()):
            self.say(ending.nothing)
        for line in _failures(ending):
            sys.stdout.write(f"{line}\n")


class LiveView(View):
    """A table that follows what runs, with a bar over the whole."""

    def __init__(self, queue: Queue, engine: Engine) -> None:
        self._queue: Final = queue
        self._engine: Final = engine
        self._console: Final = Console(highlight=False)
        self._survey = Survey(items=None)
        self._words: dict[str, str] = {}
        self._said = ""
        # Last: it renders at once.
        self._live: Final = Live(console=self._console, refresh_per_second=4, get_renderable=self._render)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def show(self, survey: Survey) -> None:
        self._survey = survey
        self._read_along()
        for job in survey.changes:
            if job.state is State.FAILED:
                self._live.console.print(Text(_line(job), style="red"))

    def say(self, words: str) -> None:
        self._said = words

    def serve(self, address: str) -> None:
        self._live.console.print(Text(f"status: {address}"))

    def end(self, ending: Ending) -> None:
        if ending.nothing and not any(ending.counts.values()):
            self._console.print(Text(ending.nothing))
        for line in _failures(ending):
            self._console.print(Text(line, style="red"))

    def _render(self) -> RenderableType:
        survey, found = self._survey, self._survey.counts()
        finished, total = found[State.DONE] + found[State.FAILED], sum(found.values())
        parts: list[RenderableType] = [self._table()] if self._live_jobs() else []
        if survey.items is not None:  # before, nobody knows how much there is
            bar = Table.grid(padding=(0, 1))
            bar.add_row(ProgressBar(total=max(total, 1), completed=finished, width=40), Text(f"{finished} of {total}"))
            parts.append(bar)
        words = self._said or survey.source_error or _summary(found, survey.items.pending_count if survey.items else 0)
        if survey.items is None and not survey.source_error:
            words = "asking the source for its items"
        return Group(*parts, Text(safe(words), style="yellow" if survey.source_error else ""))

    def _read_along(self) -> None:
        """What the shown workers said last; not while drawing, which is done by another thread, four times a second."""
        # A courtesy: where they can't be read just now, the last ones stay.
        with contextlib.suppress(EngineError):
            self._words = {job.item: last_line(self._engine.log(job)) for job in self._live_jobs()[:_ROWS]}

    def _live_jobs(self) -> list[Job]:
        return sorted((job for job in self._survey.jobs.values() if job.is_live), key=lambda job: job.created)

    def _table(self) -> Table:
        jobs = self._live_jobs()
        table = Table(title=self._queue.name, title_justify="left", expand=True, box=None)
        for heading, ratio in (("item", 3), ("state", 1), ("for", 1), ("last words", 4)):
            table.add_column(heading, ratio=ratio, no_wrap=True, overflow="ellipsis")
        now = time.time()
        for job in jobs[:_ROWS]:
            words = self._words.get(job.item) or job.reason
            state = job.stage if job.stage and job.state is State.RUNNING else str(job.state)
            state = f"{state} {job.attempt}/{job.attempts}" if job.attempt > 1 else state
            table.add_row(
                Text(safe(job.item)),
                Text(state, style=COLOURS[job.state]),
                duration(now - job.since),
                Text(safe(words), style="dim"),
            )
        if len(jobs) > _ROWS:
            table.add_row(f"and {len(jobs) - _ROWS} more")
        return table


def _line(job: Job) -> str:
    item = safe(job.item)
    match job.state:
        case State.DONE:
            return f"done      {item}  {duration(job.processing_seconds)}"
        case State.FAILED:
            return f"failed    {item}  {reason_of(job)}"
        case State.STARTING if job.reason:
            return f"{job.state:<9} {item}  again, after attempt {job.attempt} of {job.attempts}: {reason_of(job)}"
        case _:
            again = f"  attempt {job.attempt} of {job.attempts}" if job.attempt > 1 else ""
            return f"{job.state:<9} {item}{again}"


def _summary(found: Mapping[str, int], pending: int = 0) -> str:
    shown = [f"{number} {state}" for state, number in found.items() if number or state == State.DONE]
    return " · ".join([*shown, *([_not_settled(pending)] if pending else [])])


def _not_settled(pending: int) -> str:
    return f"{pending} not listed yet: still settling"


def _failures(ending: Ending) -> Iterator[str]:
    for item, reason in sorted(ending.failed.items())[:_FAILURES_SHOWN]:
        yield f"failed: {safe(item)}: {reason}"
    if (more := len(ending.failed) - _FAILURES_SHOWN) > 0:
        yield f"and {more} more: {ending.all_failed}"


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
