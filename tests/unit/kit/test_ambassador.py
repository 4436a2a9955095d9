"""The ambassador's web app: pages, conditions, waiting, paths, errors, health, and what it logs."""

import base64
import json
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import pytest
from structlog.testing import capture_logs
from werkzeug.test import Client, TestResponse

from longshore_kit.ambassador import create_app, create_health_app
from longshore_kit.ambassador.app import Waiting
from longshore_kit.contract import Item, ItemList, quote_name
from longshore_kit.errors import ItemNotFound, SourceUnavailable
from support.ambassadors import AckSource, MemorySource, serving
from support.queues import NASTY_NAMES

LIST = "/api/v1/items"
PATIENCE_SECONDS = 30
"""How long a test waits for another thread: far longer than it takes."""
FAST = 0.001
"""Seconds between two looks at a source, so that no test waits for one."""


def client_of(source: MemorySource, waiting: Waiting | None = None) -> Client:
    """A client of the app over `source`."""
    return Client(create_app(source, waiting=waiting))


def status(code: int, reason: str, message: str) -> tuple[int, dict[str, Any]]:
    """An error as the contract has it."""
    wire = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": message}
    return code, wire | {"code": code}


def told(response: TestResponse) -> tuple[int, Any]:
    """A reply's code and body."""
    return response.status_code, response.get_json()


def page(names: list[str], token: str = "") -> tuple[int, dict[str, Any]]:
    """A list, or one page of it."""
    wire: dict[str, Any] = {"kind": "ItemList", "apiVersion": "v1", "items": names}
    return 200, wire | ({"metadata": {"continue": token}} if token else {})


def next_token(response: TestResponse) -> str:
    """The token of the page that follows."""
    token: str = response.get_json()["metadata"]["continue"]
    return token


class TestList:
    """The list and its pages."""

    @pytest.mark.parametrize("path", [LIST, "/items", f"{LIST}?pretty=1", f"{LIST}?continue="])
    def test_whole_list(self, path: str) -> None:
        """Without a limit the list is whole, at both paths, whatever else is asked."""
        assert told(client_of(MemorySource(["b", "a"])).get(path)) == page(["b", "a"])

    def test_empty_list(self) -> None:
        """An empty source has an empty list."""
        assert told(client_of(MemorySource()).get(LIST)) == page([])

    def test_pages_in_order(self) -> None:
        """Pages hold `limit` names in the source's order; the last one has no token."""
        client = client_of(MemorySource("abcde"))
        first = client.get(f"{LIST}?limit=2")
        second = client.get(f"{LIST}?limit=2&continue={next_token(first)}")
        third = client.get(f"{LIST}?limit=2&continue={next_token(second)}")

        assert [told(first), told(second), told(third)] == [
            page(["a", "b"], next_token(first)),
            page(["c", "d"], next_token(second)),
            page(["e"]),
        ]

    def test_page_of_just_the_rest(self) -> None:
        """A page that holds the rest to the name has no token, as nothing follows."""
        assert told(client_of(MemorySource("ab")).get(f"{LIST}?limit=2")) == page(["a", "b"])

    def test_token_without_a_limit(self) -> None:
        """A token without a limit gives all that follow."""
        client = client_of(MemorySource("abcde"))
        token = next_token(client.get(f"{LIST}?limit=2"))

        assert told(client.get(f"{LIST}?continue={token}")) == page(["c", "d", "e"])

    def test_token_of_a_changed_list(self) -> None:
        """A token of a list that has changed since is answered with 410."""
        source = MemorySource("abc")
        client = client_of(source)
        token = next_token(client.get(f"{LIST}?limit=1"))
        source.show("a", "b")

        assert told(client.get(f"{LIST}?limit=1&continue={token}")) == status(
            410, "Expired", "the list has changed since this token was given out: start again"
        )

    @pytest.mark.parametrize("start", ["-1", "4", "x", "1:1"])
    def test_forged_token(self, start: str) -> None:
        """A token of this very list that leads nowhere is refused: never a page from somewhere else."""
        token = base64.urlsafe_b64encode(f"{ItemList(('a', 'b', 'c')).version}:{start}".encode()).decode()
        response = client_of(MemorySource("abc")).get(f"{LIST}?limit=1&continue={token}")

        assert (response.status_code, response.get_json()["reason"]) == (400, "BadRequest")

    @pytest.mark.parametrize("token", ["x", "%00", "é", "=", "a" * 5000])
    def test_garbage_token(self, token: str) -> None:
        """What was never given out as a token is answered with 400."""
        assert told(client_of(MemorySource("abc")).get(f"{LIST}?continue={token}")) == status(
            400, "BadRequest", "the token is none that was given out here"
        )

    @pytest.mark.parametrize("limit", ["0", "abc", "-1", "1.5", "", "²", "1000000001", "9" * 5000])
    def test_bad_limit(self, limit: str) -> None:
        """A limit that is no number from 1 to a thousand millions is answered with 400, which shows it."""
        message = f"limit={limit[:40]!r}: expected a number from 1 to 1000000000"

        assert told(client_of(MemorySource("abc")).get(f"{LIST}?limit={limit}")) == status(400, "BadRequest", message)

    def test_duplicate_names(self) -> None:
        """A name that the source lists twice is told once."""
        assert told(client_of(MemorySource(["a", "b", "a"])).get(LIST)) == page(["a", "b"])


