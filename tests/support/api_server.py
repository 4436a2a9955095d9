"""A server that speaks as a Kubernetes API server does, well or badly: replies from a script, requests written down."""

import contextlib
import http.server
import json
import queue
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from urllib.parse import parse_qsl, urlsplit

import kubernetes.client

from longshore.engines.kubernetes.api import Api, OnReply


@dataclass(frozen=True)
class Request:
    """What was asked."""

    method: str
    path: str
    query: dict[str, str]
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict, compare=False)


class Handler(http.server.BaseHTTPRequestHandler):
    """One connection; replies are the script's."""

    protocol_version = "HTTP/1.1"
    owner: "ApiServer"

    def _answer(self) -> None:
        parts = urlsplit(self.path)
        sent = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        request = Request(
            self.command,
            parts.path,
            dict(parse_qsl(parts.query, keep_blank_values=True)),
            json.loads(sent) if sent else None,
            dict(self.headers),
        )
        self.owner.requests.append(request)
        with contextlib.suppress(OSError):
            self.owner.next_step(request)(self)

    do_GET = do_POST = do_PATCH = do_DELETE = do_CONNECT = _answer  # noqa: N815 - the names that http.server looks for

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def begin(self, code: int, headers: Mapping[str, str]) -> None:
        """What comes before a body."""
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def write_chunk(self, data: bytes) -> None:
        """One piece of a body without a known length."""
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def reset(self) -> None:
        """Tear the connection down: the other side sees a reset, not an end."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()


Step: TypeAlias = Callable[[Handler], None]


def replying(body: object = b"{}", code: int = 200, **headers: str) -> Step:
    """A whole reply; what is no bytes goes as JSON."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()

    def step(handler: Handler) -> None:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        handler.begin(code, {"Content-Length": str(len(data)), "Content-Type": "application/json"} | given)
        handler.wfile.write(data)

    return step


def refusing(code: int, reason: str = "", message: str = "", **headers: str) -> Step:
    """A Status, as the API server words its errors."""
    status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
    return replying(status | {"message": message, "reason": reason, "code": code}, code, **headers)


def cutting(handler: Handler) -> None:
    """Hang up in the middle of a body."""
    handler.begin(200, {"Content-Length": "900"})
    handler.wfile.write(b'{"kind":"Job"}')
    handler.close_connection = True


def resetting(handler: Handler) -> None:
    """No reply at all: the connection is reset."""
    handler.reset()


def hanging(handler: Handler) -> None:
    """Say nothing until the test is over."""
    handler.owner.closing.wait(30)
    handler.close_connection = True


def telling(*lines: object, then: str = "silence") -> Step:
    """A watch: events, each on its line, and then `silence`, an `end` or a `cut`."""

    def step(handler: Handler) -> None:
        handler.begin(200, {"Transfer-Encoding": "chunked", "Content-Type": "application/json"})
        for line in lines:
            handler.write_chunk((line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n")
        if then == "silence":
            hanging(handler)
        elif then == "end":
            handler.write_chunk(b"")
        handler.close_connection = then != "end"

    return step


class ApiServer:
    """
    Lists and watches each have a script of their own, as they come from different moments; all else has a third.

    A watch that is not in the script is silent; any other request that is not is answered with 501.
    """

    def __init__(self, *steps: Step) -> None:
        self.requests: list[Request] = []
        self.closing = threading.Event()
        self.url = ""
        self._steps: dict[str, queue.SimpleQueue[Step]] = {name: queue.SimpleQueue() for name in ("", "list", "watch")}
        self.add("", *steps)

    def add(self, script: str, *steps: Step) -> None:
        """More for a script: `list`, `watch`, or the empty one for what is neither."""
        for step in steps:
            self._steps[script].put(step)

    def next_step(self, request: Request) -> Step:
        """What this request gets."""
        is_watch = request.query.get("watch") == "true"
        script = "watch" if is_watch else "list" if "limit" in request.query else ""
        try:
            return self._steps[script].get_nowait()
        except queue.Empty:
            return telling() if is_watch else refusing(501, "NotImplemented", "not in the test's script")

    def asked(self, *names: str, watch: bool) -> list[tuple[str | None, ...]]:
        """These query parameters of every list, or of every watch, so far."""
        chosen = [one for one in list(self.requests) if ("watch" in one.query) is watch]
        return [tuple(one.query.get(name) for name in names) for one in chosen]

    @contextmanager
    def running(self) -> Iterator["ApiServer"]:
        """As long as the block."""
        handler = type("Handler", (Handler,), {"owner": self})
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            server.daemon_threads = True
            self.url = f"http://127.0.0.1:{server.server_port}"
            thread = threading.Thread(target=server.serve_forever, args=(0.01,))
            thread.start()
            try:
                yield self
            finally:
                self.closing.set()
                server.shutdown()
                thread.join()


class Patience(threading.Event):
    """A `stop` that nobody waits for: the pauses are written down, and are over at once."""

    def __init__(self) -> None:
        super().__init__()
        self.pauses: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        """Whether it is set."""
        self.pauses.append(timeout or 0.0)
        return super().wait(0.001)


@contextmanager
def asking(
    *steps: Step,
    stop: threading.Event | None = None,
    clock: Callable[[], float] = lambda: 0.0,
    on_reply: OnReply = lambda _verb, _code: None,
    **configured: Any,
) -> Iterator[tuple[Api, ApiServer]]:
    """A server with this script, and an `Api` that asks it and never sleeps."""
    with ApiServer(*steps).running() as server:
        configuration = kubernetes.client.Configuration(host=server.url, retries=False, **configured)
        # As in `connect`: whatever the machine that tests has in its environment.
        configuration.proxy = None
        client = kubernetes.client.ApiClient(configuration)
        api = Api(client, "ns", stop=stop or Patience(), clock=clock, on_reply=on_reply)
        try:
            yield api, server
        finally:
            api.close()
