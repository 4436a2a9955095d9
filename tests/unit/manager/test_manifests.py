"""Manifests: the Job that an item becomes, whole."""

from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.json import JSONSnapshotExtension

from longshore.manifests import (
    INLINE_MAX_BYTES,
    PAYLOAD_MAX_BYTES,
    Layout,
    bundle_for,
    mounts_at_root,
    refused_bundle,
    sample_item,
)
from longshore.podtemplate import overlay, problems
from longshore.queuefile import Queue
from support.queues import item_named, queue_with

VOLUMES = {
    "media": {"nfs": {"server": "nas.example", "path": "/exports"}, "readOnly": True},
    "thumbs": {"persistentVolumeClaim": {"claimName": "thumbs"}},
    "local": {"hostPath": {"path": "/srv"}},
}
WORKER = {
    "image": "worker-ffmpeg",
    "args": ["-i", "${MEDIA_PATH}/${item.path}"],
    "env": {"EVERY": 100, "TITLE": "${name}"},
    "volumes": ["media", "thumbs", "local"],
    "resources": {"requests": {"cpu": 1}},
    "podTemplate": {"spec": {"nodeSelector": {"disk": "ssd"}}},
}
LAYOUT = Layout(mounts=mounts_at_root(list(VOLUMES)))


@pytest.fixture
def queue() -> Queue:
    """A queue that uses nearly everything."""
    return queue_with(name="thumbs", volumes=VOLUMES, worker=WORKER, retry={"attempts": 5, "deadlineSeconds": 60})


@pytest.fixture
def golden(snapshot: SnapshotAssertion) -> SnapshotAssertion:
    """Whole manifests, kept as JSON beside the tests."""
    return snapshot.use_extension(JSONSnapshotExtension)


def test_the_job_of_a_small_item_is_the_only_object(queue: Queue, golden: SnapshotAssertion) -> None:
    """Data rides in an annotation and becomes the item's file through the downward API."""
    bundle = bundle_for(queue, item_named("a.mp4"), LAYOUT)

    assert bundle.payload is None
    assert bundle.job == golden


def test_a_larger_items_data_lies_in_a_config_map(queue: Queue, golden: SnapshotAssertion) -> None:
    """Every listing of Jobs carries what is inline, so what is big moves out."""
    bundle = bundle_for(queue, item_named("big", {"path": "x" * INLINE_MAX_BYTES}), LAYOUT)
    payload: dict[str, Any] = bundle.payload or {}

    assert payload.pop("data")["item.json"] == f'{{"path":"{"x" * INLINE_MAX_BYTES}"}}'
    assert payload == golden


@pytest.mark.parametrize(
    ("payload", "kind", "key"), [("configMap", "ConfigMap", "data"), ("secret", "Secret", "stringData")]
)
def test_a_queue_decides_where_data_lies(payload: str, kind: str, key: str) -> None:
    """`worker.payload` forces the book's ConfigMap, or a Secret for data that not everybody may read."""
    bundle = bundle_for(queue_with(worker={"image": "x", "payload": payload}), item_named("a"), LAYOUT)
    made: dict[str, Any] = bundle.payload or {}

    assert (made["kind"], made["immutable"], made[key]) == (kind, True, {"item.json": '{"path":"a"}'})


def test_too_much_data_fails_the_item_alone() -> None:
    """Beyond what an object can hold, the item fails with the numbers and a way out."""
    bundle = bundle_for(queue_with(), item_named("huge", {"x": "y" * PAYLOAD_MAX_BYTES}), LAYOUT)

    assert bundle.job["metadata"]["annotations"]["longshore.dev/refused"] == (
        f"the item's data has {PAYLOAD_MAX_BYTES + 8} bytes, {PAYLOAD_MAX_BYTES} are allowed: "
        "let the source hand out a reference to it instead"
    )


def test_kueues_labels_are_the_jobs_too() -> None:
    """There Kueue looks for its queue; others stay on the pod, where people mean them."""
    labels = {"kueue.x-k8s.io/queue-name": "gpus", "team": "video"}
    queue = queue_with(worker={"image": "i", "podTemplate": {"metadata": {"labels": labels}}})
    job = bundle_for(queue, item_named("a"), Layout()).job
    own = {"app.kubernetes.io/managed-by": "longshore", "longshore.dev/queue": "q"}

    assert job["metadata"]["labels"] == {"kueue.x-k8s.io/queue-name": "gpus", **own}
    assert job["spec"]["template"]["metadata"]["labels"] == {**labels, **own}


def test_an_item_without_a_referenced_value_gets_a_job_that_only_says_so(golden: SnapshotAssertion) -> None:
    """A failed Job is the dead letter, also for an item that failed before its first attempt."""
    bundle = bundle_for(queue_with(worker={"command": ["cp", "${item.nope}"]}), item_named("a"), LAYOUT)

    assert bundle.job == golden


def test_a_refused_job_never_runs() -> None:
    """It is suspended for good."""
    assert refused_bundle(queue_with(), "a", "because").job["spec"]["suspend"] is True