class TestConditions:
    """ETag and If-None-Match."""

    @pytest.mark.parametrize("form", ["{}", "W/{}", '"other", {}', "*"])
    def test_known_list(self, form: str) -> None:
        """Who has this list, by whatever form of If-None-Match, gets 304, its ETag and no body."""
        client = client_of(MemorySource("ab"))
        tag = client.get(LIST).headers["ETag"]
        response = client.get(LIST, headers={"If-None-Match": form.format(tag)})

        assert (response.status_code, response.headers["ETag"], response.data) == (304, tag, b"")

    @pytest.mark.parametrize("header", ['"other"', "other", "", "W/"])
    def test_unknown_list(self, header: str) -> None:
        """Who has another list, or none, gets the list."""
        assert told(client_of(MemorySource("ab")).get(LIST, headers={"If-None-Match": header})) == page(["a", "b"])

    def test_changed_list(self) -> None:
        """A changed list has another ETag; the first one again has the first again."""
        source = MemorySource("ab")
        client = client_of(source)
        tags = []
        for names in ("ab", "ba", "ab"):
            source.show(*names)
            tags.append(client.get(LIST).headers["ETag"])

        assert (tags[0] == tags[2], tags[0] == tags[1]) == (True, False)

    def test_pages_have_tags_of_their_own(self) -> None:
        """No two pages, and no page and the list, share an ETag."""
        client = client_of(MemorySource("abc"))
        paths = [LIST, f"{LIST}?limit=1", f"{LIST}?limit=2", f"{LIST}?limit=3"]

        assert len({client.get(path).headers["ETag"] for path in paths}) == len(paths)

    def test_list_is_the_same_bytes_while_nothing_changes(self) -> None:
        """A source that lists anew the same names has the same list, in another process too."""
        one, other = client_of(MemorySource("ab")).get(LIST), client_of(MemorySource("ab")).get(LIST)

        assert (one.headers["ETag"], one.data) == (other.headers["ETag"], other.data)


