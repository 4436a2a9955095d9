"""The page's paths over HTTP: what is answered, and what is refused."""

import io
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import Queue
from threading import Event
from typing import Any

import pytest
from urllib3.util import parse_url

from longshore.records import Records
from longshore.state import Job, Record, State
from longshore.web.actions import Actions, Retry
from longshore.web.app import StatusApp
from longshore.web.board import LOGS_AT_ONCE
from longshore.web.guard import CONTENT_SECURITY_POLICY, is_ours
from longshore.web.serving import THREADS
from longshore_kit.errors import EngineUnavailable
from support.boards import HOSTILE, NOW, Recorder, board_of, hostile, job, mixed, survey

BEARER: dict[str, Any] = {"HTTP_AUTHORIZATION": "Bearer secret"}


@dataclass
class Answer:
    code: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def asked(app: StatusApp, path: str, method: str = "GET", body: bytes = b"", **environ: str) -> Answer:
    """One request; `path` is as it is after percent-decoding, with its query."""
    head, _, query = path.partition("?")
    said: list[Any] = []
    given = {
        "REQUEST_METHOD": method,
        "PATH_INFO": head.encode().decode("latin-1"),
        "QUERY_STRING": query,
        "HTTP_HOST": "127.0.0.1:8083",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body),
    }
    sent = b"".join(app(given | environ, lambda status, headers: said.extend((status, headers))))
    return Answer(int(said[0][:3]), dict(said[1]), sent)


def app_of(seen: Any = None, *, token: str = "", did: Recorder | None = None, **more: Any) -> StatusApp:
    recorder = did or Recorder()
    return StatusApp(board_of(seen or mixed()), token=token, actions=Actions(recorder.retry, recorder), **more)


def test_every_reply_tells_the_browser_to_trust_nothing_else() -> None:
    """Pages, JSON and errors alike."""
    for path in ("/", "/static/page.js", "/static/style.css", "/api/status", "/api/items", "/nowhere"):
        headers = asked(app_of(), path).headers

        assert headers["Content-Security-Policy"] == CONTENT_SECURITY_POLICY
        assert (headers["X-Content-Type-Options"], headers["Referrer-Policy"]) == ("nosniff", "no-referrer")
        assert "Set-Cookie" not in headers
    assert "unsafe" not in CONTENT_SECURITY_POLICY
    assert CONTENT_SECURITY_POLICY.startswith("default-src 'none'; script-src 'self'")


def test_page_has_neither_inline_script_nor_style_nor_anything_from_elsewhere() -> None:
    """What the policy forbids would be missing from the page."""
    page = asked(app_of(), "/").body.decode()
    script = asked(app_of(), "/static/page.js").body.decode()

    assert "style=" not in page
    assert "<style" not in page
    assert page.count("<script") == page.count('<script src="/static/')
    assert "http" not in page.replace('http-equiv"', "")
    assert not [
        word for word in ("innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval(") if word in script
    ]
    assert [parse_url(word).host for word in script.split('"') if word.startswith("http")] == ["www.w3.org"]


def test_status_has_everything() -> None:
    """One object for one refresh."""
    status = asked(app_of(), "/api/status").json

    assert status["counts"] == {"waiting": 3, "starting": 1, "running": 2, "done": 4, "failed": 2}
    assert [row["name"] for row in status["failed"]] == ["camera-09/0007.mp4", "half.mp4"]
    assert (status["queue"], status["now"], status["mode"], status["actions"]) == ("thumbs", NOW, "running", [])


@pytest.mark.parametrize("name", HOSTILE)
def test_item_of_any_name_is_found(name: str) -> None:
    """With slashes, newlines, and whatever else a name may have."""
    answer = detail_of(app_of(hostile(20)), name)

    assert answer["row"]["name"] == name
    assert answer["sentence"].isprintable()
    assert answer["log"][-1] == "bell \\x07 and "


def detail_of(app: StatusApp, name: str) -> Any:
    path = f"/api/items/{name}".encode().decode("latin-1")
    return asked(app, "", PATH_INFO=path).json


def test_unknown_item_is_not_found() -> None:
    """And its name harms nobody."""
    answer = detail_of(app_of(), "no\x1b[2Jne")

    assert (answer["kind"], answer["code"], answer["message"].isprintable()) == ("Status", 404, True)


