"""Commands that look at a queue: ls, dead, explain, logs, manifest, schema. They change nothing."""

import enum
import json
import sys
import time
from typing import Annotated

import typer
import yaml

from longshore.cli.choice import Choice, NewerOption, OlderOption, ReasonOption, StateOption
from longshore.cli.common import Exit, complain, misuse, told_to_people
from longshore.cli.follow import follow
from longshore.cli.place import FileWord, ItemWord, Place, Where, placed
from longshore.cli.seen import held_back, records_of, survey_of, survey_with, unknown_item
from longshore.cli.table import print_table, rows_of, write, write_log
from longshore.explain import Line, explain_job, explain_record, explain_waiting, safe
from longshore.manager import Survey, judged
from longshore.manifests import bundle_for
from longshore.names import job_name
from longshore.queuefile import json_schema
from longshore.source import Items
from longshore.state import State
from longshore_kit.documents import nearest
from longshore_kit.errors import SourceUnavailable
from longshore_kit.logs import configure
from longshore_kit.programs import ADAPTER


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


_ListOutputOption = Annotated[
    ListOutput, typer.Option("--output", "-o", help="name: one a line, odd characters escaped; json: exact.")
]


@placed
def ls(
    file: FileWord = None,
    *,
    only: StateOption = None,
    reason: ReasonOption = "",
    older: OlderOption = None,
    newer: NewerOption = None,
    output: _ListOutputOption = ListOutput.TABLE,
    where: Where,
) -> None:
    """
    List a queue's items by state.

    Asks the source which items wait; where it does not answer, says so and lists the others.

    Example: longshore ls queue.yaml --state failed --newer 1h

    Exit codes: 0 listed · 1 the cluster does not answer · 2 misuse.
    """
    _list(where, file, Choice(tuple(only or ()), reason, older, newer), output)


@placed
def dead(
    file: FileWord = None,
    *,
    reason: ReasonOption = "",
    older: OlderOption = None,
    newer: NewerOption = None,
    output: _ListOutputOption = ListOutput.TABLE,
    where: Where,
) -> None:
    """
    List what has failed for good, and why.

    `retry` has it tried again.

    Example: longshore dead queue.yaml --reason 'disk full' -o name

    Exit codes: 0 listed · 1 the cluster does not answer · 2 misuse.
    """
    _list(where, file, Choice((State.FAILED,), reason, older, newer), output)


@placed
def explain(file: FileWord = None, item: ItemWord = None, *, where: Where) -> None:
    """
    Say in one sentence where an item stands, since when, and why.

    Example: longshore explain queue.yaml half.mp4

    Exit codes: 0 said · 1 there is no such item, or the cluster does not answer · 2 misuse.
    """
    configure("auto", level="ERROR")
    with told_to_people():
        place, name = where.open_item(file, item)
        with place:
            sentence, problem = _explanation(place, name)
    if problem:
        complain(problem)
        raise typer.Exit(Exit.SOME_FAILED)
    write(sentence)


@placed
def logs(
    file: FileWord = None,
    item: ItemWord = None,
    *,
    stage: Annotated[
        str,
        typer.Option(
            "--stage", metavar="NAME", help="Of a chain: this stage's; default: the one at which it is or ended."
        ),
    ] = "",
    following: Annotated[
        bool, typer.Option("--follow", "-f", help="Print on what comes, until the item is done or has failed.")
    ] = False,
    where: Where,
) -> None:
    """
    Print the end of what an item's last worker wrote.

    64 KiB at most; a terminal gets lines and colours of it, and no other control characters. Of an item that is done
    nothing is kept but its result, which `explain` says, and `--follow` too.
    It looks once a second: what a worker wrote just before it was done may be missing.

    Example: longshore logs queue.yaml half.mp4 --follow

    Exit codes: 0 printed, with --follow: done · 1 there is none, with --follow: failed · 2 misuse · 130 interrupted.
    """
    configure("auto", level="ERROR")
    with told_to_people():
        place, name = where.open_item(file, item)
        with place:
            _expect_stage(place, stage)
            if following:
                raise typer.Exit(follow(place, name, stage))
            job = place.engine.jobs().get(name)
            text = place.engine.log(job, stage) if job else ""
    if not text:
        of = f" of stage {safe(stage)}" if stage else ""
        why = "its worker wrote nothing, or nothing of it is kept any more" if job else "it has no Job"
        complain(f"{safe(name)} has no log{of}: {why}. See: {place.command('explain', name)}")
        raise typer.Exit(Exit.SOME_FAILED)
    write_log(text if text.endswith("\n") else f"{text}\n")


