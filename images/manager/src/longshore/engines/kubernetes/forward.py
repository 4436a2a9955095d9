"""A port of a pod's own loopback as a URL here: what is served in a pod for nobody else, for the moment of a look.

Owns a listener on this machine's loopback; each connection to it becomes one through the API server.
https://kubernetes.io/docs/reference/kubectl/generated/kubectl_port-forward/
"""

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Final

from longshore.engines.kubernetes.api import Api
from longshore_kit.errors import EngineError

_CHUNK: Final = 64 * 1024


@contextlib.contextmanager
def forwarded(api: Api, pod: str, port: int) -> Iterator[str]:
    """
    The URL, for as long as this is held.

    Raises:
        ApiError, EngineUnavailable: no connection to the pod can be made.
    """
    first = api.forward(pod, port)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_serve, args=(api, pod, port, listener, first), name="forward", daemon=True).start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # ends the thread's accept, which closing alone would not
            first.close()


def _serve(api: Api, pod: str, port: int, listener: socket.socket, first: socket.socket) -> None:
    remote: socket.socket | None = first
    while True:
        try:
            local, _ = listener.accept()
        except OSError:
            return
        try:
            remote = remote or api.forward(pod, port)
        except EngineError:
            local.close()  # who asked sees a connection that broke off, and says so
            continue
        for one, other in ((local, remote), (remote, local)):
            threading.Thread(target=_pump, args=(one, other), name="forward-pump", daemon=True).start()
        remote = None


def _pump(one: socket.socket, other: socket.socket) -> None:
    """Until `one` has no more to say."""
    with contextlib.suppress(OSError, ValueError):
        while data := one.recv(_CHUNK):
            other.sendall(data)
    for end in (one, other):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)  # closing alone would not end the other pump's read
        end.close()
