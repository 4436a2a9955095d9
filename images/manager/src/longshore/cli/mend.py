"""The commands that mend a queue: retry what has failed, rerun what is done."""

import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Annotated, Final, TypeAlias

import typer

from longshore.again import take_up
from longshore.cli.choice import is_about
from longshore.cli.common import Exit, complain, misuse, told_to_people
from longshore.cli.place import FileWord, ItemWords, Place, Where, placed
from longshore.cli.seen import survey_with, unknown_item
from longshore.cli.table import write
from longshore.explain import safe
from longshore.records import Key, Records
from longshore.source import Items
from longshore.state import Jobs, State
from longshore_kit.errors import EngineError, ItemNotFound, SettingsError, SourceError
from longshore_kit.logs import configure

_DryRunOption: TypeAlias = Annotated[bool, typer.Option("--dry-run", help="Say which these are, and change nothing.")]
_YesOption: TypeAlias = Annotated[
    bool, typer.Option("--yes", "-y", help="Don't ask; without a terminal it must be given.")
]


@placed
def retry(
    file: FileWord = None,
    items: ItemWords = None,
    *,
    every: Annotated[bool, typer.Option("--all", help="Every failed item.")] = False,
    reason: Annotated[
        str,
        typer.Option(
            "--reason", metavar="TEXT", help="Every failed item with this in its reason, in small letters or large."
        ),
    ] = "",
    dry_run: _DryRunOption = False,
    yes: _YesOption = False,
    where: Where,
) -> None:
    """
    Have failed items tried again.

    Their Jobs are deleted, and a manager makes new ones. More than named ones are asked about first;
    without a terminal they need --yes.

    Example: longshore retry queue.yaml --reason 'disk full' --dry-run

    Exit codes: 0 they will be tried · 1 one has not failed, the answer was no, or the cluster does not answer ·
    2 misuse.
    """
    _again(where, file, _Wish(State.FAILED, tuple(items or ()), every, reason), dry_run=dry_run, yes=yes)


@placed
def rerun(
    file: FileWord = None,
    items: ItemWords = None,
    *,
    every: Annotated[bool, typer.Option("--all", help="Every done item.")] = False,
    dry_run: _DryRunOption = False,
    yes: _YesOption = False,
    where: Where,
) -> None:
    """
    Have done items done once more.

    Their Jobs are deleted and their records dropped, and a manager makes new Jobs of those that are still listed. More
    than named ones are asked about first; without a terminal they need --yes.

    Example: longshore rerun queue.yaml half.mp4

    Exit codes: 0 they will be done again · 1 one is not done, the answer was no, or the cluster does not answer ·
    2 misuse.
    """
    _again(where, file, _Wish(State.DONE, tuple(items or ()), every), dry_run=dry_run, yes=yes)


@dataclass(frozen=True)
class _Words:
    """How it is told, of items in one state."""

    again: str
    is_not: str
    """Of one that is in another state."""
    none: str
    """Where there is none at all."""
    instead: str
    """What there is in place of names."""


_WORDS: Final[Mapping[State, _Words]] = {
    State.FAILED: _Words("tried again", "has not failed", "no item has failed", "--all, or --reason TEXT"),
    State.DONE: _Words("done again", "is not done", "no item is done", "--all"),
}


@dataclass(frozen=True)
class _Wish:
    """What a command line asks to have taken up again: those named, all in a state, or those with this reason."""

    state: State
    names: tuple[str, ...] = ()
    every: bool = False
    reason: str = ""


@dataclass(frozen=True)
class _Chosen:
    """What that is now, with what is known of it."""

    jobs: Jobs
    records: Records
    keys: list[Key]
    gone: set[str]
    """Failed items that their source has no more."""
    missed: list[str]
    """Items that were named, and are in another state."""


