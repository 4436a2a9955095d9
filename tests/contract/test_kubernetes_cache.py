"""The mirror of Jobs and Pods, against an API server that breaks off, forgets, hangs and talks nonsense."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from structlog.testing import capture_logs

from longshore.engines.kubernetes import cache as cache_module
from longshore.engines.kubernetes.cache import BELIEVED_SECONDS, Mirror
from longshore.engines.kubernetes.objects import JobObject
from longshore_kit.errors import EngineUnavailable
from longshore_kit.logs import get_logger
from support.api_server import (
    ApiServer,
    Handler,
    Patience,
    Step,
    asking,
    hanging,
    refusing,
    replying,
    resetting,
    telling,
)
from support.waiting import until

PATH = "/apis/batch/v1/namespaces/ns/jobs"
GONE = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version: 7 (8)"}


def job(name: str, version: int | str, uid: str = "") -> dict[str, Any]:
    """A Job as the API server sends it, as far as the mirror cares."""
    metadata = {
        "name": name,
        "uid": uid or f"u-{name}",
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "resourceVersion": str(version),
    }
    return {"kind": "Job", "apiVersion": "batch/v1", "metadata": metadata, "spec": {"suspend": False}}


def listing(version: int, *jobs: dict[str, Any], go_on: str = "") -> Step:
    """One page of a list."""
    metadata = {"resourceVersion": str(version)} | ({"continue": go_on, "remainingItemCount": 1} if go_on else {})
    return replying({"kind": "JobList", "apiVersion": "batch/v1", "metadata": metadata, "items": list(jobs)})


def event(kind: str, of: dict[str, Any]) -> dict[str, Any]:
    """One line of a watch."""
    return {"type": kind, "object": of}


def bookmark(version: int) -> dict[str, Any]:
    """An event that only says how far the watch has come; of an object it has next to nothing."""
    metadata = {"resourceVersion": str(version), "creationTimestamp": None}
    return event("BOOKMARK", {"kind": "Job", "apiVersion": "batch/v1", "metadata": metadata, "spec": {}, "status": {}})


@dataclass(frozen=True)
class Watched:
    """A mirror with its server, its pauses, its clock, and what it has told."""

    mirror: Mirror[JobObject]
    server: ApiServer
    stop: Patience
    changes: list[JobObject | None]
    now: list[float]

    @property
    def pauses(self) -> list[float]:
        """How long it would have waited, each time."""
        return self.stop.pauses

    def set_clock(self, now: float) -> None:
        """What the mirror takes for the time."""
        self.now[0] = now

    def seen(self) -> dict[str, str]:
        """Every object's version, by name; empty before the first list."""
        try:
            return {name: one.metadata.resource_version for name, one in self.mirror.objects().items()}
        except EngineUnavailable:
            return {}

    def expect(self, **versions: int) -> None:
        """Wait until these are what is seen."""
        expected = {name: str(version) for name, version in versions.items()}
        until(lambda: self.seen() == expected)

    def expect_watches(self, *versions: str) -> None:
        """Wait until as many watches were begun; they were from these versions."""
        until(lambda: len(self.server.asked(watch=True)) >= len(versions))
        assert [one for (one,) in self.server.asked("resourceVersion", watch=True)] == list(versions)

    @property
    def lists(self) -> int:
        """How many pages were asked for."""
        return len(self.server.asked(watch=False))


@contextmanager
def mirroring(lists: list[Step], watches: list[Step], *, is_started: bool = True) -> Iterator[Watched]:
    """A mirror of a server with these scripts."""
    stop = Patience()
    with asking() as (api, server):
        server.add("list", *lists)
        server.add("watch", *watches)
        changes: list[JobObject | None] = []
        now = [0.0]
        mirror = Mirror(
            api,
            PATH,
            "longshore.dev/queue=q",
            JobObject,
            on_change=changes.append,
            log=get_logger("test"),
            stop=stop,
            clock=lambda: now[0],
        )
        watched = Watched(mirror, server, stop, changes, now)
        try:
            if is_started:
                mirror.start()
            yield watched
        finally:
            mirror.stop()
            server.closing.set()
            if mirror._thread.ident:
                mirror._thread.join(10)
    assert not mirror._thread.is_alive()


