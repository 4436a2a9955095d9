"""The pipelines of the examples on a cluster, as their READMEs install them: real photos, compared pixel by pixel.

Each in a namespace that takes what is restricted alone, over claims; the images are the examples' own.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from cluster.test_how_to import run
from cluster.test_stores import asked_for, pods
from support.cluster import images
from support.cluster.cluster import Cluster
from support.cluster.node import Node
from support.cluster.release import CHART, Release, claims, release_in, restricted
from support.example_images import images_of_examples
from support.photos import CATS, DETECTORS, EXAMPLES, FACES, WITHOUT, detect, faults, fetch_photos, read_picture

pytestmark = pytest.mark.slow
NAMES: Final = {FACES: "blur-faces", CATS: "blur-cats"}
"""What the READMEs call the release, and the queue files the queue."""
POD_USER: Final = 65532

each_example = pytest.mark.parametrize("example", DETECTORS)


@pytest.fixture
def node(cluster: Cluster) -> Node:
    """A node that takes images of this machine, and can be looked into."""
    if cluster.node is None:
        pytest.skip("no image of an example can be given to this cluster: unset KUBECONFIG for a cluster of its own")
    return cluster.node


@dataclass(frozen=True)
class Pipeline:
    """An example that is installed."""

    release: Release
    example: str
    photos: Sequence[Path]

    def result_of(self, photo: Path) -> Path:
        """Where the last stage puts what became of a photo."""
        return self.release.folder / "blurred" / f"{photo.name}.png"

    def outcomes(self) -> Mapping[str, str]:
        """How each photo's Job ended."""
        return {photo.name: self.release.outcome(photo.name) for photo in self.photos}

    def pods(self) -> Sequence[dict[str, Any]]:
        """A pod for each photo, once there are as many; a minute after its end each goes."""
        self.release.until("a pod for each photo", lambda: len(pods(self.release)) == len(self.photos))
        return pods(self.release)

    def wait(self) -> None:
        """Until every photo's Job has ended well."""
        self.release.until("all ended", lambda: all(self.outcomes().values()))
        assert self.outcomes() == {photo.name: "Complete" for photo in self.photos}, self.release.state()


def block(example: str, language: str) -> str:
    """The code block of a README that is about clusters."""
    page = (EXAMPLES / example / "README.md").read_text(encoding="utf-8")
    _, _, part = page.partition("## On a cluster\n")
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", part, re.MULTILINE | re.DOTALL)
    return str(found)


