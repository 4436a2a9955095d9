"""The wire to a Kubernetes API server, against one that behaves badly: patience, errors, tokens, proxies."""

import threading
from collections.abc import Callable
from pathlib import Path

import kubernetes.client
import kubernetes.config
import pytest
import yaml

from longshore.engines.kubernetes import api as api_module
from longshore.engines.kubernetes.api import (
    ATTEMPTS,
    RETRY_SECONDS,
    Api,
    ApiError,
    Conflict,
    Expired,
    Forbidden,
    Invalid,
    NotThere,
)
from longshore_kit.errors import EngineError, EngineUnavailable, SettingsError
from support.api_server import (
    ApiServer,
    Handler,
    Patience,
    Request,
    Step,
    asking,
    cutting,
    hanging,
    refusing,
    replying,
    resetting,
    telling,
)

PATH = "/apis/batch/v1/namespaces/ns/jobs"
BUSY = refusing(503, "ServiceUnavailable", "busy")
CALLS: dict[str, Callable[[Api], object]] = {
    "GET": lambda api: api.get(PATH),
    "POST": lambda api: api.create(PATH, {"a": 1}),
    "PATCH": lambda api: api.patch(PATH, {"a": 1}),
    "DELETE": lambda api: api.delete(PATH, "u1", propagation="Background"),
}


@pytest.mark.parametrize("method", CALLS)
@pytest.mark.parametrize(
    "trouble",
    [
        pytest.param(refusing(408), id="408"),
        pytest.param(refusing(429, "TooManyRequests", "later"), id="429"),
        pytest.param(refusing(500, "InternalError", "etcd"), id="500"),
        pytest.param(replying(b"<html>Bad Gateway</html>", 502), id="502, not even JSON"),
        pytest.param(BUSY, id="503"),
        pytest.param(refusing(504, "Timeout", "slow"), id="504"),
        pytest.param(resetting, id="reset"),
        pytest.param(cutting, id="hung up mid-body"),
    ],
)
def test_a_trouble_that_passes_is_waited_out(method: str, trouble: Step) -> None:
    """The same request again, whole, until it is answered; one pause for each time."""
    stop = Patience()
    with asking(trouble, trouble, replying({"kind": "Job"}), stop=stop) as (api, server):
        CALLS[method](api)

        assert (server.requests, len(stop.pauses)) == ([server.requests[0]] * 3, 2)


def test_retry_after_is_honoured() -> None:
    """At least as long as the server says, and at most what the whole request may take."""
    stop = Patience()
    with asking(refusing(429, Retry_After="7"), BUSY, replying(b"{}"), stop=stop) as (api, _):
        api.get(PATH)

    assert (stop.pauses[0], 0 < stop.pauses[1] <= 2) == (7.0, True)


@pytest.mark.parametrize("value", ["soon", "Wed, 21 Oct 2026 07:28:00 GMT", "-5", "1.5", ""])
def test_a_retry_after_that_is_no_number_is_not_heeded(value: str) -> None:
    """The pause is then our own."""
    stop = Patience()
    with asking(refusing(429, Retry_After=value), replying(b"{}"), stop=stop) as (api, _):
        api.get(PATH)

    assert 0 < stop.pauses[0] <= 1


@pytest.mark.parametrize("method", CALLS)
def test_a_trouble_that_stays_is_given_up(method: str) -> None:
    """After so many attempts; the error says what was asked, of what, and what came."""
    with asking(*[BUSY] * 9) as (api, server), pytest.raises(EngineUnavailable) as caught:
        CALLS[method](api)

    assert (str(caught.value), len(server.requests)) == (f"{method} {PATH}: 503: busy", ATTEMPTS)


def test_the_last_trouble_is_told() -> None:
    """Of several, what kept the last reply away."""
    with asking(*[BUSY] * 4, cutting) as (api, _), pytest.raises(EngineUnavailable, match=r"GET .*: .*IncompleteRead"):
        api.get(PATH)