# --- listing and watching


def test_a_list_comes_in_pages_and_the_watch_goes_on_from_it() -> None:
    """Every page is asked for with the selector; bookmarks are asked for; nothing between list and watch is lost."""
    pages = [listing(10, job("a", 3), go_on="t=1&"), listing(10, job("b", 7))]
    with mirroring(pages, [telling(event("ADDED", job("c", 11)))]) as watched:
        watched.expect(a=3, b=7, c=11)

        selector = "longshore.dev/queue=q"
        assert watched.server.asked("labelSelector", "limit", "continue", watch=False) == [
            (selector, "500", None),
            (selector, "500", "t=1&"),
        ]
        names = ("labelSelector", "resourceVersion", "allowWatchBookmarks", "timeoutSeconds")
        assert watched.server.asked(*names, watch=True) == [(selector, "10", "true", "240")]


def test_nothing_is_shown_of_half_a_list() -> None:
    """A list that is no longer kept in the middle is begun anew; the first page alone was never an answer."""
    lists = [listing(10, job("a", 3), go_on="t"), refusing(410, "Expired"), listing(20, job("b", 7))]
    with mirroring(lists, []) as watched:
        watched.expect(b=7)

        assert (watched.changes, watched.pauses) == ([None], [])


def test_an_empty_list_is_an_answer() -> None:
    """No Jobs is not the same as not looked."""
    with mirroring([listing(10)], []) as watched:
        watched.mirror.wait(10)

        assert watched.mirror.objects() == {}


def test_events_are_taken_in() -> None:
    """Added, modified, deleted; each change is told, a bookmark is none."""
    events = [
        event("ADDED", job("b", 11)),
        bookmark(12),
        event("MODIFIED", job("a", 13)),
        event("DELETED", job("b", 14)),
        event("ADDED", job("c", 15)),
    ]
    with mirroring([listing(10, job("a", 3))], [telling(*events)]) as watched:
        watched.expect(a=13, c=15)

        until(lambda: len(watched.changes) == 5)
        told = [one and (one.metadata.name, one.metadata.resource_version) for one in watched.changes]
        assert told == [None, ("b", "11"), ("a", "13"), ("b", "14"), ("c", "15")]


def test_one_that_is_there_again_is_another() -> None:
    """Deleted and made again in the same second: names are alike, uids are not."""
    events = [event("DELETED", job("a", 11, "u1")), event("ADDED", job("a", 12, "u2"))]
    with mirroring([listing(10, job("a", 3, "u1"))], [telling(*events)]) as watched:
        watched.expect(a=12)

        assert watched.mirror.objects()["a"].metadata.uid == "u2"


# --- coming back


@pytest.mark.parametrize("then", ["end", "cut", "silence"])
@pytest.mark.parametrize(
    ("last", "seen"),
    [(event("MODIFIED", job("a", 12)), {"a": 12}), (bookmark(12), {"a": 11})],
    ids=["event", "bookmark"],
)
def test_a_watch_is_resumed_where_it_was(
    monkeypatch: pytest.MonkeyPatch, then: str, last: dict[str, Any], seen: dict[str, int]
) -> None:
    """However it ends: from the last version that was seen, not from the list's, and without another list."""
    monkeypatch.setattr(cache_module, "SILENCE_SECONDS", 0.3)
    first = telling(event("MODIFIED", job("a", 11)), last, then=then)
    with mirroring([listing(10, job("a", 3))], [first, telling(event("ADDED", job("b", 13)))]) as watched:
        watched.expect(**seen, b=13)

        assert watched.server.asked("resourceVersion", watch=True)[:2] == [("10",), ("12",)]
        assert (watched.lists, watched.pauses[:1]) == (1, [] if then == "end" else [2.0])


def test_a_watch_that_did_not_begin_is_begun_again() -> None:
    """From the list's version, as nothing was told since."""
    with mirroring([listing(10)], [resetting, telling(event("ADDED", job("a", 11)))]) as watched:
        watched.expect(a=11)

        watched.expect_watches("10", "10")
        assert (watched.lists, watched.pauses) == (1, [2.0])


