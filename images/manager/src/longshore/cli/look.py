"""Commands that look at a queue, and the one that mends it: ls, explain, manifest, schema, retry."""

import difflib
import enum
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import takewhile
from typing import Annotated

import typer
import yaml
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from longshore.cli.common import (
    Exit,
    FileArgument,
    ItemArgument,
    ItemsArgument,
    StateOption,
    VolumeOption,
    command_line,
    complain,
    misuse,
    open_file,
    told_to_people,
)
from longshore.cli.view import COLOURS
from longshore.explain import Line, duration, explain_job, explain_record, explain_waiting, safe
from longshore.ledger import Records
from longshore.local import Ambassador, LocalQueue
from longshore.manager import Survey
from longshore.manifests import bundle_for
from longshore.names import job_name
from longshore.plan import waiting_items
from longshore.queuefile import json_schema
from longshore.source import HttpSource
from longshore.state import Job, Jobs, State
from longshore_kit.errors import ItemNotFound, SettingsError, SourceUnavailable
from longshore_kit.logs import configure, get_logger


class ListOutput(enum.StrEnum):
    """How `ls` writes items."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    NAME = "name"


class ManifestOutput(enum.StrEnum):
    """How `manifest` writes a Job."""

    YAML = "yaml"
    JSON = "json"


@dataclass(frozen=True)
class Row:
    """One item as `ls` shows it. Times are seconds since the epoch."""

    item: str
    state: State
    since: float | None
    attempt: int
    reason: str
    job: str


_ORDER = list(State)
_FilterOption = Annotated[
    list[State] | None,
    typer.Option("--state", "-s", help="Only items in this state; may be given again.", show_default=False),
]
_ListOutputOption = Annotated[
    ListOutput, typer.Option("--output", "-o", help="name: one a line, odd characters escaped; json: exact.")
]


def ls(
    file: FileArgument,
    *,
    only: _FilterOption = None,
    output: _ListOutputOption = ListOutput.TABLE,
    volume: VolumeOption = None,
    state_folder: StateOption = None,
) -> None:
    """
    List a queue's items by state.

    Asks the source which items wait; where it does not answer, says so and lists the others.

    Exit codes: 0 listed · 2 misuse.
    """
    configure("auto", level="ERROR")
    with told_to_people():
        local = open_file(file, volume, state_folder)
        with _source(local) as source:
            rows = [row for row in rows_of(_survey(local, source)) if not only or row.state in only]
    match output:
        case ListOutput.JSON:
            _write(json.dumps([asdict(row) for row in rows], ensure_ascii=False, indent=1))
        case ListOutput.NAME:
            sys.stdout.writelines(f"{safe(row.item)}\n" for row in rows)
        case _:
            _print_table(rows, wide=output is ListOutput.WIDE)


def explain(
    file: FileArgument, item: ItemArgument, *, volume: VolumeOption = None, state_folder: StateOption = None
) -> None:
    """
    Say in one sentence where an item stands, since when, and why.

    Exit codes: 0 said · 1 there is no such item · 2 misuse.
    """
    configure("auto", level="ERROR")
    with told_to_people():
        local = open_file(file, volume, state_folder)
        with _source(local) as source:
            survey = _survey(local, source)
            trouble = _trouble(source, item) if item not in survey.jobs and item not in survey.records else ""
    retry_command = command_line("retry", file, item, volumes=volume, state=state_folder)
    now = time.time()
    names = survey.items.names if survey.items else ()
    if job := survey.jobs.get(item):
        idle = "" if local.is_managed() else command_line("run", file, volumes=volume, state=state_folder)
        _write(explain_job(job, now, retry_command, idle))
    elif record := survey.records.get(item):
        _write(explain_record(record, now, retry_command))
    elif item in names and survey.items:
        waiting = waiting_items(survey.items, survey.jobs, survey.records)
        ahead = sum(1 for _ in takewhile(lambda name: name != item, waiting))
        live = sum(one.is_live for one in survey.jobs.values())
        line = Line(ahead, live, local.queue.spec.scaling.max, is_managed=local.is_managed(), trouble=trouble)
        _write(explain_waiting(item, line, command_line("run", file, volumes=volume, state=state_folder)))
    else:
        near = difflib.get_close_matches(item, list(dict.fromkeys([*names, *survey.jobs, *survey.records])), n=3)
        hint = f"; did you mean {' or '.join(safe(name) for name in near)}?" if near else ""
        complain(f"{safe(trouble) or f'{safe(item)} is not listed yet: it may still be settling'}{hint}")
        raise typer.Exit(Exit.SOME_FAILED)


def manifest(
    file: FileArgument,
    item: ItemArgument,
    *,
    output: Annotated[
        ManifestOutput, typer.Option("--output", "-o", help="How the Job is written.")
    ] = ManifestOutput.YAML,
    volume: VolumeOption = None,
    state_folder: StateOption = None,
) -> None:
    """
    Print the Job that an item would become.

    As this machine would run it.

    Exit codes: 0 printed · 1 there is no such item · 2 misuse.
    """
    configure("auto", level="ERROR")
    with told_to_people():
        local = open_file(file, volume, state_folder)
        with _source(local) as source:
            try:
                found = source.get_item(item)
            except ItemNotFound as exc:
                complain(str(exc))
                raise typer.Exit(Exit.SOME_FAILED) from exc
    engine = local.engine()
    bundle = bundle_for(local.queue, found, engine.layout(job_name(local.queue.name, item)))
    engine.close()
    objects = [bundle.job, *([bundle.payload] if bundle.payload else [])]
    if output is ManifestOutput.JSON:
        _write(json.dumps(objects[0] if len(objects) == 1 else objects, ensure_ascii=False, indent=2))
    else:
        _write(yaml.safe_dump_all(objects, sort_keys=False, allow_unicode=True, width=120).rstrip())


def schema() -> None:
    """
    Print the JSON schema of a queue file.

    For an editor, or a check.

    Exit codes: 0 printed · 2 misuse.
    """
    _write(json.dumps(json_schema(), ensure_ascii=False, indent=2))


def retry(
    file: FileArgument,
    items: ItemsArgument = None,
    *,
    every: Annotated[bool, typer.Option("--all", help="Every failed item.")] = False,
    volume: VolumeOption = None,
    state_folder: StateOption = None,
) -> None:
    """
    Have failed items tried again.

    Their Jobs are deleted, and a manager makes new ones.

    Exit codes: 0 they will be tried · 1 one has not failed · 2 misuse.
    """
    configure("auto", level="ERROR")
    if bool(items) == every:
        misuse("name the items to try again, or give --all")
    with told_to_people():
        local = open_file(file, volume, state_folder)
        engine, ledger = local.engine(), local.ledger()
        failed = _failed(engine.jobs(), ledger.read())
        chosen = list(failed) if every else list(items or ())
        for item in chosen:
            if item in failed:
                if job := failed[item]:
                    engine.delete(job)
                # Both, and in this order: a manager may be entering the record of this very Job.
                ledger.remove([item])
        engine.close()
    run = command_line("run", file, volumes=volume, state=state_folder)
    hint = "" if local.is_managed() else f"; no manager is running: {run}"
    tried = [item for item in chosen if item in failed]
    for item in chosen:
        if item in failed:
            _write(f"{safe(item)} will be tried again{hint}")
        else:
            why = command_line("explain", file, item, volumes=volume, state=state_folder)
            complain(f"{safe(item)} has not failed: {why}")
    if every and not tried:
        _write("no item has failed")
    raise typer.Exit(Exit.OK if len(tried) == len(chosen) else Exit.SOME_FAILED)


def _failed(jobs: Jobs, records: Records) -> dict[str, Job | None]:
    """Failed items, with their Jobs where these are still there."""
    found: dict[str, Job | None] = {
        item: None for item, record in records.items() if record.state is State.FAILED and item not in jobs
    }
    return found | {item: job for item, job in jobs.items() if job.state is State.FAILED}


def rows_of(survey: Survey) -> list[Row]:
    """Every item that is listed or kept, the lively ones first, then by name."""
    rows = [Row(job.item, job.state, job.since, job.attempt, job.reason, job.name) for job in survey.jobs.values()]
    rows += [
        Row(record.item, record.state, record.at, 0, record.reason, "")
        for record in survey.records.values()
        if record.item not in survey.jobs
    ]
    if survey.items:
        waiting = waiting_items(survey.items, survey.jobs, survey.records)
        rows += [Row(name, State.WAITING, None, 0, "", "") for name in waiting]
    return sorted(rows, key=lambda row: (_ORDER.index(row.state), row.item))


def _survey(local: LocalQueue, source: HttpSource) -> Survey:
    engine = local.engine()
    jobs = engine.jobs()
    engine.close()
    try:
        items = source.list_items()
    except SourceUnavailable as exc:
        complain(f"the source is unavailable, so what waits is not known: {exc}")
        items = None
    return Survey(items, jobs, local.ledger().read())


def _trouble(source: HttpSource, item: str) -> str:
    """What keeps the source from giving the item; empty when it gives it."""
    try:
        source.get_item(item)
    except (ItemNotFound, SourceUnavailable) as exc:
        return str(exc)
    return ""


@contextmanager
def _source(local: LocalQueue) -> Iterator[HttpSource]:
    """The queue's source, through an ambassador of our own for the moment."""
    local.prepare()
    ambassador = Ambassador(local, os.environ, get_logger("longshore.look"))
    source = HttpSource(ambassador.start())
    try:
        yield source
        if ambassador.misuse:
            raise SettingsError(f"the ambassador refuses its settings:\n{ambassador.misuse}")
    finally:
        source.close()
        ambassador.stop()


