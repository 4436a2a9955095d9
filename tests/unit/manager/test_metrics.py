"""Metrics: what Prometheus reads of a queue, by its own parser."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from longshore.control import Mode
from longshore.ledger import LedgerUnavailable
from longshore.manager import Survey, Tally
from longshore.metrics import Metrics
from longshore.plan import Absences, Limits, Observed, judge
from longshore.records import Records
from longshore.scaling import Rule
from longshore.state import Job, Record, State
from longshore_kit.contract import ItemList
from longshore_kit.errors import EngineUnavailable
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


README = Path(__file__).parents[3] / "images" / "manager" / "README.md"
OF_TWO = Observed(listing_of("a", "b"), {}, Records(), Absences(), 1.0)


@pytest.fixture
def metrics() -> Metrics:
    """Those of a manager that has not looked yet."""
    return Metrics(Limits(rule=Rule(maximum=3)), version="1.2.3")


def test_a_queue_in_numbers(metrics: Metrics) -> None:
    """Every state has its number, 0 too, and each item is in exactly one; durations are in seconds."""
    done = job_for("done", State.DONE, since=49.0, processing_seconds=42.0)
    failed = job_for("failed", State.FAILED)
    seen = survey(
        done,
        failed,
        job_for("running", State.RUNNING),
        changes=(done, failed),
        items=ItemList(("done", "running", "a", "b", "old")),
        records=Records({"old": Record("old", State.DONE, 1.0)}),
        listed_at=1700000000.5,
        at=1700000001.5,
        tally=Tally(polls=9, failed_polls=2, arrived=5, made=3, conflicts=1),
    )

    metrics.note(seen)

    found = samples(metrics)
    buckets = {name: found.pop(name) for name in list(found) if "_bucket" in name}
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
        "longshore_wait_seconds_count": 2,
        "longshore_wait_seconds_sum": 7,
        "longshore_items_retried_total": 0,
        "longshore_oldest_waiting_seconds": 0,
        "longshore_items_arrived_total": 5,
        "longshore_jobs_created_total": 3,
        "longshore_job_conflicts_total": 1,
        "longshore_parallelism_limit": 0,
        "longshore_parallelism_actual": 0,
        "longshore_parallelism_maximum": 3,
        "longshore_parallelism_frozen": 0,
        "longshore_utilisation_ratio": 0,
        "longshore_source_up": 1,
        "longshore_source_last_success_timestamp_seconds": 1700000000.5,
        "longshore_source_polls_total": 9,
        "longshore_source_errors_total": 2,
        "longshore_ledger_records[done]": 1,
        "longshore_ledger_records[failed]": 0,
        "longshore_ledger_up": 1,
        "longshore_breaker_open": 0,
        "longshore_breaker_failures": 0,
        "longshore_mode[running]": 1,
        "longshore_mode[paused]": 0,
        "longshore_mode[draining]": 0,
        "longshore_look_failures_total[engine]": 0,
        "longshore_look_failures_total[ledger]": 0,
        "longshore_look_failures_total[other]": 0,
        "longshore_last_look_timestamp_seconds": 1700000001.5,
        "longshore_troubles": 0,
        "longshore_build_info[1.2.3]": 1,
    }
    assert {name for name, value in buckets.items() if value == 0 and "_processing_" in name} == {
        f"longshore_processing_seconds_bucket[{most}]"
        for most in ("0.1", "0.25", "0.5", "1.0", "2.5", "5.0", "10.0", "30.0")
    }


def test_a_manager_that_has_not_looked_yet_says_so(metrics: Metrics) -> None:
    """Counters begin at 0, so that their first step is one; what is not known yet is not told."""
    assert of(metrics, "longshore_mode") == {}
    assert (of(metrics, "longshore_items_finished"), of(metrics, "longshore_source_"), of(metrics, "longshore_l")) == (
        {"longshore_items_finished_total[done]": 0, "longshore_items_finished_total[failed]": 0},
        {"longshore_source_up": 0, "longshore_source_polls_total": 0, "longshore_source_errors_total": 0},
        {
            "longshore_ledger_records[done]": 0,
            "longshore_ledger_records[failed]": 0,
            "longshore_look_failures_total[engine]": 0,
            "longshore_look_failures_total[ledger]": 0,
            "longshore_look_failures_total[other]": 0,
        },
    )


def test_a_source_that_is_down_keeps_the_time_of_its_last_answer(metrics: Metrics) -> None:
    """So an alert can say for how long."""
    metrics.note(survey(listed_at=5.0))
    metrics.note(survey(listed_at=5.0, source_error="refused"))

    assert {**of(metrics, "longshore_source_up"), **of(metrics, "longshore_source_last")} == {
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


def test_each_attempt_that_another_follows_is_counted_once(metrics: Metrics) -> None:
    """Whether its end is seen or only the next one's beginning; what failed for good is followed by nothing."""
    first = job_for("a", State.RUNNING, attempt=1)
    ended = replace(first, state=State.STARTING)
    second = replace(first, attempt=2)
    steps = [first, ended, second, replace(first, attempt=3), replace(first, state=State.FAILED, attempt=3)]
    steps.append(job_for("a", State.RUNNING, attempt=2, uid="another"))
    seen = []

    for step in steps:
        metrics.note(survey(step, changes=(step,)))
        seen.append(samples(metrics)["longshore_items_retried_total"])

    assert seen == [0, 1, 1, 2, 2, 3]