def test_what_a_broken_watch_has_told_is_not_told_again() -> None:
    """Nothing goes back in time: what was deleted does not come up again."""
    events = [event("ADDED", job("b", 11)), event("DELETED", job("b", 12))]
    with mirroring([listing(10)], [telling(*events, then="cut"), telling(bookmark(13))]) as watched:
        watched.expect_watches("10", "12")

        assert watched.seen() == {}


def test_a_watch_that_breaks_off_now_and_then_is_soon_resumed() -> None:
    """Each one that told something begins the pauses anew, and none is worth a warning."""
    watches = [telling(bookmark(11 + number), then="cut") for number in range(5)]
    with capture_logs() as logs, mirroring([listing(10)], watches) as watched:
        watched.expect_watches("10", "11", "12", "13", "14", "15")

        assert (watched.pauses, logs) == ([2.0] * 5, [])


@pytest.mark.parametrize(
    "watch", [telling(event("ERROR", GONE), then="end"), refusing(410, "Expired", "too old")], ids=["event", "HTTP"]
)
def test_what_is_no_longer_kept_is_listed_again(watch: Step) -> None:
    """At once, the first time; what is not in the new list is gone."""
    lists = [listing(10, job("a", 3), job("b", 4)), listing(20, job("b", 14))]
    with mirroring(lists, [watch, telling(event("ADDED", job("c", 21)))]) as watched:
        watched.expect(b=14, c=21)

        watched.expect_watches("10", "20")
        assert watched.pauses == []


def test_a_server_that_forgets_everything_at_once_is_not_flooded() -> None:
    """410 time and again: each time a longer pause, though lists are good."""
    forgetting = [refusing(410, "Expired", "too old")] * 6
    with capture_logs() as logs, mirroring([listing(10)] * 7, [*forgetting, telling(bookmark(11))]) as watched:
        watched.expect_watches(*["10"] * 7)

        assert watched.pauses == [4.0, 8.0, 16.0, 30.0, 30.0]
    assert [(one["log_level"], one["reason"]) for one in logs] == [("warning", "too old")]


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"<html>", id="no JSON"),
        pytest.param(b'{"type":"ADDED","object":{"meta', id="cut"),
        pytest.param(b'{"type":"ADDED\xff"}', id="no UTF-8"),
        pytest.param(b"[]", id="no event"),
        pytest.param({"type": "ADDED"}, id="no object"),
        pytest.param(event("ADDED", {"metadata": {"name": 1}}), id="no Job"),
        pytest.param(event("BOOKMARK", {}), id="no bookmark"),
        pytest.param(event("MODIFIED", job("a", "new")), id="no number"),
        pytest.param(b'{"type":"ADDED","object":' + b"[" * 100_000, id="nested without an end"),
        pytest.param(event("ERROR", {"code": "x"}), id="no Status"),
        pytest.param(event("ERROR", {"code": 500, "message": "etcd"}), id="an error"),
    ],
)
def test_what_can_not_be_gone_on_from_is_listed_again(line: object) -> None:
    """A line that can't be read may have said anything: look at everything anew, after a pause."""
    lists = [listing(10, job("a", 3)), listing(20, job("a", 13))]
    with mirroring(lists, [telling(line), telling(event("ADDED", job("b", 21)))]) as watched:
        watched.expect(a=13, b=21)

        watched.expect_watches("10", "20")
        assert watched.pauses == [2.0]


@pytest.mark.parametrize("line", [bookmark(5), event("MODIFIED", job("a", 6))], ids=["bookmark", "event"])
def test_a_watch_that_goes_back_is_of_another_history(line: object) -> None:
    """A cluster that was restored from a backup counts from an older version: everything is looked at anew."""
    lists = [listing(10, job("a", 3), job("gone", 9)), listing(7, job("a", 6))]
    with mirroring(lists, [telling(line), telling(event("ADDED", job("b", 8)))]) as watched:
        watched.expect(a=6, b=8)

        watched.expect_watches("10", "7")


