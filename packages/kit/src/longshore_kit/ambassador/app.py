"""The web app of an ambassador: contract §1, over any `Source`.

Owns paths, methods and headers. Routes on the raw path, since an item's name may hold any byte that a URL can
encode, `/` included, and frameworks decode and tidy paths before one sees them. Every error is a Status; none is an
empty list.
"""

import re
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import Final, TypeAlias
from urllib.parse import quote

from flask import Flask, Response, request

from longshore_kit import contract
from longshore_kit.ambassador.listing import CurrentList, Listed, TokenExpired, TokenInvalid
from longshore_kit.contract import Malformed, SourceInfo, Status
from longshore_kit.errors import ItemNotFound, SourceUnavailable
from longshore_kit.logs import Logger, get_logger
from longshore_kit.source import AcknowledgingSource, Source

WAIT_MAX_SECONDS: Final = 60
"""The longest that `Prefer: wait` may hold a reply."""
PIECE_BYTES: Final = 256 * 1024
"""Of a reply what is handed to the server at once."""
LIMIT_MAX: Final = 1_000_000_000
"""The greatest `limit`: more names than any source has."""
READY_SECONDS: Final = 10.0
"""A good answer of the store that is this young need not be asked for again."""

_LIST_PATHS: Final = ("/api/v1/items", "/items")
_ITEM_PREFIXES: Final = ("/api/v1/items/", "/items/")
_DONE: Final = "/done"
_WAIT: Final = re.compile(r'(?:^|,)\s*wait\s*=\s*"?(\d{1,9})"?\s*(?:;[^,]*)?(?:,|$)', re.IGNORECASE)

_Answer: TypeAlias = Callable[[], Response]


@dataclass(frozen=True)
class Waiting:
    """How replies may be held for `Prefer: wait`."""

    at_once: int = 4
    """So many at the same time; further ones are answered without waiting. Keep it below the server's threads."""
    poll_seconds: float = 1.0
    """How often the source is asked while somebody waits."""
    stopping: threading.Event = field(default_factory=threading.Event)
    """Set when the server stops: everybody is answered."""


def create_app(source: Source, *, waiting: Waiting | None = None, log: Logger | None = None) -> Flask:
    """The app that serves `source`'s items, as docs/source-contract.md says."""
    log = log or get_logger("longshore.ambassador")
    return _app(_Ambassador(source, CurrentList(source, log), waiting or Waiting(), log))


def create_health_app(app: Flask) -> Flask:
    """The app for the second port, which the kubelet can reach: health of `app`, and nothing else."""
    ambassador: _Ambassador = app.extensions["longshore"]
    return _app(_Health(ambassador))


def raw_path(environ: Mapping[str, str]) -> str:
    """The path as the client sent it, still encoded, without query; also of an absolute-form request target."""
    target = environ.get("REQUEST_URI") or quote(environ.get("PATH_INFO", "/"), encoding="latin-1")
    if not target.startswith("/") and "://" in target:
        target = "/" + target.partition("://")[2].partition("/")[2]
    return target.partition("?")[0].partition("#")[0]


def _app(site: "_Ambassador | _Health") -> Flask:
    app = Flask("longshore_kit.ambassador")
    app.extensions["longshore"] = site
    # Everything is answered here, before Flask matches paths of its own: there are none.
    app.before_request(site.answer)
    return app


