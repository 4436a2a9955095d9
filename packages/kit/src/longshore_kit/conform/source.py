"""The source contract as rules that any ambassador, in any language, is tried by over HTTP. docs/source-contract.md.

Owns the requests: one connection each, with a deadline, without proxies or .netrc of the environment. Only asks:
nothing here changes a source, and a source that changes meanwhile is looked at again before it is blamed. A rule
that rests on another one's subject (a list that can be read) is not tried without it, so that one fault shows as one.
"""

import math
import socket
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import HTTPError

from longshore_kit import contract
from longshore_kit.conform.rules import CheckResult, NothingToCheck, NotOffered, NotTried, Violation, check, see
from longshore_kit.contract import ItemList, Malformed

_LIST: Final = "/api/v1/items"
_BOOK_LIST: Final = "/items"
_INFO: Final = "/api/v1"
_OK: Final = 200
_NOT_MODIFIED: Final = 304
_BAD_REQUEST: Final = 400
_NOT_FOUND: Final = 404
_METHOD_NOT_ALLOWED: Final = 405
_GONE: Final = 410
_ITEMS_TRIED: Final = 50
"""So many listed items are asked for: enough to meet odd names, few enough for a store that is slow."""
_LOOKS: Final = 3
"""A source may change between two looks; so often it is looked at again before it is blamed."""
_SHOWN: Final = 3
_PORTS: Final = {"http": 80, "https": 443}
_CHUNK: Final = 64 * 1024


@dataclass(frozen=True)
class _Reply:
    request: str
    code: int
    headers: Mapping[str, str]
    body: bytes

    def violation(self, expected: str, to_do: str, got: str = "") -> Violation:
        """That this reply is not what the contract has."""
        begins = f" with the body {self.body[:80]!r}" if self.body else ""
        return Violation(self.request, expected=expected, got=got or f"{self.code}{begins}", to_do=to_do)

    def expect_json(self) -> None:
        kind = self.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise self.violation(
                "Content-Type: application/json", "set the header", f"{self.headers.get('Content-Type')!r}"
            )

    def expect_code(self, code: int, to_do: str) -> None:
        if self.code != code:
            raise self.violation(str(code), to_do)

    def expect_status(self, *codes: int) -> None:
        """An error in the contract's form, with one of these codes."""
        if self.code not in codes:
            raise self.violation(" or ".join(map(str, codes)), "answer with a Status and this code")
        self.expect_json()
        fixed = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": self.code}
        try:
            status = contract.decode(self.body)
        except Malformed as exc:
            raise self.violation("a Status as JSON", "write errors as JSON too", str(exc)) from exc
        if not isinstance(status, dict) or status | fixed != status or isinstance(status["code"], bool):
            raise self.violation(f"a Status with {fixed}", "fill these fields")
        for field in ("reason", "message"):
            if not isinstance(status.get(field), str) or not status[field]:
                raise self.violation(f"a text as the Status' {field}", "say why, in words", repr(status.get(field)))


