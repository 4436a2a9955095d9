"""A trial: what it makes of a queue, and what it says of its one item."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from longshore.manager import Survey
from longshore.manifests import ITEM_FILE, QUEUE_LABEL, Layout, bundle_for, mounts_at_root
from longshore.names import is_queue_name
from longshore.state import Job, State
from longshore.trial import WORKER_COMMAND, Trial, item_for, trial_name, trial_queue
from longshore.trial_worker import work
from longshore_kit.contract import ItemList
from longshore_kit.errors import LongshoreError
from longshore_kit.worker import Work
from support.queues import job_for, jobs_of, queue_with

VOLUMES = {
    "media": {"persistentVolumeClaim": {"claimName": "media"}, "readOnly": True},
    "out": {"persistentVolumeClaim": {"claimName": "out"}},
}
WORKER = {
    "image": "theirs:1",
    "command": ["theirs", "${item.path}"],
    "args": ["${item.size}"],
    "env": {"TITLE": "${item.title}"},
    "volumes": ["media", "out"],
    "resources": {"requests": {"cpu": "100m"}},
    "payload": "secret",
    "podTemplate": {"spec": {"priorityClassName": "batch", "serviceAccountName": "workers"}},
}


@pytest.mark.parametrize("queue", ["q", "thumbs", "thumbs-test", "x" * 53, f"{'x' * 48}-test"])
def test_no_queue_has_the_name_of_a_trial(queue: str) -> None:
    """A label's value all the same, so that Jobs can be found by it; no manager ever takes them for its own."""
    name = trial_name(queue)

    assert (is_queue_name(name), len(name), name.startswith(f"{queue}-test-")) == (False, 63, True)


def test_a_trial_has_the_queues_pod_with_the_managers_image_in_it() -> None:
    """Volumes, resources, pod template and way of the data are the queue's; image, command and variables are not."""
    queue = trial_queue(queue_with(volumes=VOLUMES, worker=WORKER, retry={"pendingSeconds": 8}), "manager:1")
    item = item_for(queue, "abcd")

    bundle = bundle_for(queue, item, Layout(mounts=mounts_at_root(list(queue.spec.volumes))))

    pod = bundle.job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert bundle.payload is not None
    assert {
        "queue": bundle.job["metadata"]["labels"][QUEUE_LABEL],
        "attempts": bundle.job["spec"]["backoffLimit"] + 1,
        "pending": bundle.job["metadata"]["annotations"]["longshore.dev/pending-seconds"],
        "class": (pod["priorityClassName"], pod["serviceAccountName"]),
        "claims": [one["persistentVolumeClaim"]["claimName"] for one in pod["volumes"] if "secret" not in one],
        "image": (container["image"], tuple(container["command"]), container.get("args")),
        "resources": container["resources"],
        "theirs": [one["name"] for one in container["env"] if one["name"] == "TITLE"],
        "payload": (bundle.payload["kind"], json.loads(bundle.payload["stringData"][ITEM_FILE])),
    } == {
        "queue": trial_name("q"),
        "attempts": 1,
        "pending": "8",
        "class": ("batch", "workers"),
        "claims": ["media", "out"],
        "image": ("manager:1", WORKER_COMMAND, None),
        "resources": {"requests": {"cpu": "100m"}},
        "theirs": [],
        "payload": ("Secret", {"name": "one-item-abcd", "volumes": {"MEDIA_PATH": False, "OUT_PATH": True}}),
    }


def test_a_chain_is_tried_in_one_container() -> None:
    """With all that its stages see, laid out as the last of them: what an admission rule asks of a pod holds for it."""
    locked = {"allowPrivilegeEscalation": False}
    worker = {
        "stages": [
            {"name": "find", "image": "a", "volumes": ["media"]},
            {"name": "blur", "image": "b", "volumes": ["media", "out"], "env": {"X": "${item.title}"}},
        ],
        "podTemplate": {
            "spec": {
                "initContainers": [{"name": "multi-worker"}, {"name": "find"}],
                "containers": [{"name": "blur", "securityContext": locked}],
            }
        },
    }
    queue = trial_queue(queue_with(volumes=VOLUMES, worker=worker), "manager:1")
    bundle = bundle_for(queue, item_for(queue, "abcd"), Layout(mounts=mounts_at_root(list(queue.spec.volumes))))

    pod = bundle.job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert (pod.get("initContainers"), container["name"], container["image"], container["securityContext"]) == (
        None, "worker", "manager:1", locked,
    )  # fmt: skip
    assert [mount["name"] for mount in container["volumeMounts"]] == ["longshore-item", "media", "out"]


def test_a_trial_waits_no_longer_than_helm_does() -> None:
    """Ten minutes for a worker's start are the queue's default, and five are all that `helm test` waits."""
    assert trial_queue(queue_with(), "manager:1").spec.retry.pending_seconds == 180


