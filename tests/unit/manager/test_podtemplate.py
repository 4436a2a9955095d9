"""`worker.podTemplate`: what it may say, and how it is laid over the manager's pod."""

from typing import Any

import pytest

from longshore.podtemplate import container_problems, overlay, problems


@pytest.mark.parametrize(
    ("template", "line"),
    [
        ({"metadata": "x"}, "metadata: expected an object, as in a pod"),
        ({"spec": []}, "spec: expected an object, as in a pod"),
        ({"spec": None}, "spec: expected an object, as in a pod"),
        ({"metadata": {"labels": ["x"]}}, "metadata.labels: expected an object of texts"),
        (
            {"spec": {"containers": [{"image": "evil"}]}},
            "spec.containers: expected a list of objects, each with a name (the worker's container is 'worker')",
        ),
        (
            {"spec": {"containers": None}},
            "spec.containers: expected a list of objects, each with a name (the worker's container is 'worker')",
        ),
        (
            {"spec": {"containers": [{"name": "worker"}, {"name": "worker", "image": "evil"}]}},
            "spec.containers: a name stands twice in it",
        ),
        ({"spec": {"restartPolicy": None}}, "spec.restartPolicy can't be set here: retry.attempts decides"),
        (
            {"spec": {"volumes": [{"name": "longshore-work", "emptyDir": {"medium": "Memory"}}]}},
            "spec.volumes.longshore-work can't be set here: volumes called longshore-… are the manager's",
        ),
    ],
)
def test_what_is_no_pods_or_not_the_users_is_refused_in_words(template: dict[str, Any], line: str) -> None:
    """A wrong shape is a mistake like any other, and what the manager owns counts as set when its key is there."""
    assert problems(template) == [line]


@pytest.mark.parametrize(
    ("group", "entry", "stages", "line"),
    [
        (
            "containers",
            {"name": "worker", "args": []},
            (),
            "spec.containers.worker.args can't be set here: set worker.args",
        ),
        (
            "containers",
            {"name": "worker", "volumeMounts": [{"name": "x", "mountPath": "/longshore/"}]},
            (),
            "spec.containers.worker.volumeMounts: nothing can be mounted over /longshore: the item's file lies there",
        ),
        (
            "containers",
            {"name": "worker", "volumeMounts": [{"name": "longshore-item", "mountPath": "/"}]},
            (),
            "spec.containers.worker.volumeMounts.longshore-item can't be set here: the item's file lies there",
        ),
        (
            "initContainers",
            {"name": "find", "image": "x"},
            ("find", "blur"),
            "spec.initContainers.find.image can't be set here: set worker.stages[0].image",
        ),
        (
            "containers",
            {"name": "blur", "env": []},
            ("find", "blur"),
            "spec.containers.blur.env can't be set here: set worker.stages[1].env",
        ),
        (
            "initContainers",
            {"name": "multi-worker", "image": "x"},
            ("find", "blur"),
            "spec.initContainers.multi-worker.image can't be set here: the chart decides it",
        ),
        (
            "containers",
            {"name": "find", "resources": {}},
            ("find", "blur"),
            (
                "spec.containers.find: there is no such container; there are initContainers.multi-worker, "
                "initContainers.find, containers.blur"
            ),
        ),
    ],
)
def test_what_runs_the_worker_is_set_beside_it(
    group: str, entry: dict[str, Any], stages: tuple[str, ...], line: str
) -> None:
    """What a container runs is said once, in the worker or its stage; a name that fits none would start a stranger."""
    assert list(container_problems({"spec": {group: [entry]}}, stages)) == [line]


def test_what_containers_are_given_beside_it_is_the_users_own() -> None:
    """Security, resources, a sidecar with an image of its own."""
    template = {
        "spec": {
            "initContainers": [{"name": "multi-worker", "resources": {"limits": {"memory": "32Mi"}}}],
            "containers": [{"name": "blur", "securityContext": {"runAsUser": 7}}, {"name": "side", "image": "x"}],
        }
    }

    assert list(container_problems(template, ("find", "blur"))) == []


def test_a_second_mount_of_a_volume_is_added() -> None:
    """As in Kubernetes, mounts are told apart by their paths, and ports by their numbers."""
    base = {"volumeMounts": [{"name": "media", "mountPath": "/media"}], "ports": [{"containerPort": 1}]}
    over = {"volumeMounts": [{"name": "media", "mountPath": "/again"}], "ports": [{"containerPort": 2}]}

    assert overlay(base, over) == {
        "volumeMounts": [{"name": "media", "mountPath": "/media"}, {"name": "media", "mountPath": "/again"}],
        "ports": [{"containerPort": 1}, {"containerPort": 2}],
    }