class TestWaiting:
    """Prefer: wait. Nothing sleeps: the source changes when it is listed, and events say the rest."""

    def ask(self, client: Client, prefer: str) -> tuple[int, str | None, Any]:
        """A request with the list's present ETag: code, Preference-Applied and body."""
        tag = client.get(LIST).headers["ETag"]
        response = client.get(LIST, headers={"If-None-Match": tag, "Prefer": prefer})
        return response.status_code, response.headers.get("Preference-Applied"), response.get_json(silent=True)

    @pytest.mark.parametrize("prefer", ["wait=30", "respond-async, wait=30", 'WAIT = "30"; x=y', "wait=30, wait=40"])
    def test_changed_list_ends_the_wait(self, prefer: str) -> None:
        """A held reply is sent as soon as the list changes, with the new list."""
        source = MemorySource("a")
        source.on_list = at_listing(4, lambda: source.show("b"))

        assert self.ask(client_of(source, Waiting(poll_seconds=FAST)), prefer) == (200, "wait=30", page(["b"])[1])

    @pytest.mark.parametrize("prefer", ["", "wait", "wait=", "wait=-1", "wait=x", "await=30", "wait=1.5"])
    def test_other_preferences(self, prefer: str) -> None:
        """Who does not ask to wait is answered at once."""
        waiting = Waiting(poll_seconds=PATIENCE_SECONDS)

        assert self.ask(client_of(MemorySource("a"), waiting), prefer) == (304, None, None)

    def test_time_is_over(self) -> None:
        """A held reply of a list that does not change is a 304, after the time that was asked for."""
        client = client_of(MemorySource("a"), Waiting(poll_seconds=FAST))

        assert self.ask(client, "wait=0") == (304, "wait=0", None)
        assert self.ask(client, "wait=1") == (304, "wait=1", None)

    def test_longest_wait(self) -> None:
        """No reply is held for more than a minute, and Preference-Applied says for how long."""
        waiting = Waiting(poll_seconds=FAST)
        source = MemorySource("a")
        source.on_list = at_listing(3, waiting.stopping.set)

        assert self.ask(client_of(source, waiting), "wait=999999999") == (304, "wait=60", None)

    def test_unknown_list_is_not_held(self) -> None:
        """Who has another list gets this one at once."""
        client = client_of(MemorySource("a"), Waiting(poll_seconds=PATIENCE_SECONDS))
        response = client.get(LIST, headers={"If-None-Match": '"other"', "Prefer": "wait=30"})

        assert told(response) == page(["a"])

    def test_stopping_answers_everybody(self) -> None:
        """When the server stops, a held reply is sent at once."""
        waiting = Waiting(poll_seconds=PATIENCE_SECONDS)
        waiting.stopping.set()

        assert self.ask(client_of(MemorySource("a"), waiting), "wait=30") == (304, "wait=30", None)

    def test_failing_source_ends_the_wait(self) -> None:
        """A store that goes down while a reply is held makes it a 503, and the place is free again."""
        source = MemorySource("a")
        client = client_of(source, Waiting(at_once=1, poll_seconds=FAST))
        tag = client.get(LIST).headers["ETag"]
        source.on_list = at_listing(2, lambda: setattr(source, "is_down", True))
        down = told(client.get(LIST, headers={"If-None-Match": tag, "Prefer": "wait=30"}))
        source.is_down = False
        source.on_list = at_listing(3, lambda: source.show("b"))

        assert down == status(503, "ServiceUnavailable", "the store is down")
        assert self.ask(client, "wait=30") == (200, "wait=30", page(["b"])[1])

    def test_waiters_are_bounded(self) -> None:
        """With as many held as may be, the next is answered at once, and is not told that it waited."""
        source = MemorySource("a")
        waiting = Waiting(at_once=1, poll_seconds=FAST)
        is_held, client = threading.Event(), client_of(source, waiting)
        # The first two listings are of the asking, the third of the holding.
        source.on_list = at_listing(3, is_held.set)
        with ThreadPoolExecutor(1) as pool:
            held = pool.submit(self.ask, client_of_same(client), "wait=30")
            assert is_held.wait(PATIENCE_SECONDS)
            second = self.ask(client, "wait=30")
            waiting.stopping.set()

            assert second == (304, None, None)
            assert held.result(PATIENCE_SECONDS) == (304, "wait=30", None)


@pytest.fixture(scope="module")
def address() -> Iterator[tuple[str, int]]:
    """An ambassador on a real server, which hands on the raw path."""
    with serving(create_app(MemorySource([*NASTY_NAMES, "x/done"]))) as url:
        parts = urlsplit(url)
        yield str(parts.hostname), int(parts.port or 0)