@pytest.mark.parametrize("query", ["page=0x1", "page=-1", "page=99999999999", "state=odd", "page=²"])
def test_odd_question_is_refused(query: str) -> None:
    """With a word on what was expected."""
    answer = asked(app_of(), f"/api/items?{query}")

    assert (answer.code, "expected" in answer.json["message"]) == (400, True)


def test_items_are_found_by_state_name_and_page() -> None:
    """As the page asks for them."""
    answer = asked(app_of(), "/api/items?state=done&search=B.mp4&page=7").json

    assert ([row["name"] for row in answer["items"]], answer["page"], answer["total"]) == (
        ["camera-03/b.mp4", "camera-03/a b.mp4"],
        1,
        2,
    )


def test_trouble_with_a_log_is_told_in_its_place() -> None:
    """A worker's log that can't be read hides nothing else."""

    def fail(_: Job) -> str:
        raise EngineUnavailable("no answer\x1b")

    answer = asked(StatusApp(board_of(mixed(), log=fail)), "/api/items/half.mp4").json

    assert (answer["log"], answer["log_error"], answer["row"]["state"]) == ([], "no answer\\x1b", "failed")


def test_slow_logs_leave_threads_for_every_other_question() -> None:
    """So many are read at a time, each of another Job; who asks for one more is told so at once."""
    jobs = [job(f"item-{number}", State.FAILED) for number in range(LOGS_AT_ONCE + 1)]
    goes_on, begun = Event(), Queue[str]()

    def slow(one: Job) -> str:
        begun.put(one.item)
        assert goes_on.wait(60)
        return "at last"

    app = StatusApp(board_of(survey(*jobs), log=slow))
    with ThreadPoolExecutor(LOGS_AT_ONCE) as pool:
        slow_ones = [pool.submit(detail_of, app, one.item) for one in jobs[:LOGS_AT_ONCE]]
        read = {begun.get(timeout=60) for _ in slow_ones}
        refused = [detail_of(app, jobs[number].item)["log_error"] for number in (0, LOGS_AT_ONCE)]
        goes_on.set()
        logs = [one.result()["log"] for one in slow_ones]
    afterwards = detail_of(app, jobs[LOGS_AT_ONCE].item)

    assert refused == [
        "busy: this log is being read already; tried again",
        f"busy: {LOGS_AT_ONCE} other logs are being read; tried again",
    ]
    assert (read, logs) == ({one.item for one in jobs[:LOGS_AT_ONCE]}, [["at last"]] * LOGS_AT_ONCE)
    assert (afterwards["log"], afterwards["log_error"], THREADS > LOGS_AT_ONCE) == (["at last"], "", True)


# --- acting


@pytest.mark.parametrize("path", ["/api/retry", "/api/pause", "/api/resume"])
@pytest.mark.parametrize(
    ("token", "environ", "code"),
    [
        ("", {}, 403),
        ("", {"HTTP_AUTHORIZATION": "Bearer "}, 403),
        ("secret", {}, 401),
        ("secret", {"HTTP_AUTHORIZATION": "Bearer secre"}, 401),
        ("secret", {"HTTP_AUTHORIZATION": "Basic secret"}, 401),
        ("secret", {"HTTP_AUTHORIZATION": "Bearer sécret\u2028"}, 401),
        ("secret", {**BEARER, "HTTP_ORIGIN": "http://evil.example"}, 403),
        ("secret", {**BEARER, "HTTP_ORIGIN": "null"}, 403),
        ("secret", {**BEARER, "HTTP_SEC_FETCH_SITE": "cross-site"}, 403),
    ],
)
def test_nothing_is_changed_without_the_token(path: str, token: str, environ: dict[str, Any], code: int) -> None:
    """Nor from another site's page with it."""
    did = Recorder()

    answer = asked(app_of(token=token, did=did), path, "POST", b'{"items": ["half.mp4"]}', **environ)

    assert (answer.code, did) == (code, Recorder())


def test_with_the_token_items_are_retried() -> None:
    """Each that is still in its source; of the others it is said why not."""
    did = Recorder()

    answer = asked(
        app_of(token="secret", did=did), "/api/retry", "POST", b'{"items": ["half.mp4", "gone", "half.mp4"]}', **BEARER
    )

    assert (answer.code, did.retried, answer.json["retried"]) == (200, ["half.mp4"], ["half.mp4"])
    assert list(answer.json["refused"]) == ["gone"]


