"""What a manager tells Prometheus: numbers about its queue, and nothing that names an item.

Owns the metrics' names and units. Kept from tick to tick is the last survey alone: what would have to be counted over
all items is counted when somebody scrapes. A registry of its own, so that nothing of the process is global.
https://prometheus.io/docs/practices/naming/
"""

from collections.abc import Iterator
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from longshore.manager import Survey
from longshore.plan import Limits
from longshore.state import Job, State

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
_FINISHED: Final = (State.DONE, State.FAILED)
_LIVE: Final = (State.STARTING, State.RUNNING)
# Seconds to hours, each two to three times the one before: an item is a file to convert, or a mail to send.
_BUCKETS: Final = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600)


class Metrics:
    """The metrics of one manager. `note` is for the loop's thread, `text` for any."""

    def __init__(self, limits: Limits, *, version: str) -> None:
        self._limits: Final = limits
        self._version: Final = version
        self._survey = Survey(items=None)
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
        self._registry.register(self)

    def note(self, survey: Survey) -> None:
        """Take in what a tick saw; costs as much as it changed."""
        for job in survey.changes:
            if job.state in _FINISHED and not _is_same(self._survey.jobs.get(job.item), job):
                self._finished.labels(job.state).inc()
                if job.state is State.DONE:
                    self._processing.observe(job.processing_seconds)
        self._survey = survey

    def text(self) -> bytes:
        """All of them, in Prometheus' text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """What the last survey says; the registry asks when it is scraped."""
        survey = self._survey
        counts = survey.counts()
        items = GaugeMetricFamily("longshore_items", "Items by state.", labels=["state"])
        for state, number in counts.items():
            items.add_metric([state], number)
        yield items
        limit = survey.verdict.decision.parallelism if survey.verdict else 0
        yield GaugeMetricFamily("longshore_parallelism_limit", "Jobs that may live now; 0 when idle.", value=limit)
        is_up = survey.items is not None and not survey.source_error
        yield GaugeMetricFamily("longshore_source_up", "Whether the source answered when last asked.", value=is_up)
        listed = GaugeMetricFamily(
            "longshore_source_last_success_timestamp_seconds", "When the latest good listing was true; not before one."
        )
        if survey.listed_at is not None:
            listed.add_metric([], survey.listed_at)
        yield listed
        info = GaugeMetricFamily("longshore_build_info", "1; the version is a label.", labels=["version"])
        info.add_metric([self._version], 1)
        yield info


def _is_same(known: Job | None, job: Job) -> bool:
    """Whether this very Job had finished so already: one that says more of itself meanwhile is no news."""
    return known is not None and (known.uid, known.state) == (job.uid, job.state)