class _Ambassador:
    def __init__(self, source: Source, current: CurrentList, waiting: Waiting, log: Logger) -> None:
        self.source = source
        self.current = current
        self.waiting = waiting
        self.log = log
        self.places = threading.BoundedSemaphore(waiting.at_once)

    def answer(self) -> Response:
        """The reply to the request at hand; whatever goes wrong is a Status."""
        try:
            return _for_methods(self.routes(raw_path(request.environ)))
        except SourceUnavailable as exc:
            return _error(503, "ServiceUnavailable", str(exc))
        except ItemNotFound as exc:
            return _error(404, "NotFound", str(exc))
        except (Malformed, TokenInvalid) as exc:
            return _error(400, "BadRequest", str(exc))
        except TokenExpired:
            return _error(410, "Expired", "the list has changed since this token was given out: start again")
        except Exception as exc:
            self.log.exception("request failed", path=raw_path(request.environ)[:200])
            return _error(500, "InternalError", f"{type(exc).__name__}: {exc}")

    def routes(self, path: str) -> dict[str, _Answer]:
        """What is at `path`, by method."""
        if path in _LIST_PATHS:
            return {"GET": self.list}
        if path == "/api/v1":
            return {"GET": self.info}
        if path in {"/healthz", "/readyz"}:
            return self.health(path)
        for prefix in _ITEM_PREFIXES:
            if path.startswith(prefix):
                return self.item_routes(path.removeprefix(prefix), can_be_done=prefix != "/items/")
        return {}

    def item_routes(self, part: str, *, can_be_done: bool) -> dict[str, _Answer]:
        """What an item's path answers; a name may itself end in /done, so the method decides which is meant."""
        found: dict[str, _Answer] = {"GET": lambda: self.item(part)}
        if can_be_done and part.endswith(_DONE) and isinstance(self.source, AcknowledgingSource):
            found["POST"] = lambda: self.done(part.removesuffix(_DONE))
        return found

    def health(self, path: str) -> dict[str, _Answer]:
        """Liveness is to answer at all; readiness, that the store behind has answered."""
        return {"GET": self.ready if path == "/readyz" else lambda: _reply(b'{"status":"ok"}')}

    def ready(self) -> Response:
        if not self.current.answered_within(READY_SECONDS):
            self.current.fetch()
        return _reply(b'{"status":"ready"}')

    def info(self) -> Response:
        capabilities = (contract.ACK,) if isinstance(self.source, AcknowledgingSource) else ()
        return _reply(contract.encode(SourceInfo(capabilities).to_wire()))

    def item(self, part: str) -> Response:
        name = contract.unquote_name(part)
        item = self.source.get_item(name)
        try:
            return _reply(contract.encode(item.to_wire()))
        except (TypeError, ValueError) as exc:
            raise ValueError(f"the data of item {name!r} can't be told as JSON: {exc}") from exc

    def done(self, part: str) -> Response:
        assert isinstance(self.source, AcknowledgingSource)  # noqa: S101 - the route is there only then
        self.source.acknowledge(contract.unquote_name(part))
        return Response(status=204)

    def list(self) -> Response:
        limit = _limit(request.args.get("limit"))
        token = request.args.get("continue", "")
        listed = self.current.fetch()
        if limit is not None or token:
            return _conditional(listed.page(limit, token))
        asked = _wait_seconds(request.headers.get("Prefer", ""))
        if asked is None or not _is_known(listed) or not self.places.acquire(blocking=False):
            return _conditional(listed)
        seconds = min(asked, WAIT_MAX_SECONDS)
        try:
            response = _conditional(self.changed_or_after(listed, seconds))
        finally:
            self.places.release()
        # Only who was held, and as long as it was meant to be: the client takes it at its word (RFC 7240, 3).
        response.headers["Preference-Applied"] = f"wait={seconds}"
        return response

    def changed_or_after(self, listed: Listed, seconds: int) -> Listed:
        """The list as soon as it differs from `listed`, or as it is after so many seconds."""
        until = monotonic() + seconds
        latest = listed
        while latest.etag == listed.etag and (left := until - monotonic()) > 0:
            if self.waiting.stopping.wait(min(left, self.waiting.poll_seconds)):
                break
            latest = self.current.fetch()
        return latest


class _Health:
    def __init__(self, ambassador: _Ambassador) -> None:
        self.ambassador = ambassador

    def answer(self) -> Response:
        path = raw_path(request.environ)
        return self.ambassador.answer() if path in {"/healthz", "/readyz"} else _not_found(path)


def _for_methods(routes: dict[str, _Answer]) -> Response:
    if not routes:
        return _not_found(raw_path(request.environ))
    # HEAD is GET without its body, which the server leaves out.
    answer = routes.get("GET" if request.method == "HEAD" else request.method)
    if answer is not None:
        return answer()
    allowed = ", ".join(sorted({*routes, *({"HEAD"} if "GET" in routes else set())}))
    response = _error(405, "MethodNotAllowed", f"{request.method} is not answered here; allowed: {allowed}")
    response.headers["Allow"] = allowed
    return response


def _conditional(listed: Listed) -> Response:
    response = Response(status=304) if _is_known(listed) else _whole(listed)
    response.headers["ETag"] = listed.etag
    return response


def _whole(listed: Listed) -> Response:
    return _in_pieces(listed.pieces(), listed.size_bytes) if listed.is_long else _reply(listed.body)


def _is_known(listed: Listed) -> bool:
    """Whether the client has this very list: If-None-Match compares weakly (RFC 9110, 13.1.2)."""
    return "If-None-Match" in request.headers and request.if_none_match.contains_weak(listed.etag.strip('"'))


def _limit(text: str | None) -> int | None:
    if text is None:
        return None
    # Digits are counted first: int() of a million of them takes long, or refuses.
    is_number = text.isascii() and text.isdecimal() and len(text) <= len(str(LIMIT_MAX))
    if not is_number or not 1 <= int(text) <= LIMIT_MAX:
        raise Malformed(f"limit={text[:40]!r}: expected a number from 1 to {LIMIT_MAX}")
    return int(text)


def _wait_seconds(prefer: str) -> int | None:
    """Seconds that a `Prefer` header asks to wait (RFC 7240, 4.3); None if it doesn't."""
    match = _WAIT.search(prefer)
    return int(match[1]) if match else None


def _not_found(path: str) -> Response:
    return _error(404, "NotFound", f"there is nothing at {path[:200]}; the list is at {_LIST_PATHS[0]}")


def _error(code: int, reason: str, message: str) -> Response:
    # A message may hold half a character, of a file's name say: it must not turn one error into another.
    message = message.encode(errors="backslashreplace").decode()
    return _reply(contract.encode(Status(code, reason, message).to_wire()), code)


def _reply(body: bytes, code: int = 200) -> Response:
    if len(body) <= PIECE_BYTES:
        return Response(body, code, content_type="application/json")
    return _in_pieces((body[at : at + PIECE_BYTES] for at in range(0, len(body), PIECE_BYTES)), len(body), code)


def _in_pieces(pieces: Iterator[bytes], size_bytes: int, code: int = 200) -> Response:
    """So that the server need not hold a long one twice, or put it aside on a disk that it may not write to."""
    response = Response(pieces, code, content_type="application/json")
    # Told beforehand: what breaks off is no shorter list.
    response.content_length = size_bytes
    return response