def test_nobody_there_is_unavailable() -> None:
    """A refused connection is told in words."""
    with asking() as (_, server):
        url = server.url
    client = kubernetes.client.ApiClient(kubernetes.client.Configuration(host=url, retries=False, no_proxy="*"))

    with pytest.raises(EngineUnavailable, match=rf"^GET {PATH}: .*Connection refused"):
        Api(client, "ns", stop=Patience()).get(PATH)


def test_time_is_bounded_as_attempts_are() -> None:
    """No pause is begun that would end after the request's time."""
    stop = Patience()
    with (
        asking(refusing(429, Retry_After=str(int(RETRY_SECONDS) + 1)), clock=iter([0.0, 0.1]).__next__, stop=stop) as (
            api,
            server,
        ),
        pytest.raises(EngineUnavailable, match="429"),
    ):
        api.get(PATH)

    assert (len(server.requests), stop.pauses) == (1, [])


def test_each_attempt_is_told_of_with_its_verb_and_code() -> None:
    """Those that are made again too, a watch as one of its own, and one that nobody answered."""
    told: list[tuple[str, int | None]] = []
    steps = [BUSY, replying(), replying(code=201), replying(), refusing(404), *[resetting] * ATTEMPTS]
    with asking(*steps, on_reply=lambda verb, code: told.append((verb, code))) as (api, server):
        server.add("watch", telling({}, then="end"))
        api.get(PATH)
        api.create(PATH, {})
        api.patch(PATH, {})
        api.delete(PATH, "uid", propagation="Background")
        list(api.watch(PATH, {}, read_seconds=1))
        with pytest.raises(EngineUnavailable):
            api.get(PATH)

    assert told[:6] == [("get", 503), ("get", 200), ("create", 201), ("patch", 200), ("delete", 404), ("watch", 200)]
    assert told[6:] == [("get", None)] * ATTEMPTS


def test_closing_ends_the_waiting() -> None:
    """Who waits between two attempts is let go at once."""
    with asking(*[refusing(503, Retry_After="50")] * 9, stop=threading.Event()) as (api, server):
        caught: list[EngineError] = []

        def ask() -> None:
            try:
                api.get(PATH)
            except EngineError as exc:
                caught.append(exc)

        thread = threading.Thread(target=ask)
        thread.start()
        while not server.requests:
            thread.join(0.01)
        api.close()
        thread.join(10)

    assert (thread.is_alive(), len(caught)) == (False, 1)


@pytest.mark.parametrize("method", ["GET", "POST", "PATCH"])
@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (301, ApiError),
        (400, Invalid),
        (403, Forbidden),
        (404, NotThere),
        (405, ApiError),
        (409, Conflict),
        (410, Expired),
        (413, ApiError),
        (422, Invalid),
    ],
)
def test_a_no_is_not_asked_again(method: str, code: int, kind: type[ApiError]) -> None:
    """Each answer is its own class, with code, reason and the server's words; redirects lead nowhere."""
    no = refusing(code, "Because", "the server's words", Location="/elsewhere")
    with asking(no) as (api, server), pytest.raises(ApiError) as caught:
        CALLS[method](api)

    got = caught.value
    assert (type(got), got.code, got.reason, str(got)) == (kind, code, "Because", "the server's words")
    assert len(server.requests) == 1


@pytest.mark.parametrize("body", [b"<html>no</html>", b"[]", b"null", b'"no"', b"\xff"])
def test_a_no_in_other_words_is_told_as_it_came(body: bytes) -> None:
    """What a proxy puts in its place is no Status; its beginning is the message."""
    with asking(replying(body, 403)) as (api, _), pytest.raises(Forbidden) as caught:
        api.get(PATH)

    assert (caught.value.reason, str(caught.value)) == ("", body.decode(errors="replace"))


