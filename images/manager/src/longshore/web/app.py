"""The page and its JSON over HTTP, as one WSGI application: which path is what, and what is refused.

Owns routes, replies and their codes; decides nothing about items. Reading needs no token, changing anything does.
Errors have the form of Kubernetes' own, as everywhere in Longshore.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any, Final
from urllib.parse import parse_qs

import msgspec

from longshore.control import Mode
from longshore.explain import safe
from longshore.state import State
from longshore.web.actions import Actions
from longshore.web.board import Board
from longshore.web.guard import HEADERS, has_token, is_from_elsewhere, is_ours
from longshore_kit.errors import LongshoreError
from longshore_kit.logs import Logger, get_logger

SEARCH_MOST: Final = 1024
"""An item's name is no longer."""
BODY_MOST: Final = 64 * 1024
_ITEMS: Final = "/api/items/"
_STATIC: Final = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/static/style.css": ("style.css", "text/css; charset=utf-8"),
    "/static/page.js": ("page.js", "text/javascript; charset=utf-8"),
}
_PHRASES: Final = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    413: "Content Too Large",
    421: "Misdirected Request",
    500: "Internal Server Error",
    503: "Service Unavailable",
}


class Refused(Exception):
    """A request that is answered with an error; `code` is HTTP's."""

    def __init__(self, code: int, message: str, **headers: str) -> None:
        super().__init__(message)
        self.code: Final = code
        self.headers: Final = headers


