"""Notices as Events of the cluster, sent beside the loop.

Owns the one thread that writes Events, what waits for it, and what becomes of those that the API server does not take:
nothing, but one line in the log per kind of trouble. An Event is a courtesy. Refuses to hold up whoever has something
to tell, and to raise there.
https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/
"""

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from longshore.engines.kubernetes.api import Api, Conflict, NotThere
from longshore.engines.kubernetes.notices import REPORTER, Notice, Notices, Reference
from longshore.state import Job
from longshore_kit.errors import EngineError
from longshore_kit.logs import Logger, get_logger

WAITING_MAX: Final = 100
"""Events that wait to be sent; of more, the oldest are dropped."""
_COMPONENT: Final = "longshore"


class Recorder:
    """Tells people what each look saw. `note` and `close` are for one thread, and never wait."""

    def __init__(
        self,
        api: Api,
        queue: str,
        pod: Reference | None,
        *,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wall: Final = wall
        self._monotonic: Final = monotonic
        self._notices: Final = Notices(pod, monotonic())
        self._sender: Final = _Sender(api, get_logger("longshore.kubernetes", queue=queue, namespace=api.namespace))

    def note(self, changes: Sequence[Job], source_error: str, breaker: str = "") -> None:
        """
        Tell what is worth telling of Jobs that changed, and of why the source gave no list, or the breaker is open
        (empty: it did, it is not).
        """
        try:
            now = {"wall": self._wall(), "monotonic": self._monotonic()}
            told = self._notices.after(changes, source_error, **now, breaker=breaker)
        except Exception as exc:  # noqa: BLE001 - who calls is the loop, and no bug in a courtesy may end it
            self._sender.complain(exc)
        else:
            self._sender.put(told)

    def close(self) -> None:
        """End soon; what is not sent yet is dropped."""
        self._sender.close()


class _Sender:
    def __init__(self, api: Api, log: Logger) -> None:
        self._api: Final = api
        self._log: Final = log
        self._waiting: Final[dict[str, Notice]] = {}
        """By the Event's name, oldest first: what repeats takes the place of what was not sent yet."""
        self._changed: Final = threading.Condition()
        self._is_closed = False
        self._complaints: Final[set[str]] = set()
        threading.Thread(target=self._run, name="events", daemon=True).start()

    def put(self, notices: Sequence[Notice]) -> None:
        with self._changed:
            for notice in notices:
                self._waiting.pop(notice.name, None)
                self._waiting[notice.name] = notice
            while len(self._waiting) > WAITING_MAX:
                del self._waiting[next(iter(self._waiting))]
            self._changed.notify()

    def close(self) -> None:
        with self._changed:
            self._is_closed = True
            self._changed.notify()

    def complain(self, exc: Exception) -> None:
        """Once per kind of trouble: nobody is helped by a line for each Event that is missing."""
        kind = type(exc).__name__
        if kind not in self._complaints:
            self._complaints.add(kind)
            is_bug = not isinstance(exc, EngineError)
            self._log.warning("events not recorded", reason=str(exc) or kind, exc_info=exc if is_bug else None)

    def _run(self) -> None:
        while (notice := self._next()) is not None:
            try:
                send(self._api, notice)
            except Exception as exc:  # noqa: BLE001 - a thread that dies of a bug would leave silence
                self.complain(exc)

    def _next(self) -> Notice | None:
        """The oldest that waits, once there is one; None when it is over."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_closed)
            return None if self._is_closed else self._waiting.pop(next(iter(self._waiting)))


def send(api: Api, notice: Notice) -> None:
    """
    Write one Event: a new one, or what is new of one that is there; two requests at most.

    Raises:
        EngineError: the API server does not take it, or does not answer.
    """
    path = f"/api/v1/namespaces/{api.namespace}/events"
    if notice.is_repeat:
        try:
            api.patch(f"{path}/{notice.name}", _repetition(notice))
        except NotThere:
            pass  # expired, deleted, or never taken: it is told anew
        else:
            return
    # By its name it is the same Event: of another manager about the same Job, or ours, and its reply was lost.
    with contextlib.suppress(Conflict):
        api.create(path, _event(notice, api.namespace))


def _event(notice: Notice, namespace: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": notice.name, "namespace": namespace},
        "involvedObject": {
            "apiVersion": notice.about.api_version,
            "kind": notice.about.kind,
            "namespace": namespace,
            "name": notice.about.name,
            "uid": notice.about.uid,
        },
        "type": notice.type,
        "reason": str(notice.reason),
        "source": {"component": _COMPONENT},
        "reportingComponent": REPORTER,
        "firstTimestamp": _time(notice.first),
        **_repetition(notice),
    }


def _repetition(notice: Notice) -> dict[str, Any]:
    return {"message": notice.message, "count": notice.count, "lastTimestamp": _time(notice.last)}


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
