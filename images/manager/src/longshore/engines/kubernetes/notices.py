"""What a person should be told through the cluster, and how often. Pure.

Owns which changes are worth a Kubernetes Event, its words and its name, and every limit on their number; sends nothing
(events.py does). Refuses to be a log: of a flood of failures a few are told each on its Job, all of them as one number
on the manager's Pod, and what repeats itself becomes one Event that counts.
https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/
"""

import enum
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from longshore.explain import duration, explain_failure, safe
from longshore.state import Job, State

REPORTER: Final = "longshore.dev/manager"
"""What our Events are known by, so that nobody takes them for the cluster's own."""
MESSAGE_MAX: Final = 1024
"""Bytes; the limit that the API states for the text of an Event."""
REPEAT_SECONDS: Final = 60.0
"""One Event is written so often at most, however often it repeats."""
LASTING_SECONDS: Final = 1800.0
"""A source that stays away is told again: the cluster forgets an Event after an hour by default."""
SERIES_SECONDS: Final = 3600.0
"""What was quiet for so long begins a new Event, counted from one: the old one is gone."""
SETTLING_SECONDS: Final = 10.0
"""The ambassador starts beside the manager: until then a source that does not answer is no news. Guessed."""
JOB_BURST: Final = 25
JOB_EVERY_SECONDS: Final = 10.0
"""Events on Jobs, of whichever Job: so many at once, then one in so long. What is beyond is counted on the Pod."""
REMEMBERED_MAX: Final = 10_000
"""Failed Jobs kept in mind, so that one that is seen to change after its failure is not told again."""
_ITEM_MAX: Final = 256
_FAILURE_MAX: Final = 512
_ERROR_MAX: Final = 512
_NAME_MAX: Final = 253


class Reason(enum.StrEnum):
    """What an Event is about, in one word; what people and their tools filter by."""

    ITEM_FAILED = "ItemFailed"
    """On the Job: its last attempt has failed."""
    ITEM_REFUSED = "ItemRefused"
    """On the Job: it could not be started at all."""
    ITEMS_FAILED = "ItemsFailed"
    """On the manager's Pod: how many of both there were."""
    SOURCE_UNAVAILABLE = "SourceUnavailable"
    SOURCE_AVAILABLE = "SourceAvailable"
    """On the manager's Pod, when it was told as unavailable before."""
    BREAKER_OPENED = "BreakerOpened"
    """On the manager's Pod: nothing that is started goes well, so that only trials are."""
    BREAKER_CLOSED = "BreakerClosed"


_GOOD_NEWS: Final = frozenset({Reason.SOURCE_AVAILABLE, Reason.BREAKER_CLOSED})


@dataclass(frozen=True, slots=True)
class Reference:
    """What an Event is shown with."""

    api_version: str
    kind: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class Notice:
    """One Event, as it should stand there now. Times are seconds since the epoch."""

    name: str
    """The Event's own; the same for all repetitions."""
    about: Reference
    type: Literal["Normal", "Warning"]
    reason: Reason
    message: str
    first: float
    last: float
    count: int = 1
    is_repeat: bool = False
    """Whether it has been told before, and only its message, count and time are new."""


@dataclass
class _Series:
    """One Event on the Pod, over its repetitions."""

    first: float
    last: float
    count: int
    message: str
    has_news: bool = True
    written_at: float | None = None
    """By the monotonic clock; None before the first time."""


@dataclass
class _Bucket:
    """Tokens that come back with time."""

    tokens: float = JOB_BURST
    at: float | None = None

    def take(self, now: float) -> bool:
        """Whether there was one."""
        came = 0.0 if self.at is None else max(0.0, now - self.at) / JOB_EVERY_SECONDS
        self.tokens, self.at = min(JOB_BURST, self.tokens + came), now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