@contextmanager
def installed(
    cluster: Cluster, example: str, folder: Path, pod_template: Mapping[str, Any] | None = None
) -> Iterator[Pipeline]:
    """An example whose README was followed, but for the names of images; with a podTemplate, where there is one."""
    with restricted(cluster) as namespace:
        release = release_in(cluster, namespace, folder, NAMES[example], NAMES[example])
        photos = fetch_photos(example, folder)
        (folder / "blurred").mkdir()
        os.chown(folder / "blurred", POD_USER, POD_USER)
        (folder / "blurred").chmod(0o775)
        # The README of the cats speaks of the other's file, for the volumes that it has.
        values = yaml.safe_load(block(FACES, "yaml"))
        values.pop("global")  # the images are on the node already
        known = yaml.safe_load((EXAMPLES / example / "queue.yaml").read_text(encoding="utf-8"))["volumes"]
        values["volumes"] = {name: volume for name, volume in values["volumes"].items() if name in known}
        (folder / "cluster.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
        ours = {"images": release.images, "worker": {"podTemplate": dict(pod_template or {})}}
        (folder / "ours.yaml").write_text(yaml.safe_dump(ours), encoding="utf-8")
        (folder / "charts").symlink_to(CHART.parent)
        (folder / "examples").symlink_to(EXAMPLES)
        with claims(release, {name: folder / name for name in known}):
            cluster.project_image("multi-worker")
            ended = run(release, f"{with_our_images(cluster, block(example, 'sh'))} -f ours.yaml")
            assert ended.returncode == 0, ended.stderr
            yield Pipeline(release, example, photos)


def with_our_images(cluster: Cluster, line: str) -> str:
    """A README's line, of one piece, with images that the node has in place of those of a registry."""
    line = line.replace("\\\n", " ").strip()
    for name, reference in images_of_examples().items():
        pushed = f"registry.example/team/{name.rpartition('/')[2]}"
        if pushed in line:
            cluster.use_image(reference)
            line = line.replace(pushed, reference)
    assert "registry.example" not in line
    return line


@pytest.mark.usefixtures("node")
@each_example
def test_the_readmes_lines_blur_what_is_found_and_nothing_else(example: str, cluster: Cluster, tmp_path: Path) -> None:
    """Every pixel outside of the boxes that the detector finds here is the photo's own; without any, all of them."""
    with installed(cluster, example, tmp_path) as pipeline:
        requests = [asked_for(pod) for pod in pipeline.pods()]
        pipeline.wait()
    boxes = {photo: detect(DETECTORS[example], photo, tmp_path) for photo in pipeline.photos}
    results = {photo: pipeline.result_of(photo) for photo in pipeline.photos}

    assert sorted((tmp_path / "blurred").iterdir()) == sorted(results.values())
    assert [fault for photo, found in boxes.items() for fault in faults(photo, results[photo], found)] == []
    assert {photo.name for photo, found in boxes.items() if not found} == WITHOUT[example]
    for photo in (photo for photo, found in boxes.items() if not found):
        assert (read_picture(photo) == read_picture(results[photo])).all()
    assert {result.stat().st_uid for result in results.values()} == {POD_USER}
    # Of the largest stage, not of all of them.
    assert requests == [{"cpu": 0.2, "memory": 150.0 * 1024**2}] * len(pipeline.photos)


@pytest.mark.usefixtures("node")
@each_example
def test_each_stage_may_be_a_user_of_its_own_on_a_read_only_root(
    example: str, cluster: Cluster, tmp_path: Path
) -> None:
    """The one that its image names; the next stage reads what it wrote, and the last one writes as podUser's group."""
    users = {"multi-worker": POD_USER, **users_of_images(example)}
    *before, last = [
        {"name": name, "securityContext": {"runAsUser": user, "readOnlyRootFilesystem": True}}
        for name, user in users.items()
    ]
    template = {"spec": {"initContainers": before, "containers": [last]}}
    with installed(cluster, example, tmp_path, template) as pipeline:
        seen = [who_runs(pod) for pod in pipeline.pods()]
        pipeline.wait()
    faulty = [
        fault
        for photo in pipeline.photos
        for fault in faults(photo, pipeline.result_of(photo), detect(DETECTORS[example], photo, tmp_path))
    ]

    assert len(set(users.values())) == len(users)
    assert seen == [{name: (user, True) for name, user in users.items()}] * len(pipeline.photos)
    assert faulty == []
    assert {result.stat().st_uid for result in (tmp_path / "blurred").iterdir()} == {users["blur"]}


def users_of_images(example: str) -> Mapping[str, int]:
    """Each stage's user, as its image has it."""
    document = yaml.safe_load((EXAMPLES / example / "queue.yaml").read_text(encoding="utf-8"))
    built = images_of_examples()
    return {
        stage["name"]: int(
            images.docker("inspect", "--format", "{{.Config.User}}", built[stage["image"]]).split(":")[0]
        )
        for stage in document["worker"]["stages"]
    }


def who_runs(pod: Mapping[str, Any]) -> Mapping[str, tuple[int, bool]]:
    """Each container's user, and whether its root file system is read-only."""
    context = pod["spec"]["securityContext"]
    containers = [*pod["spec"]["initContainers"], *pod["spec"]["containers"]]
    return {
        one["name"]: (
            one["securityContext"].get("runAsUser", context["runAsUser"]),
            one["securityContext"].get("readOnlyRootFilesystem", False),
        )
        for one in containers
    }


@each_example
def test_nothing_of_a_run_is_left_on_the_node(example: str, node: Node, cluster: Cluster, tmp_path: Path) -> None:
    """What stages share goes when the photo is done; containers, and all else, go with the release and its Jobs."""
    with installed(cluster, example, tmp_path) as pipeline:
        release = pipeline.release
        workers = [pod["metadata"]["uid"] for pod in pipeline.pods()]
        everybody = release.kubectl("get", "pods", "-o", "jsonpath={.items[*].metadata.uid}").split()
        (manager,) = set(everybody) - set(workers)
        pipeline.wait()
        release.until("no volume of a done photo is left", lambda: volumes_of(node, workers) == [])
        # What can be seen here, so that its absence says something.
        assert volumes_of(node, [manager]) != []
        assert node.containers_in(release.namespace) != []

        release.uninstall()
        release.kubectl("delete", "jobs", "-l", f"longshore.dev/queue={release.queue}", "--cascade=foreground")

        release.until("no container is left", lambda: node.containers_in(release.namespace) == [])
        release.until("no pod's folder is left", lambda: not any(node.pod_folder(uid).exists() for uid in everybody))
        assert release.kubectl("get", "pods,jobs,configmaps", "-o", "name").split() == ["configmap/kube-root-ca.crt"]


def volumes_of(node: Node, uids: Sequence[str]) -> list[str]:
    """Volumes that the node keeps for pods, such as `kubernetes.io~empty-dir/longshore-work`."""
    folders = [node.pod_folder(uid) / "volumes" for uid in uids]
    return [str(path.relative_to(folder)) for folder in folders for path in folder.glob("*/*")]