def test_what_people_lay_over_a_pod_merges_by_name() -> None:
    """`podTemplate` adds to named lists instead of replacing them."""
    base = {"spec": {"containers": [{"name": "worker", "image": "x"}], "volumes": [{"name": "a"}]}}
    over = {"spec": {"containers": [{"name": "worker", "tty": True}], "tolerations": [{"key": "gpu"}]}}

    assert overlay(base, over) == {
        "spec": {
            "containers": [{"name": "worker", "image": "x", "tty": True}],
            "volumes": [{"name": "a"}],
            "tolerations": [{"key": "gpu"}],
        }
    }


def test_what_the_manager_owns_can_not_be_laid_over() -> None:
    """Each owned field is refused by name, with what decides it instead."""
    template = {
        "metadata": {"name": "x", "annotations": {"longshore.dev/item": "y"}},
        "spec": {"activeDeadlineSeconds": 1},
    }

    assert problems(template) == [
        "metadata.name can't be set here: the item decides it",
        "spec.activeDeadlineSeconds can't be set here: set retry.deadlineSeconds",
        "metadata.annotations.longshore.dev/item can't be set here: longshore.dev/ is the manager's",
    ]


def test_a_sample_item_fills_every_reference() -> None:
    """A queue's Job can be looked at, and checked by an engine, before there is an item."""
    queue = queue_with(worker={"command": ["x", "${item.meta}", "${item.meta.a.b}", "${name}", "${item.path}"]})

    bundle = bundle_for(queue, sample_item(queue.spec.worker), LAYOUT)

    assert bundle.job["spec"]["template"]["spec"]["containers"][0]["command"] == [
        "x", '{"a":{"b":"sample"}}', "sample", "sample", "sample",
    ]  # fmt: skip


STAGES = [
    {
        "name": "find",
        "image": "finder:1",
        "volumes": ["media"],
        "item": {"photo": "${MEDIA_PATH}/${item.path}", "boxes": "${work}/boxes.json", "least": "${item.size}"},
        "resources": {"requests": {"cpu": 1}},
    },
    {
        "name": "blur",
        "image": "blurrer:2",
        "command": ["blur", "${work}/boxes.json", "${THUMBS_PATH}/${item.path}"],
        "volumes": ["thumbs"],
        "env": {"RADIUS": 9},
        "existingSecret": "store",
    },
]


def test_the_job_of_a_chain_is_one_pod_of_all_stages(golden: SnapshotAssertion) -> None:
    """The adapter and all stages but the last are init containers; the last is the container; each has its own item."""
    worker = {"stages": STAGES, "podTemplate": {"spec": {"containers": [{"name": "blur", "tty": True}]}}}
    queue = queue_with(name="blur", volumes=VOLUMES, worker=worker)

    assert bundle_for(queue, item_named("a$b.jpg", {"path": "a$b.jpg", "size": 3}), LAYOUT).job == golden


def test_a_chain_on_a_machine_lies_in_the_jobs_own_folder() -> None:
    """Where everything sees one file system, each stage's item file is where the adapter writes it."""
    layout = Layout(
        item_folder="/jobs/j/files",
        result_file="/jobs/j/files/result",
        mounts=dict.fromkeys(VOLUMES, "/v"),
        working_folder="/q",
        work_folder="/jobs/j/files/work",
        stages_folder="/jobs/j/files/stages",
    )
    queue = queue_with(volumes=VOLUMES, worker={"stages": STAGES})
    pod = bundle_for(queue, item_named("a", {"path": "a", "size": 1}), layout).job["spec"]["template"]["spec"]
    files = [
        {one["name"]: one["value"] for one in container["env"]}["WORK_ITEM_FILE"]
        for container in (*pod["initContainers"], *pod["containers"])
    ]

    assert files == [
        "/jobs/j/files/item.json",
        *(f"/jobs/j/files/stages/{name}/item.json" for name in ("find", "blur")),
    ]


def test_a_stages_own_reference_to_nothing_fails_the_item_before_it_starts() -> None:
    """What the manager fills itself it knows at once; the items of stages are the adapter's."""
    stages = [STAGES[0], {"name": "blur", "image": "x", "args": ["${item.nope}"]}]
    job = bundle_for(queue_with(volumes=VOLUMES, worker={"stages": stages}), item_named("a"), LAYOUT).job

    assert job["metadata"]["annotations"]["longshore.dev/refused"] == (
        "${item.nope}: the item has no such value; its data has path"
    )


def test_a_chain_writes_the_data_of_a_secret_to_no_disk() -> None:
    """`payload: secret` is about who may read it, wherever it lies."""
    queue = queue_with(volumes=VOLUMES, worker={"stages": STAGES, "payload": "secret"})
    bundle = bundle_for(queue, item_named("a", {"path": "a", "size": 1}), LAYOUT)
    volumes = {one["name"]: one for one in bundle.job["spec"]["template"]["spec"]["volumes"]}

    assert [volumes[f"longshore-{name}"].get("emptyDir") for name in ("item-find", "item-blur", "work", "item")] == [
        {"medium": "Memory"}, {"medium": "Memory"}, {}, None,
    ]  # fmt: skip


def test_a_sample_item_fills_a_chain_too() -> None:
    """Every value that a stage, or its item, refers to."""
    queue = queue_with(volumes=VOLUMES, worker={"stages": STAGES})

    assert sample_item(queue.spec.worker).data == {"path": "sample", "size": "sample"}
