"""Releases come, go and live side by side: what one leaves behind, and that it touches nothing of another's."""

import json
import shlex
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest

from support.cluster.cluster import Cluster
from support.cluster.release import Release, release_in, shell

pytestmark = pytest.mark.slow
NAMES: Final = ("a", "b", "c")
PASSING: Final = ("events", "events.events.k8s.io", "pods.metrics.k8s.io")
"""Kinds that are about what happened, and go by themselves."""
OF_NAMESPACES: Final = ("ConfigMap/kube-root-ca.crt",)
"""What every namespace is given, a moment after it was made."""


def objects(release: Release) -> dict[str, dict[str, Any]]:
    """Everything in the namespace, of every kind that can be listed, by kind and name."""
    said = release.kubectl("api-resources", "--verbs=list", "--namespaced", "-o", "name").split()
    kinds = ",".join(kind for kind in said if kind not in PASSING)
    found = json.loads(release.kubectl("get", kinds, "-o", "json"))["items"]
    named = {f"{one['kind']}/{one['metadata']['name']}": one for one in found}
    return {name: one for name, one in named.items() if name not in OF_NAMESPACES}


def owner_of(one: dict[str, Any]) -> str:
    """Whose part an object is; empty for one that stands for itself."""
    return next((f"{owner['kind']}/{owner['name']}" for owner in one["metadata"].get("ownerReferences", [])), "")


def test_uninstalling_leaves_what_the_notes_say_and_their_command_forgets_it(release: Release) -> None:
    """The Jobs stay, with what belongs to them (data, the pods of failed ones); nothing else does."""
    for name in NAMES:
        (release.media / name).write_text(name)
    worker = shell('test "$1" != b || exit 65', image=release.cluster.shell_image, payload="configMap")
    before = set(objects(release))
    release.helm("install", release.values(worker=worker))
    release.until("all ended", lambda: [release.outcome(name) for name in NAMES] == ["Complete", "Failed", "Complete"])
    installed = set(objects(release)) - before
    command = next(shlex.split(line) for line in release.notes().splitlines() if " delete jobs " in line)
    jobs = {f"Job/{job['metadata']['name']}" for job in release.jobs().values()}

    release.uninstall()
    # The manager's pod ends, and slimming a Job may have been under way: Kubernetes deletes a little later.
    release.until("the manager to be gone", lambda: "Pod" not in kinds_without_job(release, before))
    left = {name: owner_of(one) for name, one in objects(release).items() if name not in before}
    release.cluster.kubectl(*command[1:])
    release.until("all to be forgotten", lambda: set(objects(release)) == before)

    assert command[0] == "kubectl"
    assert {name.partition("/")[0] for name in installed} >= {"Deployment", "Role", "Secret", "ConfigMap", "Job"}
    assert {name for name, owner in left.items() if not owner} == jobs
    assert {owner for owner in left.values() if owner} == jobs
    assert {name.partition("/")[0] for name in left} == {"Job", "ConfigMap", "Pod"}


def kinds_without_job(release: Release, before: set[str]) -> set[str]:
    """The kinds of what is new in the namespace and belongs to no Job."""
    return {
        name.partition("/")[0]
        for name, one in objects(release).items()
        if name not in before and not owner_of(one).startswith("Job/")
    }


def test_two_releases_in_one_namespace_work_by_themselves(cluster: Cluster, namespace: str, tmp_path: Path) -> None:
    """The same items, each worked on by both queues' own workers; when one goes, the other does not notice."""
    first, second = (release_in(cluster, namespace, tmp_path / name, name) for name in ("first", "second"))
    for one in (first, second):
        for name in NAMES:
            (one.media / name).write_text(name)
        script = f'echo {one.name} >> "$OUT_PATH/$1"'
        one.helm("install", one.values(worker=shell(script, image=cluster.shell_image)))
    for one in (first, second):
        one.until("all done", partial(are_done, one))
    jobs = {one.name: one.uids() for one in (first, second)}

    first.uninstall()
    (second.media / "new").write_text("new")
    second.until("the new item", lambda: second.outcome("new") == "Complete")

    everything = json.loads(second.kubectl("get", "jobs", "-o", "json"))["items"]
    assert {one.name: results(one) for one in (first, second)} == {
        "first": dict.fromkeys(NAMES, "first\n"),
        "second": dict.fromkeys((*NAMES, "new"), "second\n"),
    }
    assert first.uids() == jobs["first"]
    assert {name: uid for name, uid in second.uids().items() if name != "new"} == jobs["second"]
    assert len(everything) == len(NAMES) * 2 + 1


def are_done(release: Release) -> bool:
    """Whether every item is."""
    return {release.outcome(name) for name in NAMES} == {"Complete"}


def results(release: Release) -> dict[str, str]:
    """What workers wrote, by item."""
    return {path.name: path.read_text() for path in release.out.iterdir()}
