"""`serve()` as a process: its two ports, and that it ends when it is asked to, whatever is going on."""

import http.client
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from longshore_kit.ambassador import create_app
from longshore_kit.ambassador.server import Limits, WebServer, bound
from longshore_kit.contract import ExitCode
from support.ambassadors import MemorySource

TESTS = Path(__file__).parents[2]
PATIENCE_SECONDS = 30
"""Far longer than anything takes, and far shorter than what is held: a request for a minute, or for ever."""

# As an ambassador's __main__ does it; each look at the store is a line on stdout.
PROGRAM = """
import os, sys, threading
from longshore_kit.ambassador.server import AmbassadorSettings, serve
from longshore_kit.errors import SettingsError
from support.ambassadors import MemorySource

def on_list():
    print("listed", flush=True)
    if "STUCK" in os.environ:
        threading.Event().wait()

source = MemorySource(["a", "b/c"])
source.on_list = on_list
try:
    serve(source, AmbassadorSettings.from_environment(os.environ))
except SettingsError as exc:
    print(exc, file=sys.stderr)
    sys.exit(64)
"""
ITEMS = {"kind": "ItemList", "apiVersion": "v1", "items": ["a", "b/c"]}


@dataclass(frozen=True)
class Running:
    """An ambassador that has started."""

    process: subprocess.Popen[str]
    started: dict[str, Any]
    """The line that it logged when it had."""

    @property
    def url(self) -> str:
        """Where it serves items."""
        return f"http://127.0.0.1:{self.started['port']}"

    def get(self, path: str, **headers: str) -> requests.Response:
        """What it answers on the items' port."""
        return requests.get(self.url + path, headers=headers, timeout=PATIENCE_SECONDS)

    def await_looks(self, number: int) -> None:
        """Until the store was looked at so often, since the last time somebody asked."""
        assert self.process.stdout is not None
        assert [self.process.stdout.readline() for _ in range(number)] == ["listed\n"] * number

    def listens_at(self) -> set[tuple[str, int]]:
        """Its listening sockets: address and port."""
        connections = psutil.Process(self.process.pid).net_connections("tcp")
        return {(one.laddr.ip, one.laddr.port) for one in connections if one.status == psutil.CONN_LISTEN}

    def end(self) -> tuple[int, list[str]]:
        """Its exit code, once it has ended by itself, and the messages that it logged since its start."""
        _, log = self.process.communicate(timeout=PATIENCE_SECONDS)
        return self.process.returncode, [json.loads(line)["message"] for line in log.splitlines()]


