"""The wire to a Kubernetes API server. The only module that imports the official client, pinned exactly.

Owns configuration, authentication, timeouts, retries and what an error means: the client has no timeouts of its own
and retries nothing. Hands out bytes: its models cost 0.5 ms of CPU per Job, and version 37 broke some of them.
https://kubernetes.io/docs/reference/using-api/api-concepts/
"""

import contextlib
import json
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Final, Literal, Self, TypeAlias, TypeVar, cast

import kubernetes.client
import kubernetes.config
import msgspec
import urllib3.exceptions
import websocket  # the client's own, for port forwarding
import yaml
from kubernetes.stream import ws_client

from longshore_kit.errors import EngineError, EngineUnavailable, SettingsError

CONNECT_SECONDS: Final = 5.0
READ_SECONDS: Final = 30.0
ATTEMPTS: Final = 5
"""For one request. Every request here may be sent twice: creations are by name, deletions by uid."""
RETRY_SECONDS: Final = 60.0
"""After so long the tick gives up, and the next one tries anew."""
_BACKOFF_SECONDS: Final = 0.5
_BACKOFF_MAX: Final = 10.0
_RETRIED: Final = frozenset({408, 429, 500, 502, 503, 504})
_UNAUTHORIZED: Final = 401
_NO_ANSWER: Final = (
    urllib3.exceptions.HTTPError,
    OSError,
    kubernetes.client.ApiException,  # what the client makes of TLS that fails
    kubernetes.config.ConfigException,  # a token file that is empty, a login program that failed
)
_SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_POOL: Final = 80
"""Connections kept: 64 creations in flight at most, two watches, and what people ask."""

T = TypeVar("T")
Method = Literal["GET", "POST", "PATCH", "DELETE"]
Body = Mapping[str, Any] | None
OnReply: TypeAlias = Callable[[str, int | None], None]
"""Told of each attempt, from any thread: its verb, watch among them, and its reply's code, or None when none came."""
_VERBS: Final[Mapping[Method, str]] = {"GET": "get", "POST": "create", "PATCH": "patch", "DELETE": "delete"}


