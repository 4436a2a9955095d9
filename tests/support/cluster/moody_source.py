"""An ambassador outside of the cluster that tests can have die, hang and lie, at an address that pods reach.

Its good replies are those of `wrong_ambassadors`, on the standard library alone. One reply per connection: what is
dead holds no old connection open.
"""

import itertools
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qs

from support.wrong_ambassadors import LISTS, Answer, Reply, Request, right_with

HANG_SECONDS: Final = 600.0
"""Longer than the manager waits for any reply; ended early when the mood changes."""


class MoodySource:
    """Lists `names`, until it is told to answer otherwise. Served from `served_at`."""

    def __init__(self, address: str) -> None:
        self._address: Final = address
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None
        self._port = 0
        self._change = threading.Event()
        self._answer: Answer = right_with(())
        self._names: tuple[str, ...] = ()
        self.lists_asked = 0
        """How often the list was asked for in this mood."""

    @property
    def url(self) -> str:
        """Where it answers, the same for all its life."""
        return f"http://{self._address}:{self._port}"

    def lists(self, names: Sequence[str]) -> None:
        """Be well, with these items."""
        self._names = tuple(names)
        self._enter(right_with(self._names))
        self.live()

    def answers(self, reply: Reply) -> None:
        """Give this to whoever asks for anything."""
        self._enter(lambda _: reply)

    def hangs(self) -> None:
        """Take every request, and say nothing."""

        def answer(request: Request) -> Reply:
            request.stopping.wait(HANG_SECONDS)
            return Reply(503, b"")

        self._enter(answer)

    def flaps(self, empty_times: int) -> None:
        """List everything once, then nothing so many times, and so on; items themselves are given as ever."""
        full, empty, turn = right_with(self._names), right_with(()), itertools.count(1)

        def answer(request: Request) -> Reply:
            is_empty = request.path in LISTS and next(turn) % (empty_times + 1) != 0
            return (empty if is_empty else full)(request)

        self._enter(answer)

    def live(self) -> None:
        """Listen, at the port of its former life."""
        if self._server is None:
            self._server = ThreadingHTTPServer((self._address, self._port), _handler(self))
            self._server.daemon_threads = True
            self._port = self._server.server_port
            self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
            self._thread.start()

    def die(self) -> None:
        """Listen no more: connections are refused."""
        self._change.set()
        if self._server and self._thread:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
        self._server = self._thread = None

    def reply(self, request: Request) -> Reply:
        """What is answered in the mood of now."""
        if request.path in LISTS:
            self.lists_asked += 1
        return self._answer(replace(request, stopping=self._change))

    def _enter(self, answer: Answer) -> None:
        self._change.set()
        self._change, self._answer, self.lists_asked = threading.Event(), answer, 0


@contextmanager
def served_at(address: str) -> Iterator[MoodySource]:
    """A source at an address, on a port of its own; well, and empty."""
    source = MoodySource(address)
    source.live()
    try:
        yield source
    finally:
        source.die()


def _handler(source: MoodySource) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.0"

        def do_GET(self) -> None:
            path, _, query = self.path.partition("?")
            parameters = {name: values[0] for name, values in parse_qs(query, keep_blank_values=True).items()}
            reply = source.reply(Request(self.command, path, parameters, dict(self.headers), threading.Event()))
            # Who asked may have lost patience, which is what hanging is about.
            try:
                self._send(reply)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True

        def _send(self, reply: Reply) -> None:
            self.send_response(reply.code)
            # A reply may claim another length than it has, as one that was cut off does.
            for name, value in {"Content-Length": str(len(reply.body)), **reply.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(reply.body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's name
            """Says nothing: a test's output is pytest's."""

    return Handler
