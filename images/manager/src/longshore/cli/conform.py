"""`longshore conform`: the kit's conformance rules, tried on somebody's ambassador or worker, a line for each."""

import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

import typer

from longshore.cli.common import Exit, misuse, told_to_people
from longshore.explain import safe
from longshore_kit.conform import CheckResult, check_source, check_worker
from longshore_kit.conform.rules import NothingToCheck, Outcome
from longshore_kit.contract import Item, Malformed, decode
from longshore_kit.errors import SettingsError
from longshore_kit.expansion import expand
from longshore_kit.references import fill, references

_EXIT_CODES: Final = "Exit codes: 0 no rule is broken · 1 some are · 2 misuse, or nothing to check."
_OUTCOMES: Final[tuple[Outcome, ...]] = ("passed", "failed", "skipped")
_COLOURS: Final = dict(zip(_OUTCOMES, (typer.colors.GREEN, typer.colors.RED, typer.colors.YELLOW), strict=True))
_ITEM_NAME: Final = "conform"

conform_app: Final = typer.Typer(
    help="Check an ambassador or a worker against its contract.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@conform_app.command(epilog=_EXIT_CODES)
def source(
    url: Annotated[str, typer.Argument(help="Where the ambassador listens: http://127.0.0.1:8080", metavar="URL")],
) -> None:
    """
    Check a running ambassador by asking it; nothing in its source is changed.

    Feed it two items at least: rules about items and pages need them, and are skipped without.
    """
    if not _is_address(url):
        misuse(f"{url}: expected a URL such as http://127.0.0.1:8080")
    with _told_if_nothing_is_there():
        results = check_source(url)
    _tell(results)


# Options end where the command begins: its own options are its own.
@conform_app.command(epilog=_EXIT_CODES, context_settings={"allow_interspersed_args": False})
def worker(
    command: Annotated[list[str], typer.Argument(help="The worker's program and arguments.", metavar="COMMAND")],
    *,
    item: Annotated[
        str, typer.Option("--item", metavar="JSON", help="The data of an item that the worker can do.")
    ] = "{}",
    env: Annotated[
        list[str] | None,
        typer.Option("--env", metavar="K=V", help="A variable for the worker; may be given again.", show_default=False),
    ] = None,
) -> None:
    """
    Check a worker by starting it here, a dozen times, for one item, in this command's own environment.

    ${item.…} and ${name} in its arguments are filled in, as the manager does for worker.command and args; of a
    command that has them, nothing is asked about the item file. Example:

    longshore conform worker --item '{"path": "a.txt"}' -- cp '${item.path}' /tmp/copied
    """
    with told_to_people():
        work = Item(_ITEM_NAME, _data(item))
        variables = dict(_variable(text) for text in env or ())
        # As in a Job: first ours are filled in, then Kubernetes expands $(VAR) and folds $$.
        filled = [expand(fill(text, work, {}), variables) for text in command]
    with _told_if_nothing_is_there():
        results = check_worker(
            filled,
            data=work.data,
            environ={**os.environ, **variables},
            item=work.name,
            reads_item_file=not any(True for text in command for _ in references(text)),
        )
    _tell(results)


@contextmanager
def _told_if_nothing_is_there() -> Iterator[None]:
    try:
        yield
    except NothingToCheck as exc:
        misuse(safe(str(exc)))


def _is_address(url: str) -> bool:
    try:
        address = urlsplit(url)
        return address.scheme in {"http", "https"} and bool(address.hostname) and address.port != 0
    except ValueError:
        return False


def _data(text: str) -> dict[str, Any]:
    try:
        data = decode(text.encode(errors="surrogateescape"))
    except Malformed as exc:
        raise SettingsError(f"--item: {exc}") from exc
    if not isinstance(data, dict):
        raise SettingsError(f'--item {text}: expected a JSON object, such as \'{{"path": "a.txt"}}\'')
    return data


def _variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise SettingsError(f"--env {text}: expected K=V, such as --env MEDIA_PATH=./videos")
    return name, value


def _tell(results: Sequence[CheckResult]) -> None:
    """A line for each rule, a sum, and the exit code."""
    width = max(len(result.title) for result in results)
    for result in results:
        typer.secho(f"{result.outcome:<9}", fg=_COLOURS[result.outcome], nl=False)
        said = result.sentence if result.outcome == "passed" else result.detail
        sys.stdout.write(f"{result.title:<{width}}  {safe(said)}\n")
    counts = Counter(result.outcome for result in results)
    sys.stdout.write(", ".join(f"{counts[outcome]} {outcome}" for outcome in _OUTCOMES) + "\n")
    raise typer.Exit(Exit.SOME_FAILED if counts["failed"] else Exit.OK)