class ApiError(EngineError):
    """The API server said no: its code, reason and message."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code: Final = code
        self.reason: Final = reason


class NotThere(ApiError):
    """404: no such object."""


class Conflict(ApiError):
    """409: the name is taken, or the object is not the one that was meant."""


class Expired(ApiError):
    """410: what was asked to go on from is no longer kept; list again."""


class Forbidden(ApiError):
    """403: a right is missing, a quota is reached, or an admission rule refuses."""


class Invalid(ApiError):
    """400 or 422: the object itself is wrong."""


_ERRORS: Final[Mapping[int, type[ApiError]]] = {
    400: Invalid,
    403: Forbidden,
    404: NotThere,
    409: Conflict,
    410: Expired,
    422: Invalid,
}


@dataclass(frozen=True)
class _Request:
    method: Method
    path: str
    query: Mapping[str, str] | None = None
    body: Body = None
    content_type: str = "application/json"
    accept: str = "application/json"


@dataclass(frozen=True)
class _Reply:
    code: int
    headers: Mapping[str, str]
    body: bytes


class Api:
    """One cluster, as one user, in one namespace. For many threads."""

    def __init__(
        self,
        client: "kubernetes.client.ApiClient",
        namespace: str,
        *,
        stop: threading.Event | None = None,
        clock: Callable[[], float] = time.monotonic,
        on_reply: OnReply = lambda _verb, _code: None,
    ) -> None:
        self._on_reply: Final = on_reply
        self._client: Final = client
        self.namespace: Final = namespace
        self._stop: Final = stop or threading.Event()
        self._clock: Final = clock
        self._ahead = 0.0

    def now(self) -> float:
        """
        The API server's time, in seconds since the epoch, as its last reply said it: to the second.

        Ages of its objects are told by it alone, since a machine's own clock may be minutes off.
        """
        return time.time() + self._ahead

    @classmethod
    def connect(
        cls,
        *,
        namespace: str | None = None,
        context: str | None = None,
        kubeconfig: Path | None = None,
        on_reply: OnReply = lambda _verb, _code: None,
    ) -> Self:
        """
        By the pod's own service account where there is one, else by a kubeconfig file as kubectl would.

        Raises:
            SettingsError: neither is there, or the context is not in the file.
        """
        configuration = kubernetes.client.Configuration()
        # The client would take HTTPS_PROXY, which is meant for what lies outside: only a kubeconfig's proxy-url counts.
        configuration.proxy, configuration.no_proxy = None, None
        try:
            if context is None and kubeconfig is None and (_SERVICE_ACCOUNT / "token").exists():
                kubernetes.config.load_incluster_config(configuration)
                found = (_SERVICE_ACCOUNT / "namespace").read_text(encoding="utf-8").strip()
            else:
                file = str(kubeconfig) if kubeconfig else None
                kubernetes.config.load_kube_config(file, context=context, client_configuration=configuration)
                found = _namespace_of(file, context)
        # TypeError: the client's word for a file that holds a list, or a text, where an object should be.
        except (kubernetes.config.ConfigException, yaml.YAMLError, TypeError, OSError) as exc:
            raise SettingsError(f"no cluster to speak to: {exc}; set KUBECONFIG, or give --context") from exc
        configuration.retries = False
        configuration.connection_pool_maxsize = _POOL
        return cls(kubernetes.client.ApiClient(configuration), namespace or found, on_reply=on_reply)

    def get(self, path: str, query: Mapping[str, str] | None = None, *, accept: str = "application/json") -> bytes:
        """
        One object, or one page of a list, as JSON; `accept` may ask for less of it.

        Raises:
            ApiError: the server said no.
            EngineUnavailable: it did not answer, or is overloaded; safe to retry.
        """
        return self._request(_Request("GET", path, query, accept=accept)).body

    def read(self, path: str, kind: type[T], query: Mapping[str, str] | None = None) -> T:
        """
        One object, or one page of a list, as a value of this type.

        Raises:
            ApiError, EngineUnavailable: as `get`.
        """
        return decoded(self.get(path, query), kind, path)

    def create(self, path: str, body: Mapping[str, Any], query: Mapping[str, str] | None = None) -> bytes:
        """
        Make an object of a given name; the object as it was made.

        Raises:
            Conflict: one of this name is there, made by whomever, us included if the first reply was lost.
            ApiError, EngineUnavailable: as `get`.
        """
        return self._request(_Request("POST", path, query, body)).body

    def patch(self, path: str, body: Mapping[str, Any]) -> bytes:
        """
        Lay `body` over an object (RFC 7396); with a uid or resourceVersion in its metadata only over that very one.

        Raises:
            ApiError, EngineUnavailable: as `get`.
        """
        return self._request(_Request("PATCH", path, None, body, "application/merge-patch+json")).body

    def delete(self, path: str, uid: str, *, propagation: Literal["Foreground", "Background"]) -> None:
        """
        Delete the object of this very uid; one that is gone, or is another by now, is no error.

        Raises:
            ApiError, EngineUnavailable: as `get`.
        """
        body = {"preconditions": {"uid": uid}, "propagationPolicy": propagation}
        try:
            self._request(_Request("DELETE", path, None, body))
        except (NotThere, Conflict):
            return

    def watch(self, path: str, query: Mapping[str, str], *, read_seconds: float) -> Iterator[bytes]:
        """
        The lines of a watch, each an event as JSON, until the server ends it.

        Raises:
            ApiError: the server said no; `Expired` means to list again.
            EngineUnavailable: it broke off, or nothing came for `read_seconds`.
        """
        try:
            response = self._send(_Request("GET", path, {**query, "watch": "true"}), read_seconds)
            try:
                if response.status != 200:  # noqa: PLR2004 - https://httpwg.org/specs/rfc9110.html#status.200
                    raise _error(_Reply(response.status, response.headers, response.data))
                yield from _lines(response.stream(64 * 1024, decode_content=True))
            finally:
                # What is left of a watch is never read to its end, so its connection is of no more use.
                response.close()
                response.release_conn()
        except _NO_ANSWER as exc:
            raise EngineUnavailable(f"the watch of {path} broke off: {exc}") from exc

    def forward(self, pod: str, port: int) -> socket.socket:
        """
        A connection to a port of a pod's own loopback, as `kubectl port-forward` makes.

        Raises:
            ApiError: the server said no.
            EngineUnavailable: it did not answer.
        """
        path = f"/api/v1/namespaces/{self.namespace}/pods/{pod}/portforward"
        query = [("ports", str(port))]
        _, url, headers, *_ = self._client.param_serialize(
            "GET", path, query_params=query, auth_settings=["BearerToken"]
        )
        websocket.setdefaulttimeout(READ_SECONDS)
        try:
            forwarded = ws_client.portforward_call(self._client.configuration, "GET", url, headers=headers)
        except _NO_ANSWER as exc:
            # The client makes one error of all; what the server said is in the one below.
            if isinstance(said := exc.__context__, websocket.WebSocketBadStatusException):
                raise _error(_Reply(said.status_code, said.resp_headers or {}, said.resp_body or b"")) from exc
            raise EngineUnavailable(f"port {port} of pod {pod} can't be reached: {exc}") from exc
        return cast(socket.socket, forwarded.socket(port))

    def close(self) -> None:
        """Stop waiting between attempts, and let go of all connections."""
        self._stop.set()
        self._client.rest_client.close()

    # --- one request, with patience

    def _request(self, request: _Request) -> _Reply:
        until, trouble = self._clock() + RETRY_SECONDS, ""
        for attempt in range(1, ATTEMPTS + 1):
            reply, trouble = self._try(request)
            if reply is not None and reply.code < 300:  # noqa: PLR2004 - 2xx
                return reply
            pause = min(_BACKOFF_MAX, _BACKOFF_SECONDS * 2**attempt) * random.uniform(0.5, 1)  # noqa: S311 - spreads load
            if reply is not None:
                # A rotated token: the client reads it anew by itself, a minute later at the latest.
                if reply.code not in _RETRIED and not (reply.code == _UNAUTHORIZED and attempt == 1):
                    raise _error(reply)
                pause = max(pause, _retry_after(reply))
                trouble = f"{reply.code}: {_message(reply)}"
            if attempt == ATTEMPTS or self._clock() + pause > until or self._stop.wait(pause):
                break
            if self._clock() > until:
                break  # it was paused meanwhile: what was decided then may be wrong by now
        raise EngineUnavailable(f"{request.method} {request.path}: {trouble}")

    def _try(self, request: _Request) -> tuple[_Reply | None, str]:
        """One attempt: the reply, or what kept it away."""
        try:
            response = self._send(request, READ_SECONDS)
            self._hear_time(response.headers.get("Date", ""))
            return _Reply(response.status, response.headers, response.data), ""
        except _NO_ANSWER as exc:
            return None, str(exc)

    def _hear_time(self, date: str) -> None:
        with contextlib.suppress(ValueError):
            self._ahead = parsedate_to_datetime(date).timestamp() - time.time()

    def _send(self, request: _Request, read_seconds: float) -> Any:  # noqa: ANN401 - urllib3's response, as the client hands it out
        headers = {"Accept": request.accept}
        if request.body is not None:
            headers["Content-Type"] = request.content_type
        serialized = self._client.param_serialize(
            method=request.method,
            resource_path=request.path,
            query_params=list((request.query or {}).items()),
            header_params=headers,
            body=dict(request.body) if request.body is not None else None,
            auth_settings=["BearerToken"],
        )
        code = None
        try:
            response = self._client.call_api(*serialized, _request_timeout=(CONNECT_SECONDS, read_seconds)).response
            code = response.status
            return response
        finally:
            self._on_reply("watch" if (request.query or {}).get("watch") else _VERBS[request.method], code)


def decoded(data: bytes, kind: type[T], path: str) -> T:
    """
    What the server sent, as a value of this type.

    Raises:
        EngineUnavailable: it is nothing of the kind: something between us and the server answered in its place.
    """
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, RecursionError) as exc:
        raise EngineUnavailable(f"{path}: not what an API server answers: {exc}") from exc


def _namespace_of(file: str | None, context: str | None) -> str:
    contexts, active = kubernetes.config.list_kube_config_contexts(file)
    chosen = next((one for one in contexts if one["name"] == context), active)
    return str(chosen["context"].get("namespace") or "default")


def _error(reply: _Reply) -> EngineError:
    if reply.code in _RETRIED or reply.code == _UNAUTHORIZED:
        return EngineUnavailable(f"{reply.code}: {_message(reply)}")
    return _ERRORS.get(reply.code, ApiError)(reply.code, str(_status(reply).get("reason", "")), _message(reply))


def _status(reply: _Reply) -> dict[str, Any]:
    try:
        status = json.loads(reply.body)
    except (ValueError, RecursionError):
        return {}
    return status if isinstance(status, dict) else {}


def _message(reply: _Reply) -> str:
    return str(_status(reply).get("message") or reply.body[:200].decode(errors="replace"))


def _retry_after(reply: _Reply) -> float:
    """Seconds; a date is not what Kubernetes sends."""
    text = reply.headers.get("Retry-After", "")
    return min(float(text), RETRY_SECONDS) if text.isdecimal() else 0.0


def _lines(chunks: Iterator[bytes]) -> Iterator[bytes]:
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        yield from (line for line in whole if line)