def test_the_oldest_item_that_waits_says_how_late_the_queue_is(metrics: Metrics) -> None:
    """Of what was listed when this manager began it is known only that it waits since then; what has a Job is out."""
    seen: dict[str, Any] = {
        "items": ItemList(("old", "late", "later")),
        "first_seen": {"late": 40.0, "later": 70.0},
        "first_listed_at": 10.0,
        "at": 100.0,
    }
    jobs = [job_for(name, State.RUNNING) for name in ("old", "late", "later")]
    ages = []

    for number in range(4):
        metrics.note(survey(*jobs[:number], **seen))
        ages.append(samples(metrics)["longshore_oldest_waiting_seconds"])

    assert ages == [90, 60, 30, 0]


def test_what_the_law_decided_and_what_came_of_it(metrics: Metrics) -> None:
    """How many may live and do, and which part of the places a worker is at."""
    one = job_for("a", State.RUNNING)
    observed = replace(OF_TWO, jobs=jobs_of(one))

    metrics.note(survey(one, items=OF_TWO.items, verdict=judge(observed, Limits(rule=Rule(maximum=3)))))

    assert {**of(metrics, "longshore_parallelism"), **of(metrics, "longshore_util")} == {
        "longshore_parallelism_limit": 2,
        "longshore_parallelism_actual": 1,
        "longshore_parallelism_maximum": 3,
        "longshore_parallelism_frozen": 0,
        "longshore_utilisation_ratio": 0.5,
    }


def test_that_there_is_no_room_is_a_number_too(metrics: Metrics) -> None:
    """Who is on call hears of it when items wait for long."""
    waits = job_for("a", State.STARTING, is_out_of_room=True)

    metrics.note(survey(waits, verdict=judge(replace(OF_TWO, jobs=jobs_of(waits)), Limits(rule=Rule(maximum=3)))))

    assert of(metrics, "longshore_parallelism_frozen") == {"longshore_parallelism_frozen": 1}


def test_a_queue_that_is_held_says_by_what(metrics: Metrics) -> None:
    """The breaker, or a person."""
    bad = [job_for(name, State.FAILED, since=0.5) for name in "abcde"]
    verdict = judge(replace(OF_TWO, jobs=jobs_of(*bad)), Limits())

    metrics.note(survey(*bad, verdict=verdict, mode=Mode.PAUSED, at=1.0))

    assert {**of(metrics, "longshore_breaker"), **of(metrics, "longshore_mode")} == {
        "longshore_breaker_open": 1,
        "longshore_breaker_failures": 5,
        "longshore_mode[running]": 0,
        "longshore_mode[paused]": 1,
        "longshore_mode[draining]": 0,
    }


def test_a_look_that_failed_is_counted_by_what_was_in_its_way(metrics: Metrics) -> None:
    """What was seen last stays, with the time at which it was; a ledger that is read again is up."""
    metrics.note(survey(at=5.0))
    for failure in (LedgerUnavailable("x"), EngineUnavailable("x"), ValueError("x")):
        metrics.note_failure(failure)
    failed = of(metrics, "longshore_l")
    metrics.note(survey(at=6.0))

    assert failed == {
        "longshore_ledger_records[done]": 0,
        "longshore_ledger_records[failed]": 0,
        "longshore_ledger_up": 0,
        "longshore_last_look_timestamp_seconds": 5,
        "longshore_look_failures_total[engine]": 1,
        "longshore_look_failures_total[ledger]": 1,
        "longshore_look_failures_total[other]": 1,
    }
    assert (of(metrics, "longshore_ledger_up"), of(metrics, "longshore_last")) == (
        {"longshore_ledger_up": 1},
        {"longshore_last_look_timestamp_seconds": 6},
    )


def test_requests_are_counted_by_verb_and_code(metrics: Metrics) -> None:
    """One without an answer too."""
    for code in (200, 200, None):
        metrics.note_request("get", code)

    assert of(metrics, "longshore_kubernetes") == {
        "longshore_kubernetes_requests_total[200][get]": 2,
        "longshore_kubernetes_requests_total[none][get]": 1,
    }


def test_the_readme_tells_every_metric(metrics: Metrics) -> None:
    """Its name and its type, as Prometheus has them; and none that there is not."""
    metrics.note_request("get", 200)
    families = text_string_to_metric_families(metrics.text().decode())
    told = re.findall(r"^\| `(longshore_\w+)[`{].*? \| (\w+) \|", README.read_text(encoding="utf-8"), re.MULTILINE)

    assert {name.removesuffix("_total"): kind for name, kind in told} == {
        # Beside each counter stands a gauge of when it began.
        family.name: family.type
        for family in families
        if not (family.name.endswith("_created") and family.type == "gauge")
    }


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
