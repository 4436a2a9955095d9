"""`status`: a queue on one screen: how many where, what is decided and why, what runs, what failed last."""

import contextlib
import enum
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Annotated, Any, Final, TypeAlias

import msgspec
import typer
from rich.console import Console
from rich.live import Live
from rich.text import Text

from longshore.cli.common import told_to_people
from longshore.cli.place import FileWord, Place, Where, placed
from longshore.cli.seen import held_back, survey_of
from longshore.cli.view import COLOURS
from longshore.explain import duration, reason_of, safe
from longshore.ledger import LedgerUnavailable
from longshore.manager import Survey, judged, limits_of
from longshore.plan import Limits, Verdict
from longshore.state import Job, Jobs, State
from longshore.web.status import Snapshot
from longshore_kit.errors import EngineError, SettingsError
from longshore_kit.logs import configure

_ROWS: Final = 10
_LAST: Final = 5
_WATCH_SECONDS: Final = 2.0

WatchOption: TypeAlias = Annotated[
    bool, typer.Option("--watch", "-w", help="Look again every two seconds, until Ctrl-C.")
]


class StatusOutput(enum.StrEnum):
    """How `status` writes."""

    TEXT = "text"
    JSON = "json"


@placed
def status(
    file: FileWord = None,
    *,
    watch: WatchOption = False,
    output: Annotated[StatusOutput, typer.Option("--output", "-o", help="json: everything, as one object.")] = (
        StatusOutput.TEXT
    ),
    where: Where,
) -> None:
    """
    Show a queue on one screen.

    Numbers by state, what limits it and what is in its way, what runs and what failed last.

    Example: longshore status queue.yaml --watch

    Exit codes: 0 shown · 1 the cluster does not answer · 2 misuse · 130 interrupted.
    """
    configure("auto", level="ERROR")
    with told_to_people():
        place, _ = where.open(file)
        with place:
            if output is StatusOutput.JSON:
                typer.echo(json.dumps(_look(place).as_json(), ensure_ascii=False, indent=1))
                return
            show(lambda width: _look(place).text(width), watch=watch)


def show(look: Callable[[int], Text], *, watch: bool) -> None:
    """Print what a look gives in lines of this width: once, or again and again in one place."""
    console = Console(highlight=False)
    if not watch:
        console.print(look(console.width), soft_wrap=True)
        return
    with _shown_on(console) as put:
        while True:
            put(look(console.width))
            time.sleep(_WATCH_SECONDS)  # the pause that is asked for; Ctrl-C ends it


@contextlib.contextmanager
def _shown_on(console: Console) -> Iterator[Callable[[Text], None]]:
    """How each look is shown: in the place of the one before, or where there is no screen one after the other."""
    if not console.is_terminal:
        yield lambda text: typer.echo(f"{text.plain}\n")
        return
    with Live(console=console, screen=True, auto_refresh=False) as live:
        yield lambda text: live.update(text, refresh=True)


@dataclass(frozen=True)
class Status:
    """What there is to say of a queue, at one moment. Times are seconds since the epoch."""

    queue: str
    at: float
    mode: str
    no_manager: str
    held: str
    """What keeps all items from being started."""
    survey: Survey
    limits: Limits

    @property
    def verdict(self) -> Verdict | None:
        """What a manager would decide; None where the queue file can't be seen."""
        return self.survey.verdict

    def as_json(self) -> dict[str, Any]:
        """For programs: the shapes and names of the status page's JSON, of what can be seen from here."""
        shown = Snapshot(self.survey, self.limits)
        return {
            "queue": self.queue,
            "mode": self.mode,
            "manager": self.no_manager or "running",
            "hold": self.held,
            **msgspec.to_builtins(
                {
                    "counts": shown.counts,
                    "source": shown.source(),
                    "scaling": shown.scaling() if self.verdict else None,
                    "breaker": shown.breaker(),
                    "running": [shown.row(job) for job in self._running()],
                    "failed": [shown.row(job) for job in self._failed()],
                }
            ),
        }

    def text(self, width: int) -> Text:
        """For people, in lines of this width."""
        counts = self.survey.counts()
        head = Text(f"{self.queue}: ")
        for state in State:
            head.append(f"{counts[state]} {state}  ", COLOURS[state])
        lines = [head, *(Text(line) for line in self._sentences())]
        if running := self._running()[:_ROWS]:
            lines += [Text(), *(_line(job, f"{_at(job)}for {duration(self.at - job.since)}", width) for job in running)]
            if (more := len(self._running()) - len(running)) > 0:
                lines.append(Text(f"and {more} more"))
        if failed := self._failed()[:_LAST]:
            lines += [Text(), *(_line(job, reason_of(job), width) for job in failed)]
        return Text("\n").join(lines)

    def _sentences(self) -> list[str]:
        told = [self.held] if self.held else []
        if self.no_manager:
            told.append(self.no_manager)
        if self.survey.items is None:
            told.append("what waits is not known: the source does not answer")
        if self.verdict:
            told.append(self.verdict.decision.sentence())
        return [safe(one) for one in told]

    def _running(self) -> list[Job]:
        return live_jobs(self.survey.jobs)

    def _failed(self) -> list[Job]:
        failed = (job for job in self.survey.jobs.values() if job.state is State.FAILED)
        return sorted(failed, key=lambda job: job.since, reverse=True)


def live_jobs(jobs: Jobs) -> list[Job]:
    """Those that are at work, or may be any moment; the longest in its state first."""
    return sorted((job for job in jobs.values() if job.is_live), key=lambda job: job.since)


def _look(place: Place) -> Status:
    survey, now = survey_of(place), time.time()
    verdict = judged(survey, place.queue, now) if place.queue else None
    try:
        mode = str(place.control().mode())
    except (EngineError, SettingsError, LedgerUnavailable) as exc:
        mode = f"not known ({exc})"
    limits = limits_of(place.queue) if place.queue else Limits()
    survey = replace(survey, at=now, verdict=verdict)
    return Status(place.name, now, mode, place.no_manager(), held_back(place, verdict), survey, limits)


def _at(job: Job) -> str:
    return f"stage {job.stage}, " if job.stage else ""


def _line(job: Job, words: str, width: int) -> Text:
    line = Text(f"{job.state:8}  {safe(job.item)}  {safe(words)}")
    line.stylize(COLOURS[job.state], 0, len(job.state))
    line.truncate(max(width, 20), overflow="ellipsis")
    return line