def test_401_is_asked_once_more() -> None:
    """A token may just have been rotated; after the second time it is the next tick that tries."""
    no = refusing(401, "Unauthorized", "Unauthorized")
    with asking(no, no, no) as (api, server), pytest.raises(EngineUnavailable, match="401: Unauthorized"):
        api.get(PATH)

    assert len(server.requests) == 2


def test_a_token_that_was_read_anew_is_used() -> None:
    """The client's hook is asked before each attempt, not once for all."""
    tokens = iter(["bearer old", "bearer new"])

    def read_token(configuration: kubernetes.client.Configuration) -> None:
        configuration.api_key["BearerToken"] = next(tokens)

    with asking(refusing(401), replying(b"{}"), api_key={"BearerToken": "bearer first"}) as (api, server):
        api._client.configuration.refresh_api_key_hook = read_token
        api.get(PATH)

        assert [one.headers.get("authorization") for one in server.requests] == ["bearer old", "bearer new"]


@pytest.mark.parametrize(
    "trouble", [FileNotFoundError("no token"), kubernetes.config.ConfigException("Token file exists but empty.")]
)
def test_a_token_that_can_not_be_read_is_waited_for(trouble: Exception) -> None:
    """The kubelet is writing it just now: no error of another tree comes out of here, and the next attempt is good."""
    troubles = iter([trouble])

    def read_token(_: kubernetes.client.Configuration) -> None:
        for one in troubles:
            raise one

    with asking(replying(b"{}"), api_key={"BearerToken": "bearer first"}) as (api, server):
        api._client.configuration.refresh_api_key_hook = read_token
        api.get(PATH)

        assert len(server.requests) == 1


def test_tls_that_fails_is_unavailable() -> None:
    """A wrong certificate, or no TLS at all: the client has an error of its own for it, which stays in here."""
    with ApiServer().running() as server:
        url = server.url.replace("http:", "https:")
        client = kubernetes.client.ApiClient(kubernetes.client.Configuration(host=url, retries=False, no_proxy="*"))
        api = Api(client, "ns", stop=Patience())

        with pytest.raises(EngineUnavailable, match=rf"^GET {PATH}: .*"):
            api.get(PATH)
        with pytest.raises(EngineUnavailable, match="the watch of"):
            list(api.watch(PATH, {}, read_seconds=5))


def test_a_hung_server_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Silence ends each attempt after `READ_SECONDS`."""
    monkeypatch.setattr(api_module, "READ_SECONDS", 0.05)
    with asking(*[hanging] * 9) as (api, server):
        with pytest.raises(EngineUnavailable, match=rf"^GET {PATH}: .*[Tt]imed out"):
            api.get(PATH)

        assert len(server.requests) == ATTEMPTS


def test_an_attempt_may_bring_what_the_one_before_did_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hung connection is left, and another one used."""
    monkeypatch.setattr(api_module, "READ_SECONDS", 0.05)
    with asking(hanging, replying({"a": 1})) as (api, _):
        assert api.get(PATH) == b'{"a": 1}'


def test_a_deletion_means_one_very_object() -> None:
    """By uid, and with the propagation that was asked for: the API's default would orphan the pods."""
    with asking(replying(b"{}")) as (api, server):
        api.delete(f"{PATH}/a", "u1", propagation="Foreground")

        body = {"preconditions": {"uid": "u1"}, "propagationPolicy": "Foreground"}
        assert server.requests == [Request("DELETE", f"{PATH}/a", {}, body)]


@pytest.mark.parametrize("code", [404, 409])
def test_what_is_gone_or_another_by_now_is_deleted(code: int) -> None:
    """The very object that was meant is not there: done."""
    with asking(refusing(code)) as (api, server):
        api.delete(f"{PATH}/a", "u1", propagation="Background")

        assert len(server.requests) == 1


@pytest.mark.parametrize(("code", "kind"), [(403, Forbidden), (422, Invalid)])
def test_a_deletion_that_is_refused_is_told(code: int, kind: type[ApiError]) -> None:
    """Only these two mean that nothing is left to do."""
    with asking(refusing(code)) as (api, _), pytest.raises(kind):
        api.delete(f"{PATH}/a", "u1", propagation="Background")


