"""Events on the wire, against an API server that forgets, refuses, hangs and has them already."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import pytest
from structlog.testing import capture_logs

from longshore.engines.kubernetes.events import Recorder, send
from longshore.engines.kubernetes.notices import Notice, Reason, Reference
from longshore.state import Job, State
from longshore_kit.errors import EngineUnavailable
from support.api_server import ApiServer, Handler, Request, Step, asking, cutting, refusing, replying, resetting
from support.queues import job_for
from support.waiting import until

PATH = "/api/v1/namespaces/ns/events"
POD = Reference("v1", "Pod", "q-manager-1", "u-1")
NOTICE = Notice("q-manager-1.0a", POD, "Warning", Reason.ITEMS_FAILED, "2 items failed", 0.0, 86400.9, count=2)
REPEATED = replace(NOTICE, is_repeat=True)
EVENT = {
    "apiVersion": "v1",
    "kind": "Event",
    "metadata": {"name": "q-manager-1.0a", "namespace": "ns"},
    "involvedObject": {"apiVersion": "v1", "kind": "Pod", "namespace": "ns", "name": "q-manager-1", "uid": "u-1"},
    "type": "Warning",
    "reason": "ItemsFailed",
    "message": "2 items failed",
    "source": {"component": "longshore"},
    "reportingComponent": "longshore.dev/manager",
    "firstTimestamp": "1970-01-01T00:00:00Z",
    "lastTimestamp": "1970-01-02T00:00:00Z",
    "count": 2,
}
REPETITION = {"message": "2 items failed", "count": 2, "lastTimestamp": "1970-01-02T00:00:00Z"}
CREATION = Request("POST", PATH, {}, EVENT)
PATCH = Request("PATCH", f"{PATH}/q-manager-1.0a", {}, REPETITION)
TAKEN = replying({"kind": "Event"})
GONE = refusing(404, "NotFound", 'events "q-manager-1.0a" not found')
THERE = refusing(409, "AlreadyExists", 'events "q-manager-1.0a" already exists')
FORBIDDEN = refusing(403, "Forbidden", "events is forbidden")


def failed(item: str) -> Job:
    """A Job whose one attempt failed."""
    return job_for(item, State.FAILED, attempt=1, reason="disk full")


# --- one Event


@pytest.mark.parametrize(
    ("notice", "steps", "requests"),
    [
        pytest.param(NOTICE, [TAKEN], [CREATION], id="a new one"),
        pytest.param(NOTICE, [THERE], [CREATION], id="a new one that another manager has made"),
        pytest.param(NOTICE, [resetting, THERE], [CREATION, CREATION], id="a new one whose reply was lost"),
        pytest.param(REPEATED, [TAKEN], [PATCH], id="a repeated one"),
        pytest.param(REPEATED, [GONE, TAKEN], [PATCH, CREATION], id="a repeated one that has expired"),
        pytest.param(REPEATED, [GONE, THERE], [PATCH, CREATION], id="a repeated one that is made just now"),
        pytest.param(REPEATED, [cutting, TAKEN], [PATCH, PATCH], id="a repeated one whose reply was cut"),
    ],
)
def test_an_event_is_made_once_and_then_counted_up(notice: Notice, steps: list[Step], requests: list[Request]) -> None:
    """A new one whole, of a repeated one only what is new; one that is gone is made anew, whole."""
    with asking(*steps) as (api, server):
        send(api, notice)

        assert server.requests == requests


# --- the recorder


@dataclass(frozen=True)
class Recording:
    """A recorder, its server, and its clock."""

    recorder: Recorder
    server: ApiServer
    now: list[float]

    def note(self, *items: str, error: str = "", after: float = 0.0) -> None:
        """These items have failed."""
        self.now[0] += after
        self.recorder.note([failed(item) for item in items], error)

    def said(self) -> list[tuple[str, str]]:
        """Method and reason of every request, or the message where a patch has no reason."""
        return [(one.method, one.body.get("reason", one.body["message"])) for one in list(self.server.requests)]


@contextmanager
def recording(*steps: Step, pod: Reference | None = POD) -> Iterator[Recording]:
    """A recorder for a server with this script."""
    now = [0.0]
    with asking(*steps) as (api, server):
        recorder = Recorder(api, "q", pod, wall=lambda: now[0], monotonic=lambda: now[0])
        try:
            yield Recording(recorder, server, now)
        finally:
            recorder.close()


def test_what_is_noted_is_sent() -> None:
    """On the Job and on the Pod, and later the Pod's is counted up."""
    with recording(TAKEN, TAKEN, TAKEN, TAKEN) as one:
        one.note("a")
        until(lambda: len(one.server.requests) == 2)
        one.note("b", after=60)
        until(lambda: len(one.server.requests) == 4)

        about = [request.body["involvedObject"] for request in one.server.requests if request.method == "POST"]
        job = {"apiVersion": "batch/v1", "kind": "Job", "namespace": "ns", "name": "q-a", "uid": "uid-a"}
        assert about == [job, EVENT["involvedObject"], {**job, "name": "q-b", "uid": "uid-b"}]
        last = "2 items failed; the last: b, after 1 attempt: disk full"
        assert one.said() == [("POST", "ItemFailed"), ("POST", "ItemsFailed"), ("POST", "ItemFailed"), ("PATCH", last)]


