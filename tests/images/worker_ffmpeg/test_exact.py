"""Exact mode against a full decode by the same ffmpeg, picture by picture."""

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from images.worker_ffmpeg.command import Place, Thumbnails
from longshore_worker_ffmpeg.ffmpeg import find_ffmpeg
from support.videos import Videos, real_videos

Pixels = NDArray[np.uint8]


def pixels(path: Path) -> Pixels:
    """A picture as rows of red, green and blue."""
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def full_decode(video: Path, width: int, height: int) -> tuple[list[Pixels], list[float]]:
    """Every frame, and every frame's time, by another way than the worker's."""
    command = [find_ffmpeg(), "-nostdin", "-v", "error", "-i", str(video), "-map", "0:V:0"]
    output = ["-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    raw = subprocess.run([*command, *output], check=True, capture_output=True).stdout
    frames = np.frombuffer(raw, dtype=np.uint8).reshape(-1, height, width, 3)
    output = ["-fps_mode", "passthrough", "-enc_time_base", "1/1000000", "-f", "framecrc", "-"]
    lines = subprocess.run([*command, *output], check=True, capture_output=True, text=True).stdout
    times = [int(match[1]) / 1e6 for match in re.finditer(r"^0,[^,]*, *(-?\d+),", lines, re.MULTILINE)]
    return list(frames), times


def assert_exact(made: Thumbnails, video: Path, every: int) -> None:
    """Each picture and each time is that of its frame."""
    source = made.index["source"]
    frames, times = full_decode(video, source["width"], source["height"])
    wanted = range(0, len(frames), every)

    assert [image["frame"] for image in made.index["images"]] == list(wanted)
    assert made.times == pytest.approx([times[number] for number in wanted], abs=2e-6)
    assert [path.name for path in made.images] == [f"thumb{place:04}.png" for place in range(1, len(wanted) + 1)]
    for path, number in zip(made.images, wanted, strict=True):
        np.testing.assert_array_equal(pixels(path), frames[number], err_msg=f"frame {number}")


@pytest.mark.parametrize(
    "name",
    [
        "h264",
        "hevc",
        "vp9",
        "av1",
        "mkv",
        "mpegts",
        "fragmented",
        "variable rate",
        "odd size",
        "anamorphic",
        "broken frame rate",
        "no keyframe for minutes",
        "one frame",
    ],
)
def test_pictures_are_frames_0_100_200(place: Place, videos: Videos, name: str) -> None:
    """Every hundredth frame, whatever the codec, container, frame rate or size: bit for bit, with its time."""
    video = videos.get(name)

    assert_exact(place.make(video), video, 100)


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_rotation_is_honoured(place: Place, videos: Videos, degrees: int) -> None:
    """A telephone's video is upright, and index.json has the size and rotation that a player shows."""
    video = videos.rotated(degrees)
    made = place.make(video)

    assert_exact(made, video, 100)
    source = made.index["source"]
    assert (source["width"], source["height"], source["rotation"]) == {
        90: (120, 160, 90),
        180: (160, 120, 180),
        270: (120, 160, 270),
    }[degrees]


@pytest.mark.parametrize("video", real_videos(), ids=lambda path: path.stem)
def test_real_videos_are_exact_too(place: Place, video: Path) -> None:
    """Videos that no test made: H.264 with B-frames, 5.1 sound, pixels that are not square."""
    assert_exact(place.make(video), video, 100)


@pytest.mark.parametrize("every", [1, 7, 250, 1000])
def test_every_says_which(place: Place, videos: Videos, every: int) -> None:
    """EVERY=1 is all frames; more than there are is the first alone."""
    video = videos.get("h264")

    assert_exact(place.make(video, EVERY=str(every)), video, every)


def test_a_change_of_size_does_not_start_the_count_anew(place: Place, videos: Videos) -> None:
    """Frames are counted through the whole video; its pictures keep the size of the first."""
    made = place.make(videos.changing_size(), EVERY="50")

    assert [image["frame"] for image in made.index["images"]] == [0, 50, 100, 150, 200, 250]
    assert made.times == [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]
    assert [pixels(path).shape for path in made.images] == [(120, 160, 3)] * 6


def test_a_cover_is_no_video_stream(place: Place, videos: Videos) -> None:
    """A cover picture that comes first is not taken for the video."""
    made = place.make(videos.with_cover())

    assert (made.index["source"]["width"], len(made.images)) == (160, 3)
    np.testing.assert_array_equal(pixels(made.images[0]), pixels(place.make(videos.get("h264"), "other.mp4").images[0]))