def test_a_patch_is_laid_over() -> None:
    """RFC 7396 by name, and null, which takes a field away, goes as it is."""
    body = {"metadata": {"uid": "u1", "annotations": {"ä/é": "日本", "gone": None}}, "spec": {"suspend": True}}
    with asking(replying({"kind": "Job"})) as (api, server):
        got = api.patch(f"{PATH}/a", body)

        (request,) = server.requests
        assert (request, request.headers["Content-Type"], got) == (
            Request("PATCH", f"{PATH}/a", {}, body),
            "application/merge-patch+json",
            b'{"kind": "Job"}',
        )


def test_a_creation_goes_as_it_was_given() -> None:
    """JSON to JSON, and the query beside it; the reply comes back unread."""
    with asking(replying(b'{"kind":"Job"} ', 201)) as (api, server):
        got = api.create(PATH, {"a": [1, None, {"b": ""}]}, {"fieldValidation": "Strict"})

        (request,) = server.requests
        assert (request, request.headers["Content-Type"], request.headers["Accept"], got) == (
            Request("POST", PATH, {"fieldValidation": "Strict"}, {"a": [1, None, {"b": ""}]}),
            "application/json",
            "application/json",
            b'{"kind":"Job"} ',
        )


def test_a_query_may_hold_anything() -> None:
    """Selectors and continue tokens arrive as they are."""
    query = {"labelSelector": "longshore.dev/queue=a b,c!=d", "continue": "ey+J2/==&x%20#ä"}
    with asking(replying(b"{}")) as (api, server):
        api.get(PATH, query)

        assert server.requests == [Request("GET", PATH, query)]


# --- watching


def test_a_watch_gives_whole_lines() -> None:
    """However the server cuts them into pieces; empty ones are none, and what its end cuts off is none."""

    def in_pieces(handler: Handler) -> None:
        handler.begin(200, {"Transfer-Encoding": "chunked"})
        for piece in (b'{"a"', b':1}\n\n{"b":', b"2}", b'\n{"c":3}\n{"d"', b""):
            handler.write_chunk(piece)

    with asking() as (api, server):
        server.add("watch", in_pieces)

        assert list(api.watch(PATH, {}, read_seconds=5)) == [b'{"a":1}', b'{"b":2}', b'{"c":3}']


@pytest.mark.parametrize("then", ["cut", "silence"])
def test_a_watch_that_breaks_off_is_told(then: str) -> None:
    """What came before is handed out first."""
    with asking() as (api, server):
        server.add("watch", telling({"a": 1}, then=then))
        watch = api.watch(PATH, {}, read_seconds=0.1)

        assert next(watch) == b'{"a": 1}'
        with pytest.raises(EngineUnavailable, match=f"the watch of {PATH} broke off"):
            next(watch)


def test_a_watch_that_does_not_begin_is_told() -> None:
    """A connection that is reset before any reply came."""
    with asking() as (api, server):
        server.add("watch", resetting)
        with pytest.raises(EngineUnavailable, match=f"the watch of {PATH} broke off: .*reset"):
            list(api.watch(PATH, {}, read_seconds=5))


@pytest.mark.parametrize(
    ("code", "kind"), [(410, Expired), (403, Forbidden), (401, EngineUnavailable), (504, EngineUnavailable)]
)
def test_a_watch_that_is_refused_is_told(code: int, kind: type[EngineError]) -> None:
    """By the same classes as any request; asking again is up to who watches."""
    with asking() as (api, server):
        server.add("watch", refusing(code, "Because", "words"))
        with pytest.raises(kind, match="words"):
            list(api.watch(PATH, {"resourceVersion": "7"}, read_seconds=5))

        assert server.requests == [Request("GET", PATH, {"resourceVersion": "7", "watch": "true"})]


