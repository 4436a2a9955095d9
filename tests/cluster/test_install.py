"""`helm install` on a real cluster: the whole queue, from the chart to the pictures."""

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.cluster import tools
from support.cluster.cluster import Cluster
from support.videos import real_videos

pytestmark = pytest.mark.slow
CHART = Path(__file__).parents[2] / "charts" / "longshore"
WAIT_SECONDS = 180.0


@dataclass(frozen=True)
class Release:
    """One queue in a namespace, over two folders of the node."""

    cluster: Cluster
    namespace: str
    folder: Path

    @property
    def media(self) -> Path:
        """Where items are."""
        return self.folder / "media"

    @property
    def out(self) -> Path:
        """Where workers write."""
        return self.folder / "out"

    def values(self, **changes: Any) -> dict[str, Any]:
        """A queue over the two folders, with changes."""
        tag = {self.cluster.project_image(name).rpartition(":")[2] for name in ("manager", "ambassador-nfs")}.pop()
        document = {
            "volumes": {
                "media": {"hostPath": {"path": str(self.media)}, "readOnly": True},
                "out": {"hostPath": {"path": str(self.out)}},
            },
            "source": {"kind": "nfs", "volumes": ["media"], "nfs": {"pattern": "**/*", "settleSeconds": 0}},
            "worker": {"volumes": ["media", "out"], "image": self.cluster.shell_image},
            "images": {"tag": tag},
        }
        return {**document, **changes}

    def helm(self, verb: str, values: Mapping[str, Any], *, is_ready: bool = True) -> None:
        """`helm install` or `upgrade`, until the manager is ready, where it can be."""
        file = self.folder / "values.yaml"
        file.write_text(yaml.safe_dump(dict(values), allow_unicode=True), encoding="utf-8")
        command = [str(tools.helm()), verb, "q", str(CHART), "--namespace", self.namespace, "--values", str(file)]
        command += ["--wait", "--timeout", "120s"] if is_ready else []
        environ = {**os.environ, "KUBECONFIG": str(self.cluster.kubeconfig)}
        ended = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, f"{ended.stderr}\n{self.state()}"

    def jobs(self) -> dict[str, dict[str, Any]]:
        """The queue's Jobs, by their items."""
        found = json.loads(self.cluster.kubectl("-n", self.namespace, "get", "jobs", "-o", "json"))["items"]
        return {one["metadata"]["annotations"]["longshore.dev/item"]: one for one in found}

    def outcome(self, item: str) -> str:
        """`Complete`, `Failed`, `refused`, or nothing yet."""
        job = self.jobs().get(item)
        if job is None:
            return ""
        if "longshore.dev/refused" in job["metadata"]["annotations"]:
            return "refused"
        conditions = job.get("status", {}).get("conditions", [])
        return next(
            (one["type"] for one in conditions if one["status"] == "True" and one["type"] in {"Complete", "Failed"}), ""
        )

    def reason(self, item: str) -> str:
        """Why, as the Job says it."""
        annotations = self.jobs()[item]["metadata"]["annotations"]
        return str(annotations.get("longshore.dev/refused") or annotations.get("longshore.dev/reason", ""))

    def until(self, what: str, is_so: Callable[[], bool]) -> None:
        """Wait for what the cluster does by itself; asked for twice a second."""
        until = time.monotonic() + WAIT_SECONDS
        while not is_so():
            assert time.monotonic() < until, f"waited for {what}\n{self.state()}"
            time.sleep(0.5)

    def state(self) -> str:
        """What a person would look at."""
        looks = (["get", "jobs,pods", "-o", "wide"], ["logs", "deployment/q-manager", "--all-containers", "--tail=30"])
        said = []
        for look in looks:
            try:
                said.append(self.cluster.kubectl("-n", self.namespace, *look))
            except subprocess.CalledProcessError as exc:
                said.append(exc.stderr)
        return "\n".join(said)


@pytest.fixture
def release(cluster: Cluster, namespace: str, tmp_path: Path) -> Release:
    """A release to install, in a namespace of its own."""
    return release_in(cluster, namespace, tmp_path)


def release_in(cluster: Cluster, namespace: str, folder: Path) -> Release:
    """A release over two folders that a worker's user may use."""
    one = Release(cluster, namespace, folder)
    for path in (folder, one.media, one.out):
        path.mkdir(exist_ok=True)
        path.chmod(0o777)
    # pytest's own folders are for their owner only, and a pod's user is another one.
    for parent in folder.parents:
        if parent.stat().st_uid == os.geteuid() and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o011)
    return one


def shell(script: str, **more: Any) -> dict[str, Any]:
    """A worker of an image that knows nothing of Longshore: a shell script, with the item's path as `$1`."""
    return {"command": ["sh", "-c", script, "sh", "${item.path}"], "volumes": ["media", "out"], **more}


@contextmanager
def restricted(cluster: Cluster) -> Iterator[str]:
    """A namespace that takes no pod that could do harm."""
    with cluster.namespace({"pod-security.kubernetes.io/enforce": "restricted"}) as name:
        yield name


def test_thumbnails_of_real_videos_appear(release: Release) -> None:
    """Installed with the values of a queue file: every video becomes pictures, and its pod goes."""
    for video in real_videos()[:2]:
        (release.media / video.name).write_bytes(video.read_bytes())
    release.cluster.project_image("worker-ffmpeg")
    volumes = {
        "media": {"hostPath": {"path": str(release.media)}, "readOnly": True},
        "thumbs": {"hostPath": {"path": str(release.out)}},
    }
    worker = {"image": "worker-ffmpeg", "env": {"EVERY": 25}, "volumes": ["media", "thumbs"]}
    names = [video.name for video in real_videos()[:2]]

    release.helm("install", release.values(volumes=volumes, worker=worker))
    release.until("all done", lambda: all(release.outcome(name) == "Complete" for name in names))

    index = {name: json.loads((release.out / name / "index.json").read_text()) for name in names}
    assert {name: one["mode"] for name, one in index.items()} == dict.fromkeys(names, "exact")
    assert all((release.out / name / picture["file"]).exists() for name in names for picture in index[name]["images"])
    pods = "jsonpath={.items[*].metadata.name}"
    selector = "longshore.dev/queue=q"
    release.until(
        "no pod",
        lambda: not release.cluster.kubectl("-n", release.namespace, "get", "pods", "-l", selector, "-o", pods),
    )


