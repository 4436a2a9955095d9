"""`worker.podTemplate`: what it may say, and how it is laid over the manager's pod."""

from typing import Any

import pytest

from longshore.podtemplate import overlay, problems


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
        (
            {"spec": {"containers": [{"name": "worker", "volumeMounts": [{"name": "x", "mountPath": "/longshore/"}]}]}},
            "spec.containers.worker.volumeMounts: nothing can be mounted over /longshore: the item's file lies there",
        ),
        ({"spec": {"restartPolicy": None}}, "spec.restartPolicy can't be set here: retry.attempts decides"),
        (
            {
                "spec": {
                    "containers": [{"name": "worker", "volumeMounts": [{"name": "longshore-item", "mountPath": "/"}]}]
                }
            },
            "spec.containers.worker.volumeMounts.longshore-item can't be set here: the item's file lies there",
        ),
    ],
)
def test_what_is_no_pods_or_not_the_users_is_refused_in_words(template: dict[str, Any], line: str) -> None:
    """A wrong shape is a mistake like any other, and what the manager owns counts as set when its key is there."""
    assert problems(template) == [line]


def test_a_second_mount_of_a_volume_is_added() -> None:
    """As in Kubernetes, mounts are told apart by their paths, and ports by their numbers."""
    base = {"volumeMounts": [{"name": "media", "mountPath": "/media"}], "ports": [{"containerPort": 1}]}
    over = {"volumeMounts": [{"name": "media", "mountPath": "/again"}], "ports": [{"containerPort": 2}]}

    assert overlay(base, over) == {
        "volumeMounts": [{"name": "media", "mountPath": "/media"}, {"name": "media", "mountPath": "/again"}],
        "ports": [{"containerPort": 1}, {"containerPort": 2}],
    }