class TestItems:
    """Items, by paths as clients send them."""

    @pytest.mark.parametrize("prefix", [LIST, "/items"])
    @pytest.mark.parametrize("name", NASTY_NAMES, ids=range(len(NASTY_NAMES)))
    def test_nasty_name(self, address: tuple[str, int], name: str, prefix: str) -> None:
        """An item of any allowed name is given by its percent-encoded name, at both paths."""
        assert exchange(address, f"{prefix}/{quote_name(name)}") == (200, item_of(name))

    @pytest.mark.parametrize(
        ("target", "name"),
        [
            (f"{LIST}/a/b", "a/b"),
            (f"{LIST}/double//slash", "double//slash"),
            (f"{LIST}//leading/slash", "/leading/slash"),
            (f"{LIST}/dots/../up", "dots/../up"),
            (f"{LIST}/%61%2fb?x=1#y", "a/b"),
            (f"http://elsewhere{LIST}/a%2Fb", "a/b"),
            (f"{LIST}/x/done", "x/done"),
        ],
    )
    def test_odd_target(self, address: tuple[str, int], target: str, name: str) -> None:
        """A name that is not, or oddly, encoded is taken as it stands: nothing is tidied."""
        assert exchange(address, target) == (200, item_of(name))

    @pytest.mark.parametrize(
        ("part", "message"),
        [
            ("%FF", "the name in the path is not valid UTF-8"),
            ("", "'' is no item name: it is empty"),
            ("%2E", "'.' is no item name: clients remove it from URLs"),
            ("a%00b", "'a\\x00b' is no item name: it contains a NUL"),
            ("x" * 1025, f"'{'x' * 80}' is no item name: it has 1025 bytes, 1024 are allowed"),
        ],
    )
    def test_impossible_name(self, address: tuple[str, int], part: str, message: str) -> None:
        """What can't be an item's name is answered with 400, which says why."""
        assert exchange(address, f"{LIST}/{part}") == status(400, "BadRequest", message)


class TestErrors:
    """Every error is a Status."""

    def test_unknown_item(self) -> None:
        """An item that is not there is 404."""
        assert told(client_of(MemorySource()).get(f"{LIST}/a")) == status(404, "NotFound", "there is no item 'a'")

    @pytest.mark.parametrize("path", ["/", "/api", "/api/v1/", "/api/v1/itemsx", "/static/x", "/healthz/"])
    def test_unknown_path(self, path: str) -> None:
        """A path that is none is 404, and says where the list is."""
        message = f"there is nothing at {path}; the list is at /api/v1/items"

        assert told(client_of(MemorySource()).get(path)) == status(404, "NotFound", message)

    @pytest.mark.parametrize("path", [LIST, f"{LIST}/a", "/items", "/readyz"])
    def test_store_is_down(self, path: str) -> None:
        """A store that does not answer is 503 everywhere but for liveness: never an empty list."""
        source = MemorySource("a")
        source.is_down = True

        assert told(client_of(source).get(path)) == status(503, "ServiceUnavailable", "the store is down")
        assert told(client_of(source).get("/healthz")) == (200, {"status": "ok"})

    def test_message_that_is_no_utf8(self) -> None:
        """A reason with half a character in it, as of a file's name, is told all the same."""
        source = MemorySource()

        def fail() -> None:
            raise SourceUnavailable("no \udcff")

        source.on_list = fail

        assert told(client_of(source).get(LIST)) == status(503, "ServiceUnavailable", "no \\udcff")

    @pytest.mark.parametrize("data", [{"a": float("nan")}, {"a": object()}, {"a": "\ud800"}])
    def test_data_that_is_no_json(self, data: dict[str, Any]) -> None:
        """Data that JSON has no words for is a 500 that names the item, and one line in the log."""
        with capture_logs() as logs:
            code, wire = told(client_of(MemorySource("a", data)).get(f"{LIST}/a"))

        assert (code, wire["reason"], wire["message"].partition(" JSON")[0]) == (
            500,
            "InternalError",
            "ValueError: the data of item 'a' can't be told as",
        )
        assert [(line["log_level"], line["event"]) for line in logs] == [("error", "request failed")]

    @pytest.mark.parametrize(
        ("path", "method", "allow"),
        [
            (LIST, "POST", "GET, HEAD"),
            (f"{LIST}/a", "DELETE", "GET, HEAD"),
            (f"{LIST}/a/done", "POST", "GET, HEAD"),
            ("/api/v1", "PUT", "GET, HEAD"),
            ("/healthz", "OPTIONS", "GET, HEAD"),
        ],
    )
    def test_other_method(self, path: str, method: str, allow: str) -> None:
        """A method that a path does not answer is 405, with those that it does."""
        response = client_of(MemorySource("a")).open(path, method=method)

        assert told(response) == status(405, "MethodNotAllowed", f"{method} is not answered here; allowed: {allow}")
        assert response.headers["Allow"] == allow

    @pytest.mark.parametrize("path", [LIST, f"{LIST}/a", "/healthz"])
    def test_head(self, path: str) -> None:
        """HEAD is GET without its body."""
        client = client_of(MemorySource("a"))
        head, get = client.head(path), client.get(path)

        assert (head.status_code, head.data, head.headers["Content-Length"]) == (200, b"", str(len(get.data)))


