"""What is made besides exact frames: index.json, formats, widths, fast mode, sheets."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from images.worker_ffmpeg.command import Place
from support.videos import Videos


def size_of(path: Path) -> tuple[int, int]:
    """A picture's width and height."""
    with Image.open(path) as picture:
        return picture.size


def difference(one: Image.Image, other: Image.Image) -> float:
    """The mean difference of two pictures of one size, of 255."""
    first, second = (np.asarray(picture.convert("RGB"), dtype=np.float64) for picture in (one, other))
    return float(np.abs(first - second).mean())


def test_index_json_says_what_the_pictures_are(place: Place, videos: Videos) -> None:
    """The whole of index.json, and the result that the queue keeps."""
    made = place.make(videos.get("h264"), "a/b.mp4")

    assert made.index == {
        "version": 1,
        "mode": "exact",
        "every": 100,
        "times": "exact",
        "source": {
            "path": "a/b.mp4",
            "width": 160,
            "height": 120,
            "pixel_aspect": 1.0,
            "rotation": 0,
            "duration_seconds": 10.0,
        },
        "images": [
            {"file": "thumb0001.png", "frame": 0, "time_seconds": 0.0},
            {"file": "thumb0002.png", "frame": 100, "time_seconds": 4.0},
            {"file": "thumb0003.png", "frame": 200, "time_seconds": 8.0},
        ],
    }
    assert made.ended.result == '{"images":3,"mode":"exact","folder":"a/b.mp4"}'
    assert sorted(made.contents()) == ["index.json", "thumb0001.png", "thumb0002.png", "thumb0003.png"]


def test_fast_mode_says_so_and_takes_one_keyframe_in_a_stretch(place: Place, videos: Videos) -> None:
    """Keyframes lie a second apart, four seconds are asked for: the first of each stretch, and no frame numbers."""
    made = place.make(videos.get("h264"), MODE="fast")

    assert (made.index["mode"], made.index["times"]) == ("fast", "approximate")
    assert [image["frame"] for image in made.index["images"]] == [None, None, None]
    assert made.times == pytest.approx([0.0, 4.0, 8.0], abs=0.12)
    assert made.ended.result == '{"images":3,"mode":"fast","folder":"video.mp4"}'


def test_fast_mode_makes_no_pictures_up(place: Place, videos: Videos) -> None:
    """Fewer keyframes than wanted images: the keyframes, and that is all."""
    made = place.make(videos.get("no keyframe for minutes"), MODE="fast")

    assert made.times == [0.0]


def test_fast_pictures_are_those_of_the_same_frames(place: Place, videos: Videos) -> None:
    """A keyframe alone decodes to what it is among the others."""
    fast = place.make(videos.get("h264"), "fast.mp4", MODE="fast", EVERY="25")
    exact = place.make(videos.get("h264"), "exact.mp4", EVERY="25")

    assert fast.times == pytest.approx(exact.times, abs=0.12)
    assert [path.read_bytes() for path in fast.images] == [path.read_bytes() for path in exact.images]


@pytest.mark.parametrize(("name", "kind"), [("png", "PNG"), ("jpg", "JPEG"), ("webp", "WEBP")])
def test_each_format_is_what_it_says(place: Place, videos: Videos, name: str, kind: str) -> None:
    """The pictures have the format, the name and about the content."""
    made = place.make(videos.get("h264"), FORMAT=name)
    exact = place.make(videos.get("h264"), "exact.mp4")

    assert [path.name for path in made.images] == [f"thumb000{number}.{name}" for number in (1, 2, 3)]
    for path, original in zip(made.images, exact.images, strict=True):
        with Image.open(path) as picture, Image.open(original) as expected:
            assert picture.format == kind
            assert difference(picture, expected) < 8


@pytest.mark.parametrize(
    ("name", "degrees", "expected"),
    [
        ("h264", 0, (80, 60)),
        ("h264", 90, (80, 107)),
        ("odd size", 0, (80, 60)),
        ("anamorphic", 0, (80, 30)),
        ("anamorphic", 90, (60, 160)),
    ],
)
def test_width_keeps_the_shape(
    place: Place, videos: Videos, name: str, degrees: int, expected: tuple[int, int]
) -> None:
    """The shape is what players show: turned, with its pixels' own shape."""
    video = videos.rotated(degrees, name) if degrees else videos.get(name)
    made = place.make(video, WIDTH="80")

    assert [size_of(path) for path in made.images] == [expected] * 3


@pytest.mark.parametrize(("name", "expected"), [("h264", (160, 120)), ("anamorphic", (320, 120))])
def test_nothing_is_enlarged(place: Place, videos: Videos, name: str, expected: tuple[int, int]) -> None:
    """A WIDTH beyond the video's is the width that players show."""
    made = place.make(videos.get(name), WIDTH="4000")

    assert [size_of(path) for path in made.images] == [expected] * 3