class SourceContract:
    """
    The rules for an ambassador at `url`.

    As a base class for pytest set `url` as a class attribute or a property, or `self.url` in an autouse fixture.
    """

    url: str = ""
    """Where it listens, without /api/v1: `http://127.0.0.1:8080`."""
    timeout_seconds: float = 30.0
    """For one whole reply; the manager's own patience with a listing that says nothing."""
    held_seconds: float = 5.0
    """For a reply that may be held for one second: that and a generous while on a slow machine."""

    def test_list_is_an_item_list(self) -> None:
        """GET /api/v1/items answers 200 with an ItemList of plain strings, as application/json."""
        reply = self._get(_LIST)
        reply.expect_code(_OK, "answer the whole list; an empty source has an empty list")
        reply.expect_json()
        _item_list(reply)

    def test_list_is_complete(self) -> None:
        """A list that is asked for without a limit is the whole list: it has no metadata.continue."""
        reply, listed = self._listed()
        if listed.continue_token:
            raise reply.violation(
                "the complete list", "page only when limit is given: the book's script reads one reply", "one page"
            )

    def test_names_are_allowed(self) -> None:
        """Names are valid UTF-8 of 1 to 1024 bytes without NUL, and neither `.` nor `..`."""
        reply, listed = self._listed()
        for name in listed.names:
            if problem := contract.name_problem(name):
                raise reply.violation(
                    "names that the contract allows", "leave it out and report it", f"{name[:80]!a}: {problem}"
                )

    def test_names_are_unique(self) -> None:
        """A name is an item's identity: none is listed twice."""
        reply, listed = self._listed()
        seen: set[str] = set()
        for name in listed.names:
            if name in seen:
                raise reply.violation("each name once", "list it once", f"{name[:80]!a} twice")
            seen.add(name)

    def test_listed_items_are_given(self) -> None:
        """Each listed item is given by its percent-encoded name, as an Item whose data is an object."""
        for name in self._some_names():
            reply = self._get(_item_path(name))
            # Between the list and the item it may have gone, as items do.
            if reply.code == _NOT_FOUND and name not in self._names():
                continue
            reply.expect_code(_OK, f"give item {name[:80]!a}: decode the raw path once, %2F and %25 included")
            reply.expect_json()
            _item_data(reply, name)

    def test_book_paths_answer_the_same(self) -> None:
        """/items and /items/<name> answer what /api/v1/items and /api/v1/items/<name> answer."""
        self._compare(lambda: self._names_at(_BOOK_LIST), f"GET {self._base}{_BOOK_LIST}", "serve both paths alike")
        name = self._some_names()[0]
        before, after = self._get(_item_path(name)), self._get(_item_path(name))
        if before.code != _OK or before.body != after.body:
            raise NotTried(f"the item {name[:80]!a} could not be read the same twice, so there is nothing to hold on")
        book = self._get(_item_path(name, _BOOK_LIST))
        if (book.code, book.body) != (_OK, before.body):
            raise book.violation(f"the same as from {before.request}", "serve both paths alike")

    def test_unknown_item_is_not_found(self) -> None:
        """An item that the source does not have is answered with 404 and a Status that has every field."""
        self._get(_item_path(_unknown_name())).expect_status(_NOT_FOUND)

    def test_unknown_query_parameters_are_ignored(self) -> None:
        """A query parameter that is not in the contract changes nothing."""
        path = f"{_LIST}?longshoreConform=1&pretty="
        self._compare(lambda: self._names_at(path), f"GET {self._base}{path}", "ignore parameters that you don't know")

    def test_two_lists_agree(self) -> None:
        """Two lists of a source that has not changed hold the same names."""
        got = ""
        for _ in range(_LOOKS):
            one, other = self._names(), self._names()
            if one == other:
                return
            got = _difference(one, other)
        raise Violation(
            f"GET {self._base}{_LIST}, {_LOOKS} times two in a row",
            expected="the same names twice, at least once",
            got=got,
            to_do="answer from a whole listing only: a name that comes and goes looks like a new item each time",
        )

    def test_known_list_is_not_sent_again(self) -> None:
        """A list with an ETag is answered with 304 and no body to who has it (If-None-Match)."""
        for _ in range(_LOOKS):
            first, listed = self._tagged()
            tag = first.headers["ETag"]
            again = self._get(_LIST, {"If-None-Match": tag})
            if again.code == _NOT_MODIFIED:
                self._expect_no_body(tag)
                return
            if again.headers.get("ETag") == tag or _item_list(again).names == listed.names:
                raise again.violation(
                    f"304 to If-None-Match: {tag}", "compare it with the ETag, which changes only with the list"
                )
        raise NotTried("the list changed at every look")

    def test_unknown_etag_gets_the_list(self) -> None:
        """Who has another state of the list gets the list, never a 304."""
        self._listed()
        reply = self._get(_LIST, {"If-None-Match": f'"{uuid.uuid4().hex}"'})
        reply.expect_code(_OK, "answer 304 only to the ETag of the list as it is now")

    def test_pages_make_up_the_list(self) -> None:
        """Pages hold at most `limit` names, and one after the other they hold the whole list."""
        self._expect_first_page()
        limit = max(1, math.ceil(len(self._names()) / 4))
        self._compare(
            lambda: self._walk(limit),
            f"GET {self._base}{_LIST}?limit={limit} and the pages that follow",
            "cut pages out of one listing, and answer 410 when that has changed",
        )

    def test_unknown_tokens_are_refused(self) -> None:
        """A continue token that was never given out is answered with 400 or 410 and a Status, never with a page."""
        self._expect_paging()
        self._get(f"{_LIST}?limit=1&continue=longshore-conform").expect_status(_BAD_REQUEST, _GONE)

    def test_bad_limits_are_refused(self) -> None:
        """A limit that is no number from 1 is answered with 400 and a Status."""
        self._expect_paging()
        for limit in ("0", "abc"):
            self._get(f"{_LIST}?limit={limit}").expect_status(_BAD_REQUEST)

    def test_held_reply_comes_in_time(self) -> None:
        """`Prefer: wait=1` holds the reply no longer than that, with nothing new to say: an answer comes in seconds."""
        first, _ = self._tagged()
        headers = {"If-None-Match": first.headers["ETag"], "Prefer": "wait=1"}
        reply = self._get(_LIST, headers, seconds=self.held_seconds)
        if reply.code not in {_OK, _NOT_MODIFIED}:
            raise reply.violation("200 or 304", "Prefer is a wish: answer as without it")

    def test_healthz_answers(self) -> None:
        """GET /healthz answers 200 while the ambassador lives."""
        self._get("/healthz").expect_code(_OK, "answer 200, whatever the store does")

    def test_readyz_answers(self) -> None:
        """GET /readyz answers 200 while the store behind answers."""
        self._get("/readyz").expect_code(_OK, "answer 200 as soon as the store has answered")

    def test_info_is_absent_or_a_source_info(self) -> None:
        """GET /api/v1 answers 404, or 200 with a SourceInfo whose capabilities are strings."""
        reply = self._get(_INFO)
        if reply.code != _NOT_FOUND:
            reply.expect_code(_OK, "answer 404, or a SourceInfo")
            reply.expect_json()
            _capabilities(reply)

    def test_done_is_absent_without_ack(self) -> None:
        """POST …/done is answered with 404 or 405 by a source that does not offer `ack`."""
        info = self._get(_INFO)
        try:
            offers_ack = info.code == _OK and "ack" in _capabilities(info)
        except Violation as exc:
            raise NotTried(
                f"what the source offers can't be read; {see(self.test_info_is_absent_or_a_source_info)}"
            ) from exc
        if offers_ack:
            raise NotTried("the source offers ack")
        # A made-up name: should the source take it after all, no real item is lost.
        reply = self._ask("POST", f"{_item_path(_unknown_name())}/done")
        if reply.code not in {_NOT_FOUND, _METHOD_NOT_ALLOWED}:
            raise reply.violation("404 or 405", "refuse it, or offer ack in GET /api/v1")

    @property
    def _base(self) -> str:
        return self.url.rstrip("/")

    def _get(self, path: str, headers: Mapping[str, str] | None = None, *, seconds: float | None = None) -> _Reply:
        return self._ask("GET", path, headers, seconds=seconds)

    def _ask(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, *, seconds: float | None = None
    ) -> _Reply:
        request, seconds = f"{method} {self._base}{path}", seconds or self.timeout_seconds
        try:
            with requests.Session() as session:
                session.trust_env = False
                return _read(session, request, headers or {}, seconds)
        except (requests.RequestException, HTTPError, OSError) as exc:
            raise Violation(
                request,
                expected=f"an answer within {seconds:g} s",
                got=_cause(exc),
                to_do="see whether it runs, and its log",
            ) from exc

    def _listed(self) -> tuple[_Reply, ItemList]:
        try:
            reply = self._get(_LIST)
            reply.expect_code(_OK, "")
            return reply, _item_list(reply)
        except Violation as exc:
            raise NotTried(f"it needs a list that can be read; {see(self.test_list_is_an_item_list)}") from exc

    def _names(self) -> list[str]:
        """The whole list's names, sorted: the contract promises no order."""
        return sorted(self._listed()[1].names)

    def _names_at(self, path: str) -> list[str]:
        reply = self._get(path)
        reply.expect_code(_OK, f"answer as {_LIST} does")
        return sorted(_item_list(reply).names)

    def _some_names(self) -> tuple[str, ...]:
        names, _ = contract.split_names(self._listed()[1].names)
        if not names:
            raise NotTried("the source lists no item with an allowed name now")
        return names[:_ITEMS_TRIED]

    def _tagged(self) -> tuple[_Reply, ItemList]:
        reply, listed = self._listed()
        if not reply.headers.get("ETag"):
            raise NotOffered("the list has no ETag")
        return reply, listed

    def _compare(self, read: Callable[[], list[str] | None], request: str, to_do: str) -> None:
        """That what `read` reads is the list; None is the source's word that the list has changed."""
        for _ in range(_LOOKS):
            before, other, after = self._names(), read(), self._names()
            if other in (before, after):
                return
            if other is not None and before == after:
                raise Violation(request, expected="the names of the list", got=_difference(before, other), to_do=to_do)
        raise NotTried("the list changed at every look")

    def _expect_paging(self) -> None:
        """That pages can be tried; what is wrong with a first page is for `test_pages_make_up_the_list` to say."""
        try:
            self._expect_first_page()
        except Violation as exc:
            raise NotTried(f"it needs pages that can be read; {see(self.test_pages_make_up_the_list)}") from exc

    def _expect_first_page(self) -> None:
        _, whole = self._listed()
        if whole.continue_token:
            raise NotTried(f"it needs a complete list; {see(self.test_list_is_complete)}")
        if len(whole.names) < 2:  # noqa: PLR2004 - the fewest that make two pages
            raise NotTried("the source lists fewer than two items now, so pages can't be told from the list")
        reply = self._get(f"{_LIST}?limit=1")
        reply.expect_code(_OK, "answer a page, or ignore limit and answer the list")
        page = _item_list(reply)
        if page.continue_token:
            return
        if len(page.names) < len(whole.names) and self._names() == sorted(whole.names):
            got = f"{len(page.names)} of {len(whole.names)} names and no metadata.continue"
            raise reply.violation("a page that says that there is more, or all names", "ignore limit, or page", got)
        raise NotOffered("limit is ignored")

    def _walk(self, limit: int) -> list[str] | None:
        names: list[str] = []
        path = query = f"{_LIST}?limit={limit}"
        # One name a page is the least that gets on; the rest is for a list that grows.
        for _ in range(len(self._names()) + 10):
            reply = self._get(path)
            if reply.code == _GONE:
                return None
            reply.expect_code(_OK, "take the token that came with the page before")
            page = _item_list(reply)
            if len(page.names) > limit:
                raise reply.violation(f"at most {limit} names", "keep to limit", f"{len(page.names)}")
            names += page.names
            if not page.continue_token:
                return sorted(names)
            path = f"{query}&continue={contract.quote_name(page.continue_token)}"
        to_do = "leave metadata.continue out of the last page"
        raise Violation(f"GET {self._base}{path}", expected="an end of the pages", got="one more page", to_do=to_do)

    def _expect_no_body(self, tag: str) -> None:
        """Of a 304; HTTP libraries never show a body there, but take it for the start of the next reply."""
        address = urlsplit(self._base)
        if address.scheme != "http" or not address.hostname:
            return
        request = (
            f"GET {address.path}{_LIST} HTTP/1.1\r\nHost: {address.netloc}\r\nIf-None-Match: {tag}\r\n"
            "Connection: close\r\n\r\n"
        )
        with socket.create_connection((address.hostname, address.port or 80), self.timeout_seconds) as connection:
            connection.sendall(request.encode("latin-1"))
            head, _, body = _until_closed(connection).partition(b"\r\n\r\n")
        if body and f" {_NOT_MODIFIED} ".encode() in head.partition(b"\r\n")[0] + b" ":
            raise Violation(
                f"GET {self._base}{_LIST} with If-None-Match: {tag}",
                expected="304 without a body",
                got=f"304 with the body {body[:80]!r}",
                to_do="send none: clients take it for the start of the next reply",
            )


