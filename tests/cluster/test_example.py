"""The example's own queue file on a cluster, and a worker whose image knows nothing of Longshore; on real videos."""

import json
import subprocess
from pathlib import Path
from typing import Final

import pytest
import yaml
from PIL import Image, ImageChops, ImageStat

from longshore_worker_ffmpeg.ffmpeg import find_ffmpeg
from support.cluster import images
from support.cluster.cluster import Cluster
from support.cluster.release import Release, claims, release_in, restricted
from support.videos import real_videos

pytestmark = pytest.mark.slow
QUEUE_FILE: Final = Path(__file__).parents[2] / "examples" / "01-thumbnails" / "queue.yaml"
DEBIAN_WITH_FFMPEG: Final = """\
ARG BASE_IMAGE
FROM ${BASE_IMAGE}
RUN apt-get update --quiet=2 \\
    && apt-get install --yes --quiet=2 --no-install-recommends ffmpeg \\
    && rm -rf /var/lib/apt/lists/*
ENTRYPOINT ["ffmpeg"]
"""
MOST_DIFFERENCE: Final = 4.0
"""Of 255, on average: 1.8 were measured between two builds of ffmpeg and two sizes, 8 between frames a second apart."""


def test_a_restricted_namespace_runs_the_whole_example(cluster: Cluster, tmp_path: Path) -> None:
    """`helm install -f queue.yaml`, the very file of the laptop; only its two folders are claims, in a second file."""
    queue = yaml.safe_load(QUEUE_FILE.read_text(encoding="utf-8"))
    videos = {video.name: video for video in real_videos()}
    cluster.project_image("worker-ffmpeg")
    with restricted(cluster) as namespace:
        release = release_in(cluster, namespace, tmp_path, "thumbs", queue["queue"]["name"])
        for name, video in videos.items():
            (release.media / name).write_bytes(video.read_bytes())
        with claims(release, {"media": release.media, "thumbs": release.out}) as volumes:
            # Helm merges the files: what a folder was on the laptop has to be taken away by name.
            ours = {name: {"hostPath": None, **volume} for name, volume in volumes.items()}
            release.helm("install", {"volumes": ours, "images": release.images}, over=QUEUE_FILE)
            release.until("all done", lambda: {release.outcome(name) for name in videos} == {"Complete"})

    every, width = (queue["worker"]["env"][name] for name in ("EVERY", "WIDTH"))
    for name, video in videos.items():
        folder = release.out / name
        index = json.loads((folder / "index.json").read_text())
        files, frames = zip(*((one["file"], one["frame"]) for one in index["images"]), strict=True)
        sizes = {picture_size(folder / file) for file in files}
        assert (index["source"]["path"], index["mode"], len(sizes)) == (name, "exact", 1)
        assert frames == tuple(range(0, len(frames) * every, every))
        assert {path.name for path in folder.glob("*.png")} == set(files)
        assert max(sizes)[0] <= width
        assert looks_like(folder / files[0], first_frame(video, tmp_path))


def picture_size(path: Path) -> tuple[int, int]:
    """Of a picture that is read to its end."""
    with Image.open(path) as picture:
        picture.load()
        return picture.size


def first_frame(video: Path, folder: Path) -> Path:
    """A video's first picture, by the ffmpeg of this machine."""
    picture = folder / f"{video.name}.png"
    command = [find_ffmpeg(), "-nostdin", "-v", "error", "-y", "-i", str(video), "-frames:v", "1", str(picture)]
    subprocess.run(command, check=True, capture_output=True)
    return picture


def looks_like(path: Path, expected: Path) -> bool:
    """Whether it is the same picture, at whatever size."""
    with Image.open(path) as one, Image.open(expected) as other:
        difference = ImageChops.difference(one.convert("RGB"), other.convert("RGB").resize(one.size))
    return max(ImageStat.Stat(difference).mean) < MOST_DIFFERENCE


def test_an_image_that_knows_nothing_of_longshore_is_a_worker_through_its_arguments(release: Release) -> None:
    """A bare Debian with ffmpeg: no wrapper, no shell; each argument stays one, whatever the item is called."""
    if release.cluster.node is None:
        pytest.skip("no image of a test's own can be given to this cluster: unset KUBECONFIG for a cluster of its own")
    image = images.image_of("debian-ffmpeg", DEBIAN_WITH_FFMPEG)
    release.cluster.use_image(image)
    bikes = next(video for video in real_videos() if video.name == "bikes.mp4")
    names = ["bikes.mp4", '-y it\'s "$(HOME)" $$.mp4']
    for name in names:
        (release.media / name).write_bytes(bikes.read_bytes())
    arguments = ["-nostdin", "-i", "${MEDIA_PATH}/${item.path}", "-frames:v", "1", "${OUT_PATH}/${item.path}.png"]

    release.helm("install", release.values(worker={"image": image, "args": arguments, "volumes": ["media", "out"]}))
    release.until("all ended", lambda: all(release.outcome(name) for name in names))

    assert {name: release.outcome(name) for name in names} == dict.fromkeys(names, "Complete"), release.state()
    assert sorted(path.name for path in release.out.iterdir()) == sorted(f"{name}.png" for name in names)
    expected = first_frame(bikes, release.folder)
    assert [picture_size(release.out / f"{name}.png") for name in names] == [picture_size(expected)] * len(names)
    assert all(looks_like(release.out / f"{name}.png", expected) for name in names)