class RetryAsked(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a retry."""

    items: list[str]


@dataclass(frozen=True)
class _Reply:
    body: bytes
    kind: str = "application/json"
    code: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


class StatusApp:
    """The application. Its calls may come from any thread."""

    def __init__(
        self,
        board: Board,
        *,
        token: str = "",
        actions: Actions | None = None,
        names: Collection[str] = (),
        log: Logger | None = None,
    ) -> None:
        self._board: Final = board
        self._token: Final = token
        self._actions: Final = actions or Actions()
        self._names: Final = tuple(names)
        self._log: Final = log or get_logger("longshore.status")
        folder = files("longshore.web")
        self._static: Final = {
            path: _Reply(folder.joinpath(name).read_bytes(), kind) for path, (name, kind) in _STATIC.items()
        }

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request."""
        try:
            reply = self._reply(environ)
        except Refused as exc:
            reply = _failure(exc.code, str(exc), exc.headers)
        except LongshoreError as exc:
            reply = _failure(503, safe(str(exc)))
        except Exception:  # noqa: BLE001 - the server's own loop: a bug must answer, and be seen
            self._log.exception("status page failed", path=environ["PATH_INFO"])
            reply = _failure(500, "this is a bug of the status page; the manager's log says more")
        headers = [("Content-Type", reply.kind), ("Content-Length", str(len(reply.body))), *HEADERS]
        start_response(f"{reply.code} {_PHRASES[reply.code]}", headers + list(reply.headers.items()))
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [reply.body]

    def _reply(self, environ: Mapping[str, Any]) -> _Reply:
        if not is_ours(str(environ.get("HTTP_HOST", "")), self._names):
            raise Refused(421, "this name is not known here: ask by address or as localhost, or set STATUS_HOSTS")
        path = _text(str(environ["PATH_INFO"]))
        if (act := self._acts().get(path)) is not None:
            _expect(environ, "POST")
            self._authorize(environ)
            return _json(act(_body(environ)))
        if (static := self._static.get(path)) is not None:
            _expect(environ, "GET")
            return static
        if path == "/api/status":
            _expect(environ, "GET")
            return _json(self._board.status(self._actions.names() if self._token else ()))
        if path == "/api/items":
            _expect(environ, "GET")
            return _json(self._rows(str(environ.get("QUERY_STRING", ""))))
        if path.startswith(_ITEMS):
            _expect(environ, "GET")
            return _json(self._detail(path.removeprefix(_ITEMS)))
        raise Refused(404, "there is no such page")

    def _rows(self, query: str) -> object:
        given = {name: values[-1] for name, values in parse_qs(query, errors="replace").items()}
        page, state, search = given.get("page", "1"), given.get("state", ""), given.get("search", "")
        if not (page.isascii() and page.isdigit() and len(page) < 9):  # noqa: PLR2004 - a number, and no huge one
            raise Refused(400, "page: expected a number from 1")
        if state and state not in set(State):
            raise Refused(400, f"state: expected one of {', '.join(State)}")
        return self._board.rows(State(state) if state else None, search[:SEARCH_MOST], int(page))

    def _detail(self, item: str) -> object:
        detail = self._board.detail(item)
        if detail is None:
            raise Refused(404, f"there is no item {safe(item)}: it is not listed, and has neither a Job nor a record")
        return detail

    # --- what changes something

    def _acts(self) -> Mapping[str, Callable[[bytes], object]]:
        return {"/api/retry": self._retry, "/api/pause": self._pause, "/api/resume": self._resume}

    def _authorize(self, environ: Mapping[str, Any]) -> None:
        if not self._token:
            raise Refused(403, "this page only shows: set STATUS_TOKEN or STATUS_TOKEN_FILE to change anything from it")
        if is_from_elsewhere(environ):
            raise Refused(403, "asked for by another site's page")
        if not has_token(environ, self._token):
            raise Refused(401, "not the token", **{"WWW-Authenticate": "Bearer"})

    def _retry(self, body: bytes) -> object:
        if self._actions.retry is None:
            raise Refused(404, "this manager can't retry")
        try:
            items = msgspec.json.decode(body, type=RetryAsked).items
        except msgspec.DecodeError as exc:
            raise Refused(400, f'expected {{"items": ["NAME"]}}: {exc}') from exc
        gone = self._board.gone(items)
        retried = self._actions.retry([item for item in dict.fromkeys(items) if item not in gone])
        for item in retried:
            self._log.info("item retried from the status page", item=item)
        done = frozenset(retried)
        refused = {
            item: "its source has it no more, so nothing would try it again" if item in gone else "it has not failed"
            for item in dict.fromkeys(items)
            if item not in done
        }
        return {"retried": retried, "refused": refused}

    def _pause(self, _: bytes) -> object:
        if self._actions.control is None:
            raise Refused(404, "this manager can't pause")
        self._actions.control.set_mode(Mode.PAUSED)
        self._log.info("queue paused from the status page")
        return {"mode": "paused"}

    def _resume(self, _: bytes) -> object:
        if self._actions.control is None:
            raise Refused(404, "this manager can't resume")
        self._actions.control.set_mode(Mode.RUNNING)
        self._log.info("queue resumed from the status page")
        return {"mode": "running"}


def _expect(environ: Mapping[str, Any], method: str) -> None:
    allowed = ("GET", "HEAD") if method == "GET" else (method,)
    if environ["REQUEST_METHOD"] not in allowed:
        raise Refused(405, f"expected {method}", Allow=", ".join(allowed))


def _body(environ: Mapping[str, Any]) -> bytes:
    length = int(environ.get("CONTENT_LENGTH") or 0)
    if length > BODY_MOST:
        raise Refused(413, f"expected {BODY_MOST} bytes at most")
    return bytes(environ["wsgi.input"].read(length))


def _text(path: str) -> str:
    """WSGI gives a path's bytes as Latin-1. What is no UTF-8 is no item's name either."""
    return path.encode("latin-1").decode("utf-8", "replace")


def _json(value: object) -> _Reply:
    return _Reply(msgspec.json.encode(value))


def _failure(code: int, message: str, headers: Mapping[str, str] | None = None) -> _Reply:
    status = {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "reason": _PHRASES[code].replace(" ", ""),
        "message": message,
        "code": code,
    }
    return _Reply(msgspec.json.encode(status), code=code, headers=headers or {})