def check_source(url: str) -> list[CheckResult]:
    """
    What comes of every rule for the ambassador at `url`; one that takes connections and does not answer fails them.

    Raises:
        NothingToCheck: nobody takes a connection at `url`, or it is no URL.
    """
    tried = SourceContract()
    tried.url = url
    _expect_somebody(url, tried.timeout_seconds)
    return check(tried)


def _expect_somebody(url: str, seconds: float) -> None:
    try:
        socket.create_connection(_place(url), seconds).close()
    except (OSError, ValueError) as exc:  # a ValueError also for a port or a host name that can't be
        raise NothingToCheck(url, exc, to_do="start the ambassador first, and see where it listens") from exc


def _place(url: str) -> tuple[str, int]:
    address = urlsplit(url)
    if address.scheme not in _PORTS or not address.hostname:
        raise ValueError("expected a URL such as http://127.0.0.1:8080")
    return address.hostname, address.port or _PORTS[address.scheme]


def _read(session: requests.Session, request: str, headers: Mapping[str, str], seconds: float) -> _Reply:
    method, url = request.split(" ", 1)
    until = time.monotonic() + seconds
    given = {"Accept": "application/json", "Accept-Encoding": "identity", **headers}
    with session.request(method, url, headers=given, timeout=seconds, allow_redirects=False, stream=True) as response:
        body = bytearray()
        # read1 gives what has come: a reply that trickles in is cut off at the deadline, not after its last byte.
        while chunk := response.raw.read1(_CHUNK):
            body += chunk
            if time.monotonic() > until:
                raise requests.Timeout(f"no whole reply within {seconds:g} s")
        return _Reply(request, response.status_code, response.headers, bytes(body))