@pytest.mark.parametrize(
    ("trouble", "words"),
    [(FORBIDDEN, "events is forbidden"), (refusing(422, "Invalid", "no such kind"), "no such kind")],
    ids=["403", "422"],
)
def test_what_is_refused_is_dropped_and_told_once(trouble: Step, words: str) -> None:
    """One line however many there are, and what comes after it is sent all the same."""
    with capture_logs() as logs, recording(*[trouble] * 4, TAKEN) as one:
        one.note("a", "b", "c")
        until(lambda: len(one.server.requests) == 4)
        one.note("d", after=1)
        until(lambda: len(one.server.requests) == 5)

    assert [(log["log_level"], log["event"], log["reason"]) for log in logs] == [
        ("warning", "events not recorded", words)
    ]


def test_a_server_that_does_not_answer_is_given_up_and_told_once() -> None:
    """After the wire's own patience; each Event costs no more than one request's attempts."""
    with capture_logs() as logs, recording(*[refusing(503, "ServiceUnavailable", "busy")] * 10, pod=None) as one:
        one.note("a", "b")
        until(lambda: len(one.server.requests) == 10)
        until(lambda: len(logs) == 1)

    assert [log["reason"] for log in logs] == [f"POST {PATH}: 503: busy"]


def test_a_server_that_hangs_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who notes goes on; what waits is bounded, the Pod's word is the latest, and is sent when it answers again."""
    monkeypatch.setattr("longshore.engines.kubernetes.events.WAITING_MAX", 10)
    asked, answers = threading.Event(), threading.Event()

    def step(handler: Handler) -> None:
        asked.set()
        answers.wait(30)
        TAKEN(handler)

    with recording(step, *[TAKEN] * 10) as one:
        one.note("first")
        assert asked.wait(10)
        for number in range(30):
            one.note(f"i{number}", after=60)
        answers.set()
        words = "31 items failed; the last: i29, after 1 attempt: disk full"
        until(lambda: ("PATCH", words) in one.said())

        assert [method for method, _ in one.said()] == ["POST"] * 10 + ["PATCH"]


def test_a_bug_ends_neither_the_loop_nor_the_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told once, with its traceback."""
    with capture_logs() as logs, recording(TAKEN, pod=None) as one:
        with monkeypatch.context() as patch:
            patch.setattr("longshore.engines.kubernetes.notices.safe", lambda _: 1 / 0)
            one.note("a")
            one.note("b")
        with monkeypatch.context() as patch:
            patch.setattr("longshore.engines.kubernetes.events._event", lambda *_: int("x"))
            one.note("c")
            until(lambda: len(logs) == 2)
        one.note("d")
        until(lambda: len(one.server.requests) == 1)

    assert [(log["event"], log["reason"], bool(log["exc_info"])) for log in logs] == [
        ("events not recorded", "division by zero", True),
        ("events not recorded", "invalid literal for int() with base 10: 'x'", True),
    ]


def test_after_the_end_nothing_is_sent() -> None:
    """What waits is dropped, and the thread is gone."""
    with recording(TAKEN) as one:
        one.recorder.close()
        one.note("a")
        until(lambda: not any(thread.name == "events" for thread in threading.enumerate()))

        assert one.server.requests == []


def test_an_event_that_is_not_answered_is_an_error_of_our_own() -> None:
    """Safe to retry, in the wire's words."""
    with asking(*[refusing(503, "ServiceUnavailable", "busy")] * 9) as (api, _), pytest.raises(EngineUnavailable):
        send(api, NOTICE)
