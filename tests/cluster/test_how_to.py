"""The page on Kubernetes is true: every command of it, in its order, on a real cluster."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from longshore.rights import PERSONS_RIGHTS
from support.cluster import tools
from support.cluster.cluster import Cluster
from support.cluster.release import Release, claims, release_in, restricted
from support.videos import real_videos

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/how-to/kubernetes.md").read_text(encoding="utf-8")
QUEUE_FILE = ROOT / "examples/01-thumbnails/queue.yaml"


def blocks(language: str) -> list[str]:
    """The code blocks of the page."""
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture
def reader(cluster: Cluster, tmp_path: Path) -> Iterator[Release]:
    """Somebody with a namespace, two videos of which one is broken, and the files that the page speaks of."""
    with restricted(cluster) as namespace:
        release = release_in(cluster, namespace, tmp_path, "thumbs", "thumbnails")
        whole = real_videos()[0].read_bytes()
        (release.media / "birds.mp4").write_bytes(whole)
        (release.media / "broken.mp4").write_bytes(whole[: len(whole) // 2])
        (tmp_path / "charts").symlink_to(ROOT / "charts")
        shutil.copyfile(QUEUE_FILE, tmp_path / "queue.yaml")
        with claims(release, {"media": release.media, "thumbs": release.out}):
            cluster_file = yaml.safe_load(blocks("yaml")[0]) | {"images": release.images}
            cluster_file.pop("global")  # the images are on the node already
            cluster.project_image("worker-ffmpeg")
            (tmp_path / "cluster.yaml").write_text(yaml.safe_dump(cluster_file), encoding="utf-8")
            yield release


def run(release: Release, line: str) -> "subprocess.CompletedProcess[str]":
    """A line of the page, by somebody whose context is this namespace."""
    program, *words = shlex.split(line)
    kubectl = str(release.cluster.node.programs / "kubectl") if release.cluster.node else "kubectl"
    known = {"helm": str(tools.helm()), "kubectl": kubectl, "longshore": str(Path(sys.executable).parent / "longshore")}
    words = [release.namespace if word == "default" else word for word in words]
    config = yaml.safe_load(release.cluster.kubeconfig.read_text(encoding="utf-8"))
    for context in config["contexts"]:
        context["context"]["namespace"] = release.namespace
    (release.folder / "kubeconfig").write_text(yaml.safe_dump(config), encoding="utf-8")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environ = {**os.environ, "KUBECONFIG": str(release.folder / "kubeconfig"), "PATH": path}
    return subprocess.run(
        [known[program], *words], cwd=release.folder, env=environ, capture_output=True, text=True, check=False
    )


def test_the_role_of_the_page_is_what_doctor_asks_for() -> None:
    """One table, and the page shows it."""
    shown = {
        (verb, group, resource)
        for rule in yaml.safe_load(blocks("yaml")[1])["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    needed = {
        (right.verb, right.group, "/".join(filter(None, (right.resource, right.subresource))))
        for rights in PERSONS_RIGHTS.values()
        for right in rights
    }

    assert shown == needed


def test_what_the_page_says_to_type_works(reader: Release) -> None:
    """From an empty namespace to an empty namespace; each command ends well and says what the page promises."""
    install, look, upgrade, uninstall, forget = (block.splitlines() for block in blocks("sh"))
    said: dict[str, str] = {}

    def follow(lines: list[str]) -> None:
        for line in lines:
            ended = run(reader, line)
            assert ended.returncode == 0, f"{line}\n{ended.stdout}{ended.stderr}\n{reader.state()}"
            said[" ".join(shlex.split(line)[:2])] = ended.stdout

    items = ("birds.mp4", "broken.mp4")
    follow(install)
    reader.until("both to end", lambda: [reader.outcome(one) for one in items] == ["Complete", "Failed"])
    follow(look)
    reader.until("the retried one to end again", lambda: reader.outcome("broken.mp4") == "Failed")
    follow([*upgrade, *uninstall])
    reader.until("the manager to be gone", lambda: "thumbs-manager" not in reader.kubectl("get", "pods", "-o", "name"))
    kept = set(reader.jobs())
    follow(forget)
    reader.until("all to be forgotten", lambda: reader.jobs() == {})

    assert "one item went through" in said["helm test"]
    assert "wrong" not in said["longshore doctor"]
    assert "birds.mp4 is done since" in said["longshore explain"]
    assert "truncated" in said["longshore logs"]
    assert "broken.mp4" in said["longshore dead"]
    assert "broken.mp4 will be tried again" in said["longshore retry"]
    assert "birds.mp4" in said["kubectl longshore"]
    assert kept == set(items)