def _cause(exc: BaseException) -> str:
    """The innermost reason: requests and urllib3 wrap it three times."""
    while (inner := exc.__cause__ or exc.__context__) is not None:
        exc = inner
    return f"{type(exc).__name__}: {exc}" if str(exc) else type(exc).__name__


def _until_closed(connection: socket.socket) -> bytes:
    received = bytearray()
    # Not at once: what follows the headers may come in a packet of its own.
    connection.settimeout(2)
    try:
        while chunk := connection.recv(_CHUNK):
            received += chunk
    except (TimeoutError, ConnectionResetError):
        pass  # it does not close, or not nicely: what has come is what there is
    return bytes(received)


def _item_path(name: str, prefix: str = _LIST) -> str:
    return f"{prefix}/{contract.quote_name(name)}"


def _unknown_name() -> str:
    return f"longshore-conform/{uuid.uuid4().hex}/no such ïtem"


def _item_list(reply: _Reply) -> ItemList:
    try:
        return contract.parse_item_list(reply.body)
    except Malformed as exc:
        raise reply.violation("an ItemList", "write it as docs/source-contract.md shows", str(exc)) from exc


def _item_data(reply: _Reply, name: str) -> None:
    try:
        contract.parse_item(reply.body, name)
    except Malformed as exc:
        raise reply.violation("an Item", "write it as docs/source-contract.md shows", str(exc)) from exc


def _capabilities(reply: _Reply) -> list[str]:
    to_do = 'answer {"kind":"SourceInfo","apiVersion":"v1","capabilities":[]}, or 404'
    try:
        info: Any = contract.decode(reply.body)
    except Malformed as exc:
        raise reply.violation("a SourceInfo", to_do, str(exc)) from exc
    fixed = {"kind": "SourceInfo", "apiVersion": contract.API_VERSION}
    capabilities = info.get("capabilities") if isinstance(info, dict) and info | fixed == info else None
    if not isinstance(capabilities, list) or not all(isinstance(one, str) for one in capabilities):
        raise reply.violation("a SourceInfo with a list of strings as capabilities", to_do)
    return capabilities


def _difference(expected: list[str], got: list[str]) -> str:
    """What distinguishes two sorted lists of names, in few words."""
    missing, more = sorted(set(expected) - set(got)), sorted(set(got) - set(expected))
    parts = [f"{len(got)} names instead of {len(expected)}"]
    parts += [f"without {_shown(missing)}"] if missing else []
    parts += [f"with {_shown(more)}"] if more else []
    return ", ".join(parts)


def _shown(names: list[str]) -> str:
    rest = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(ascii(name[:80]) for name in names[:_SHOWN]) + rest
