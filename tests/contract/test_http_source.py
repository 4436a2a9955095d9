"""The manager's side of the source contract, against servers that keep it badly: never an empty list instead."""

import contextlib
import http.server
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
from structlog.testing import capture_logs

from longshore import source as source_module
from longshore.source import HttpSource, Timeouts
from longshore_kit.ambassador import create_app
from longshore_kit.contract import quote_name
from longshore_kit.errors import ItemNotFound, SourceUnavailable
from support.ambassadors import AckSource, MemorySource, serving
from support.queues import NASTY_NAMES

LIST_BODY = b'{"kind":"ItemList","apiVersion":"v1","items":[]}'
LIST = {"kind": "ItemList", "apiVersion": "v1"}


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    answer: Callable[["_Handler"], None]

    def do_GET(self) -> None:
        type(self).answer(self)

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def reply(self, body: bytes, code: int = 200, **headers: str) -> None:
        """A whole reply."""
        self.send_response(code)
        for name, value in {"Content_Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def served(answer: Callable[[_Handler], None]) -> Iterator[str]:
    """A server whose every reply is `answer`; its URL."""
    handler = type("Handler", (_Handler,), {"answer": staticmethod(answer)})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def asking(answer: Callable[[_Handler], None], timeouts: Timeouts | None = None) -> Iterator[HttpSource]:
    """A client of such a server."""
    with served(answer) as url:
        client = HttpSource(url, timeouts=timeouts)
        try:
            yield client
        finally:
            client.close()


def send_slowly(handler: _Handler, sent: bytes, until: threading.Event) -> None:
    """Byte by byte, fifty in a second, until nobody wants them any more."""
    with contextlib.suppress(OSError):
        for byte in sent:
            if until.wait(0.02):
                return
            handler.wfile.write(bytes([byte]))


def body_of(**parts: Any) -> bytes:
    """A list's JSON with some parts changed."""
    return json.dumps(LIST | {"items": ["a"]} | parts).encode()


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "no valid JSON"),
        (b"<html>Sign in</html>", "it begins with b'<html>Sign in</html>'"),
        (b'{"kind":"ItemList","apiVersion":"v1","items":["a"', "no valid JSON"),
        (body_of(kind="List"), "expected kind 'ItemList', got 'List'"),
        (body_of(apiVersion="v2"), "expected apiVersion 'v1', got 'v2'"),
        (body_of(items=None), "ItemList.items must be a list, it is null or missing"),
        (body_of(items={"a": 1}), "ItemList.items must be a list, it is an object"),
        (body_of(items=["a", 1]), "ItemList.items[1] must be a string, it is a number"),
        (body_of(items=[["a"]]), "ItemList.items[0] must be a string, it is a list"),
        (b"[]", "expected an object of kind ItemList, got a list"),
        (b'{"kind":"ItemList","apiVersion":"v1","items":[],"items":["a"]}', "the key 'items' stands twice"),
        (b'{"kind":"ItemList","apiVersion":"v1","items":[NaN]}', "NaN is no JSON"),
        (b'{"kind":"ItemList","apiVersion":"v1","items":["\xff"]}', "no valid JSON"),
        (body_of(metadata={"continue": 7}), "ItemList.metadata.continue must be a string"),
    ],
)
def test_what_is_no_list_is_an_error_with_a_reason(body: bytes, words: str) -> None:
    """Wrong kind, wrong types, HTML, NaN, a key twice, a cut: each is told, none is an empty list."""
    with asking(lambda handler: handler.reply(body)) as client, pytest.raises(SourceUnavailable) as caught:
        client.list_items()

    assert words in str(caught.value)


@pytest.mark.parametrize("code", [204, 206, 301, 401, 404, 429, 500, 503])
def test_only_200_is_an_answer(code: int) -> None:
    """Whatever else comes, redirects included, the list is not known; a Status' words are passed on."""
    status = b'{"kind":"Status","message":"the folder is not mounted"}' if code != 204 else b""

    def answer(handler: _Handler) -> None:
        handler.reply(status, code, Location="/elsewhere")

    with asking(answer) as client, pytest.raises(SourceUnavailable) as caught:
        client.list_items()

    assert f"answered {code}: " in str(caught.value)