def test_with_the_token_the_queue_is_paused_and_resumed() -> None:
    """By the control that was handed in."""
    did = Recorder()
    app = app_of(token="secret", did=did)

    paused = (asked(app, "/api/pause", "POST", **BEARER).json, did.said)
    resumed = (asked(app, "/api/resume", "POST", HTTP_ORIGIN="http://127.0.0.1:8083", **BEARER).json, did.said)

    assert (paused, resumed) == (({"mode": "paused"}, "paused"), ({"mode": "running"}, "running"))


def test_what_was_not_handed_in_is_not_offered() -> None:
    """No button, and no answer."""
    app = StatusApp(board_of(mixed()), token="secret")

    assert asked(app, "/api/status").json["actions"] == []
    assert [asked(app, f"/api/{act}", "POST", **BEARER).code for act in ("retry", "pause", "resume")] == [404] * 3


@pytest.mark.parametrize("body", [b"", b"{}", b'{"items": "a"}', b'{"items": [1]}', b'{"items": [], "all": true}'])
def test_retry_of_nothing_in_particular_is_refused(body: bytes) -> None:
    """A slip must not retry everything."""
    assert asked(app_of(token="secret"), "/api/retry", "POST", body, **BEARER).code == 400


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [("POST", "/", 405), ("DELETE", "/api/items/a", 405), ("GET", "/api/retry", 405), ("HEAD", "/api/status", 200)],
)
def test_other_methods_are_refused(method: str, path: str, code: int) -> None:
    """Nothing is changed by a link."""
    answer = asked(app_of(token="secret"), path, method, **BEARER)

    assert (answer.code, method == "HEAD" and answer.body != b"") == (code, False)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1:8083", True),
        ("localhost:1", True),
        ("[::1]:8083", True),
        ("10.1.2.3", True),
        ("LOCALHOST", True),
        ("status.example:80", True),
        ("evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("localhost.evil.example:8083", False),
        ("", False),
        ("[", False),
    ],
)
def test_page_is_asked_for_by_address_or_a_name_that_it_knows(host: str, expected: bool) -> None:
    """Somebody else's name that points here is theirs (DNS rebinding)."""
    answer = asked(app_of(names=["Status.Example"]), "/api/status", HTTP_HOST=host)

    assert (is_ours(host, ["Status.Example"]), answer.code) == (expected, 200 if expected else 421)


# --- a retry itself


class Keeping:
    """An engine and a ledger that remember in which order they were asked."""

    def __init__(self, *jobs: Job, records: Records | None = None) -> None:
        self.by_item = {one.item: one for one in jobs}
        self.records = records or Records()
        self.done: list[object] = []

    def jobs(self) -> Mapping[str, Job]:
        return self.by_item

    def read(self) -> Records:
        return self.records

    def delete(self, one: Job) -> None:
        self.done.append(one.item)

    def remove(self, keys: Any) -> None:
        self.done.append(list(keys))


@pytest.mark.parametrize(
    ("kept", "expected"),
    [
        (Keeping(job("a", State.FAILED)), (["a"], ["a", ["a"], "woken"])),
        (Keeping(records=Records({"a": Record("a", State.FAILED)})), (["a"], [["a"], "woken"])),
        (
            Keeping(job("a", State.FAILED), job("b", State.FAILED), job("c", State.FAILED)),
            (["a", "b"], ["a", "b", ["a", "b"], "woken"]),
        ),
        (Keeping(job("a", State.RUNNING)), ([], [])),
        (Keeping(job("a")), ([], [])),
        (Keeping(), ([], [])),
    ],
)
def test_retry_deletes_the_job_and_then_the_record(kept: Keeping, expected: object) -> None:
    """Of failed items alone, and of all at once."""
    retry = Retry(kept, kept, lambda: kept.done.append("woken"))

    assert (retry(["a", "b"]), kept.done) == expected


def test_survey_is_looked_at_once_for_many_readers() -> None:
    """Ten open pages cost as much as one."""
    board = board_of(survey(job("a")))

    first = board._look()
    board.note(survey(job("a"), job("b")))

    assert board._look() is first
