"""`helm test` on a real cluster: one item through the release's own queue, with the release's own rights."""

import json
import os
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from longshore.engines.kubernetes import KubernetesEngine
from longshore.manifests import Layout, bundle_for, mounts_at_root
from longshore.queuefile import Queue, parse
from longshore.trial import item_for, trial_queue
from support.cluster import tools
from support.cluster.release import Release, shell

pytestmark = pytest.mark.slow


def helm_test(release: Release) -> "subprocess.CompletedProcess[str]":
    """`helm test --logs`: the exit code, and what the test's pod said."""
    return subprocess.run(helm_command(release), env=environ(release), capture_output=True, text=True, check=False)


def helm_command(release: Release) -> list[str]:
    """`helm test --logs`."""
    return [str(tools.helm()), "test", "q", "--namespace", release.namespace, "--logs", "--timeout", "240s"]


def environ(release: Release) -> dict[str, str]:
    """What helm finds the cluster by."""
    return {**os.environ, "KUBECONFIG": str(release.cluster.kubeconfig)}


def left_behind(release: Release) -> list[str]:
    """Jobs, payloads and pods of a trial: what is named after its queue."""
    kinds = "jobs,pods,configmaps,secrets"
    names = release.cluster.kubectl("-n", release.namespace, "get", kinds, "-o", "name").split()
    return [name for name in names if name.partition("/")[2].startswith("q-test-")]


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


def test_a_folder_that_may_not_be_written_fails_it(release: Release) -> None:
    """The usual slip with shared folders: whom workers are, and whose the folder is."""
    release.out.chmod(0o755)
    release.helm("install", queue_of(release))

    ended = helm_test(release)

    line = said(ended)
    assert (ended.returncode != 0, "can't be written by user 65532 (podUser)" in line) == (True, True), line


def test_a_missing_right_fails_it_with_the_reason(release: Release) -> None:
    """The test has the manager's service account: what that may not do, it can't do."""
    release.helm("install", queue_of(release))
    release.helm("upgrade", {**queue_of(release), "rbac": {"create": False}}, is_ready=False)

    ended = helm_test(release)

    line = said(ended)
    assert (ended.returncode != 0, "cannot list resource" in line) == (True, True), line


def test_a_right_that_is_needed_last_fails_it_too(release: Release) -> None:
    """A worker that is done is not all: a Job that can't be given its result holds up the queue."""
    release.helm("install", queue_of(release))
    remove = [{"op": "replace", "path": "/rules/0/verbs", "value": ["get", "list", "watch", "create", "delete"]}]
    release.cluster.kubectl(
        "-n", release.namespace, "patch", "role", "q-manager", "--type=json", "-p", json.dumps(remove)
    )

    ended = helm_test(release)

    line = said(ended)
    assert (ended.returncode != 0, "cannot patch resource" in line) == (True, True), line
    release.until("nothing is left", lambda: left_behind(release) == [])


def leave_a_job(release: Release) -> None:
    """What a trial leaves that is killed as soon as it has made its Job."""
    queue_file = ["get", "configmap", "q-longshore-queue", "-o", "jsonpath={.data.queue\\.yaml}"]
    spec = parse(release.cluster.kubectl("-n", release.namespace, *queue_file))
    queue = trial_queue(Queue("q", spec, Path("/")), release.cluster.shell_image)
    mounts = mounts_at_root(list(spec.volumes))
    with closing(KubernetesEngine(release.cluster.api(release.namespace), queue.name, mounts=mounts)) as engine:
        engine.create(bundle_for(queue, item_for(queue, "00000000"), Layout(mounts=mounts)))


def test_a_job_of_a_trial_that_was_killed_is_cleared_away(release: Release) -> None:
    """With a pod that may start any moment: it is gone before the next trial's item goes through."""
    release.helm("install", queue_of(release, podTemplate={"spec": {"nodeSelector": {"no": "such-node"}}}))
    leave_a_job(release)
    release.until("its pod is there", lambda: any(name.startswith("pod/") for name in left_behind(release)))
    release.helm("upgrade", queue_of(release))

    ended = helm_test(release)

    assert ended.returncode == 0, ended.stdout + ended.stderr
    release.until("nothing is left", lambda: left_behind(release) == [])
