"""What a person sees with `kubectl describe`, on a real cluster: failed items, a source that goes and comes back."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from longshore.engines.kubernetes import KubernetesEngine
from longshore.engines.kubernetes.events import send
from longshore.engines.kubernetes.notices import Notice, Notices
from longshore.state import State
from longshore_kit.ambassador.app import create_app
from support.ambassadors import MemorySource, serving
from support.cluster.cluster import Cluster
from support.cluster.node import ADDRESS
from support.cluster.release import Release, shell
from support.queues import job_for

pytestmark = pytest.mark.slow


def described(release: Release, kind: str, *arguments: str) -> list[tuple[str, str, str]]:
    """The events that `kubectl describe` shows, of the manager alone: type, reason, message; ages are left out."""
    text = release.cluster.kubectl("-n", release.namespace, "describe", kind, *arguments)
    _, _, shown = text.partition("\nEvents:")
    rows = [re.split(r"\s{2,}", line.strip(), maxsplit=4) for line in shown.splitlines()]
    return [(row[0], row[1], row[4]) for row in rows if row[3:4] == ["longshore"]]


def described_manager(release: Release) -> list[tuple[str, str, str]]:
    """The same, of the manager's pod."""
    return described(release, "pod", "-l", "app.kubernetes.io/component=manager")


def events(release: Release, reason: str) -> list[dict[str, Any]]:
    """The events with this reason."""
    found = release.cluster.kubectl("-n", release.namespace, "get", "events", "-o", "json")
    return [one for one in json.loads(found)["items"] if one["reason"] == reason]


def test_a_failed_item_is_seen_with_kubectl_describe(release: Release) -> None:
    """On its Job with its reason, on the manager's pod as a number; what it says is no terminal's command."""
    for name in ("bad\x1b[31m", "good"):
        (release.media / name).write_text(name)
    script = 'test "$1" = good || { printf "no\\033[31m such codec" > "$LONGSHORE_RESULT_FILE"; exit 65; }'
    release.helm("install", release.values(worker=shell(script, image=release.cluster.shell_image)))
    release.until("the events", lambda: bool(events(release, "ItemFailed") and events(release, "ItemsFailed")))

    job = release.jobs()["bad\x1b[31m"]["metadata"]["name"]
    failure = "after 1 attempt, exit code 65: no such codec"
    hint = "Once mended, delete this Job to have the item tried again."
    assert described(release, "job", job) == [("Warning", "ItemFailed", f"bad\\x1b[31m failed {failure}. {hint}")]
    assert described_manager(release) == [("Warning", "ItemsFailed", f"1 item failed: bad\\x1b[31m, {failure}")]
    assert described(release, "job", release.jobs()["good"]["metadata"]["name"]) == []


def test_an_item_that_can_not_be_started_is_seen_with_kubectl_describe(release: Release) -> None:
    """It says what is wrong with the queue, not with the item's work."""
    (release.media / "a").write_text("a")
    worker = {**shell("true", image=release.cluster.shell_image), "args": ["${item.nothing}"]}
    release.helm("install", release.values(worker=worker))
    release.until("the event", lambda: bool(events(release, "ItemRefused")))

    told = "a failed before its first attempt: "
    ((kind, reason, message),) = described(release, "job", release.jobs()["a"]["metadata"]["name"])
    assert (kind, reason, message[: len(told)]) == ("Warning", "ItemRefused", told)


@contextmanager
def source_at(cluster: Cluster, source: MemorySource) -> Iterator[str]:
    """A source outside of the cluster, where pods can reach it; its URL."""
    if cluster.node is None:
        pytest.skip("pods of this cluster can't reach the test's own source: unset KUBECONFIG for a cluster of its own")
    with serving(create_app(source), host=ADDRESS) as url:
        yield url


def test_a_source_that_goes_and_comes_back_is_seen_on_the_managers_pod(cluster: Cluster, release: Release) -> None:
    """One Event counts how often it went, however often it was asked meanwhile; another, how often it was back."""
    source = MemorySource(["a"])
    with source_at(cluster, source) as url:
        custom = {"kind": "custom", "custom": {"url": url}}
        worker = {**shell("true", image=cluster.shell_image), "volumes": []}
        release.helm("install", release.values(volumes={}, source=custom, worker=worker))
        release.until("done", lambda: release.outcome("a") == "Complete")

        for number in (1, 2):
            source.is_down = True
            release.until("it to be missed", lambda: told(release, "SourceUnavailable") == number)  # noqa: B023 - asked within this turn
            source.is_down = False
            release.until("it to be back", lambda: told(release, "SourceAvailable") == number)  # noqa: B023 - asked within this turn

    away, back = described_manager(release)
    assert (away[:2], "the store is down" in away[2]) == (("Warning", "SourceUnavailable"), True)
    assert (back[:2], back[2].split(",")[0]) == (("Normal", "SourceAvailable"), "the source answers again")


def test_our_own_events_are_not_taken_for_the_clusters(cluster: Cluster, namespace: str) -> None:
    """Why a Job has no pod is what the controller says of it, however much we have told of others."""
    api = cluster.api(namespace)
    send(api, notice_about("ours"))
    theirs = {"apiVersion": "batch/v1", "kind": "Job", "namespace": namespace, "name": "q-x", "uid": "theirs"}
    words = {"type": "Warning", "reason": "FailedCreate", "message": "exceeded quota"}
    metadata = {"name": "q-x.1", "namespace": namespace}
    api.create(f"/api/v1/namespaces/{namespace}/events", {"metadata": metadata, "involvedObject": theirs, **words})
    engine = KubernetesEngine(api, "q", mounts={})

    assert {uid: event.message for uid, event in engine._refused_pods().items()} == {"theirs": "exceeded quota"}
    engine.close()


def test_an_event_that_was_deleted_is_told_anew(cluster: Cluster, namespace: str) -> None:
    """As when it has expired: with its count, so that nothing is lost; twice the same is one."""
    api = cluster.api(namespace)
    notice = notice_about("u")
    path = f"/api/v1/namespaces/{namespace}/events"
    for one in (notice, notice, replace(notice, count=2, is_repeat=True)):
        send(api, one)
    there = json.loads(api.get(f"{path}/{notice.name}"))
    assert there["count"] == 2
    api.delete(f"{path}/{notice.name}", there["metadata"]["uid"], propagation="Background")
    send(api, replace(notice, count=3, message="again", last=notice.first + 60, is_repeat=True))

    found = [one for one in json.loads(api.get(path))["items"] if one["reason"] == "ItemFailed"]
    shown = [(one["count"], one["message"], one["firstTimestamp"], one["lastTimestamp"]) for one in found]
    assert shown == [(3, "again", "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z")]
    api.close()


def notice_about(uid: str) -> Notice:
    """What is told of a Job that has failed."""
    job = job_for("a", State.FAILED, attempt=1, uid=uid)
    (notice,) = Notices(None, 0.0).after([job], "", wall=datetime(2026, 1, 1, tzinfo=UTC).timestamp(), monotonic=0.0)
    return notice


def told(release: Release, reason: str) -> int:
    """How often an Event with this reason has been counted on the manager's pod."""
    return sum(one["count"] for one in events(release, reason) if one["involvedObject"]["kind"] == "Pod")
