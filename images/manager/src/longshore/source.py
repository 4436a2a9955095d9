"""The manager's side of the source contract: asks and tells an ambassador, and believes only what is in the contract.

Owns the HTTP: timeouts, a total deadline, a cap on bytes, no redirects, no proxies from the environment. Refuses to
guess: whatever is not a whole, well-formed list is an error with a reason, never an empty list.
docs/source-contract.md has the contract.
"""

import math
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool
from urllib3.exceptions import HTTPError

from longshore.explain import safe
from longshore_kit import contract
from longshore_kit.contract import Item, ItemList, Malformed
from longshore_kit.errors import ItemNotFound, SourceUnavailable
from longshore_kit.logs import get_logger

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

MAX_BYTES: Final = 64 * 1024 * 1024
"""The longest reply: 60,000 names of the greatest length, or a million of the usual."""
_OK: Final = 200
_NOT_MODIFIED: Final = 304
_NOT_FOUND: Final = 404
_GONE: Final = 410
_NOTHING_THERE: Final = frozenset({404, 405})
_CHUNK: Final = 256 * 1024
_MAX_PAGES: Final = 100_000
_EXAMPLES: Final = 3
_SHOWN_CHARACTERS: Final = 80
_REASON_MOST: Final = 400
_TAG_MOST: Final = 1024
_JSON: Final = "application/json"


class Items(Protocol):
    """Where the manager gets its items from: the ambassador, or a test's own."""

    def list_items(self, *, wait_seconds: float = 0) -> ItemList:
        """
        Every item in the source, whole; the same object as before when nothing has changed.

        `wait_seconds` lets the source hold its answer until the list changes; it may answer at once.

        Raises:
            SourceUnavailable: no whole and well-formed list; safe to retry.
        """

    def get_item(self, name: str) -> Item:
        """
        One item with its data.

        Raises:
            ItemNotFound: the source does not have it, or not any more.
            SourceUnavailable: no well-formed answer; safe to retry.
        """

    def wants_acks(self) -> bool:
        """
        Whether the source has the capability `ack`: it wants to be told of each item that is done.

        Raises:
            SourceUnavailable: no well-formed answer; safe to retry.
        """

    def acknowledge(self, name: str) -> None:
        """
        Tell the source that an item need not be listed any more; one that is gone already is no error.

        Raises:
            SourceError: it did not take it in; safe to retry.
        """


@dataclass(frozen=True)
class Timeouts:
    """How long an ambassador on the same host may take, in seconds."""

    connect: float = 5
    read: float = 30
    """Between two reads: an ambassador that lists slowly sends nothing while it does."""
    total: float = 120
    """For one whole exchange, from the connection to the last byte: a server that dribbles is cut off."""


@dataclass(frozen=True)
class _Reply:
    code: int
    etag: str
    body: bytes


class _Deadline:
    """When the exchange of a thread must have ended; a session's connections read it anew each time."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic: Final = monotonic
        self._at = math.inf

    def start(self, seconds: float) -> None:
        self._at = self._monotonic() + seconds

    def left(self) -> float:
        """Seconds; 0 or less: it has passed."""
        return self._at - self._monotonic()


class _Socket(socket.socket):
    """
    A socket whose every read ends by a deadline.

    Below HTTP, as http.client reads a status line, headers and any number of `100 Continue` by itself, each byte of
    them with the whole read timeout.
    """

    def __init__(self, connected: socket.socket, deadline: _Deadline) -> None:
        timeout = connected.gettimeout()
        super().__init__(fileno=connected.detach())
        self.settimeout(timeout)
        self._deadline: Final = deadline

    def recv_into(self, buffer: "WriteableBuffer", nbytes: int = 0, flags: int = 0) -> int:
        """What `makefile` reads with: http.client has no other way."""
        timeout, left = self.gettimeout(), self._deadline.left()
        if left <= 0:
            raise TimeoutError("the deadline has passed")
        if timeout is not None and timeout <= left:
            return super().recv_into(buffer, nbytes, flags)
        self.settimeout(left)
        try:
            return super().recv_into(buffer, nbytes, flags)
        finally:
            self.settimeout(timeout)


class _Adapter(HTTPAdapter):
    """Makes a session's connections of such sockets."""

    def __init__(self, deadline: _Deadline) -> None:
        self._deadline: Final = deadline
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - as HTTPAdapter's
        """As HTTPAdapter's, which calls it."""
        super().init_poolmanager(*args, **kwargs)
        deadline = self._deadline

        class Connection(HTTPConnection):
            def connect(self) -> None:
                super().connect()
                self.sock = _Socket(self.sock, deadline)

        class Pool(HTTPConnectionPool):
            ConnectionCls = Connection

        self.poolmanager.pool_classes_by_scheme = {"http": Pool}


