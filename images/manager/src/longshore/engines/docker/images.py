"""Images that are not on the machine yet: pulled beside the loop, one pull for each, tried again after a pause."""

import threading
import time
from dataclasses import dataclass
from typing import Final

from longshore.engines.docker.api import DockerApi
from longshore.engines.docker.objects import PULLING
from longshore_kit.errors import EngineError

_PAUSE_SECONDS: Final = 10.0
_PAUSE_MAX: Final = 300.0


@dataclass
class _Pull:
    thread: threading.Thread
    error: str = ""
    failures: int = 0
    ended: float = 0.0


class Images:
    """What is known of images that were missing. From one thread or several."""

    def __init__(self, api: DockerApi) -> None:
        self._api: Final = api
        self._pulls: Final[dict[str, _Pull]] = {}
        self._lock: Final = threading.Lock()

    def why_missing(self, image: str, *, may_pull: bool) -> str:
        """
        Why an image can't be run yet, in words; empty: it is here. Has it pulled where that may be.

        Raises:
            EngineUnavailable: the daemon does not answer.
        """
        if self._api.image(image) is not None:
            return ""
        if not may_pull:
            return f"there is no image {image} on this machine: build it, or pull it yourself"
        with self._lock:
            known = self._pulls.get(image)
            if known is None or (not known.thread.is_alive() and _may_try(known)):
                self._pulls[image] = known = self._begin(image, known)
        if known.error:
            return f"there is no image {image} on this machine, and it can't be pulled: {known.error}"
        return f"image {image}{PULLING}"

    def _begin(self, image: str, before: _Pull | None) -> _Pull:
        thread = threading.Thread(target=self._run, args=(image,), name=f"pull {image}", daemon=True)
        pull = _Pull(thread, before.error if before else "", before.failures if before else 0)
        thread.start()
        return pull

    def _run(self, image: str) -> None:
        error = ""
        try:
            self._api.pull(image)
        except EngineError as exc:
            error = str(exc)
        with self._lock:
            pull = self._pulls[image]
            pull.error, pull.ended = error, time.monotonic()
            pull.failures = pull.failures + 1 if error else 0


def _may_try(pull: _Pull) -> bool:
    pause = min(_PAUSE_MAX, _PAUSE_SECONDS * 2.0 ** max(0, pull.failures - 1))
    return time.monotonic() - pull.ended >= pause