class TestAcknowledging:
    """The capability ack."""

    def test_without(self) -> None:
        """A source that does not acknowledge offers nothing."""
        assert told(client_of(MemorySource()).get("/api/v1")) == (
            200,
            {"kind": "SourceInfo", "apiVersion": "v1", "capabilities": []},
        )

    def test_offered(self) -> None:
        """A source that acknowledges offers ack."""
        assert told(client_of(AckSource()).get("/api/v1")) == (
            200,
            {"kind": "SourceInfo", "apiVersion": "v1", "capabilities": ["ack"]},
        )

    @pytest.mark.parametrize("name", NASTY_NAMES, ids=range(len(NASTY_NAMES)))
    def test_done(self, name: str) -> None:
        """Any item can be done, and again; it is the only one that goes."""
        source = AckSource([name, "other"])
        client = client_of(source)
        replies = [client.post(f"{LIST}/{quote_name(name)}/done") for _ in range(2)]

        assert [(reply.status_code, reply.data) for reply in replies] == [(204, b"")] * 2
        assert source.listed.names == ("other",)

    def test_name_that_ends_in_done(self) -> None:
        """An item whose name ends in /done is not what its path says to do."""
        source = AckSource(["a", "a/done"])
        client = client_of(source)

        assert told(client.get(f"{LIST}/a%2Fdone")) == (200, item_of("a/done"))
        assert client.post(f"{LIST}/a%2Fdone").status_code == 405
        assert client.post(f"{LIST}/a%2Fdone/done").status_code == 204
        assert source.listed.names == ("a",)


class TestHealth:
    """Liveness, readiness, and the second port."""

    def test_young_answer_is_enough(self) -> None:
        """Readiness does not list again what was listed a moment ago."""
        source, count = counted(MemorySource("a"))
        client = client_of(source)
        replies = [told(client.get(path)) for path in ("/readyz", "/readyz", LIST, "/readyz")]

        assert replies == [(200, {"status": "ready"})] * 2 + [page(["a"]), (200, {"status": "ready"})]
        assert count() == 2

    def test_down_and_up(self) -> None:
        """Readiness follows the store, and looks at once when it was down."""
        source = MemorySource("a")
        client = client_of(source)
        codes = []
        for is_down in (False, True, True, False):
            source.is_down = is_down
            client.get(LIST)
            codes.append(client.get("/readyz").status_code)

        assert codes == [200, 503, 503, 200]

    def test_second_port_answers_nothing_else(self) -> None:
        """Where the whole pod network can ask, no item is told."""
        health = Client(create_health_app(create_app(AckSource("a"))))
        paths = [LIST, f"{LIST}/a", "/items", "/items/a", "/api/v1", "/", "/healthz/../items"]

        assert [told(health.get(path))[0] for path in ("/healthz", "/readyz")] == [200, 200]
        assert [told(health.get(path))[0] for path in paths] == [404] * len(paths)
        assert health.post(f"{LIST}/a/done").status_code == 404
        assert health.post("/readyz").status_code == 405


