"""A registry that begins to hand out an image, and has nothing more of it: a pull ends in its midst."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

_MANIFEST_TYPE: Final = "application/vnd.docker.distribution.manifest.v2+json"


def _part(kind: str) -> dict[str, object]:
    return {"mediaType": f"application/vnd.docker.{kind}", "size": 100, "digest": f"sha256:{'0' * 64}"}


_MANIFEST: Final = json.dumps(
    {
        "schemaVersion": 2,
        "mediaType": _MANIFEST_TYPE,
        "config": _part("container.image.v1+json"),
        "layers": [_part("image.rootfs.diff.tar.gzip")],
    }
).encode()


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        """A manifest of what is not there."""
        is_blob = "/blobs/" in self.path
        body = (
            b'{"errors": [{"code": "BLOB_UNKNOWN", "message": "blob unknown to registry"}]}' if is_blob else _MANIFEST
        )
        self.send_response(404 if is_blob else 200)
        self.send_header("Content-Type", "application/json" if is_blob else _MANIFEST_TYPE)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Docker-Content-Digest", f"sha256:{hashlib.sha256(body).hexdigest()}")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815 - the same

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as its base has it
        """Nothing."""


@contextmanager
def half_registry() -> Iterator[str]:
    """The reference of an image of it; Docker asks any server on loopback without TLS."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}/half/image:1"
        finally:
            server.shutdown()
            thread.join()
