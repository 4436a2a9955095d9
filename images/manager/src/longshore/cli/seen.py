"""What a command sees of a queue by a look of its own; what can't be seen is told on stderr, and the rest is shown.

Decides nothing and shows nothing: `status`, `ls`, `explain` and `logs` do.
"""

import difflib
import time
from dataclasses import replace

from longshore import holding
from longshore.cli.common import complain
from longshore.cli.place import Place
from longshore.explain import safe
from longshore.ledger import LedgerUnavailable
from longshore.manager import Survey, limits_of
from longshore.order import line_of, turns_taken
from longshore.plan import Verdict
from longshore.records import Records
from longshore.source import Items
from longshore.state import Jobs
from longshore_kit.contract import ItemList
from longshore_kit.errors import EngineError, ItemNotFound, SettingsError, SourceUnavailable


def survey_of(place: Place) -> Survey:
    """What is there now, by a look of our own; what can't be seen is told on stderr."""
    jobs = place.engine.jobs()
    try:
        with place.source() as source:
            items = source.list_items()
    except SourceUnavailable as exc:
        complain(f"the source is unavailable, so what waits is not known: {exc}")
        items = None
    return _survey(place, items, jobs)


def survey_with(place: Place, source: Items) -> Survey:
    """
    What is there now, by a look of our own, of a source that is asked for more later.

    Raises:
        SourceUnavailable: it does not answer.
    """
    return _survey(place, source.list_items(), place.engine.jobs())


def _survey(place: Place, items: ItemList | None, jobs: Jobs) -> Survey:
    survey = Survey(items, jobs, records_of(place))
    if place.queue is None or items is None:
        return survey
    turns = limits_of(place.queue).turns
    started = ((job.item, job.created) for job in jobs.values())
    # When an item came that has no Job, only the manager knows that saw it come.
    return replace(survey, line=line_of(items.names, turns, {}), last_started=turns_taken(started, turns))


def unknown_item(item: str, survey: Survey, source: Items) -> str:
    """What to say of an item that is neither listed nor at work nor recorded: why, and which were perhaps meant."""
    names = survey.items.names if survey.items else ()
    near = difflib.get_close_matches(item, list(dict.fromkeys([*names, *survey.jobs, *survey.records.named])), n=3)
    hint = f"; did you mean {' or '.join(safe(name) for name in near)}?" if near else ""
    try:
        source.get_item(item)
    except (ItemNotFound, SourceUnavailable) as exc:
        return f"{safe(str(exc))}{hint}"
    return f"{safe(item)} is not listed yet: it may still be settling{hint}"


def records_of(place: Place) -> Records:
    """What the ledger says; who may not read it still sees the Jobs."""
    try:
        return place.ledger().read()
    except LedgerUnavailable as exc:
        complain(f"the ledger can't be read, so what has no Job any more is not shown: {exc}")
        return Records()


def held_back(place: Place, verdict: Verdict | None) -> str:
    """What keeps all items of a queue from being started, and what to do about it; empty: nothing."""
    try:
        mode = place.control().mode()
    except (EngineError, SettingsError, LedgerUnavailable) as exc:
        return str(exc)
    return holding.held_back(
        mode, verdict.breaker if verdict else None, resume=place.command("resume"), now=time.time()
    )
