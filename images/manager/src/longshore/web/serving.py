"""The page's server: its socket and its threads. Loads the web server, so a command does it when it serves."""

import logging
from typing import Final

from longshore.web.actions import Actions
from longshore.web.app import BODY_MOST, StatusApp
from longshore.web.board import LOGS_AT_ONCE, Board
from longshore.web.settings import StatusSettings
from longshore_kit.ambassador.server import Limits, WebServer, bound

THREADS: Final = 2 * LOGS_AT_ONCE
"""While as many logs as may be are read from a slow API server, as many threads answer everything else."""


def status_server(
    board: Board, settings: StatusSettings, *, port: int, host: str, variable: str, actions: Actions | None = None
) -> WebServer:
    """
    The page's server, to be entered; an empty `host` means all addresses.

    Raises:
        SettingsError: the port can't be had; the message names `variable`.
    """
    # "Task queue depth" says that a request waits a moment for a thread, which is what threads are bounded for.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    app = StatusApp(board, token=settings.token, actions=actions, names=settings.status_hosts)
    return WebServer(app, bound(variable, port, host), THREADS, limits=Limits(body_bytes=BODY_MOST))