def test_a_reply_cut_off_is_an_error() -> None:
    """Fewer bytes than announced: a server that died in the middle."""

    def answer(handler: _Handler) -> None:
        handler.reply(b'{"kind":"ItemList","apiVersion":"v1","items":["a"]}   ', Content_Length="900")
        handler.close_connection = True

    with asking(answer) as client, pytest.raises(SourceUnavailable, match="IncompleteRead"):
        client.list_items()


def test_a_reply_without_end_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded, whatever a source sends."""
    monkeypatch.setattr(source_module, "MAX_BYTES", 10_000)

    with (
        asking(lambda handler: handler.reply(body_of(items=["x" * 100] * 200))) as client,
        pytest.raises(SourceUnavailable, match="longer than 10000 bytes"),
    ):
        client.list_items()


def test_a_server_that_dribbles_is_cut_off() -> None:
    """The deadline is for the whole reply, not only for each byte."""
    finished = threading.Event()

    def answer(handler: _Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000000")
        handler.end_headers()
        while not finished.wait(0.02):
            try:
                handler.wfile.write(b" ")
            except OSError:
                return

    with asking(answer, Timeouts(total=0.3)) as client, pytest.raises(SourceUnavailable, match="no whole reply within"):
        client.list_items()
    finished.set()


@pytest.mark.parametrize(
    ("beginning", "rest"),
    [
        pytest.param(b"", b"HTTP/1.1 200 OK" + b" " * 60_000, id="the status line"),
        pytest.param(b"HTTP/1.1 200 OK\r\n", b"X-Long: " + b"x" * 60_000, id="one header"),
        pytest.param(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 10_000, id="100 Continue"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0" * 60_000, id="a chunk's length"),
    ],
)
@pytest.mark.parametrize("ask", [HttpSource.list_items, lambda client: client.get_item("a")], ids=["list", "item"])
def test_the_deadline_is_for_what_comes_before_the_body_too(
    beginning: bytes, rest: bytes, ask: Callable[[HttpSource], object]
) -> None:
    """Each byte comes well within the read timeout, and there is no end of them."""
    finished = threading.Event()

    def answer(handler: _Handler) -> None:
        handler.wfile.write(beginning)
        send_slowly(handler, rest, finished)

    started = time.monotonic()
    with asking(answer, Timeouts(read=30, total=0.5)) as client:
        with pytest.raises(SourceUnavailable, match=r"no whole reply within 0\.5 s"):
            ask(client)
        took = time.monotonic() - started
        finished.set()

    # Far below the read timeout, far above what a busy machine adds.
    assert 0.5 <= took < 10


def test_100_continue_at_full_speed_is_cut_off() -> None:
    """A server that never lets the client wait is no way around the deadline either."""

    def answer(handler: _Handler) -> None:
        with contextlib.suppress(OSError):
            while True:
                handler.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)

    with asking(answer, Timeouts(total=0.5)) as client, pytest.raises(SourceUnavailable, match="no whole reply within"):
        client.list_items()


def test_each_thread_and_each_request_has_its_own_deadline() -> None:
    """One that hangs takes no time from those beside it or after it, though they share the client."""
    finished = threading.Event()

    def answer(handler: _Handler) -> None:
        if handler.path.endswith("slow"):
            send_slowly(handler, b"HTTP/1.1 100 Continue\r\n\r\n" * 10_000, finished)
        else:
            handler.reply(b'{"kind":"Item","apiVersion":"v1","data":{}}')

    with asking(answer, Timeouts(total=0.5)) as client:
        caught: list[SourceUnavailable] = []

        def ask_the_slow_one() -> None:
            try:
                client.get_item("slow")
            except SourceUnavailable as exc:
                caught.append(exc)

        client.get_item("kept alive")
        thread = threading.Thread(target=ask_the_slow_one)
        thread.start()
        beside = 0
        while thread.is_alive():
            client.get_item("quick")
            beside += 1
        finished.set()

    assert (len(caught), beside > 0) == (1, True)


def test_a_connection_that_is_kept_gets_a_new_deadline() -> None:
    """The deadline is the request's, not the connection's: time passes between two requests."""
    clock = {"now": 0.0}
    connections = set()

    def answer(handler: _Handler) -> None:
        connections.add(handler.client_address)
        handler.reply(body_of())

    with served(answer) as url:
        client = HttpSource(url, monotonic=lambda: clock["now"])
        client.list_items()
        clock["now"] = 1000.0

        assert (client.list_items().names, len(connections)) == (("a",), 1)
        client.close()


def test_a_redirects_body_is_not_swallowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """requests reads all of it, wherever it leads; the cap on bytes is for it too."""
    monkeypatch.setattr(source_module, "MAX_BYTES", 10_000)

    def answer(handler: _Handler) -> None:
        handler.reply(b"x" * 20_000, 301, Location="/elsewhere")

    with asking(answer) as client, pytest.raises(SourceUnavailable, match="longer than 10000 bytes"):
        client.list_items()


def test_a_server_that_hangs_is_given_up() -> None:
    """Silence is an answer after a while: unavailable."""
    finished = threading.Event()

    def answer(_: _Handler) -> None:
        finished.wait(30)

    with asking(answer, Timeouts(read=0.2)) as client:
        with pytest.raises(SourceUnavailable, match="timed out"):
            client.list_items()
        finished.set()


def test_nobody_there_is_unavailable() -> None:
    """A refused connection is told in words."""
    client = HttpSource("http://127.0.0.1:1")

    with pytest.raises(SourceUnavailable, match="Connection refused"):
        client.list_items()
    client.close()


def test_an_unchanged_list_is_the_same_object() -> None:
    """A 304 costs nothing: what was listed before is handed out again, and waiting is asked for."""
    asked: list[tuple[str | None, str | None]] = []

    def answer(handler: _Handler) -> None:
        asked.append((handler.headers["If-None-Match"], handler.headers["Prefer"]))
        if handler.headers["If-None-Match"]:
            handler.reply(b"", 304, ETag='"1"')
        else:
            handler.reply(body_of(), ETag='"1"')

    with asking(answer) as client:
        first, second = client.list_items(), client.list_items(wait_seconds=20)

    assert (second is first, asked) == (True, [(None, None), ('"1"', "wait=20")])


def test_how_many_come_soon_is_handed_on() -> None:
    """A list whose names are the same, but not what is still to come, is another list."""
    pending = iter([2, 2, 0])

    def answer(handler: _Handler) -> None:
        handler.reply(body_of(metadata={"pendingItemCount": next(pending)}))

    with asking(answer) as client:
        first, second, third = (client.list_items() for _ in range(3))

    assert (second is first, first.pending_count, third.pending_count) == (True, 2, 0)


def test_an_equal_list_without_etag_is_the_same_object_too() -> None:
    """A server that knows no ETag still costs no more than parsing."""
    with asking(lambda handler: handler.reply(body_of())) as client:
        assert client.list_items() is client.list_items()


def test_a_304_that_nobody_asked_for_is_an_error() -> None:
    """Without If-None-Match there is nothing that could be unchanged."""
    with asking(lambda handler: handler.reply(b"", 304)) as client, pytest.raises(SourceUnavailable, match="304"):
        client.list_items()


def test_pages_that_were_not_asked_for_are_followed() -> None:
    """A list that says there is more is not taken for the whole."""

    def answer(handler: _Handler) -> None:
        if "continue=t%3D1" in handler.path:
            handler.reply(body_of(items=["b"]))
        else:
            handler.reply(body_of(metadata={"continue": "t=1"}))

    with asking(answer) as client:
        assert client.list_items().names == ("a", "b")


def test_a_list_that_changes_between_pages_is_no_list() -> None:
    """410 in the middle: half of one list and half of another would be neither."""

    def answer(handler: _Handler) -> None:
        handler.reply(b"{}", 410) if "continue" in handler.path else handler.reply(body_of(metadata={"continue": "t"}))

    with asking(answer) as client, pytest.raises(SourceUnavailable, match="changed between two pages"):
        client.list_items()


def test_names_that_are_not_allowed_are_left_out_and_told() -> None:
    """One bad name keeps no other from being listed; a warning has up to three, with what is wrong, safe to print."""
    names = ["a", "", "\x1b[31m\0\n" * 20, "..", "b", "x" * 1025, "a"]
    with asking(lambda handler: handler.reply(body_of(items=names))) as client, capture_logs() as logs:
        listed = client.list_items().names

    assert listed == ("a", "b")
    assert logs == [
        {
            "log_level": "warning",
            "event": "names left out that the contract does not allow",
            "count": 4,
            "examples": {
                "''": "it is empty",
                ascii(("\x1b[31m\0\n" * 20)[:80]): "it contains a NUL",
                "'..'": "clients remove it from URLs",
            },
        }
    ]


def test_left_out_names_are_told_once_until_they_change() -> None:
    """A list that comes every second warns when there is something new, and again after it was right."""
    lists = iter([["", "a"], ["b", ""], ["", ".."], ["a"], ["", "a"]])

    with asking(lambda handler: handler.reply(body_of(items=next(lists)))) as client:
        warned = []
        for _ in range(5):
            with capture_logs() as logs:
                client.list_items()
            warned.append([line["count"] for line in logs])

    assert warned == [[1], [], [2], [], [1]]


@pytest.mark.parametrize("name", NASTY_NAMES, ids=repr)
def test_an_item_is_asked_for_by_its_encoded_name(name: str) -> None:
    """Every byte but unreserved ones is encoded, `/` included, and nothing on the way tidies it."""
    asked: list[str] = []

    def answer(handler: _Handler) -> None:
        asked.append(handler.path)
        handler.reply(b'{"kind":"Item","apiVersion":"v1","data":{"x":1}}')

    with asking(answer) as client:
        item = client.get_item(name)

    assert (item.name, item.data, asked) == (
        name,
        {"x": 1},
        [f"/api/v1/items/{quote_name(name)}"],
    )


def test_an_item_that_is_gone_is_told_from_a_source_that_is_down() -> None:
    """404 is the item's; anything else is the source's."""
    with asking(lambda handler: handler.reply(b"{}", 404)) as client, pytest.raises(ItemNotFound):
        client.get_item("a")
    with asking(lambda handler: handler.reply(b"{}", 503)) as client, pytest.raises(SourceUnavailable):
        client.get_item("a")


def test_the_environments_proxies_have_no_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """Items are served on loopback, whatever HTTP_PROXY says."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")

    with asking(lambda handler: handler.reply(body_of())) as client:
        assert client.list_items().names == ("a",)