class TestLog:
    """What somebody should look at, once."""

    def test_names_that_are_not_allowed(self) -> None:
        """Names that the contract does not allow are left out, with one warning whenever they change."""
        source = MemorySource(["a", "."])
        client = client_of(source)
        with capture_logs() as logs:
            for names in (["a", "."], ["b", "."], ["b", ".", "\0"], ["b"], ["b", "."]):
                source.show(*names)
                assert told(client.get(LIST)) == page([names[0]])

        dot, nul = {"'.'": "clients remove it from URLs"}, {"'\\x00'": "it contains a NUL"}
        assert [(line["log_level"], line["count"], line["names"]) for line in logs] == [
            ("warning", 1, dot),
            ("warning", 2, dot | nul),
            ("warning", 1, dot),
        ]

    def test_many_bad_names(self) -> None:
        """A warning counts all names and shows a few."""
        with capture_logs() as logs:
            client_of(MemorySource(["\0" * size for size in range(1, 101)])).get(LIST)

        assert [(line["count"], len(line["names"])) for line in logs] == [(100, 20)]

    def test_down_and_up_again(self) -> None:
        """A store that goes down is one warning, however often it is asked, and one line when it is back."""
        source = MemorySource("a")
        client = client_of(source)
        with capture_logs() as logs:
            for is_down in (False, True, True, False, False):
                source.is_down = is_down
                client.get(LIST)

        assert [(line["log_level"], line["event"]) for line in logs] == [
            ("warning", "source unavailable"),
            ("info", "source available again"),
        ]

    def test_healthy_hour(self) -> None:
        """Whatever is asked, and not found, nothing is logged while all is well."""
        client = client_of(MemorySource("a"))
        with capture_logs() as logs:
            for path in (LIST, f"{LIST}/a", f"{LIST}/b", "/nothing", f"{LIST}?limit=x", "/readyz"):
                client.get(path)

        assert logs == []


class TestConcurrency:
    """Calls from several threads."""

    def test_source_is_listed_by_one_thread_at_a_time(self) -> None:
        """However many ask at once, `list_items` never runs twice at the same time."""
        at_work, most, lock = 0, 0, threading.Lock()
        together = threading.Barrier(4)

        class Slow(MemorySource):
            def list_items(self) -> ItemList:
                nonlocal at_work, most
                with lock:
                    at_work += 1
                    most = max(most, at_work)
                listed = super().list_items()
                with lock:
                    at_work -= 1
                return listed

        client = client_of(Slow("a"))

        def ask(_: int) -> list[int]:
            together.wait(PATIENCE_SECONDS)
            return [client_of_same(client).get(LIST).status_code for _ in range(50)]

        with ThreadPoolExecutor(4) as pool:
            codes = [code for some in pool.map(ask, range(4)) for code in some]

        assert (set(codes), most) == ({200}, 1)

    def test_item_is_given_while_a_listing_takes_long(self) -> None:
        """An item does not wait for the list."""
        source = MemorySource("a")
        is_listing, go_on = threading.Event(), threading.Event()

        def stall() -> None:
            is_listing.set()
            go_on.wait(PATIENCE_SECONDS)

        source.on_list = stall
        client = client_of(source)
        with ThreadPoolExecutor(1) as pool:
            listing = pool.submit(client_of_same(client).get, LIST)
            assert is_listing.wait(PATIENCE_SECONDS)
            given = told(client.get(f"{LIST}/a"))
            go_on.set()

            assert given == (200, item_of("a"))
            assert told(listing.result(PATIENCE_SECONDS)) == page(["a"])


def test_item_gone_between_list_and_get() -> None:
    """An item that a store lost meanwhile is its own 404, with the store's words."""

    class Losing(MemorySource):
        def get_item(self, name: str) -> Item:
            raise ItemNotFound(f"{name} is not there any more")

    assert told(client_of(Losing("a")).get(f"{LIST}/a")) == status(404, "NotFound", "a is not there any more")


def at_listing(number: int, act: Callable[[], object]) -> Callable[[], None]:
    """Does `act` at the listing of this number, counted from 1."""
    count = 0

    def on_list() -> None:
        nonlocal count
        count += 1
        if count == number:
            act()

    return on_list


def counted(source: MemorySource) -> tuple[MemorySource, Callable[[], int]]:
    """The source, and how often it was listed."""
    looks: list[None] = []
    source.on_list = lambda: looks.append(None)
    return source, lambda: len(looks)


def client_of_same(client: Client) -> Client:
    """Another client of the same app, for another thread."""
    return Client(client.application)


def item_of(name: str) -> dict[str, Any]:
    """An item as MemorySource gives it."""
    return {"kind": "Item", "apiVersion": "v1", "data": {"path": name}}


def exchange(address: tuple[str, int], target: str) -> tuple[int, Any]:
    """A request whose target is sent as it stands, which no HTTP library does; code and body."""
    with socket.create_connection(address, PATIENCE_SECONDS) as connection:
        connection.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = received.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)
