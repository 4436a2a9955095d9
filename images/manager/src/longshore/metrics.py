"""What a manager tells Prometheus: numbers about its queue, and nothing that names an item.

Owns the metrics' names and units. Kept from tick to tick is the last survey alone: what would have to be counted over
all items is counted when somebody scrapes. A registry of its own, so that nothing of the process is global.
https://prometheus.io/docs/practices/naming/
"""

from collections.abc import Iterator, Mapping
from typing import Final, TypeVar

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from longshore.control import Mode
from longshore.ledger import LedgerUnavailable
from longshore.manager import Survey
from longshore.plan import Limits
from longshore.state import Job, State
from longshore_kit.errors import EngineError

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
_FINISHED: Final = (State.DONE, State.FAILED)
Label = TypeVar("Label", bound=str)
_CAUSES: Final = ("engine", "ledger", "other")
# Seconds to hours, each two to three times the one before: an item is a file to convert, or a mail to send.
_BUCKETS: Final = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600)


class Metrics:
    """The metrics of one manager. `note` and `note_failure` are for the loop's thread, the others for any."""

    def __init__(self, limits: Limits, *, version: str) -> None:
        self._limits: Final = limits
        self._version: Final = version
        self._survey = Survey(items=None)
        self._is_ledger_up: bool | None = None
        self._registry: Final = CollectorRegistry()
        self._finished: Final = Counter(
            "longshore_items_finished",
            "Items that became done or failed while this manager looked.",
            ["outcome"],
            registry=self._registry,
        )
        for state in _FINISHED:
            # From 0 on: what appears with its first increment has no rate.
            self._finished.labels(state)
        self._processing: Final = Histogram(
            "longshore_processing_seconds",
            "What the workers of a done item took, all attempts, queueing excluded.",
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._waits: Final = Histogram(
            "longshore_wait_seconds",
            "What a finished item waited: since it was listed, or its Job was made, without its workers' time.",
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._retried: Final = Counter(
            "longshore_items_retried",
            "Attempts that ended without success and that another one follows.",
            registry=self._registry,
        )
        self._failures: Final = Counter(
            "longshore_look_failures",
            "Times that the manager could not look, by what was in its way.",
            ["cause"],
            registry=self._registry,
        )
        for cause in _CAUSES:
            self._failures.labels(cause)
        self._requests: Final = Counter(
            "longshore_kubernetes_requests",
            "Requests to the API server; a list counts as get, and code is none where no answer came.",
            ["verb", "code"],
            registry=self._registry,
        )
        self._registry.register(self)

    def note(self, survey: Survey) -> None:
        """Take in what a tick saw; costs as much as it changed."""
        for job in survey.changes:
            known = self._survey.jobs.get(job.item)
            before = known if known and known.uid == job.uid else None
            self._retried.inc(max(0, job.retries - (before.retries if before else 0)))
            # One that only says more of itself than it did when it had finished is no news.
            if job.state in _FINISHED and not (before and before.state is job.state):
                self._note_end(job)
        self._is_ledger_up = True
        self._survey = survey

    def note_failure(self, failure: Exception) -> None:
        """The loop could not look."""
        is_ledger = isinstance(failure, LedgerUnavailable)
        if is_ledger:
            self._is_ledger_up = False
        self._failures.labels(
            "ledger" if is_ledger else "engine" if isinstance(failure, EngineError) else "other"
        ).inc()

    def note_request(self, verb: str, code: int | None) -> None:
        """A request to the API server has ended, with the code of its answer, or None without one."""
        self._requests.labels(verb, "none" if code is None else str(code)).inc()

    def text(self) -> bytes:
        """All of them, in Prometheus' text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """What the last survey says; the registry asks when it is scraped."""
        survey = self._survey
        counts = survey.counts()
        yield _by_label("longshore_items", "Items by state.", "state", counts)
        since = survey.waits_since()
        yield GaugeMetricFamily(
            "longshore_oldest_waiting_seconds",
            "For how long the item has waited that waits longest, as far as this manager knows; 0 while none waits.",
            value=0 if since is None else max(0.0, survey.at - since),
        )
        yield from self._of_parallelism(survey, counts[State.RUNNING])
        yield from _of_source(survey)
        tally = survey.tally
        yield CounterMetricFamily("longshore_items_arrived", "Items that came into the list.", value=tally.arrived)
        yield CounterMetricFamily("longshore_jobs_created", "Jobs that this manager made.", value=tally.made)
        yield CounterMetricFamily(
            "longshore_job_conflicts", "Jobs that it came to make and found made.", value=tally.conflicts
        )
        yield from self._of_ledger(survey)
        yield from _of_breaker(survey)
        modes = {mode: int(survey.mode is mode) for mode in Mode} if survey.at else {}
        yield _by_label("longshore_mode", "1 for what a person has said, 0 for the others.", "mode", modes)
        yield _known("longshore_last_look_timestamp_seconds", "When this manager saw its Jobs last.", survey.at or None)
        yield GaugeMetricFamily(
            "longshore_troubles", "What could not be done for single Jobs at the last look.", value=len(survey.troubles)
        )
        yield _by_label("longshore_build_info", "1; the version is a label.", "version", {self._version: 1})

    def _note_end(self, job: Job) -> None:
        self._finished.labels(job.state).inc()
        self._waits.observe(job.waited_seconds)
        if job.state is State.DONE:
            self._processing.observe(job.processing_seconds)

    def _of_parallelism(self, survey: Survey, running: int) -> Iterator[Metric]:
        decision = survey.verdict.decision if survey.verdict else None
        limit = decision.parallelism if decision else 0
        yield GaugeMetricFamily(
            "longshore_parallelism_limit",
            "Jobs that may live now, as the scaling law wants; 0 while nothing is to be done.",
            value=limit,
        )
        yield GaugeMetricFamily(
            "longshore_parallelism_actual", "Jobs that live.", value=decision.load.live if decision else 0
        )
        yield GaugeMetricFamily(
            "longshore_parallelism_maximum",
            "Jobs that may ever live at once: scaling.max.",
            value=self._limits.rule.maximum,
        )
        yield GaugeMetricFamily(
            "longshore_utilisation_ratio",
            "Running workers over Jobs that may live now; 0 when idle.",
            value=running / limit if limit else 0,
        )
        yield GaugeMetricFamily(
            "longshore_parallelism_frozen",
            "1 while no more Jobs may live than do, since workers that were started find no room.",
            value=bool(decision and decision.is_frozen),
        )
        yield _known(
            "longshore_offered_load",
            "Workers that arrivals and what waits would keep busy on average; not before an item has finished.",
            decision.offered if decision else None,
        )

    def _of_ledger(self, survey: Survey) -> Iterator[Metric]:
        sizes = {state: survey.records.count(state) for state in _FINISHED}
        yield _by_label("longshore_ledger_records", "Items whose Jobs are no longer kept.", "state", sizes)
        yield _known("longshore_ledger_up", "Whether the ledger could be read when last tried.", self._is_ledger_up)


def _of_source(survey: Survey) -> Iterator[Metric]:
    is_up = survey.items is not None and not survey.source_error
    yield GaugeMetricFamily("longshore_source_up", "Whether the source answered when last asked.", value=is_up)
    yield _known(
        "longshore_source_last_success_timestamp_seconds",
        "When the latest good listing was true; not before one.",
        survey.listed_at,
    )
    tally = survey.tally
    yield CounterMetricFamily("longshore_source_polls", "Times that the source was asked.", value=tally.polls)
    yield CounterMetricFamily(
        "longshore_source_errors", "Times that it did not answer, or not rightly.", value=tally.failed_polls
    )


def _of_breaker(survey: Survey) -> Iterator[Metric]:
    breaker = survey.verdict.breaker if survey.verdict else None
    yield GaugeMetricFamily(
        "longshore_breaker_open",
        "1 while one trial at a time is all that is started.",
        value=bool(breaker and breaker.is_open),
    )
    yield GaugeMetricFamily(
        "longshore_breaker_failures", "Items in a row that failed, up to now.", value=breaker.failures if breaker else 0
    )


def _known(name: str, text: str, value: float | None) -> Metric:
    """A gauge, without a sample where nothing is known: 0 would be a lie."""
    family = GaugeMetricFamily(name, text)
    if value is not None:
        family.add_metric([], value)
    return family


def _by_label(name: str, text: str, label: str, values: Mapping[Label, float]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family