@pytest.mark.parametrize(
    ("code", "body", "wants"),
    [
        (200, b'{"kind":"SourceInfo","apiVersion":"v1","capabilities":["ack","more"]}', True),
        (200, b'{"kind":"SourceInfo","apiVersion":"v1","capabilities":[]}', False),
        (404, b"", False),
        (405, b"", False),
    ],
)
def test_only_who_offers_it_is_told(code: int, body: bytes, wants: bool) -> None:
    """What knows nothing of capabilities has none."""
    with asking(lambda handler: handler.reply(body, code)) as client:
        assert client.wants_acks() is wants


def test_whether_it_wants_to_be_told_must_be_known() -> None:
    """Could not ask is never "does not want"."""
    for code, body in ((503, b""), (200, b"<html>welcome</html>"), (200, LIST_BODY), (400, b"")):
        answer = partial(_Handler.reply, body=body, code=code)
        with asking(answer) as client, pytest.raises(SourceUnavailable):
            client.wants_acks()


@pytest.mark.parametrize("name", NASTY_NAMES, ids=repr)
def test_a_done_item_is_told_by_its_encoded_name(name: str) -> None:
    """The kit's own ambassador takes every name back as it was sent."""
    store = AckSource(NASTY_NAMES)
    with serving(create_app(store)) as url:
        source = HttpSource(url)
        source.acknowledge(name)
        source.acknowledge(name)
        wants = source.wants_acks()
        source.close()

    assert (wants, name in store.listed.names, len(store.listed.names)) == (True, False, len(NASTY_NAMES) - 1)


