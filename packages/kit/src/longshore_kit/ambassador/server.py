"""The ambassador as a process: two ports, bounded threads, and an end within two seconds of being asked for.

Owns sockets, threads and signals. Items are served on loopback only, as in the book; health also on a second port,
since the kubelet can't reach loopback.
"""

import contextlib
import json
import logging
import os
import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

import waitress.server
from waitress.channel import HTTPChannel
from waitress.task import ErrorTask

from longshore_kit.ambassador.app import Waiting, create_app, create_health_app
from longshore_kit.contract import Status
from longshore_kit.errors import SettingsError
from longshore_kit.logs import LogFormat, LogLevel, configure, get_logger
from longshore_kit.settings import Boolean, Settings, log_format_setting, log_level_setting, setting
from longshore_kit.signals import stop_on_signals
from longshore_kit.source import Source

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

_HEALTH_THREADS: Final = 2
_UNSENT_BYTES: Final = 1024 * 1024
_RECEIVED_BYTES: Final = 8192
_TOO_LARGE: Final = 413
_STOP_SECONDS: Final = 1.0
"""What requests under way get to end in; with the rest it stays within two seconds."""


@dataclass(frozen=True)
class Limits:
    """What one port takes of its clients, of whom nobody has been asked who they are."""

    idle_seconds: int = 10
    """A connection without a request for so long is dropped, and so is one whose request takes longer to arrive."""
    connections: int = 500
    """At once; a thousand open files are the usual limit of a process."""
    body_bytes: int = 16 * 1024
    """Of a request; kept in memory until it is whole."""


_DEFAULT_LIMITS: Final = Limits()
_ITEMS_LIMITS: Final = Limits(idle_seconds=120)
"""The manager, beside us, keeps its connection from one look to the next."""


class AmbassadorSettings(Settings):
    """Settings that every ambassador has; an image's own class adds to them."""

    listen_port: int = setting(
        "Where items are served, on loopback only, since the manager is in the same pod.",
        unit="port",
        default=8080,
        ge=0,
        le=65535,
    )
    listen_fd: int | None = setting(
        "An inherited listening socket to serve items on instead, so that who starts the ambassador knows its address.",
        unit="file descriptor",
        default=None,
        ge=3,
    )
    health_port: int = setting(
        "Where health is served, on all addresses, since the kubelet can't reach loopback; 0: nowhere.",
        unit="port",
        default=8081,
        ge=0,
        le=65535,
    )
    threads: int = setting(
        "Requests answered side by side; the manager has two at most, and half may be held by `Prefer: wait`.",
        unit="number",
        default=8,
        ge=2,
        le=256,
    )
    exit_with_parent: Boolean = setting(
        "End when standard input ends, so that no ambassador outlives a killed `longshore run`.",
        unit="true or false",
        default=False,
    )
    log_format: LogFormat = log_format_setting()
    log_level: LogLevel = log_level_setting()


