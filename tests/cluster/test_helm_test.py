"""`helm test` on a real cluster: one item through the release's own queue, with the release's own rights."""

import os
import subprocess
from typing import Any

import pytest

from support.cluster import tools

from .test_install import Release, release, shell

__all__ = ["release"]
pytestmark = pytest.mark.slow


def helm_test(release: Release) -> "subprocess.CompletedProcess[str]":
    """`helm test --logs`: the exit code, and what the test's pod said."""
    command = [str(tools.helm()), "test", "q", "--namespace", release.namespace, "--logs", "--timeout", "240s"]
    environ = {**os.environ, "KUBECONFIG": str(release.cluster.kubeconfig)}
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=False)


def left_behind(release: Release) -> list[str]:
    """Jobs, payloads and pods of a trial."""
    kinds = "jobs,pods,configmaps,secrets"
    names = release.cluster.kubectl("-n", release.namespace, "get", kinds, "-o", "name").split()
    return [name for name in names if "one-item" in name]


def said(ended: "subprocess.CompletedProcess[str]") -> str:
    """The last line of the test's pod."""
    lines = ended.stdout.partition("POD LOGS: q-test")[2].strip().splitlines()
    assert lines, f"{ended.stdout}\n{ended.stderr}"
    return lines[-1]


def queue_of(release: Release, **worker: Any) -> dict[str, Any]:
    """Values of a queue without items, whose worker would touch a file."""
    return release.values(worker={**shell("touch $OUT_PATH/$1", image=release.cluster.shell_image), **worker})


@pytest.mark.parametrize("payload", ["auto", "configMap"])
def test_one_item_goes_through_and_leaves_nothing(release: Release, payload: str) -> None:
    """Through the pod that the queue's workers get, volumes and all; and once more, as often as one likes."""
    release.helm("install", queue_of(release, payload=payload))

    first, second = helm_test(release), helm_test(release)

    for ended in (first, second):
        assert ended.returncode == 0, ended.stdout + ended.stderr + release.state()
        head, _, words = said(ended).partition(" s: ")
        assert (head[:24], words) == ("one item went through in", "its worker had its item and /media, /out")
    release.until("nothing is left", lambda: left_behind(release) == [])


def test_the_release_s_own_items_are_not_touched(release: Release) -> None:
    """The trial has a queue of its own: the release's Jobs stay as they are, and its worker gets no made-up item."""
    (release.media / "a").write_text("a")
    release.helm("install", queue_of(release))
    release.until("the item is done", lambda: release.outcome("a") == "Complete")
    before = {item: job["metadata"]["uid"] for item, job in release.jobs().items()}

    ended = helm_test(release)

    assert ended.returncode == 0, ended.stdout + ended.stderr
    release.until("nothing is left", lambda: left_behind(release) == [])
    after = {item: job["metadata"]["uid"] for item, job in release.jobs().items()}
    assert (after, [path.name for path in release.out.iterdir()]) == (before, ["a"])


def test_pods_that_are_refused_fail_it_with_the_reason(release: Release) -> None:
    """As they would fail every item: the log says what the cluster said, and nothing is left."""
    worker = {"podTemplate": {"spec": {"priorityClassName": "no-such-class"}}}
    release.helm("install", {**queue_of(release, **worker), "retry": {"pendingSeconds": 8}})

    ended = helm_test(release)

    line = said(ended)
    assert (ended.returncode != 0, "did not go through" in line, "no-such-class" in line) == (True, True, True), line
    release.until("nothing is left", lambda: left_behind(release) == [])


def test_a_missing_right_fails_it_with_the_reason(release: Release) -> None:
    """The test has the manager's service account: what that may not do, it can't do."""
    release.helm("install", queue_of(release))
    release.helm("upgrade", {**queue_of(release), "rbac": {"create": False}}, is_ready=False)

    ended = helm_test(release)

    line = said(ended)
    assert (ended.returncode != 0, "cannot list resource" in line) == (True, True), line
