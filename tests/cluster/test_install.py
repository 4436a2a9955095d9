"""`helm install` on a real cluster: the whole queue, from the chart to the pictures."""

import json
from pathlib import Path
from typing import Any

import pytest

from support.cluster.cluster import Cluster
from support.cluster.release import Release, claims, release_in, restricted, shell
from support.videos import real_videos

pytestmark = pytest.mark.slow


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
    selector = "longshore.dev/queue=q"
    release.until("no pod", lambda: not release.kubectl("get", "pods", "-l", selector, "-o", "name"))


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
        with claims(release, {"media": release.media}) as volumes:
            release.helm("install", release.values(volumes=volumes, worker=worker))
            release.until("all done", lambda: all(release.outcome(name) == "Complete" for name in names))
            release.until("results", lambda: all(release.reason(name) for name in names))
            results = {name: release.reason(name) for name in names}

    assert results == {name: name for name in names}


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