def popen(environ: dict[str, str], pass_fds: Sequence[int] = (), within: Sequence[str] = ()) -> subprocess.Popen[str]:
    """The program with these settings, and no others; `within` is a command that runs it."""
    return subprocess.Popen(
        [*within, sys.executable, "-c", PROGRAM],
        env={"PYTHONPATH": str(TESTS), "LISTEN_PORT": "0", "HEALTH_PORT": "0", "LOG_FORMAT": "json", **environ},
        pass_fds=pass_fds,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@contextmanager
def running(*, pass_fds: Sequence[int] = (), **environ: str) -> Iterator[Running]:
    """The ambassador, up; killed at the end if it has not ended by itself."""
    process = popen(environ, pass_fds)
    try:
        assert process.stderr is not None
        yield Running(process, json.loads(process.stderr.readline()))
    finally:
        process.kill()
        process.communicate()


def refused(pass_fds: Sequence[int] = (), **environ: str) -> tuple[int, list[str]]:
    """The exit code of a start that fails, and the lines on stderr."""
    process = popen(environ, pass_fds)
    try:
        _, log = process.communicate(timeout=PATIENCE_SECONDS)
    finally:
        process.kill()
        process.communicate()
    return process.returncode, log.splitlines()


@pytest.fixture
def free_port() -> int:
    """A port that was free a moment ago: 0 would mean that health is served nowhere."""
    with socket.create_server(("", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.fixture
def taken() -> Iterator[socket.socket]:
    """A socket that listens on loopback."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def test_items_are_served_on_loopback_only_and_health_everywhere(free_port: int) -> None:
    """Nobody outside of the pod reaches the items, and the kubelet reaches health."""
    with running(HEALTH_PORT=str(free_port)) as ambassador:
        addresses = ambassador.listens_at()

    everywhere = "::" if socket.has_dualstack_ipv6() else "0.0.0.0"  # noqa: S104 - what is expected
    assert addresses == {("127.0.0.1", ambassador.started["port"]), (everywhere, free_port)}
    assert ambassador.started["health_port"] == free_port


def test_each_port_answers_what_is_its_own(free_port: int) -> None:
    """The items' port has all of the contract, the other one health and nothing else."""
    paths = ("/api/v1/items", "/items/b%2Fc", "/healthz", "/readyz")
    with running(HEALTH_PORT=str(free_port)) as ambassador:
        listed = ambassador.get("/api/v1/items").json()
        items = [ambassador.get(path).status_code for path in paths]
        health = [
            requests.get(f"http://127.0.0.1:{free_port}{path}", timeout=PATIENCE_SECONDS).status_code for path in paths
        ]

    assert (listed, items, health) == (ITEMS, [200, 200, 200, 200], [404, 404, 200, 200])


def test_without_a_health_port_there_is_one_port() -> None:
    """HEALTH_PORT=0 is nowhere, not just any port."""
    with running() as ambassador:
        addresses = ambassador.listens_at()

    assert addresses == {("127.0.0.1", ambassador.started["port"])}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_0(number: signal.Signals) -> None:
    """Being stopped is no failure, and its end is logged."""
    with running() as ambassador:
        ambassador.process.send_signal(number)
        ended = ambassador.end()

    assert ended == (0, ["ambassador stopped"])


def test_sigterm_answers_a_held_request_and_ends_in_time(free_port: int) -> None:
    """Who waits for a change gets the list as it is; nobody is waited for."""
    with running(HEALTH_PORT=str(free_port)) as ambassador, ThreadPoolExecutor(1) as pool:
        known = ambassador.get("/api/v1/items").headers["ETag"]
        ambassador.await_looks(1)
        held = pool.submit(ambassador.get, "/api/v1/items", **{"If-None-Match": known, "Prefer": "wait=60"})
        # Its own look, and the first that it takes because the list is what it was.
        ambassador.await_looks(2)
        ambassador.process.terminate()
        ended = ambassador.end()

        assert (ended, held.result().status_code) == ((0, ["ambassador stopped"]), 304)


def test_sigterm_ends_it_in_time_while_the_store_hangs() -> None:
    """A look at the store that never comes back keeps no ambassador alive."""
    with running(STUCK="true") as ambassador, socket.create_connection(("127.0.0.1", ambassador.started["port"])) as s:
        s.sendall(b"GET /api/v1/items HTTP/1.1\r\nHost: x\r\n\r\n")
        ambassador.await_looks(1)
        ambassador.process.terminate()
        code, log = ambassador.end()

    assert (code, log[-1]) == (0, "ambassador stopped")


def test_an_inherited_socket_is_served_instead_of_the_port(taken: socket.socket) -> None:
    """Who starts the ambassador knows its address, and may ask before it is up."""
    descriptor, port = taken.fileno(), taken.getsockname()[1]
    with running(pass_fds=[descriptor], LISTEN_FD=str(descriptor), LISTEN_PORT=str(port)) as ambassador:
        listed, addresses = ambassador.get("/api/v1/items").json(), ambassador.listens_at()

    assert (ambassador.started["port"], listed, addresses) == (port, ITEMS, {("127.0.0.1", port)})


def test_it_ends_with_who_started_it() -> None:
    """With EXIT_WITH_PARENT the end of standard input is as good as SIGTERM; what is read from it is nothing."""
    with running(EXIT_WITH_PARENT="true") as ambassador:
        assert ambassador.process.stdin is not None
        ambassador.process.stdin.write("words\n")
        ambassador.process.stdin.flush()
        before = ambassador.get("/healthz").status_code
        ended = ambassador.end()  # communicate() closes stdin

    assert (before, ended) == (200, (0, ["ambassador stopped"]))


def test_a_closed_standard_input_has_ended() -> None:
    """With EXIT_WITH_PARENT and nobody there from the first, it ends at once; it does not stay for ever."""
    process = popen({"EXIT_WITH_PARENT": "true"}, within=["sh", "-c", 'exec "$@" <&-', "sh"])
    try:
        code = process.wait(PATIENCE_SECONDS)
    finally:
        process.kill()
        process.communicate()

    assert code == 0


def test_without_being_told_it_outlives_its_standard_input() -> None:
    """A container has no standard input, and that is no reason to end."""
    with running() as ambassador:
        assert ambassador.process.stdin is not None
        ambassador.process.stdin.close()
        ambassador.process.stdin = None
        with pytest.raises(subprocess.TimeoutExpired):
            ambassador.process.wait(0.5)
        after = ambassador.get("/healthz").status_code

    assert after == 200


@pytest.mark.parametrize("variable", ["LISTEN_PORT", "HEALTH_PORT"])
def test_a_taken_port_is_told_by_its_variable(variable: str, taken: socket.socket) -> None:
    """A port that somebody has is misuse, in one line that says what to change."""
    port = taken.getsockname()[1]
    code, lines = refused([], **{variable: str(port)})

    assert (code, [re.sub(" \\(.*\\)", "", line) for line in lines]) == (
        ExitCode.USAGE,
        [f"{variable}={port}: can't listen there: Address already in use; choose another port"],
    )


def test_every_bad_setting_is_told_at_once() -> None:
    """A line for each, with the variable, its value and what was expected."""
    code, lines = refused(
        LISTEN_PORT="99999", LISTEN_FD="1", HEALTH_PORT="http", THREADS="1", EXIT_WITH_PARENT="yes", LOG_LEVEL="LOUD"
    )

    assert (code, [line.partition(" (")[0] for line in lines]) == (
        ExitCode.USAGE,
        [
            "LISTEN_PORT='99999': expected port",
            "LISTEN_FD='1': expected file descriptor",
            "HEALTH_PORT='http': expected port",
            "THREADS='1': expected number",
            "EXIT_WITH_PARENT='yes': expected true or false",
            "LOG_LEVEL='LOUD': expected DEBUG, INFO, WARNING or ERROR",
        ],
    )


def test_a_descriptor_that_is_no_socket_is_told() -> None:
    """Closed, or a file: one line that names the variable."""
    with Path(os.devnull).open("rb") as file:
        descriptor = file.fileno()
        a_file = refused([descriptor], LISTEN_FD=str(descriptor))
    closed = refused(LISTEN_FD="999")

    assert (a_file, closed) == (
        (ExitCode.USAGE, [f"LISTEN_FD={descriptor}: no listening socket: Socket operation on non-socket"]),
        (ExitCode.USAGE, ["LISTEN_FD=999: no listening socket: Bad file descriptor"]),
    )


def test_a_socket_of_another_kind_is_told() -> None:
    """A socket that can't be listened on is misuse like any other descriptor."""
    with socket.socket(type=socket.SOCK_DGRAM) as other:
        code, lines = refused([other.fileno()], LISTEN_FD=str(other.fileno()))

    assert (code, len(lines), lines[0][:9]) == (ExitCode.USAGE, 1, "LISTEN_FD")


def test_a_server_whose_loop_ended_first_ends_all_the_same() -> None:
    """Its loop may be woken by somebody else just when it is told to end: that is an end like any other."""
    with WebServer(create_app(MemorySource(["a"])), bound("LISTEN_PORT", 0, "127.0.0.1"), 2) as server:
        server._server.trigger.pull_trigger(server._close)
        server._loop.join(30)

    assert not server._loop.is_alive()


@contextmanager
def crowded(server: WebServer, number: int, sent: bytes) -> Iterator[None]:
    """So many connections on which nothing more comes than this."""
    with ExitStack() as stack:
        for _ in range(number):
            one = stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            one.sendall(sent)
        yield


@pytest.mark.parametrize("sent", [b"", b"GET /healthz HTTP/1.1\r\n"], ids=["idle", "half sent"])
@pytest.mark.parametrize(
    ("limits", "number"), [(Limits(), 150), (Limits(idle_seconds=1, connections=20), 40)], ids=["room", "full"]
)
def test_a_crowd_of_idle_connections_silences_nobody(limits: Limits, number: int, sent: bytes) -> None:
    """There is room for many, and who says nothing is dropped before long."""
    with (
        WebServer(create_app(MemorySource()), bound("HEALTH_PORT", 0, "127.0.0.1"), 2, limits=limits) as server,
        crowded(server, number, sent),
    ):
        response = requests.get(f"http://127.0.0.1:{server.port}/healthz", timeout=PATIENCE_SECONDS)

    assert response.status_code == 200


def test_who_sends_a_request_bit_by_bit_is_dropped_too() -> None:
    """A byte now and then is no request."""
    stop = threading.Event()
    limits = Limits(idle_seconds=1)
    with (
        WebServer(create_app(MemorySource()), bound("HEALTH_PORT", 0, "127.0.0.1"), 2, limits=limits) as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_SECONDS) as dribbling,
    ):

        def dribble() -> None:
            with suppress(OSError):
                dribbling.sendall(b"GET / HTTP/1.1\r\nX: ")
                while not stop.wait(0.05):
                    dribbling.sendall(b"x")

        thread = threading.Thread(target=dribble)
        thread.start()
        try:
            with suppress(ConnectionResetError):
                assert dribbling.recv(100) == b""
        finally:
            stop.set()
            thread.join()


@pytest.mark.parametrize(
    ("headers", "body"),
    [({"Content-Length": "100001"}, b""), ({"Transfer-Encoding": "chunked"}, b"186a1\r\n" + b"x" * 100_001)],
    ids=["length", "chunks"],
)
def test_a_body_beyond_the_limit_is_refused_and_never_a_file(
    headers: dict[str, str], body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody has been asked who sends it; what is allowed is in memory."""
    files: list[io.BytesIO] = []

    def new_file(*_: object) -> io.BytesIO:
        files.append(io.BytesIO())
        return files[-1]

    monkeypatch.setattr(tempfile, "TemporaryFile", new_file)
    limits = Limits(body_bytes=100_000)
    with WebServer(_echo_size, bound("HEALTH_PORT", 0, "127.0.0.1"), 2, limits=limits) as server:
        fits = requests.post(f"http://127.0.0.1:{server.port}/", data=b"x" * 100_000, timeout=PATIENCE_SECONDS)
        # Not a byte more than is read: who sends on may find the connection reset, and no reply.
        asking = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE_SECONDS)
        asking.request("POST", "/", body, headers)
        refused = asking.getresponse()
        told = json.loads(refused.read())
        asking.close()

    assert (fits.text, refused.status, told, files) == (
        "100000",
        413,
        {
            "kind": "Status",
            "apiVersion": "v1",
            "status": "Failure",
            "reason": "RequestEntityTooLarge",
            "message": "the request's body is longer than 100000 bytes",
            "code": 413,
        },
        [],
    )


def _echo_size(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(len(environ["wsgi.input"].read())).encode()]