@dataclass
class Notices:
    """Turns what each look saw into what is to be told. For one thread."""

    pod: Reference | None
    """The manager's own; None: there is none to tell anything on."""
    started: float
    """By the monotonic clock."""
    _series: dict[Reason, _Series] = field(default_factory=dict)
    _bucket: _Bucket = field(default_factory=_Bucket)
    _told: dict[str, None] = field(default_factory=dict)
    """Uids of failed Jobs, oldest first."""
    _away_since: float | None = None
    """Since when, by the monotonic clock, the source is told to be away."""
    _lasting_at: float = 0.0
    _is_broken: bool = False

    def after(
        self, changes: Sequence[Job], source_error: str, *, wall: float, monotonic: float, breaker: str = ""
    ) -> list[Notice]:
        """
        What is to be told after a look that saw these changes and this of the source; mostly nothing.

        `breaker`: why it is open, in words; empty: it is closed.
        """
        failed = [job for job in changes if job.state is State.FAILED and self._is_new(job)]
        told = [_of_job(job, wall) for job in failed if self._bucket.take(monotonic)]
        if self.pod is None:
            return told
        if failed:
            self._count_failed(failed, wall, monotonic)
        self._follow_source(source_error, wall, monotonic)
        self._follow_breaker(breaker, wall, monotonic)
        return told + self._due(self.pod, monotonic)

    def _is_new(self, job: Job) -> bool:
        if job.uid in self._told:
            return False
        if len(self._told) >= REMEMBERED_MAX:
            del self._told[next(iter(self._told))]
        self._told[job.uid] = None
        return True

    def _count_failed(self, failed: Sequence[Job], wall: float, monotonic: float) -> None:
        one = self._happened(Reason.ITEMS_FAILED, wall, monotonic, times=len(failed))
        last = max(failed, key=lambda job: job.since)
        head = "1 item failed:" if one.count == 1 else f"{one.count} items failed; the last:"
        one.message = f"{head} {_item(last)}, {_failure(last)}"

    def _follow_source(self, error: str, wall: float, monotonic: float) -> None:
        if error and self._away_since is None:
            if monotonic - self.started >= SETTLING_SECONDS:
                self._away_since = self._lasting_at = monotonic
                self._happened(Reason.SOURCE_UNAVAILABLE, wall, monotonic).message = _away(error)
        elif error and monotonic - self._lasting_at >= LASTING_SECONDS:
            self._lasting_at = monotonic
            # The same absence: it is said to last, and not counted again.
            self._happened(Reason.SOURCE_UNAVAILABLE, wall, monotonic, times=0).message = _away(error)
        elif not error and self._away_since is not None:
            gone = duration(monotonic - self._away_since)
            self._away_since = None
            self._happened(Reason.SOURCE_AVAILABLE, wall, monotonic).message = f"the source answers again, after {gone}"

    def _follow_breaker(self, words: str, wall: float, monotonic: float) -> None:
        if words and not self._is_broken:
            told = f"{cut(safe(words).rstrip('.'), _ERROR_MAX)}; one trial at a time goes on"
            self._happened(Reason.BREAKER_OPENED, wall, monotonic).message = told
        elif not words and self._is_broken:
            self._happened(
                Reason.BREAKER_CLOSED, wall, monotonic
            ).message = "a trial went well: items are started again"
        self._is_broken = bool(words)

    def _happened(self, reason: Reason, wall: float, monotonic: float, *, times: int = 1) -> _Series:
        one = self._series.get(reason)
        if one is None or (
            not one.has_news and one.written_at is not None and monotonic - one.written_at >= SERIES_SECONDS
        ):
            one = self._series[reason] = _Series(wall, wall, max(1, times), "")
        else:
            one.last, one.count, one.has_news = wall, one.count + times, True
        return one

    def _due(self, pod: Reference, monotonic: float) -> list[Notice]:
        due = []
        for reason, one in self._series.items():
            if one.has_news and (one.written_at is None or monotonic - one.written_at >= REPEAT_SECONDS):
                due.append(
                    Notice(
                        name=_name(pod, reason, str(one.first)),
                        about=pod,
                        type="Normal" if reason in _GOOD_NEWS else "Warning",
                        reason=reason,
                        message=cut(one.message, MESSAGE_MAX),
                        first=one.first,
                        last=one.last,
                        count=one.count,
                        is_repeat=one.written_at is not None,
                    )
                )
                one.has_news, one.written_at = False, monotonic
        return sorted(due, key=lambda notice: notice.last)


def cut(text: str, most: int) -> str:
    """`text` in at most `most` bytes of UTF-8, an ellipsis for what is left out."""
    data = text.encode()
    return text if len(data) <= most else data[: most - len("…".encode())].decode(errors="ignore") + "…"


def _of_job(job: Job, wall: float) -> Notice:
    about = Reference("batch/v1", "Job", job.name, job.uid)
    reason = Reason.ITEM_FAILED if job.attempt else Reason.ITEM_REFUSED
    return Notice(
        # Made of the Job alone, so that two managers that see it fail make one Event.
        name=_name(about, reason),
        about=about,
        type="Warning",
        reason=reason,
        message=f"{_item(job)} failed {_failure(job)}. Once mended, delete this Job to have the item tried again.",
        first=wall,
        last=wall,
    )


def _name(about: Reference, reason: Reason, series: str = "") -> str:
    digest = hashlib.sha256("\0".join((about.uid, reason, series)).encode()).hexdigest()[:16]
    return f"{about.name[: _NAME_MAX - 17].rstrip('-.')}.{digest}"


def _item(job: Job) -> str:
    return cut(safe(job.item), _ITEM_MAX)


def _failure(job: Job) -> str:
    return cut(explain_failure(job), _FAILURE_MAX)


def _away(error: str) -> str:
    return f"{cut(safe(error).rstrip('.'), _ERROR_MAX)}; nothing is started or forgotten meanwhile"
