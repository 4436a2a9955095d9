"""The pipelines of the examples on Docker, as their READMEs run them, on real photos and videos."""

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from support.cluster import images
from support.daemon import containers, remove_all, volumes
from support.example_images import images_of_examples
from support.photos import CATS, FACES, detect, faults
from support.runs import EXAMPLES, example
from support.servers.s3 import ADMIN, S3Server
from support.videos import real_videos

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def stage_images(docker: None) -> Mapping[str, str]:  # noqa: ARG001 - builds and runs them
    """The images of the examples' stages, by what queue files call them, and the adapter's."""
    return {**images_of_examples(), "adapter": images.project_image("multi-worker")}


def with_adapter(stage_images: Mapping[str, str], more: str = "") -> dict[str, str]:
    """What stands in a queue file instead of a chain's head: this clone's adapter has no version of a release."""
    return {"worker:\n": f"worker:\n  adapterImage: {stage_images['adapter']}\n{more}"}


@pytest.mark.parametrize(("name", "detector"), [(FACES, "detect-faces"), (CATS, "detect-cats")])
def test_what_was_found_is_blurred_and_nothing_else(
    tmp_path: Path, stage_images: Mapping[str, str], name: str, detector: str
) -> None:
    """Pixel by pixel; stages are other users, on a root file system that they can't write to."""
    page = (EXAMPLES / name / "README.md").read_text(encoding="utf-8")
    _, script = re.findall(r"^```sh\n(.*?)^```", page[page.index("## On Docker") :], re.MULTILINE | re.DOTALL)[:2]
    queue = (EXAMPLES / name / "queue.yaml").read_text(encoding="utf-8")
    used = {image: real for image, real in stage_images.items() if image in queue}
    pod = "  podTemplate: {spec: {securityContext: {runAsNonRoot: true}}}\n"
    run = example(tmp_path / "examples", name, **used, **with_adapter(stage_images, pod))
    (tmp_path / ".venv").symlink_to(sys.prefix, target_is_directory=True)
    ended = subprocess.run(["bash", "-ec", script], cwd=tmp_path, capture_output=True, text=True, check=False)  # noqa: S607 - the reader's shell
    photos = sorted((run.folder / "photos").iterdir())
    found = [
        fault
        for photo in photos
        for fault in faults(photo, run.folder / f"blurred/{photo.name}.png", detect(detector, photo, tmp_path))
    ]
    owners = {path.stat().st_uid for path in (run.folder / "blurred").iterdir()}

    assert (ended.returncode, ended.stderr) == (0, "")
    state = run.folder / ".longshore/docker"
    left = [*containers(state), *volumes(state)]
    remove_all(state)
    assert ended.stdout.endswith(f"{len(photos)} done\n")
    assert (found, owners, left) == ([], {10003}, [])


def test_thumbnails_from_bucket_to_bucket(
    tmp_path: Path, stage_images: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fetch, thumbnails, store: three images unchanged, and the keys are in no Job, log or answer."""
    real = {name: images.project_image(name) for name in ("worker-script", "worker-ffmpeg")}
    with S3Server() as store:
        client: Any = store.client()
        client.create_bucket(Bucket="videos")
        video = real_videos()[0]
        client.upload_file(str(video), "videos", f"incoming/a b/{video.name}")
        client.put_object(Bucket="videos", Key="incoming/no video.mp4", Body=b"no video at all")
        keys = store.environ_of(ADMIN)
        for name, value in keys.items():
            monkeypatch.setenv(name, value)
        network = "  podTemplate: {spec: {hostNetwork: true}}\n"
        run = example(
            tmp_path,
            "08-s3-thumbnails",
            **{"http://127.0.0.1:8333": store.url},
            **{f"image: {name}": f"image: {image}" for name, image in real.items()},
            **with_adapter(stage_images, network),
        )
        lines = [f"{name}={value}" for name, value in keys.items()]
        (run.folder / "bucket-keys.env").write_text("\n".join(lines), encoding="utf-8")
        ended, rows = run.run("--engine", "docker"), {row["item"]: row for row in run.rows()}
        state = run.folder / ".longshore/s3-thumbnails"
        records = containers(state, "--all")
        base = f"thumbs/a b/{video.name}/"
        marker = json.loads(client.get_object(Bucket="videos", Key=f"{base}_SUCCESS")["Body"].read())
        picture = client.get_object(Bucket="videos", Key=f"{base}thumb0001.jpg")["Body"].read()

    (tmp_path / "thumb.jpg").write_bytes(picture)
    with Image.open(tmp_path / "thumb.jpg") as image:
        assert image.size[0] == 320
    failed = rows.pop("incoming/no video.mp4")
    assert (failed["state"], failed["stage"], failed["exit_code"]) == ("failed", "thumbs", 65)
    assert {(row["state"], row["stage"]) for row in rows.values()} == {("done", "store")}
    assert len(marker["files"]) > 1
    told = ended.stdout + ended.stderr + json.dumps(rows) + images.docker("inspect", *records)
    assert ADMIN.secret not in told
    assert [*containers(state), *volumes(state)] == []
    remove_all(state)
