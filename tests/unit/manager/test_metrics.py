"""Metrics: what Prometheus reads of a queue, by its own parser."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from longshore.manager import Survey
from longshore.metrics import Metrics
from longshore.plan import Absences, Limits, Observed, judge
from longshore.records import Records
from longshore.scaling import Rule
from longshore.state import Job, Record, State
from longshore_kit.contract import ItemList
from support.queues import job_for, jobs_of, listing_of


def survey(*jobs: Job, changes: tuple[Job, ...] = (), **more: Any) -> Survey:
    """What a tick saw: these Jobs, and what is listed."""
    return Survey(jobs=jobs_of(*jobs), changes=changes, **{"items": ItemList(()), **more})


def samples(metrics: Metrics) -> dict[str, float]:
    """What a scrape gives, as Prometheus reads it; without the times at which counters began."""
    return {
        sample.name + "".join(f"[{value}]" for value in sample.labels.values()): sample.value
        for family in text_string_to_metric_families(metrics.text().decode())
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def of(metrics: Metrics, prefix: str) -> dict[str, float]:
    """The samples whose names begin so."""
    return {name: value for name, value in samples(metrics).items() if name.startswith(prefix)}


OF_TWO = Observed(listing_of("a", "b"), {}, Records(), Absences(), 1.0)


@pytest.fixture
def metrics() -> Metrics:
    """Those of a manager that has not looked yet."""
    return Metrics(Limits(rule=Rule(maximum=3)), version="1.2.3")


def test_a_queue_in_numbers(metrics: Metrics) -> None:
    """Every state has its number, 0 too, and each item is in exactly one; durations are in seconds."""
    done, failed = job_for("done", State.DONE, processing_seconds=42.0), job_for("failed", State.FAILED)
    seen = survey(
        done,
        failed,
        job_for("running", State.RUNNING),
        changes=(done, failed),
        items=ItemList(("done", "running", "a", "b", "old")),
        records=Records({"old": Record("old", State.DONE, 1.0)}),
        listed_at=1700000000.5,
    )

    metrics.note(seen)

    found = samples(metrics)
    buckets = {name: found.pop(name) for name in list(found) if name.startswith("longshore_processing_seconds_bucket")}
    assert found == {
        "longshore_items[waiting]": 2,
        "longshore_items[starting]": 0,
        "longshore_items[running]": 1,
        "longshore_items[done]": 2,
        "longshore_items[failed]": 1,
        "longshore_items_finished_total[done]": 1,
        "longshore_items_finished_total[failed]": 1,
        "longshore_processing_seconds_count": 1,
        "longshore_processing_seconds_sum": 42,
        "longshore_parallelism_limit": 0,
        "longshore_source_up": 1,
        "longshore_source_last_success_timestamp_seconds": 1700000000.5,
        "longshore_build_info[1.2.3]": 1,
    }
    assert {name for name, value in buckets.items() if value == 0} == {
        f"longshore_processing_seconds_bucket[{most}]"
        for most in ("0.1", "0.25", "0.5", "1.0", "2.5", "5.0", "10.0", "30.0")
    }


def test_a_manager_that_has_not_looked_yet_says_so(metrics: Metrics) -> None:
    """Counters begin at 0, so that their first step is one; what is not known yet is not told."""
    assert (of(metrics, "longshore_items_finished"), of(metrics, "longshore_source")) == (
        {"longshore_items_finished_total[done]": 0, "longshore_items_finished_total[failed]": 0},
        {"longshore_source_up": 0},
    )


def test_a_source_that_is_down_keeps_the_time_of_its_last_answer(metrics: Metrics) -> None:
    """So an alert can say for how long."""
    metrics.note(survey(listed_at=5.0))
    metrics.note(survey(listed_at=5.0, source_error="refused"))

    assert of(metrics, "longshore_source") == {
        "longshore_source_up": 0,
        "longshore_source_last_success_timestamp_seconds": 5,
    }


def test_counters_only_grow_and_count_each_end_once(metrics: Metrics) -> None:
    """A done Job that says more of itself is no second end; a retried one that ends again is."""
    failed, more = job_for("a", State.FAILED), job_for("a", State.FAILED, attempt=2)
    again = job_for("a", State.RUNNING, uid="another")
    done = replace(again, state=State.DONE, processing_seconds=1.0)
    steps = [survey(one, changes=(one,)) for one in (failed, more, again, done)] + [survey(done), survey()]
    seen = []

    for step in steps:
        metrics.note(step)
        found = samples(metrics)
        names = ("longshore_items_finished_total[failed]", "longshore_items_finished_total[done]")
        seen.append((*(found[name] for name in names), found["longshore_processing_seconds_count"]))

    assert seen == [(1, 0, 0), (1, 0, 0), (1, 0, 0), (1, 1, 1), (1, 1, 1), (1, 1, 1)]


def test_the_limit_is_what_the_plan_keeps_to(metrics: Metrics) -> None:
    """As it was decided; before the first look nothing is to live."""
    metrics.note(survey(verdict=judge(OF_TWO, Limits(rule=Rule(maximum=3)))))
    with_two = of(metrics, "longshore_parallelism_limit")
    metrics.note(survey())

    assert (with_two, of(metrics, "longshore_parallelism_limit")) == (
        {"longshore_parallelism_limit": 2},
        {"longshore_parallelism_limit": 0},
    )


def test_no_item_is_named(metrics: Metrics) -> None:
    """A label per item would be a series per item; and the port is open to the cluster."""
    one = job_for("secret-name", State.FAILED, reason="secret-reason")

    metrics.note(survey(one, changes=(one,), items=ItemList(("secret-name",)), source_error="secret-host"))

    assert b"secret" not in metrics.text()


class Unwalked(Mapping[str, Job]):
    """Jobs that may be asked for one by one, and not be walked over."""

    def __getitem__(self, item: str) -> Job:
        raise KeyError(item)

    def __iter__(self) -> Iterator[str]:
        raise AssertionError("a tick walked over all Jobs")

    def __len__(self) -> int:
        return 100_000


def test_a_tick_costs_what_it_changed(metrics: Metrics) -> None:
    """All Jobs are counted when somebody scrapes, not each second."""
    one = job_for("a", State.DONE)

    metrics.note(Survey(ItemList(()), jobs=Unwalked()))
    metrics.note(Survey(ItemList(()), jobs=Unwalked(), changes=(one,)))

    with pytest.raises(AssertionError, match="walked over"):
        metrics.text()
