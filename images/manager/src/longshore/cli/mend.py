"""The commands that mend a queue: retry what has failed, rerun what is done."""

from collections.abc import Mapping
from typing import Annotated

import typer

from longshore.cli.common import Exit, complain, misuse, told_to_people
from longshore.cli.place import FileWord, ItemWords, Place, Where, placed
from longshore.cli.table import write
from longshore.explain import safe
from longshore.records import Key, Records
from longshore.source import Items
from longshore.state import Job, Jobs, State
from longshore_kit.errors import EngineError, ItemNotFound, SettingsError, SourceError
from longshore_kit.logs import configure


@placed
def retry(
    file: FileWord = None,
    items: ItemWords = None,
    *,
    every: Annotated[bool, typer.Option("--all", help="Every failed item.")] = False,
    where: Where,
) -> None:
    """
    Have failed items tried again.

    Their Jobs are deleted, and a manager makes new ones.

    Exit codes: 0 they will be tried · 1 one has not failed, or the cluster does not answer · 2 misuse.
    """
    _again(where, file, items or [], every=every, state=State.FAILED)


@placed
def rerun(
    file: FileWord = None,
    items: ItemWords = None,
    *,
    every: Annotated[bool, typer.Option("--all", help="Every done item.")] = False,
    where: Where,
) -> None:
    """
    Have done items done once more.

    Their Jobs are deleted and their records dropped, and a manager makes new Jobs of those that are still listed.

    Exit codes: 0 they will be done again · 1 one is not done, or the cluster does not answer · 2 misuse.
    """
    _again(where, file, items or [], every=every, state=State.DONE)


_WORDS: Mapping[State, tuple[str, str, str]] = {
    State.FAILED: ("will be tried again", "has not failed", "no item has failed"),
    State.DONE: ("will be done again", "is not done", "no item is done"),
}
"""Of an item that is taken up again; of one that is in another state; where there is none at all."""


def _again(where: Where, file: str | None, items: list[str], *, every: bool, state: State) -> None:
    configure("auto", level="ERROR")
    will, is_not, none = _WORDS[state]
    with told_to_people():
        place, named = where.open(file, items)
        if bool(named) == every:
            misuse(f"name the items that should be {'tried' if state is State.FAILED else 'done'} again, or give --all")
        with place:
            if why := place.keeps_no_record():
                complain(why)
                raise typer.Exit(Exit.SOME_FAILED)
            jobs, records = place.engine.jobs(), place.ledger().read()
            gone = _gone(place, jobs, records, named) if state is State.FAILED else set()
            if every:
                keys = [key for key in _keys(jobs, records, state) if key not in gone]
                count, taken = _take_up(place, jobs, records, keys), []
                # Those that are done are too many to be named, and not all have a name.
                names = [f"{safe(key)} {will}" for key in keys if isinstance(key, str) and state is State.FAILED]
                told = names or [f"{count} items {will}" if count else none]
            else:
                taken = [item for item in named if _state(jobs, records, item) is state and item not in gone]
                count = _take_up(place, jobs, records, [records.key_of(item) for item in taken])
                told = [f"{safe(item)} {will}" for item in taken]
            idle = place.no_manager()
    for line in told:
        write(line)
    for item in sorted(gone):
        complain(f"{safe(item)} is not in its source any more, so nothing would try it again: it stays as it is")
    missed = [item for item in named if item not in taken]
    for item in missed:
        if item not in gone:
            complain(f"{safe(item)} {is_not}: {place.command('explain', item)}")
    if count and idle:
        write(idle)
    raise typer.Exit(Exit.SOME_FAILED if missed or gone else Exit.OK)


def _gone(place: Place, jobs: Jobs, records: Records, named: list[str]) -> set[str]:
    """Failed items that their source has no more; where it can't be asked, none is known to be."""
    failed = {job.item for job in jobs.values() if job.state is State.FAILED}
    failed |= {item for item, record in records.named.items() if record.state is State.FAILED and item not in jobs}
    asked_of = failed.intersection(named) if named else failed
    try:
        with place.source() as source:
            unlisted = asked_of.difference(source.list_items().names)
            return {item for item in unlisted if not _is_given(source, item)}
    except (SourceError, EngineError, SettingsError):
        return set()


def _is_given(source: Items, item: str) -> bool:
    try:
        source.get_item(item)
    except ItemNotFound:
        return False
    return True


def _state(jobs: Jobs, records: Records, item: str) -> State | None:
    if job := jobs.get(item):
        return job.state
    record = records.get(item)
    return record.state if record else None


def _keys(jobs: Jobs, records: Records, state: State) -> list[Key]:
    """Of every item in this state, those without a name included."""
    found: dict[Key, None] = {records.key_of(item): None for item, job in jobs.items() if job.state is state}
    kept = (key for key in records.all_keys() if records.is_done(key) is (state is State.DONE))
    return list(found | {key: None for key in kept if not isinstance(key, str) or key not in jobs})


def _take_up(place: Place, jobs: Jobs, records: Records, keys: list[Key]) -> int:
    """Delete the Jobs, then the records, in this order: a manager may be entering the record of such a Job."""
    doomed = set(keys)
    gone: list[Job] = [job for item, job in jobs.items() if job.is_finished and records.key_of(item) in doomed]
    for job in gone:
        place.engine.delete(job)
    if keys:
        place.ledger().remove(keys)
    return len(keys)
