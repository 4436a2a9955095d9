"""Items that are URLs: from hosts that are allowed, by every hop."""

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from images.worker_script.command import Place

pytestmark = pytest.mark.slow


class Handler(http.server.BaseHTTPRequestHandler):
    """What is at each path."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body, code, headers = b"hello", 200, {}
        match self.path.strip("/").split("/"):
            case ["to", "elsewhere"]:
                code, headers, body = 302, {"Location": "http://localhost:1/secret"}, b""
            case ["to", "ok"]:
                code, headers, body = 302, {"Location": "/ok.txt"}, b""
            case ["round"]:
                code, headers, body = 302, {"Location": "/round"}, b""
            case ["short"]:
                headers = {"Content-Length": "9"}
            case [number] if number.isdecimal():
                code, body = int(number), b""
        self.send_response(code)
        for name, value in {"Content-Length": str(len(body)), "Connection": "close", **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@contextmanager
def web() -> Iterator[str]:
    """A server on loopback; its address."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("path", ["ok.txt", "to/ok"])
def test_a_page_is_fetched(place: Place, path: str) -> None:
    """From a host that is allowed; a redirect is followed. The key is the host and port, the path and the query."""
    with web() as url:
        ended = place.run({"url": f"{url}/{path}?x=1"}, 'cp "$INPUT_FILE" "$OUTPUT_DIR/"', ALLOWED_HOSTS="127.0.0.1")

    assert ended.code == 0, ended
    assert b"hello" in place.results().values()
    host = url.removeprefix("http://")
    assert f"out/{host}/{path}?x=1/_SUCCESS" in place.results()


@pytest.mark.parametrize(
    ("item", "allowed", "code", "words"),
    [
        ("{web}/ok.txt", "example.org", 65, "127.0.0.1 is not among ALLOWED_HOSTS, which are: example.org"),
        ("{web}/ok.txt", "", 65, "which are: none"),
        ("{web}/to/elsewhere", "127.0.0.1", 65, "localhost is not among ALLOWED_HOSTS"),
        ("{web}/round", "127.0.0.1", 65, "more than 10 redirects"),
        ("{web}/404", "127.0.0.1", 65, "127.0.0.1 answered 404 Not Found"),
        ("{web}/503", "127.0.0.1", 1, "127.0.0.1 answered 503"),
        ("{web}/short", "127.0.0.1", 1, "127.0.0.1 could not be read"),
        ("http://user:canary@127.0.0.1/", "127.0.0.1", 65, "has a user or password in it"),
        ("http://example.org\\@127.0.0.1/", "127.0.0.1", 65, "has a user or password in it"),
        ("http://127.0.0.1\\.example.org/", "*", 65, "has characters that no URL has: encode them"),
        ("{web}/a b", "127.0.0.1", 65, "has characters that no URL has: encode them"),
        ("file:///etc/passwd", "*", 65, "is no http:// or https:// URL"),
        ("http://127.0.0.1:1/", "127.0.0.1", 1, "127.0.0.1 could not be read: ConnectionError"),
    ],
)
def test_what_may_not_or_can_not_be_fetched_is_said(
    place: Place, item: str, allowed: str, code: int, words: str
) -> None:
    """A host that is not allowed is never asked; what is gone is the item's fault, what may pass is tried again."""
    with web() as url:
        ended = place.run({"url": item.replace("{web}", url)}, "true", ALLOWED_HOSTS=allowed)

    assert (ended.code, words in ended.result) == (code, True), ended
    assert "canary" not in ended.log + ended.result