def cells(vtt: Path) -> list[tuple[str, tuple[int, int, int, int]]]:
    """Each cue's sheet and box: left, upper, right, lower."""
    found = re.findall(r"^(\S+)#xywh=(\d+),(\d+),(\d+),(\d+)$", vtt.read_text(encoding="utf-8"), re.MULTILINE)
    return [(sheet, (int(x), int(y), int(x) + int(w), int(y) + int(h))) for sheet, x, y, w, h in found]


@pytest.mark.parametrize("name", ["h264", "anamorphic"])
def test_the_sheet_holds_the_pictures_where_the_cues_say(place: Place, videos: Videos, name: str) -> None:
    """Each cell looks like its picture, scaled to the shape that players show."""
    made = place.make(videos.get(name), EVERY="20", SPRITE="true", SPRITE_WIDTH="80")

    height = 60 if name == "h264" else 30
    assert made.index["sprite"] == {
        "sheets": ["sprite01.jpg"],
        "vtt": "thumbs.vtt",
        "columns": 10,
        "width": 80,
        "height": height,
    }
    boxes = cells(made.folder / "thumbs.vtt")
    assert len(boxes) == len(made.images) == 13
    for (sheet, box), path in zip(boxes, made.images, strict=True):
        with Image.open(made.folder / sheet) as whole, Image.open(path) as picture:
            assert whole.size == (800, 2 * height)
            assert difference(whole.crop(box), picture.convert("RGB").resize((80, height))) < 12


def test_more_pictures_than_a_sheet_holds_go_to_the_next(place: Place, videos: Videos) -> None:
    """125 pictures are 100 and 25."""
    made = place.make(videos.get("h264"), EVERY="2", SPRITE="true", SPRITE_WIDTH="16")

    sheets = [sheet for sheet, _ in cells(made.folder / "thumbs.vtt")]
    assert [sheets.count(name) for name in made.index["sprite"]["sheets"]] == [100, 25]
    last = made.folder / "sprite02.jpg"
    with Image.open(last) as whole, Image.open(made.images[124]) as picture:
        assert difference(whole.crop(cells(made.folder / "thumbs.vtt")[124][1]), picture.resize((16, 12))) < 30


def test_cues_follow_the_pictures_times(place: Place, videos: Videos) -> None:
    """The whole of a WebVTT file: from each picture's time to the next one's, the last to the end."""
    made = place.make(videos.get("h264"), SPRITE="true")

    assert (made.folder / "thumbs.vtt").read_text(encoding="utf-8") == (
        "WEBVTT\n\n"
        "00:00:00.000 --> 00:00:04.000\nsprite01.jpg#xywh=0,0,160,120\n\n"
        "00:00:04.000 --> 00:00:08.000\nsprite01.jpg#xywh=160,0,160,120\n\n"
        "00:00:08.000 --> 00:00:10.000\nsprite01.jpg#xywh=320,0,160,120\n"
    )


@pytest.mark.parametrize("settings", [{}, {"MODE": "fast", "FORMAT": "webp"}, {"FORMAT": "jpg", "SPRITE": "true"}])
def test_a_second_run_gives_the_same_bytes(place: Place, videos: Videos, settings: dict[str, str]) -> None:
    """Running twice gives the same files, in place of the first ones, and leaves nothing beside them."""
    first = place.make(videos.get("h264"), **settings).contents()
    second = place.make(videos.get("h264"), **settings).contents()

    assert first == second
    assert [path.name for path in place.thumbs.iterdir()] == ["video.mp4"]


def test_names_go_to_their_own_outputs(place: Place, videos: Videos) -> None:
    """Whatever a name holds is a name: no option, no pattern, no encoding, no other file."""
    names = [
        "a b.mp4",
        'it\'s "quoted".mp4',
        "line\nbreak.mp4",
        "100%2F.mp4",
        "%d.mp4",
        "%04d/%s.mp4",
        "-i.mp4",
        "-rf/-y.mp4",
        "動画/🎬.mp4",
        "caf\u00e9.mp4",
        "cafe\u0301.mp4",
        "http:colon.mp4",
        "[0]*?.mp4",
        "\\back\\slash.mp4",
        "No space left on device.mp4",
        "x" * 251 + ".mp4",
    ]
    for name in names:
        place.make(videos.get("one frame"), name)

    made = [str(path.parent.relative_to(place.thumbs)) for path in place.thumbs.rglob("thumb0001.png")]
    assert sorted(made) == sorted(names)
    indexes = [path.parent / "index.json" for path in place.thumbs.rglob("thumb0001.png")]
    assert all(path.is_file() for path in indexes)


def test_a_title_can_say_anything(place: Place, videos: Videos) -> None:
    """Words that ffmpeg uses for faults are no fault in a title."""
    made = place.make(videos.titled("Truncated partial file: No space left on device"))

    assert len(made.images) == 3


def test_sound_that_is_longer_is_no_truncation(place: Place, videos: Videos) -> None:
    """The pictures end long before the file does, and that is how it was made."""
    made = place.make(videos.get("sound is longer"))

    assert made.index["source"]["duration_seconds"] > 29
    assert made.times == [0.0, 4.0, 8.0]