def _print_table(rows: list[Row], *, wide: bool) -> None:
    """State and item are always whole; in a terminal the reason is cut to what is left of the line, elsewhere never."""
    now, console = time.time(), Console(highlight=False)
    headings = ["STATE", "ITEM", "FOR", *(["ATTEMPT", "JOB"] if wide else []), "REASON OR RESULT"]
    table = [[*_cells(row, now, wide=wide), safe(" ".join(row.reason.split()))] for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(headings, *table, strict=True)]
    room = console.width if console.is_terminal and not wide else None
    for cells, row in zip([headings, *table], [None, *rows], strict=True):
        line = Text("  ".join(set_cell_size(cell, width) for cell, width in zip(cells, widths, strict=True)).rstrip())
        if row is not None:
            line.stylize(COLOURS[row.state], 0, len(row.state))
        if room is not None and line.cell_len > room:
            line.truncate(room, overflow="ellipsis")
        console.print(line, no_wrap=True, crop=False, overflow="ignore")


def _cells(row: Row, now: float, *, wide: bool) -> list[str]:
    age = duration(now - row.since) if row.since is not None else ""
    return [str(row.state), safe(row.item), age, *([str(row.attempt or ""), row.job] if wide else [])]


def _write(text: str) -> None:
    sys.stdout.write(f"{text}\n")