def serve(source: Source, settings: AmbassadorSettings) -> None:
    """
    Serve `source` until SIGTERM or SIGINT; call it in the main thread.

    Raises:
        SettingsError: a port can't be had; the message names the variable.
    """
    stopping = stop_on_signals()
    configure(settings.log_format, level=settings.log_level)
    # "Task queue depth" says that a request waits a moment for a thread, which is what threads are bounded for.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    log = get_logger("longshore.ambassador")
    if settings.exit_with_parent:
        _watch_stdin(stopping.set)
    app = create_app(source, waiting=Waiting(at_once=settings.threads // 2, stopping=stopping), log=log)
    with WebServer(app, _items_socket(settings), settings.threads, limits=_ITEMS_LIMITS) as items:
        if settings.health_port:
            with WebServer(create_health_app(app), _health_socket(settings), _HEALTH_THREADS):
                log.info("ambassador started", port=items.port, health_port=settings.health_port)
                stopping.wait()
        else:
            log.info("ambassador started", port=items.port)
            stopping.wait()
    log.info("ambassador stopped")


class _Refusal(ErrorTask):  # type: ignore[misc]  # waitress has no types
    """What waitress itself refuses, told as everything else is."""

    def execute(self) -> None:
        error, most = self.request.error, self.channel.adj.max_request_body_size - 1
        message = f"the request's body is longer than {most} bytes" if error.code == _TOO_LARGE else str(error.body)
        body = json.dumps(Status(error.code, error.reason.replace(" ", ""), message).to_wire()).encode()
        self.status = f"{error.code} {error.reason}"
        self.response_headers.append(("Content-Type", "application/json"))
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)


class _Channel(HTTPChannel):  # type: ignore[misc]  # waitress has no types
    """One client's connection."""

    error_task_class = _Refusal

    def handle_read(self) -> None:
        """As waitress', but a further bit of a request is no sign of life: it must have come whole in time."""
        since: float | None = self.last_activity if self.request is not None else None  # type: ignore[has-type]
        super().handle_read()
        if since is not None and self.request is not None:
            self.last_activity = since


class WebServer:
    """One port's server, in threads of its own; a context that is held while it serves."""

    def __init__(
        self, app: "WSGIApplication", listener: socket.socket, threads: int, *, limits: Limits = _DEFAULT_LIMITS
    ) -> None:
        self.port: Final = int(listener.getsockname()[1])
        self._server: Any = waitress.server.create_server(
            app,
            map={},
            sockets=[listener],
            threads=threads,
            ident="longshore",
            # A little of what a client has not taken yet is kept, in memory: no file can be made on a read-only root.
            outbuf_overflow=_UNSENT_BYTES * 4,
            outbuf_high_watermark=_UNSENT_BYTES,
            clear_untrusted_proxy_headers=True,
            channel_timeout=limits.idle_seconds,
            cleanup_interval=1,
            connection_limit=limits.connections,
            asyncore_use_poll=True,  # select() breaks at file descriptor 1024
            max_request_body_size=limits.body_bytes + 1,
            # As with replies; waitress looks at a body's length after it has taken in what came.
            inbuf_overflow=limits.body_bytes + _RECEIVED_BYTES * 2,
            recv_bytes=_RECEIVED_BYTES,
        )
        self._server.channel_class = _Channel
        self._loop: Final = threading.Thread(target=self._server.run, name=f"serve-{self.port}", daemon=True)

    def __enter__(self) -> Self:
        self._loop.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.task_dispatcher.shutdown(cancel_pending=True, timeout=_STOP_SECONDS)
        # Something else may wake the loop between the two steps of this: then everything is closed, this pipe too.
        with contextlib.suppress(OSError):
            self._server.trigger.pull_trigger(self._close)
        self._loop.join(_STOP_SECONDS)

    def _close(self) -> None:
        """In the loop's own thread: it ends when nothing is left to listen to."""
        for channel in list(self._server._map.values()):  # noqa: SLF001 - waitress closes its listener only
            channel.close()


def _items_socket(settings: AmbassadorSettings) -> socket.socket:
    if settings.listen_fd is not None:
        try:
            inherited = socket.socket(fileno=settings.listen_fd)
        except OSError as exc:
            raise SettingsError(f"LISTEN_FD={settings.listen_fd}: no listening socket: {exc.strerror}") from exc
        is_tcp = inherited.family in {socket.AF_INET, socket.AF_INET6} and inherited.type == socket.SOCK_STREAM
        if not is_tcp or not inherited.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            inherited.detach()
            raise SettingsError(f"LISTEN_FD={settings.listen_fd}: no listening socket: it is of another kind")
        return inherited
    return bound("LISTEN_PORT", settings.listen_port, "127.0.0.1")


def _health_socket(settings: AmbassadorSettings) -> socket.socket:
    return bound("HEALTH_PORT", settings.health_port, "")


def bound(variable: str, port: int, host: str) -> socket.socket:
    """
    A listening socket; an empty `host` means all addresses.

    Raises:
        SettingsError: it can't be had; the message names the variable that asked for it.
    """
    try:
        if not host and socket.has_dualstack_ipv6():
            return socket.create_server((host, port), family=socket.AF_INET6, dualstack_ipv6=True)
        return socket.create_server((host, port))
    except OSError as exc:
        raise SettingsError(f"{variable}={port}: can't listen there: {exc.strerror}; choose another port") from exc


def _watch_stdin(on_end: Callable[[], None]) -> None:
    def watch() -> None:
        # Closed from the first is an end too; then its number may be that of something else by now.
        if sys.stdin is not None:
            with contextlib.suppress(OSError):
                while os.read(0, 4096):
                    pass
        on_end()

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()
