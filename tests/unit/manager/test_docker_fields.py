"""What Docker can honour of a Job's manifest, and what a container is made with."""

from pathlib import Path
from typing import Any

import pytest

from longshore.engines.docker.fields import (
    Surroundings,
    host_folders,
    image_of,
    mounts_of,
    options_of,
    own_volumes,
    problems,
    user_problem,
)
from longshore.engines.docker.objects import containers_of
from longshore.manifests import Layout, Manifest, bundle_for, mounts_at_root, refused_bundle
from support.queues import item_named, queue_with, shell_stage

LAYOUT = Layout(result_file="/longshore-result/message", mounts=mounts_at_root(["media", "claim"]))


def job_with(worker: dict[str, Any] | None = None, pod: dict[str, Any] | None = None, **parts: Any) -> Manifest:
    """The Job of an item."""
    template = {"podTemplate": {"spec": pod}} if pod else {}
    queue = queue_with(worker={"image": "i", **template, **(worker or {})}, **parts)
    return bundle_for(queue, item_named("a b"), LAYOUT).job


def of_worker(**container: Any) -> dict[str, Any]:
    """A podTemplate's spec, with something of the worker's container."""
    return {"containers": [{"name": "worker", **container}]}


@pytest.mark.parametrize(
    ("pod", "words"),
    [
        ({"tolerations": []}, ["can't honour podTemplate.spec.tolerations: leave it out here"]),
        (
            {"nodeSelector": {"disk": "ssd"}, "priorityClassName": "high"},
            [
                "can't honour podTemplate.spec.nodeSelector: leave it out here",
                "can't honour podTemplate.spec.priorityClassName: leave it out here",
            ],
        ),
        (
            {"containers": [{"name": "worker"}, {"name": "side", "image": "s"}]},
            ["runs containers one after the other: leave those beside the worker's in podTemplate.spec out here"],
        ),
        (
            {"initContainers": [{"name": "side", "image": "s", "restartPolicy": "Always"}]},
            ["can't honour restartPolicy of container side: leave it out here"],
        ),
        (
            {"securityContext": {"fsGroup": 1}},
            ["can't honour securityContext.fsGroup of podTemplate.spec: leave it out here"],
        ),
        (
            {"securityContext": {"runAsGroup": 1}},
            ["can't honour securityContext.runAsGroup of podTemplate.spec without runAsUser: set both"],
        ),
        (
            of_worker(securityContext={"seccompProfile": {"type": "Localhost"}}),
            ["can't honour securityContext.seccompProfile Localhost of container worker: leave it out here"],
        ),
        (
            {"volumes": [{"name": "x", "configMap": {"name": "c"}}]},
            ["can't mount the configMap of volume 'x': give --volume x=FOLDER, or make it a hostPath"],
        ),
        (
            {"volumes": [{"name": "x", "emptyDir": {"medium": "Memory"}}]},
            ["can't honour emptyDir.medium of volume 'x': leave it out here"],
        ),
        (of_worker(livenessProbe={}), ["can't honour livenessProbe of container worker: leave it out here"]),
        (
            of_worker(imagePullPolicy="Always"),
            ["can't honour imagePullPolicy Always of container worker: pull it yourself, and leave this out"],
        ),
        (
            of_worker(envFrom=[{"configMapRef": {"name": "c"}}]),
            ["can't honour envFrom of container worker, other than a secretRef: set env"],
        ),
        (
            of_worker(resources={"limits": {"nvidia.com/gpu": 1}}),
            [
                "can't honour resources.limits.nvidia.com/gpu of container worker: leave it out here",
            ],
        ),
        (
            of_worker(resources={"claims": [], "limits": None}, securityContext={"seccompProfile": None}),
            ["can't honour resources.claims of container worker: leave it out here"],
        ),
        (
            of_worker(volumeMounts=[{"name": "nope", "mountPath": "/x"}]),
            ["finds no volume 'nope' to mount of container worker: add it to podTemplate.spec.volumes"],
        ),
        (
            {"terminationGracePeriodSeconds": "5", "securityContext": {"runAsUser": "root"}},
            [
                "can't read podTemplate.spec.terminationGracePeriodSeconds: '5' is no number of seconds",
                "can't read securityContext.runAsUser of podTemplate.spec: 'root' is no number",
            ],
        ),
        (
            of_worker(resources={"limits": {"memory": "1Mi"}, "requests": {"memory": "2Mi"}}),
            [
                "can't honour resources.limits.memory of container worker: Docker gives 6Mi at least",
                "can't honour resources.requests.memory of container worker: it is more than the limit",
            ],
        ),
        (
            {"volumes": [{"name": "x", "hostPath": {}}]},
            ["finds no path in the hostPath of volume 'x': set it"],
        ),
        (
            {
                "volumes": [{"name": "x", "emptyDir": {}}],
                **of_worker(volumeMounts=[{"name": "x", "mountPath": "/x", "subPath": "y"}]),
            },
            ["can't honour subPath of the mount of 'x': leave it out here"],
        ),
    ],
)
def test_what_can_not_be_honoured_is_refused_by_name(pod: dict[str, Any], words: list[str]) -> None:
    """With what to write instead; never silently left out."""
    assert sorted(problems(job_with(pod=pod))) == sorted(words)


def test_a_worker_needs_an_image() -> None:
    """A command of this machine is none of a container's."""
    assert list(problems(job_with({"image": "", "command": ["true"]}))) == [
        "has no image to run worker in: set image beside its command"
    ]