@placed
def manifest(
    file: FileWord = None,
    item: ItemWord = None,
    *,
    output: Annotated[
        ManifestOutput, typer.Option("--output", "-o", help="How the Job is written.")
    ] = ManifestOutput.YAML,
    where: Where,
) -> None:
    """
    Print the Job that an item would become.

    As this machine, or the cluster, would run it.

    Example: longshore manifest queue.yaml half.mp4 -o json

    Exit codes: 0 printed · 1 there is no such item · 2 misuse.
    """
    configure("auto", level="ERROR")
    with told_to_people():
        place, name = where.open_item(file, item)
        with place:
            if place.queue is None:
                misuse(f"the queue file of {place.name} can't be seen: it has no release here, or you may not read it")
            with place.source() as source:
                found = source.get_item(name)
            bundle = bundle_for(place.queue, found, place.engine.layout(job_name(place.name, name)))
    objects = [bundle.job, *([bundle.payload] if bundle.payload else [])]
    if output is ManifestOutput.JSON:
        write(json.dumps(objects[0] if len(objects) == 1 else objects, ensure_ascii=False, indent=2))
    else:
        write(yaml.safe_dump_all(objects, sort_keys=False, allow_unicode=True, width=120).rstrip())


def schema() -> None:
    """
    Print the JSON schema of a queue file.

    For an editor, or a check.

    Example: longshore schema > queue.schema.json

    Exit codes: 0 printed · 2 misuse.
    """
    write(json.dumps(json_schema(), ensure_ascii=False, indent=2))


def _list(where: Where, file: str | None, choice: Choice, output: ListOutput) -> None:
    configure("auto", level="ERROR")
    with told_to_people():
        place, more = where.open(file)
        if more:
            raise typer.BadParameter(f"unexpected: {' '.join(more)}", param_hint="FILE")
        with place:
            rows = rows_of(survey_of(place))
    now = time.time()
    rows = [row for row in rows if choice.takes(row, now)]
    match output:
        case ListOutput.JSON:
            write(json.dumps([row.as_json() for row in rows], ensure_ascii=False, indent=1))
        case ListOutput.NAME:
            sys.stdout.writelines(f"{safe(row.item)}\n" for row in rows)
        case _:
            print_table(rows, wide=output is ListOutput.WIDE)


def _expect_stage(place: Place, stage: str) -> None:
    """Refuse a stage that the queue has not, where its queue file can be seen."""
    if not stage or place.queue is None:
        return
    names = [ADAPTER, *(one.name for one in place.queue.spec.worker.stages)]
    if len(names) == 1:
        raise typer.BadParameter(f"{place.name} has no stages", param_hint="--stage")
    if stage not in names:
        known = nearest(stage, names) or f"; there are {', '.join(names)}"
        raise typer.BadParameter(f"there is no stage {stage!r}{known}", param_hint="--stage")


def _explanation(place: Place, item: str) -> tuple[str, str]:
    """What there is to say about an item; or, where there is no such item, what to complain of."""
    now, retry = time.time(), place.command("retry", item)
    jobs = place.engine.jobs()
    if job := jobs.get(item):
        return explain_job(job, now, retry, place.no_worker()), ""
    if record := records_of(place).get(item):
        return explain_record(record, now, retry), ""
    try:
        with place.source() as source:
            return _explain_waiting(place, item, source)
    except SourceUnavailable as exc:
        return (
            "",
            f"{safe(item)} has no Job, and whether it waits is not known: the source is unavailable: {safe(str(exc))}",
        )


def _explain_waiting(place: Place, item: str, source: Items) -> tuple[str, str]:
    survey = survey_with(place, source)
    names = survey.items.names if survey.items else ()
    if item in names and survey.items:
        return explain_waiting(item, _line(place, item, survey, source)), ""
    return "", unknown_item(item, survey, source)


def _line(place: Place, item: str, survey: Survey, source: Items) -> Line:
    """Where a waiting item stands, as far as can be seen from here."""
    waiting = survey.in_turn()
    ahead = waiting.index(item) if item in waiting else 0
    live = sum(one.is_live for one in survey.jobs.values())
    trouble = place.why_not_started(item, source)
    verdict = judged(survey, place.queue, time.time()) if place.queue else None
    return Line(
        ahead,
        live,
        verdict.decision.parallelism if verdict else None,
        most=place.queue.spec.scaling.max if place.queue else None,
        held=held_back(place, verdict),
        no_manager=place.no_manager(),
        trouble=trouble,
    )
