"""Puts the commands together: names, help, completion."""

import sys
from typing import Annotated, Any, Final

import typer
import typer.core

from longshore import __version__
from longshore.cli import look, mend, steer
from longshore.cli.common import EXIT_CODES, Exit, complain
from longshore.cli.conform import conform_app
from longshore.cli.doctor import check, doctor
from longshore.cli.init import init
from longshore.cli.run import run
from longshore.cli.status import status
from longshore.cli.top import top
from longshore.typed import KUBECTL, program

# typer has no public name for the class of all mistakes on a command line.
_USAGE_ERROR: Final[type[Exception]] = typer.BadParameter.__mro__[1]


class _Commands(typer.core.TyperGroup):
    """The commands; a mistake on a command line is told without words of the parser's own."""

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - typer's own class of a context has no public name either
        """Run the command that is meant."""
        try:
            return super().invoke(ctx)
        except (typer.Abort, KeyboardInterrupt):
            # Ctrl-C, at a question too: on a line of its own, after what was on the screen.
            sys.stderr.write("\n")
            complain("interrupted")
            raise typer.Exit(Exit.INTERRUPTED) from None
        except _USAGE_ERROR as exc:
            if problem := getattr(exc, "message", ""):
                exc.message = problem.removeprefix("Value error, ") + _dash_hint(exc)  # type: ignore[attr-defined]
            raise


def _dash_hint(exc: Exception) -> str:
    """What to do about a name that was taken for options, where a command has names and knows no option like it."""
    if not hasattr(exc, "option_name") or getattr(exc, "possibilities", None):
        return ""
    ctx: typer.Context | None = getattr(exc, "ctx", None)
    has_items = ctx is not None and any(getattr(one, "metavar", "") == "ITEM" for one in ctx.command.params)
    return "; before a name that begins with a dash put --" if has_items else ""


def _print_version(value: bool) -> None:
    if value:
        typer.echo(f"longshore {__version__}")
        raise typer.Exit


def make_app() -> typer.Typer:
    """The whole command line."""
    app = typer.Typer(
        cls=_Commands,
        help="A task queue made of containers: one worker per item of a source, all state in the Jobs themselves.",
        epilog=EXIT_CODES,
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )

    @app.callback()
    def root(
        *,
        version: Annotated[
            bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
        ] = False,
    ) -> None:
        """A task queue made of containers: one worker per item of a source, all state in the Jobs themselves."""

    is_plugin = program() == KUBECTL  # what is about a file of this machine is not kubectl's
    if not is_plugin:
        app.command()(init)
        app.command()(check)
        app.command(epilog=EXIT_CODES)(run)
    looking = (status, top, look.ls, look.explain, look.logs, look.dead)
    steering = (mend.retry, mend.rerun, steer.pause, steer.resume, steer.drain)
    for command in (*looking, *steering, doctor, look.manifest):
        app.command()(command)
    if not is_plugin:
        app.command()(look.schema)
        app.add_typer(conform_app, name="conform")
    return app