def test_what_runs_in_a_cluster_runs_here() -> None:
    """Chains, secrets, resources, volumes, and what `restricted` asks for."""
    security = {
        "runAsNonRoot": True,
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    pod = {
        "securityContext": {"runAsUser": 65532, "supplementalGroups": [7]},
        "hostNetwork": True,
        "volumes": [{"name": "scratch", "emptyDir": {}}],
        "containers": [{"name": "last", "securityContext": security}],
    }
    stages = [
        {**shell_stage(name, "true"), "image": "i", "existingSecret": "keys", "volumes": ["media"]}
        for name in ("first", "last")
    ]
    volumes = {"media": {"hostPath": {"path": "./videos"}}}
    job = job_with({"image": "", "stages": stages}, pod, volumes=volumes)

    assert list(problems(job)) == []
    assert own_volumes(job) == [
        "longshore-item", "longshore-work", "longshore-item-first", "longshore-item-last", "scratch",
        "longshore-result-0", "longshore-result-1", "longshore-result-2",
    ]  # fmt: skip
    assert host_folders(job, "/queue") == {"media": {"path": "/queue/videos", "type": "Directory"}}


def test_a_job_that_never_runs_is_refused_nothing() -> None:
    """It only says why its item failed."""
    assert list(problems(refused_bundle(queue_with(), "a", "no path").job)) == []


def test_a_container_is_made_with_what_its_manifest_says() -> None:
    """Variables expanded, shares as numbers, no more than the machine has, the user and what it may not."""
    worker = {
        "command": ["sh", "-c", "echo $(LONGSHORE_ITEM)"],
        "args": ["${name}"],
        "env": {"RATE": "$$1 ${name}"},
        "resources": {"limits": {"cpu": "500m", "memory": "1Gi"}, "requests": {"cpu": 2, "memory": "512Mi"}},
    }
    security = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    pod = {"securityContext": {"runAsUser": 7, "runAsGroup": 8}, **of_worker(securityContext=security)}
    options = options_of(
        job_with(worker, pod), 0, Surroundings({}, {}, {"KEY": "s3cr3t $(X)", "RATE": "no"}, cpus=0.25)
    )

    assert options == {
        "entrypoint": ["sh", "-c", "echo a b"],
        "command": ["a b"],
        "environment": {
            "KEY": "s3cr3t $(X)",
            "RATE": "$1 a b",
            "WORK_ITEM_FILE": "/longshore/item.json",
            "LONGSHORE_ITEM": "a b",
            "LONGSHORE_QUEUE": "q",
            "LONGSHORE_RESULT_FILE": "/longshore-result/message",
        },
        "user": "7:8",
        "read_only": True,
        "security_opt": ["no-new-privileges"],
        "cap_drop": ["ALL"],
        "nano_cpus": 250_000_000,
        "mem_limit": 2**30,
        "memswap_limit": 2**30,
        "cpu_shares": 2048,
        "mem_reservation": 2**29,
    }


def test_a_container_mounts_folders_of_the_machine_and_volumes_of_its_run() -> None:
    """At the places that the worker contract names."""
    job = job_with({"volumes": ["media"]}, volumes={"media": {"hostPath": {"path": "/srv"}, "readOnly": True}})
    volumes = {name: f"q.1.{name}" for name in own_volumes(job)}
    around = Surroundings(volumes, host_folders(job, "/queue"), {})

    assert mounts_of(job, 0, around) == [
        {"type": "volume", "source": "q.1.longshore-item", "target": "/longshore", "read_only": True},
        {"type": "bind", "source": "/srv", "target": "/media", "read_only": True},
        {"type": "volume", "source": "q.1.longshore-result-0", "target": "/longshore-result"},
    ]


@pytest.mark.parametrize(
    ("security", "image_user", "words"),
    [
        ({}, "", ""),
        ({"runAsNonRoot": True, "runAsUser": 7}, "", ""),
        ({"runAsNonRoot": True}, "10001:10001", ""),
        ({"runAsNonRoot": True}, "", "it would run as root"),
        ({"runAsNonRoot": True, "runAsUser": 0}, "7", "it would run as root"),
        ({"runAsNonRoot": True}, "app", "its image's user is 'app', and not a number"),
    ],
)
def test_who_must_not_be_root_is_not(security: dict[str, Any], image_user: str, words: str) -> None:
    """As the kubelet checks it."""
    job = job_with(pod=of_worker(securityContext=security))
    told = f"container worker has runAsNonRoot, and {words}: set securityContext.runAsUser" if words else ""

    assert user_problem(job, containers_of(job)[0], image_user) == told


@pytest.mark.parametrize(
    ("image", "expected"),
    [("worker-ffmpeg", "longshore/worker-ffmpeg:0.1.0"), ("longshore/x:2", "longshore/x:2"), ("debian", "debian")],
)
def test_a_shipped_image_is_of_the_managers_version(image: str, expected: str) -> None:
    """As the chart has it."""
    (container,) = containers_of(job_with({"image": image}))

    assert image_of(container, "0.1.0") == expected


def test_relative_folders_count_from_the_queue_file() -> None:
    """Wherever the command was started."""
    job = job_with({"volumes": ["media"]}, volumes={"media": {"hostPath": {"path": "../videos"}}})

    assert Path(host_folders(job, "/srv/queue")["media"]["path"]).resolve() == Path("/srv/videos")