def test_what_does_not_take_it_in_is_an_error() -> None:
    """It is told again later."""
    with serving(create_app(MemorySource(["a"]))) as url, pytest.raises(SourceUnavailable, match="answered 405"):
        HttpSource(url).acknowledge("a")


def test_what_a_source_says_in_its_error_is_told_on_one_line_that_nobody_obeys() -> None:
    """Its words end in a terminal: what that would obey is spelled out."""
    status = json.dumps({"kind": "Status", "message": "down\x1b]0;x\x07\nlongshore: all is well \ud800"}).encode()

    with asking(lambda handler: handler.reply(status, 503)) as client, pytest.raises(SourceUnavailable) as caught:
        client.list_items()

    assert str(caught.value).partition("answered ")[2] == "503: down\\x1b]0;x\\x07\\nlongshore: all is well \\ud800"


@pytest.mark.parametrize(
    ("code", "body"),
    [
        (503, json.dumps({"kind": "Status", "message": "x" * 1_000_000}).encode()),
        (200, body_of(kind="x" * 1_000_000)),
        (200, body_of(apiVersion="x" * 1_000_000)),
    ],
)
def test_an_error_of_any_length_is_cut(code: int, body: bytes) -> None:
    """It goes into logs, Events and pages, again and again."""
    with asking(lambda handler: handler.reply(body, code)) as client, pytest.raises(SourceUnavailable) as caught:
        client.list_items()

    assert (len(str(caught.value)) < 1000, "xxx… (" in str(caught.value)) == (True, True)


