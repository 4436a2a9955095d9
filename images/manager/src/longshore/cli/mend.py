"""The command that mends a queue: retry."""

from typing import Annotated

import typer

from longshore.cli.common import Exit, complain, misuse, told_to_people
from longshore.cli.place import FileWord, ItemWords, Where, placed
from longshore.cli.table import write
from longshore.explain import safe
from longshore.records import Records
from longshore.state import Job, Jobs, State
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
    configure("auto", level="ERROR")
    with told_to_people():
        place, named = where.open(file, items or ())
        if bool(named) == every:
            misuse("name the items to try again, or give --all")
        with place:
            if why := place.keeps_no_record():
                complain(why)
                raise typer.Exit(Exit.SOME_FAILED)
            ledger = place.ledger()
            failed = _failed(place.engine.jobs(), ledger.read())
            chosen = list(failed) if every else named
            for item in chosen:
                if item in failed:
                    if job := failed[item]:
                        place.engine.delete(job)
                    # Both, and in this order: a manager may be entering the record of this very Job.
                    ledger.remove([item])
            idle = place.no_manager()
    tried = [item for item in chosen if item in failed]
    for item in chosen:
        if item in failed:
            write(f"{safe(item)} will be tried again")
        else:
            complain(f"{safe(item)} has not failed: {place.command('explain', item)}")
    if tried and idle:
        write(idle)
    if every and not tried:
        write("no item has failed")
    raise typer.Exit(Exit.OK if len(tried) == len(chosen) else Exit.SOME_FAILED)


def _failed(jobs: Jobs, records: Records) -> dict[str, Job | None]:
    """Failed items, with their Jobs where these are still there."""
    found: dict[str, Job | None] = {
        item: None for item, record in records.named.items() if record.state is State.FAILED and item not in jobs
    }
    return found | {item: job for item, job in jobs.items() if job.state is State.FAILED}