def given(data: dict[str, Any], **environ: str) -> Work:
    """What a worker is started with."""
    return Work(item="one-item", data=data, queue="q", environ=environ)


def test_the_worker_tells_what_it_was_given(tmp_path: Path) -> None:
    """Its item, and a folder for each volume."""
    data = {"name": "one-item", "volumes": {"MEDIA_PATH": False}}

    assert work(given(data, MEDIA_PATH=str(tmp_path))) == f"its worker had its item and {tmp_path}"
    assert work(given({"name": "one-item", "volumes": {}})) == "its worker had its item and no volume"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"name": "another"}, "the item's file is not that of 'one-item'"),
        ({"name": "one-item", "volumes": {"OUT_PATH": True}}, "OUT_PATH is '/nowhere', which is no folder"),
    ],
)
def test_the_worker_refuses_what_is_not_as_promised(data: dict[str, Any], words: str) -> None:
    """The item's own file, and every volume mounted."""
    with pytest.raises(LongshoreError, match=words):
        work(given(data, OUT_PATH="/nowhere"))


def test_the_worker_refuses_a_folder_that_it_may_not_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whom it works as, and whose the folder is: the usual slip with shared folders. One to read may be so."""
    monkeypatch.setattr("os.access", lambda *_: False)  # root may write anywhere
    data = {"name": "one-item", "volumes": {"MEDIA_PATH": False, "OUT_PATH": True}}

    with pytest.raises(
        LongshoreError, match=rf"{tmp_path} can't be written by user {os.geteuid()} \(podUser\): it belongs"
    ):
        work(given(data, MEDIA_PATH=str(tmp_path), OUT_PATH=str(tmp_path)))


def seen(*jobs: Job) -> Survey:
    """What a tick saw."""
    return Survey(ItemList(("one-item",)), jobs_of(*jobs))


class Clock:
    """Moves by a second each time it is asked."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


def trial() -> tuple[Trial, list[str]]:
    """A trial of the item `one-item`, and where it says what happens."""
    lines: list[str] = []
    return Trial("one-item", say=lines.append, clock=Clock()), lines


def told(lines: list[str]) -> list[str]:
    """Lines without the times in them."""
    return [line.partition(" since ")[0] for line in lines]


def test_an_item_went_through_when_its_job_was_tidied_up_too() -> None:
    """The result written into the Job and the pod deleted: those are rights of their own, of which a tick tells."""
    one, lines = trial()
    states = [State.STARTING, State.STARTING, State.RUNNING, State.DONE, State.DONE, State.DONE]

    over = [one.note(seen(job_for("one-item", state, reason="it said so"))) for state in states]

    assert over == [False] * 5 + [True]
    assert told(lines) == ["one-item is starting", "one-item is running", "one-item is done"]
    is_good, words = one.verdict()
    assert (is_good, words.partition(" in ")[0], words.rpartition(" s: ")[2]) == (
        True,
        "one item went through",
        "it said so",
    )


def test_a_done_item_whose_job_can_not_be_tidied_up_did_not_go_through() -> None:
    """A manager without that right would never get any further."""
    one, _ = trial()
    one.note(seen(job_for("one-item", State.DONE)))

    over = [one.fail("jobs is forbidden: cannot patch") for _ in range(3)]

    assert over == [False, False, True]
    assert one.verdict() == (False, "one item did not go through: jobs is forbidden: cannot patch")


def test_a_failed_item_is_told_with_its_reason() -> None:
    """As `longshore explain` says it."""
    one, _ = trial()

    is_over = one.note(seen(job_for("one-item", State.FAILED, reason="did not start within 8 s: no-such-class")))

    is_good, words = one.verdict()
    assert (is_over, is_good) == (True, False)
    assert words.startswith("one item did not go through: one-item failed since ")
    assert words.endswith("did not start within 8 s: no-such-class. Once mended: helm test, again")


def test_one_failure_of_the_cluster_is_not_the_end() -> None:
    """An API server may restart; what succeeds in between starts the count anew."""
    one, _ = trial()

    over = [one.fail("down"), one.fail("down"), one.note(seen()), one.fail("down"), one.fail("down")]

    assert over == [False] * 5


def test_an_item_that_can_not_be_started_ends_it_with_the_reason() -> None:
    """The cluster takes no Job, say."""
    one, _ = trial()

    is_over = one.note(seen(), "exceeded quota: jobs")

    assert (is_over, one.verdict()) == (True, (False, "one item did not go through: exceeded quota: jobs"))


def test_what_has_not_ended_in_time_is_told_as_it_stands() -> None:
    """With what it waits for."""
    one, _ = trial()
    without_a_job = one.verdict()
    one.note(seen(job_for("one-item", State.STARTING, reason="ErrImagePull")))
    is_good, words = one.verdict()

    assert without_a_job == (False, "one item did not go through: not within 1.0 s: it got no Job")
    assert (is_good, words.endswith("its worker not yet up: ErrImagePull.")) == (False, True)