def test_a_watch_left_early_lets_its_connection_go() -> None:
    """What comes still is nobody's: the next request has a connection of its own."""
    with asking(replying(b"{}")) as (api, server):
        server.add("watch", telling({"a": 1}))
        watch = api.watch(PATH, {}, read_seconds=5)

        assert (next(iter(watch)), api.get(PATH)) == (b'{"a": 1}', b"{}")


# --- connecting


def kubeconfig(folder: Path, server: str, **cluster: str) -> Path:
    """A kubeconfig file with one context."""
    path = folder / "config"
    path.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "here",
                "clusters": [{"name": "c", "cluster": {"server": server, **cluster}}],
                "users": [{"name": "u", "user": {"token": "secret"}}],
                "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u", "namespace": "theirs"}}],
            }
        ),
        encoding="utf-8",
    )
    return path


@pytest.fixture
def proxied(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment that sends everything to a proxy that is not there."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
        monkeypatch.setenv(name.lower(), "http://127.0.0.1:1")
    for name in ("NO_PROXY", "no_proxy", "REQUEST_METHOD"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.mark.usefixtures("proxied")
def test_the_client_by_itself_would_take_the_environments_proxy() -> None:
    """Why `connect` says otherwise: if this is no longer so, that line may go."""
    configuration = kubernetes.client.Configuration(host="https://10.96.0.1")

    assert configuration.proxy == "http://127.0.0.1:1"


@pytest.mark.usefixtures("proxied")
def test_the_environments_proxy_is_not_for_the_api_server(tmp_path: Path) -> None:
    """It is meant for what lies outside, and seldom has the API server's address in NO_PROXY."""
    with ApiServer(replying(b"{}")).running() as server:
        api = Api.connect(kubeconfig=kubeconfig(tmp_path, server.url))

        assert (api.get(PATH), api.namespace) == (b"{}", "theirs")
        assert server.requests[0].headers["authorization"] == "Bearer secret"
        api.close()


def test_a_kubeconfigs_proxy_is_used(tmp_path: Path, proxied: pytest.MonkeyPatch) -> None:
    """`proxy-url` of the cluster, whatever NO_PROXY says: that is for the environment's own."""
    proxied.setenv("NO_PROXY", "*")
    proxied.setenv("no_proxy", "*")
    with ApiServer(replying(b"{}")).running() as server:
        path = kubeconfig(tmp_path, "http://api.invalid", **{"proxy-url": server.url})
        api = Api.connect(kubeconfig=path, namespace="mine")

        assert (api.get(PATH), api.namespace) == (b"{}", "mine")
        assert [one.headers["Host"] for one in server.requests] == ["api.invalid"]
        api.close()


def test_the_client_retries_nothing_by_itself(tmp_path: Path) -> None:
    """Else attempts would multiply: its default is three more for each."""
    with ApiServer(*[resetting] * 30).running() as server:
        api = Api.connect(kubeconfig=kubeconfig(tmp_path, server.url))
        api._stop.set()
        with pytest.raises(EngineUnavailable):
            api.get(PATH)

        assert len(server.requests) == 1
        api.close()


@pytest.mark.parametrize(
    ("text", "context"),
    [
        pytest.param(None, None, id="no file"),
        pytest.param("", None, id="empty"),
        pytest.param("{", None, id="no YAML"),
        pytest.param("[]", None, id="a list"),
        pytest.param("contexts: []\ncurrent-context: a\n", None, id="no such context"),
        pytest.param("good", "elsewhere", id="another context"),
    ],
)
def test_a_kubeconfig_that_leads_nowhere_is_a_wrong_setting(tmp_path: Path, text: str | None, context: str) -> None:
    """It says so at the start, and what to set."""
    path = tmp_path / "config"
    if text == "good":
        kubeconfig(tmp_path, "http://127.0.0.1:1")
    elif text is not None:
        path.write_text(text, encoding="utf-8")

    with pytest.raises(SettingsError, match="set KUBECONFIG, or give --context"):
        Api.connect(kubeconfig=path, context=context)
