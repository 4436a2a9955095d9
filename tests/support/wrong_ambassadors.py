"""Ambassadors of a few lines on the standard library: one that is right, and many that break one rule each.

An ambassador here is a function from a request to a reply; a wrong one bends the reply of the right one. So the
conformance kit is tried on something that shares no code with the kit's own web app.
"""

import hashlib
import itertools
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias
from urllib.parse import parse_qs, unquote

NAMES = ("a.mp4", "b c", "d/é", "e%2Fe", "f?#")
LISTS = ("/api/v1/items", "/items")
STOPPING_SECONDS = 60


@dataclass(frozen=True)
class Request:
    """What was asked; `path` is raw, without the query."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    stopping: threading.Event

    @property
    def is_whole_list(self) -> bool:
        return self.path in LISTS and "limit" not in self.query and "continue" not in self.query

    @property
    def is_page(self) -> bool:
        return self.path in LISTS and not self.is_whole_list

    @property
    def is_item(self) -> bool:
        return self.method == "GET" and self.path.startswith(tuple(f"{path}/" for path in LISTS))


@dataclass(frozen=True)
class Reply:
    """What is answered."""

    code: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})

    @property
    def wire(self) -> dict[str, Any]:
        wire: dict[str, Any] = json.loads(self.body)
        return wire

    def with_wire(self, **fields: Any) -> "Reply":
        """The same reply with other fields in its body."""
        return json_reply(self.wire | fields, self.code, **self.headers)


Answer: TypeAlias = Callable[[Request], Reply]


def json_reply(wire: Any, code: int = 200, **headers: str) -> Reply:
    """`wire` as JSON."""
    return Reply(code, json.dumps(wire).encode(), {"Content-Type": "application/json"} | headers)


def status(code: int) -> Reply:
    """An error as the contract has it."""
    wire = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "No", "message": "no", "code": code}
    return json_reply(wire, code)


def item_list(request: Request, names: tuple[str, ...]) -> Reply:
    """These names as the list, or the page, or the 304 that is asked for."""
    wire: dict[str, Any] = {"kind": "ItemList", "apiVersion": "v1", "items": list(names)}
    if request.is_page:
        return page(request, names, wire)
    tag = f'"{hashlib.sha256(json.dumps(names).encode()).hexdigest()}"'
    if request.headers.get("If-None-Match") == tag:
        return Reply(304, b"", {"ETag": tag})
    return json_reply(wire, ETag=tag)


def page(request: Request, names: tuple[str, ...], wire: dict[str, Any]) -> Reply:
    """One page; tokens are `at-<number>`."""
    limit, token = request.query.get("limit", "1000"), request.query.get("continue", "at-0")
    if not limit.isdecimal() or int(limit) == 0 or not token.startswith("at-"):
        return status(400)
    start, end = int(token[3:]), int(token[3:]) + int(limit)
    more = {"metadata": {"continue": f"at-{end}"}} if end < len(names) else {}
    return json_reply(wire | {"items": names[start:end]} | more)


def right_with(names: tuple[str, ...]) -> Answer:
    """An ambassador that keeps every rule, except for what these names break."""

    def answer(request: Request) -> Reply:
        if request.method != "GET":
            return status(405)
        if request.path in LISTS:
            return item_list(request, names)
        if request.path in {"/healthz", "/readyz"}:
            return json_reply({})
        name = unquote(request.path.rpartition("/items/")[2])
        if request.is_item and name in names:
            return json_reply({"kind": "Item", "apiVersion": "v1", "data": {"name": name}})
        return status(404)

    return answer


right = right_with(NAMES)


def bend(applies: Callable[[Request], bool], change: Callable[[Reply], Reply]) -> Answer:
    """The right ambassador, with another reply to some requests."""

    def answer(request: Request) -> Reply:
        reply = right(request)
        return change(reply) if applies(request) else reply

    return answer


def at(*paths: str) -> Callable[[Request], bool]:
    """Requests to these paths."""
    return lambda request: request.path in paths


def as_html(reply: Reply) -> Reply:
    return replace(reply, headers={**reply.headers, "Content-Type": "text/html"})


def whole_list(request: Request) -> bool:
    return request.is_whole_list


def item(request: Request) -> bool:
    return request.is_item


def known_item(request: Request) -> bool:
    return request.is_item and right(request).code == 200


def unknown_item(request: Request) -> bool:
    return request.is_item and right(request).code == 404


def has_token(request: Request) -> bool:
    return "continue" in request.query


def bad_limit(request: Request) -> bool:
    return request.query.get("limit") in {"0", "abc"}


def bad_token(request: Request) -> bool:
    return has_token(request) and not request.query["continue"].startswith("at-")


def item_of(name: str) -> Callable[[Request], bool]:
    return lambda request: request.is_item and unquote(request.path).endswith(f"/items/{name}")


def decodes_twice(request: Request) -> Reply:
    return right(replace(request, path=unquote(request.path)) if request.is_item else request)


def refuses_unknown_parameters(request: Request) -> Reply:
    return right(request) if set(request.query) <= {"limit", "continue"} else status(400)


def never_lists_all() -> Answer:
    """Each list lacks another name."""
    turn = itertools.count()

    def answer(request: Request) -> Reply:
        left_out = NAMES[next(turn) % len(NAMES)] if request.is_whole_list else ""
        return right_with(tuple(name for name in NAMES if name != left_out))(request)

    return answer


def first_page_only(request: Request) -> Reply:
    return right(replace(request, query={"limit": "2"}) if request.is_whole_list else request)


def sends_known_list(request: Request) -> Reply:
    headers = {name: value for name, value in request.headers.items() if name != "If-None-Match"}
    return right(replace(request, headers=headers))


def tags_by_chance() -> Answer:
    """The ETag changes at each look."""
    turn = itertools.count()
    return bend(whole_list, lambda reply: replace(reply, headers={**reply.headers, "ETag": f'"{next(turn)}"'}))


def knows_every_etag(request: Request) -> Reply:
    return Reply(304, b"", {}) if "If-None-Match" in request.headers else right(request)


def skips_at_page_ends(request: Request) -> Reply:
    reply = right(request)
    return reply.with_wire(items=reply.wire["items"][1:]) if has_token(request) and reply.code == 200 else reply


def cuts_without_token(request: Request) -> Reply:
    reply = right(request)
    return reply.with_wire(metadata={}) if request.is_page and reply.code == 200 else reply


def pages_too_long(request: Request) -> Reply:
    reply = right(request)
    if not (request.is_page and reply.code == 200):
        return reply
    return reply.with_wire(items=["a.mp4", *reply.wire["items"]])


def pages_for_ever(request: Request) -> Reply:
    reply = right(request)
    return reply.with_wire(metadata={"continue": "at-1"}) if request.is_page and reply.code == 200 else reply


def holds_for_ever(request: Request) -> Reply:
    if "Prefer" in request.headers:
        request.stopping.wait(STOPPING_SECONDS)
    return right(request)


def takes_done(request: Request) -> Reply:
    return json_reply({}) if request.method == "POST" else right(request)


def offers(capabilities: Any) -> Answer:
    wire = {"kind": "SourceInfo", "apiVersion": "v1", "capabilities": capabilities}
    return bend(at("/api/v1"), lambda _: json_reply(wire))


WRONG: tuple[tuple[str, str, Answer], ...] = (
    ("test_list_is_an_item_list", "html", bend(whole_list, as_html)),
    ("test_list_is_an_item_list", "no JSON", bend(whole_list, lambda _: Reply(200, b"a.mp4\n"))),
    ("test_list_is_an_item_list", "a bare list", bend(whole_list, lambda _: json_reply(["a.mp4"]))),
    ("test_list_is_an_item_list", "an error", bend(whole_list, lambda _: status(503))),
    ("test_list_is_an_item_list", "objects", bend(whole_list, lambda reply: reply.with_wire(items=[{"name": "a"}]))),
    ("test_list_is_an_item_list", "null", bend(whole_list, lambda reply: reply.with_wire(items=None))),
    ("test_list_is_complete", "pages unasked", first_page_only),
    ("test_names_are_allowed", "dot", right_with((*NAMES, "."))),
    ("test_names_are_allowed", "empty", right_with((*NAMES, ""))),
    ("test_names_are_allowed", "too long", right_with((*NAMES, "é" * 513))),
    ("test_names_are_allowed", "NUL", right_with((*NAMES, "a\0b"))),
    ("test_names_are_allowed", "half a character", right_with((*NAMES, "\ud800"))),
    ("test_names_are_unique", "twice", right_with((*NAMES, "a.mp4"))),
    ("test_listed_items_are_given", "decodes twice", decodes_twice),
    ("test_listed_items_are_given", "slash unknown", bend(item_of("d/é"), lambda _: status(404))),
    ("test_listed_items_are_given", "html", bend(known_item, as_html)),
    ("test_listed_items_are_given", "no data", bend(known_item, lambda _: json_reply({"kind": "Item"}))),
    ("test_listed_items_are_given", "data is a list", bend(known_item, lambda reply: reply.with_wire(data=[]))),
    ("test_listed_items_are_given", "an error", bend(known_item, lambda _: status(500))),
    ("test_book_paths_answer_the_same", "no list", bend(at("/items"), lambda _: status(404))),
    ("test_book_paths_answer_the_same", "other list", bend(at("/items"), lambda reply: reply.with_wire(items=[]))),
    (
        "test_book_paths_answer_the_same",
        "no item",
        bend(lambda request: request.path.startswith("/items/"), lambda _: status(404)),
    ),
    ("test_unknown_item_is_not_found", "given", bend(unknown_item, lambda _: json_reply({"kind": "Item"}))),
    ("test_unknown_item_is_not_found", "html", bend(unknown_item, as_html)),
    ("test_unknown_item_is_not_found", "text", bend(unknown_item, lambda _: Reply(404, b"not found"))),
    ("test_unknown_item_is_not_found", "no reason", bend(unknown_item, lambda reply: reply.with_wire(reason=""))),
    ("test_unknown_item_is_not_found", "code as text", bend(unknown_item, lambda reply: reply.with_wire(code="404"))),
    ("test_unknown_item_is_not_found", "an error", bend(unknown_item, lambda _: status(500))),
    ("test_unknown_query_parameters_are_ignored", "refuses", refuses_unknown_parameters),
    ("test_two_lists_agree", "never all", never_lists_all()),
    ("test_known_list_is_not_sent_again", "always 200", sends_known_list),
    ("test_known_list_is_not_sent_again", "tags by chance", tags_by_chance()),
    (
        "test_known_list_is_not_sent_again",
        "304 with a body",
        bend(whole_list, lambda reply: replace(reply, body=b"{}") if reply.code == 304 else reply),
    ),
    ("test_unknown_etag_gets_the_list", "always 304", knows_every_etag),
    ("test_pages_make_up_the_list", "skips", skips_at_page_ends),
    ("test_pages_make_up_the_list", "cuts", cuts_without_token),
    ("test_pages_make_up_the_list", "too long", pages_too_long),
    ("test_pages_make_up_the_list", "for ever", pages_for_ever),
    ("test_pages_make_up_the_list", "refuses limit", bend(lambda request: request.is_page, lambda _: status(400))),
    ("test_unknown_tokens_are_refused", "first page", bend(bad_token, lambda _: right_list())),
    ("test_unknown_tokens_are_refused", "an error", bend(bad_token, lambda _: status(500))),
    ("test_bad_limits_are_refused", "ignored", bend(bad_limit, lambda _: right_list())),
    ("test_bad_limits_are_refused", "text", bend(bad_limit, lambda _: Reply(400, b"no"))),
    ("test_held_reply_comes_in_time", "for ever", holds_for_ever),
    ("test_healthz_answers", "none", bend(at("/healthz"), lambda _: status(404))),
    ("test_readyz_answers", "not ready", bend(at("/readyz"), lambda _: status(503))),
    ("test_info_is_absent_or_a_source_info", "text", offers("ack")),
    ("test_info_is_absent_or_a_source_info", "numbers", offers([1])),
    ("test_info_is_absent_or_a_source_info", "an error", bend(at("/api/v1"), lambda _: status(500))),
    ("test_done_is_absent_without_ack", "taken", takes_done),
)
"""The rule that is broken, how, and the ambassador that does it."""


def right_list() -> Reply:
    return json_reply({"kind": "ItemList", "apiVersion": "v1", "items": list(NAMES)})


@contextmanager
def served(answer: Answer) -> Iterator[str]:
    """The ambassador on a port of its own; its URL."""
    stopping = threading.Event()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(answer, stopping))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        stopping.set()
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(answer: Answer, stopping: threading.Event) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path, _, query = self.path.partition("?")
            parameters = {name: values[0] for name, values in parse_qs(query, keep_blank_values=True).items()}
            reply = answer(Request(self.command, path, parameters, dict(self.headers), stopping))
            # Who asked may have gone, which is what the held reply's rule is about.
            try:
                self._send(reply)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True

        do_POST = do_GET  # noqa: N815 - http.server's names

        def _send(self, reply: Reply) -> None:
            self.send_response(reply.code)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            self.wfile.write(reply.body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's name
            """Says nothing: a test's output is pytest's."""

    return Handler