@pytest.mark.parametrize("body", [b"<html>Sign in</html>", b"{}", b'{"metadata":{},"items":null}', b'{"a":"\xff"}'])
def test_a_list_that_can_not_be_read_is_none(body: bytes) -> None:
    """Asked again, after a pause; until then there is nothing to show."""
    with mirroring([replying(body), listing(10, job("a", 3))], []) as watched:
        watched.expect(a=3)

        assert watched.pauses == [2.0]


@pytest.mark.parametrize("trouble", [refusing(504, "Timeout", "Too large resource version"), telling(then="end")])
def test_a_version_that_leads_nowhere_is_given_up(trouble: Step) -> None:
    """As after an etcd restored from a backup: three times in vain from one version, then a new list."""
    with mirroring([listing(10, job("a", 9)), listing(5, job("a", 4))], [trouble] * 3) as watched:
        watched.expect_watches("10", "10", "10", "5")

        assert (watched.seen(), watched.pauses) == ({"a": "4"}, [2.0, 4.0, 8.0])


def test_a_long_outage_does_not_end_the_mirror() -> None:
    """After a thousand failures, a night of them, it is still there when the server comes back."""
    with mirroring([refusing(403), listing(10, job("a", 3))], [], is_started=False) as watched:
        watched.mirror._failures = 5000
        watched.mirror.start()
        watched.expect(a=3)

        assert watched.pauses == [30.0]


# --- believing


def test_nothing_is_known_before_the_first_list() -> None:
    """Not looked is not the same as nothing there."""
    with mirroring([], [], is_started=False) as watched, pytest.raises(EngineUnavailable) as caught:
        watched.mirror.objects()

    assert str(caught.value) == f"{PATH}: it was not listed yet"


def test_a_missing_right_is_told() -> None:
    """Who asks learns at once, in the server's words, and once there is a warning; a right given later is found."""
    words = 'jobs.batch is forbidden: User "x" cannot list resource "jobs"'
    has_right = threading.Event()

    def answer(handler: Handler) -> None:
        (listing(10, job("a", 3)) if has_right.is_set() else refusing(403, "Forbidden", words))(handler)

    with capture_logs() as logs, mirroring([answer] * 1000, []) as watched:
        watched.mirror.wait(10)
        with pytest.raises(EngineUnavailable) as caught:
            watched.mirror.objects()
        until(lambda: watched.lists > 4)
        has_right.set()
        watched.expect(a=3)

    assert str(caught.value) == f"{PATH}: {words}"
    assert [(one["log_level"], one["event"], one["reason"]) for one in logs] == [
        ("warning", "cluster not seen; trying again", words)
    ]


def test_what_was_seen_is_believed_for_a_while() -> None:
    """Nothing heard for so long is no answer any more; a bookmark is enough to be one again."""
    told = threading.Event()

    def step(handler: Handler) -> None:
        handler.begin(200, {"Transfer-Encoding": "chunked"})
        told.wait(10)
        handler.write_chunk(json.dumps(bookmark(11)).encode() + b"\n")
        hanging(handler)

    with mirroring([listing(10, job("a", 3))], [step]) as watched:
        watched.expect(a=3)
        watched.set_clock(BELIEVED_SECONDS)
        assert watched.seen() == {"a": "3"}

        watched.set_clock(BELIEVED_SECONDS + 1)
        with pytest.raises(EngineUnavailable) as caught:
            watched.mirror.objects()
        told.set()
        watched.expect(a=3)

    assert str(caught.value) == f"{PATH}: nothing was heard of it for 180 s"


def test_why_nothing_is_heard_is_told() -> None:
    """The last trouble, not that of last week."""
    lists = [listing(10, job("a", 3)), *[refusing(403, "Forbidden", "no right any more")] * 1000]
    with mirroring(lists, [refusing(410, "Expired")]) as watched:
        until(lambda: watched.lists > 2)
        watched.set_clock(BELIEVED_SECONDS + 1)

        with pytest.raises(EngineUnavailable, match="no right any more"):
            watched.mirror.objects()


# --- what our own requests bring


def put(watched: Watched, one: dict[str, Any]) -> None:
    """As the engine does with a reply."""
    watched.mirror.put(json.dumps(one).encode())