class _Session(requests.Session):
    """Of one thread, for plain HTTP: items are served on loopback."""

    def __init__(self, deadline: _Deadline) -> None:
        super().__init__()
        self.deadline: Final = deadline
        # A proxy or a .netrc of the environment has no say.
        self.trust_env = False
        # None for https://, whose sockets would know no deadline.
        self.adapters.clear()
        self.mount("http://", _Adapter(deadline))

    def get_redirect_target(self, resp: requests.Response) -> str | None:  # noqa: ARG002 - requests' signature
        """Nowhere: requests reads the whole body of a redirect, however long, even of one that it does not follow."""
        return None


class HttpSource:
    """
    The ambassador at `url`. `get_item` may be called by several threads, `list_items` by one.
    """

    def __init__(
        self,
        url: str,
        *,
        timeouts: Timeouts | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        trouble: Callable[[], str] = lambda: "",
    ) -> None:
        """`trouble`: what is known of an ambassador that does not answer at all."""
        self.url: Final = url.rstrip("/")
        self._timeouts: Final = timeouts or Timeouts()
        self._monotonic: Final = monotonic
        self._trouble: Final = trouble
        self._sessions: Final[list[_Session]] = []
        self._own: Final = threading.local()
        self._listed: ItemList | None = None
        self._etag = ""
        self._left_out: frozenset[str] = frozenset()
        self._log: Final = get_logger("longshore.source")

    def list_items(self, *, wait_seconds: float = 0) -> ItemList:
        """As `Items.list_items`. Names that the contract does not allow are left out, with one warning for each set."""
        headers = {}
        # Of a look that fails nothing is kept: it may have been the tag that the server stumbled over.
        tag, self._etag = self._etag, ""
        if self._listed is not None and tag:
            headers["If-None-Match"] = tag
            if wait_seconds >= 1:
                headers["Prefer"] = f"wait={int(wait_seconds)}"
        reply = self._get("/api/v1/items", headers, patience=wait_seconds)
        if reply.code == _NOT_MODIFIED and self._listed is not None and headers:
            self._etag = tag
            return self._listed
        self._expect_ok(reply, "/api/v1/items")
        listed, pages = self._whole_list(reply)
        names, left_out = contract.split_names(listed.names)
        self._report_left_out(left_out)
        found = ItemList(names, pending_count=listed.pending_count)
        if self._listed != found:
            self._listed = found
        # Of a list in pages the tag is that of the first page alone, and says nothing of the others.
        self._etag = reply.etag if pages == 1 and _is_tag(reply.etag) else ""
        return self._listed

    def get_item(self, name: str) -> Item:
        """As `Items.get_item`."""
        path = f"/api/v1/items/{contract.quote_name(name)}"
        reply = self._get(path, {})
        if reply.code == _NOT_FOUND:
            raise ItemNotFound(f"the source has no item {name!r}: {_told(_reason(reply.body))}")
        self._expect_ok(reply, path)
        try:
            return contract.parse_item(reply.body, name)
        except Malformed as exc:
            raise self._unavailable(path, exc) from exc

    def wants_acks(self) -> bool:
        """As `Items.wants_acks`: who has nothing there, as the book's script, has no capability."""
        reply = self._get("/api/v1", {})
        if reply.code in _NOTHING_THERE:
            return False
        self._expect_ok(reply, "/api/v1")
        try:
            return contract.ACK in contract.parse_source_info(reply.body).capabilities
        except Malformed as exc:
            raise self._unavailable("/api/v1", exc) from exc

    def acknowledge(self, name: str) -> None:
        """As `Items.acknowledge`."""
        path = f"/api/v1/items/{contract.quote_name(name)}/done"
        reply = self._get(path, {}, method="POST")
        if reply.code // 100 != 2:  # noqa: PLR2004 - 2xx, whichever
            raise self._unavailable(path, f"answered {reply.code}: {_reason(reply.body)}")

    def close(self) -> None:
        """Close the connections."""
        for session in self._sessions:
            session.close()

    def _session(self) -> _Session:
        """This thread's."""
        if not hasattr(self._own, "session"):
            session = _Session(_Deadline(self._monotonic))
            self._sessions.append(session)
            self._own.session = session
        found: _Session = self._own.session
        return found

    def _report_left_out(self, left_out: dict[str, str]) -> None:
        if left_out and left_out.keys() != self._left_out:
            # ascii: they may hold what no terminal or file takes.
            some = {ascii(name[:_SHOWN_CHARACTERS]): left_out[name] for name in list(left_out)[:_EXAMPLES]}
            self._log.warning("names left out that the contract does not allow", count=len(left_out), examples=some)
        self._left_out = frozenset(left_out)

    def _whole_list(self, reply: _Reply) -> tuple[ItemList, int]:
        """A reply and the pages that follow it, if the source chose to page, as one list, and how many pages."""
        names: list[str] = []
        size = 0
        limit = self._monotonic() + self._timeouts.total
        for pages in range(1, _MAX_PAGES + 1):
            size += len(reply.body)
            if size > MAX_BYTES or self._monotonic() > limit:
                raise self._unavailable(
                    "/api/v1/items", f"no whole list within {MAX_BYTES} bytes and {self._timeouts.total} s"
                )
            try:
                page = contract.parse_item_list(reply.body)
            except Malformed as exc:
                raise self._unavailable("/api/v1/items", exc) from exc
            names.extend(page.names)
            if not page.continue_token:
                return ItemList(tuple(names), pending_count=page.pending_count), pages
            path = f"/api/v1/items?continue={contract.quote_name(page.continue_token)}"
            reply = self._get(path, {})
            if reply.code == _GONE:
                raise SourceUnavailable(f"{self.url}: the list changed between two pages; asking again")
            self._expect_ok(reply, path)
        raise SourceUnavailable(f"{self.url}: more than {_MAX_PAGES} pages, taken for a circle")

    def _get(self, path: str, headers: dict[str, str], *, patience: float = 0, method: str = "GET") -> _Reply:
        session, total = self._session(), self._timeouts.total + patience
        session.deadline.start(total)
        try:
            return self._read(session, method, path, headers, patience)
        except (requests.RequestException, HTTPError, OSError) as exc:
            is_late = session.deadline.left() <= 0
            cause = f"no whole reply within {total:g} s" if is_late else _cause(exc)
            known = self._trouble()
            raise self._unavailable(path, f"{known} ({cause})" if known else cause) from exc

    def _read(self, session: _Session, method: str, path: str, headers: dict[str, str], patience: float) -> _Reply:
        with session.request(
            method,
            f"{self.url}{path}",
            headers={"Accept": _JSON, "Accept-Encoding": "identity", **headers},
            timeout=(min(self._timeouts.connect, self._timeouts.total), self._timeouts.read + patience),
            allow_redirects=False,
            stream=True,
        ) as response:
            body = bytearray()
            # read1 gives what has come; iter_content would wait for a whole chunk.
            while chunk := response.raw.read1(_CHUNK):
                body += chunk
                if len(body) > MAX_BYTES:
                    raise self._unavailable(path, f"the reply is longer than {MAX_BYTES} bytes")
            return _Reply(response.status_code, response.headers.get("ETag", ""), bytes(body))

    def _unavailable(self, path: str, why: object) -> SourceUnavailable:
        """Whatever the source has said in it, a continue token in the path too, is bounded and harms no terminal."""
        return SourceUnavailable(f"{self.url}{_told(path)}: {_told(str(why))}")

    def _expect_ok(self, reply: _Reply, path: str) -> None:
        if reply.code != _OK:
            raise self._unavailable(path, f"answered {reply.code}: {_reason(reply.body)}")


def _told(text: str) -> str:
    """On one line, with what a terminal would obey spelled out, and cut where it is long, which it then says."""
    shown = safe(text[:_REASON_MOST])
    return shown if len(text) <= _REASON_MOST else f"{shown}… ({len(text)} characters in all)"


def _is_tag(text: str) -> bool:
    """Whether it can be sent back as it came."""
    return len(text) <= _TAG_MOST and text.isascii() and text.isprintable() and text == text.strip()


def _reason(body: bytes) -> str:
    """What an error says of itself: a Status' message, or how it begins."""
    try:
        message = contract.decode(body).get("message")
    except (Malformed, AttributeError):
        message = None
    return str(message) if message else repr(body[:120].decode(errors="replace"))


def _cause(exc: BaseException) -> str:
    """The innermost reason in few words: requests and urllib3 wrap it three times."""
    while (inner := exc.__cause__ or exc.__context__) is not None:
        exc = inner
    return f"{type(exc).__name__}: {exc}" if str(exc) else type(exc).__name__