def test_an_upgrade_leaves_what_runs_alone(release: Release) -> None:
    """Invariant 6: new items get the new definition, a running worker is never touched."""
    (release.media / "first").write_text("1")
    script = 'echo "$SETTING" > "$OUT_PATH/$1.begun"; until test -e "$OUT_PATH/go"; do sleep 0.2; done'
    release.helm(
        "install",
        release.values(
            worker=shell(
                f"{script}; touch $OUT_PATH/$1.ended", image=release.cluster.shell_image, env={"SETTING": "old"}
            )
        ),
    )
    release.until("the first worker", (release.out / "first.begun").exists)
    before = release.jobs()["first"]["metadata"]["uid"]

    release.helm(
        "upgrade",
        release.values(
            worker=shell(
                f"{script}; touch $OUT_PATH/$1.ended", image=release.cluster.shell_image, env={"SETTING": "new"}
            )
        ),
    )
    (release.media / "second").write_text("2")
    release.until("the second worker", (release.out / "second.begun").exists)
    (release.out / "go").touch()
    release.until("both done", lambda: {release.outcome(one) for one in ("first", "second")} == {"Complete"})

    settings = {name: (release.out / f"{name}.begun").read_text().strip() for name in ("first", "second")}
    assert (settings, release.jobs()["first"]["metadata"]["uid"]) == ({"first": "old", "second": "new"}, before)


def test_a_restricted_namespace_runs_the_queue_and_item_values_arrive_as_they_are(
    cluster: Cluster, tmp_path: Path
) -> None:
    """Pod Security `restricted`, and an image with nothing of ours: names with `$(HOME)`, quotes and a leading dash."""
    names = ["$(HOME)", 'it\'s "quoted"', "-rf", "a b/\u52d5\u753b.txt"]
    with restricted(cluster) as namespace:
        release = release_in(cluster, namespace, tmp_path)
        for name in names:
            (release.media / name).parent.mkdir(exist_ok=True)
            (release.media / name).write_text(name)
        # hostPath is beyond `restricted`: a claim stands for the folder there, so only the source sees it here.
        script = 'printf %s "$1" > "$LONGSHORE_RESULT_FILE"'
        worker = {**shell(script, image=cluster.shell_image), "volumes": []}
        with claims(release) as volumes:
            release.helm("install", release.values(volumes=volumes, worker=worker))
            release.until("all done", lambda: all(release.outcome(name) == "Complete" for name in names))
            release.until("results", lambda: all(release.reason(name) for name in names))
            results = {name: release.reason(name) for name in names}

    assert results == {name: name for name in names}


@contextmanager
def claims(release: Release) -> Iterator[dict[str, Any]]:
    """The folder with the items as a PersistentVolumeClaim, as an administrator would offer it."""
    name = f"media-{release.namespace}"
    capacity = {"storage": "1Gi"}
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "capacity": capacity,
            "accessModes": ["ReadWriteMany"],
            "hostPath": {"path": str(release.media)},
            "storageClassName": "",
            "claimRef": {"namespace": release.namespace, "name": "media"},
        },
    }
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "media", "namespace": release.namespace},
        "spec": {
            "accessModes": ["ReadWriteMany"],
            "resources": {"requests": capacity},
            "storageClassName": "",
            "volumeName": name,
        },
    }
    file = release.folder / "claims.yaml"
    file.write_text(yaml.safe_dump_all([volume, claim]), encoding="utf-8")
    release.cluster.kubectl("apply", "-f", str(file))
    try:
        yield {"media": {"persistentVolumeClaim": {"claimName": "media"}, "readOnly": True}}
    finally:
        release.cluster.kubectl("delete", "pv", name, "--wait=false")


@pytest.mark.parametrize(
    ("worker", "words"),
    [
        ({"image": "longshore.test/no-such-image:1"}, "ErrImagePull|ImagePullBackOff"),
        ({"podTemplate": {"spec": {"nodeSelector": {"no": "such-node"}}}}, "Unschedulable"),
        (
            {
                "podTemplate": {
                    "spec": {"containers": [{"name": "worker", "envFrom": [{"secretRef": {"name": "no-such-secret"}}]}]}
                }
            },
            "no-such-secret",
        ),
        ({"podTemplate": {"spec": {"priorityClassName": "no-such-class"}}}, "no-such-class"),
    ],
    ids=["image", "node", "secret", "admission"],
)
def test_a_worker_that_can_not_start_fails_with_the_reason_and_holds_up_nothing(
    release: Release, worker: dict[str, Any], words: str
) -> None:
    """After `retry.pendingSeconds` the item is a dead letter that says why; never "active: 1" for ever."""
    (release.media / "a").write_text("a")
    document = release.values(worker={**shell("true", image=release.cluster.shell_image), **worker})

    release.helm("install", {**document, "retry": {"pendingSeconds": 8}})
    release.until("it has failed", lambda: release.outcome("a") == "refused")

    reason = release.reason("a")
    assert ("did not start within 8 s" in reason, any(word in reason for word in words.split("|"))) == (True, True), (
        reason
    )