@pytest.mark.parametrize(
    ("version", "uid", "kept"),
    [
        pytest.param(12, "u1", "12", id="newer"),
        pytest.param(11, "u1", "11", id="the same"),
        pytest.param(9, "u1", "11", id="older"),
        pytest.param(9, "u0", "11", id="older, of one before it, made in the same second"),
        pytest.param(12, "u2", "12", id="newer, of one after it"),
    ],
)
def test_newer_is_never_replaced_by_older(version: int, uid: str, kept: str) -> None:
    """A reply may be late: what the watch has brought in the meantime stays."""
    with mirroring([listing(10)], [telling(event("ADDED", job("a", 11, "u1")))]) as watched:
        watched.expect(a=11)
        put(watched, job("a", version, uid))

        assert watched.seen() == {"a": kept}


def test_what_was_made_is_there_at_once() -> None:
    """Before the watch says so, and it is told like any change."""
    with mirroring([listing(10)], []) as watched:
        until(lambda: watched.changes == [None])
        put(watched, job("a", 11))

        assert watched.seen() == {"a": "11"}
        assert [one and one.metadata.name for one in watched.changes] == [None, "a"]


def test_what_the_watch_says_late_takes_nothing_back() -> None:
    """A reply may be early, too: events from before it neither replace nor delete what it brought."""
    said = threading.Event()

    def step(handler: Handler) -> None:
        handler.begin(200, {"Transfer-Encoding": "chunked"})
        said.wait(10)
        for one in (event("MODIFIED", job("a", 11, "u1")), event("DELETED", job("a", 12, "u1")), bookmark(13)):
            handler.write_chunk(json.dumps(one).encode() + b"\n")
        hanging(handler)

    with mirroring([listing(10, job("a", 3, "u1"))], [step]) as watched:
        watched.expect(a=3)
        put(watched, job("a", 14, "u2"))
        said.set()
        until(lambda: watched.mirror._version == "13")

        assert watched.mirror.objects()["a"].metadata.uid == "u2"


def test_what_was_deleted_is_not_put_back() -> None:
    """A reply from before a deletion that the watch has told: it would stay as a ghost until the next list."""
    events = [event("ADDED", job("a", 11)), event("DELETED", job("a", 19))]
    with mirroring([listing(10)], [telling(*events)]) as watched:
        until(lambda: watched.mirror._version == "19")
        put(watched, job("a", 18))

        assert watched.seen() == {}


@pytest.mark.parametrize(("made_at", "seen"), [(21, {"b": "4", "a": "21"}), (19, {"b": "4"})], ids=["after", "before"])
def test_what_is_made_while_it_is_listed_is_kept(made_at: int, seen: dict[str, str]) -> None:
    """If made after the list's version; else it would be in the list, or was deleted."""
    asked, made = threading.Event(), threading.Event()

    def step(handler: Handler) -> None:
        asked.set()
        made.wait(10)
        listing(20, job("b", 4))(handler)

    with mirroring([listing(10), step], [refusing(410)]) as watched:
        assert asked.wait(10)
        put(watched, job("a", made_at))
        made.set()
        until(lambda: watched.changes.count(None) == 2)

        assert watched.seen() == seen


def test_what_was_put_long_ago_is_not_kept() -> None:
    """Only while it is listed is it remembered aside: else memory would grow with every Job ever made."""
    with mirroring([listing(10)], []) as watched:
        until(lambda: watched.changes == [None])
        put(watched, job("a", 11))

        assert watched.mirror._put_lately == {}


@pytest.mark.parametrize("data", [b"<html>Sign in</html>", b"{}", b'{"metadata":{"name":"\xff"}}'])
def test_a_reply_that_is_no_object_is_no_reply(data: bytes) -> None:
    """Something between us and the server answered: an error of our own tree, safe to retry."""
    with mirroring([listing(10)], []) as watched:
        until(lambda: watched.changes == [None])
        with pytest.raises(EngineUnavailable, match="not what an API server answers"):
            watched.mirror.put(data)

        assert watched.seen() == {}