def test_a_status_line_without_sense_is_told_safely() -> None:
    """Also what is no HTTP at all is somebody's words."""

    def answer(handler: _Handler) -> None:
        handler.wfile.write(b"down\x1b[2J " + b"x" * 10_000 + b"\r\n\r\n")
        handler.close_connection = True

    with asking(answer) as client, pytest.raises(SourceUnavailable) as caught:
        client.list_items()

    told = str(caught.value)
    assert (told.isprintable(), len(told) < 1000, "down\\x1b[2J" in told) == (True, True, True)


@pytest.mark.parametrize("tag", ["\xa0x", "\xe4", '"' + "x" * 5000 + '"'])
def test_an_odd_tag_is_no_tag(tag: str) -> None:
    """A list is worth more than the request that a tag saves."""
    asked: list[str | None] = []

    def answer(handler: _Handler) -> None:
        asked.append(handler.headers["If-None-Match"])
        handler.reply(body_of(), ETag=tag)

    with asking(answer) as client:
        lists = [client.list_items().names for _ in range(2)]

    assert (lists, asked) == ([("a",), ("a",)], [None, None])


def test_a_tag_is_forgotten_after_an_error() -> None:
    """Whatever it was that the server stumbled over, it is asked the plain question next."""
    asked: list[str | None] = []

    def answer(handler: _Handler) -> None:
        asked.append(handler.headers["If-None-Match"])
        handler.reply(body_of(), 500 if len(asked) == 2 else 200, ETag='"t"')

    with asking(answer) as client:
        client.list_items()
        with pytest.raises(SourceUnavailable):
            client.list_items()
        client.list_items()

    assert asked == [None, '"t"', None]