def _again(where: Where, file: str | None, wish: _Wish, *, dry_run: bool, yes: bool) -> None:
    configure("auto", level="ERROR")
    words = _WORDS[wish.state]
    with told_to_people():
        place, named = where.open(file, wish.names, to_change=not dry_run)
        wish = replace(wish, names=tuple(named))
        _expect_one_way(wish, words)
        with place:
            if why := place.keeps_no_record():
                complain(why)
                raise typer.Exit(Exit.SOME_FAILED)
            chosen = _choose(place, wish)
            if chosen.keys and not (named or dry_run or yes):
                if not sys.stdin.isatty():
                    misuse(
                        f"{_count(len(chosen.keys))} would be {words.again}, and nobody is here to be asked: give --yes"
                    )
                _ask(len(chosen.keys), words)
                chosen = _choose(place, wish)  # an answer takes its time, and the queue has gone on
            if not dry_run:
                take_up(place.engine, place.ledger(), chosen.jobs, chosen.records, chosen.keys)
            idle = "" if dry_run else place.no_manager()
            missed = _missed(place, chosen, words)
    for line in _told(wish, chosen, f"{'would' if dry_run else 'will'} be {words.again}"):
        write(line)
    for item in sorted(chosen.gone):
        complain(f"{safe(item)} is not in its source any more, so nothing would try it again: it stays as it is")
    for line in missed:
        complain(line)
    if chosen.keys and idle:
        write(idle)
    raise typer.Exit(Exit.SOME_FAILED if chosen.missed or chosen.gone else Exit.OK)


def _expect_one_way(wish: _Wish, words: _Words) -> None:
    """Refuse what says in two ways, or in none, which items are meant."""
    ways = {"names": bool(wish.names), "--all": wish.every, "--reason": bool(wish.reason)}
    match [way for way, is_given in ways.items() if is_given]:
        case []:
            misuse(f"name the items that should be {words.again}, or give {words.instead}")
        case [*first, last] if first:
            given = f"{', '.join(first)} and {last}"
            misuse(f"{given} were given: only one of them can say which items should be {words.again}")


def _missed(place: Place, chosen: _Chosen, words: _Words) -> list[str]:
    """A line for each item that was named and is in another state, or is none at all."""
    known = {item for item in chosen.missed if item in chosen.jobs or chosen.records.get(item)}
    lines = {item: f"{safe(item)} {words.is_not}: {place.command('explain', item)}" for item in chosen.missed}
    if unknown := [item for item in chosen.missed if item not in known]:
        # Where the source can't be asked, an item may well wait: then it has not failed, and that is what is known.
        with suppress(SourceError, EngineError, SettingsError), place.source() as source:
            survey = survey_with(place, source)
            listed = set(survey.items.names if survey.items else ())
            lines |= {item: unknown_item(item, survey, source) for item in unknown if item not in listed}
    return list(lines.values())


def _ask(count: int, words: _Words) -> None:
    """Go on only when the answer is yes."""
    if not typer.confirm(f"{_count(count)} will be {words.again}. Go on?", err=True):
        complain("nothing was changed")
        raise typer.Exit(Exit.SOME_FAILED)


def _told(wish: _Wish, chosen: _Chosen, will: str) -> list[str]:
    """A line for each item; those that are done are too many to be named, and not all have a name."""
    if wish.names:
        stay = chosen.gone.union(chosen.missed)
        return [f"{safe(item)} {will}" for item in wish.names if item not in stay]
    if not chosen.keys:
        return (
            []
            if chosen.gone
            else [f"{_WORDS[wish.state].none}{f' for a reason with {wish.reason!r} in it' if wish.reason else ''}"]
        )
    if wish.state is State.FAILED:
        return [f"{safe(key)} {will}" for key in sorted(key for key in chosen.keys if isinstance(key, str))]
    return [f"{_count(len(chosen.keys))} {will}"]


def _count(number: int) -> str:
    return f"{number} item" if number == 1 else f"{number} items"


def _choose(place: Place, wish: _Wish) -> _Chosen:
    jobs, records = place.engine.jobs(), place.ledger().read()
    missed = [item for item in wish.names if _state(jobs, records, item) is not wish.state]
    if wish.names:
        keys = [records.key_of(item) for item in wish.names if item not in missed]
    else:
        keys = [key for key in _keys(jobs, records, wish.state) if is_about(_reason(jobs, records, key), wish.reason)]
    failed = {key for key in keys if isinstance(key, str)} if wish.state is State.FAILED else set()
    gone = _gone(place, failed)
    return _Chosen(jobs, records, [key for key in keys if key not in gone], gone, missed)


def _gone(place: Place, items: set[str]) -> set[str]:
    """Those that their source has no more; where it can't be asked, none is known to be."""
    if not items:
        return set()
    try:
        with place.source() as source:
            unlisted = items.difference(source.list_items().names)
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


def _reason(jobs: Jobs, records: Records, key: Key) -> str:
    if isinstance(key, bytes):
        return ""
    if job := jobs.get(key):
        return job.told_reason
    record = records.named.get(key)
    return record.reason if record else ""
