"""The pipelines of the examples on a laptop, as their READMEs run them, on real photos: compared pixel by pixel."""

import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import yaml
from PIL import Image, ImageOps

from longshore_kit.conform import check_worker
from support.photos import (
    CATS,
    DETECTORS,
    EXAMPLES,
    FACES,
    MADE,
    WITHOUT,
    WORKERS,
    Box,
    detect,
    faults,
    identify,
    path_with_workers,
    read_picture,
    run_worker,
)
from support.runs import TIMEOUT_SECONDS, LocalRun

pytestmark = pytest.mark.slow


def readme_run(root: Path, example: str) -> LocalRun:
    """A clone with nothing but the two examples, in which the first commands of an example's README have run."""
    for name in DETECTORS:
        shutil.copytree(EXAMPLES / name, root / "examples" / name, ignore=MADE)
    (root / ".venv").symlink_to(sys.prefix, target_is_directory=True)
    readme = (root / "examples" / example / "README.md").read_text(encoding="utf-8")
    found = re.search(r"^```sh\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    assert found
    ended = subprocess.run(
        ["/bin/sh", "-euc", found[1]],
        cwd=root,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    assert ended.returncode == 0, ended
    return LocalRun(root / "examples" / example)


@pytest.fixture(scope="module", params=DETECTORS)
def done(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LocalRun:
    """Each example, run as its README says; for looking at, not for changing."""
    return readme_run(tmp_path_factory.mktemp("clone"), request.param)


@pytest.fixture
def faces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalRun:
    """A fresh copy of the example with faces, its photos in place, its stages on the PATH."""
    shutil.copytree(EXAMPLES / FACES, tmp_path / FACES, ignore=MADE)
    subprocess.run([sys.executable, tmp_path / FACES / "fetch_photos.py"], check=True, capture_output=True)
    monkeypatch.setenv("PATH", path_with_workers())
    return LocalRun(tmp_path / FACES)


def result_of(run: LocalRun, photo: Path) -> Path:
    """Where the last stage puts what became of a photo."""
    return run.folder / "blurred" / f"{photo.relative_to(run.folder / 'photos').as_posix()}.png"


def photos_of(run: LocalRun) -> list[Path]:
    """The photos of a run."""
    return sorted(path for path in (run.folder / "photos").rglob("*") if path.is_file())


def test_what_was_found_is_blurred_and_nothing_else(done: LocalRun, tmp_path: Path) -> None:
    """Every pixel outside of the boxes that the detector finds by itself is the photo's own."""
    detector = DETECTORS[done.folder.name]
    boxes = {photo: detect(detector, photo, tmp_path) for photo in photos_of(done)}

    assert {photo.name for photo, found in boxes.items() if not found} == WITHOUT[done.folder.name]
    assert [fault for photo, found in boxes.items() for fault in faults(photo, result_of(done, photo), found)] == []
    assert done.states() == {photo.name: "done" for photo in boxes}


def test_the_comparison_sees_one_pixel_and_a_box_that_was_left_out(done: LocalRun, tmp_path: Path) -> None:
    """Else the tests here would say nothing."""
    photo = done.folder / "photos" / ("row.png" if done.folder.name == FACES else "chelsea.png")
    boxes = detect(DETECTORS[done.folder.name], photo, tmp_path)
    with Image.open(result_of(done, photo)) as result:
        red, *others = result.getpixel((0, 0))  # type: ignore[misc]  # three colours
        result.putpixel((0, 0), (red ^ 1, *others))
        result.save(tmp_path / "one pixel.png")

    words = f"{photo.name}: 1 pixels outside of its boxes were changed, the first at x=0 y=0"
    assert faults(photo, tmp_path / "one pixel.png", boxes) == [words]
    assert len(faults(photo, photo, boxes)) == len(boxes)
    assert len(faults(photo, result_of(done, photo), boxes[1:])) == 1
    assert faults(photo, tmp_path / "none.png", boxes) == ["there is no none.png"]


def test_nothing_is_found_in_what_was_blurred(done: LocalRun, tmp_path: Path) -> None:
    """The detector itself no more knows that there was a face."""
    results = sorted((done.folder / "blurred").iterdir())

    assert len(results) == len(photos_of(done))
    assert [box for result in results for box in detect(DETECTORS[done.folder.name], result, tmp_path)] == []


def test_a_photo_without_any_comes_out_as_it_was(done: LocalRun) -> None:
    """To the last pixel."""
    for name in WITHOUT[done.folder.name]:
        photo = done.folder / "photos" / name

        assert (read_picture(photo) == read_picture(result_of(done, photo))).all()


def test_nothing_of_the_stages_own_is_left(done: LocalRun) -> None:
    """Neither lists of boxes nor half a picture."""
    assert [path for path in done.folder.rglob("*") if path.name.endswith((".part", "boxes.json", "tagged.json"))] == []


class Pictures(HTMLParser):
    """The pictures of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.attributes: list[dict[str, str | None]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """One that opens."""
        if tag == "img":
            self.attributes.append(dict(attrs))


def shown(folder: Path) -> dict[str, tuple[str, tuple[int, int]]]:
    """What the page in `before-after/` shows: each file's name, the words in its place, and its real size."""
    page = folder / "before-after/index.html"
    found = {}
    for one in Pictures(page.read_text(encoding="utf-8")).attributes:
        file = unquote(one["src"] or "")
        with Image.open(page.parent / file) as picture:
            found[file] = (one["alt"] or "", picture.size)
            assert (one["width"], one["height"]) == tuple(map(str, picture.size))
    return found


def test_the_page_shows_each_photo_before_and_after(done: LocalRun) -> None:
    """One picture for each, with words for those who don't see it; no script in it."""
    pictures = shown(done.folder)

    assert set(pictures) == {f"{photo.name}.jpg" for photo in photos_of(done)}
    for name, (words, (width, _)) in pictures.items():
        assert words == f"{name.removesuffix('.jpg')}: before on the left, after on the right"
        assert width == 480 + 8 + 480
    assert "<script" not in (done.folder / "before-after/index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("example", DETECTORS)
def test_the_readmes_picture_is_the_one_that_is_made(example: str, tmp_path: Path) -> None:
    """Small, and of the same shape as a run of today makes it."""
    committed = EXAMPLES / example / "pictures/before-after.jpg"
    run = readme_run(tmp_path, example)
    script = tmp_path / "examples" / FACES / "before_after.py"
    subprocess.run([sys.executable, script, run.folder, "--sheet", tmp_path / "sheet.jpg"], check=True, text=True)

    with Image.open(committed) as shown, Image.open(tmp_path / "sheet.jpg") as made:
        assert shown.size == made.size
    assert committed.stat().st_size < 150_000


@pytest.mark.parametrize(
    ("only", "expected"),
    [
        ("tagged", {"eileen-collins", "person-14", "person-22"}),
        ("untagged", {None}),
        ("[person-22, nobody]", {"person-22"}),
    ],
)
def test_only_chosen_faces_are_blurred(faces: LocalRun, tmp_path: Path, only: str, expected: set[str | None]) -> None:
    """Known ones, unknown ones, or those of a list; all others stay sharp."""
    text = faces.file.read_text(encoding="utf-8")
    assert text.count("only: all ") == 1
    faces.file.write_text(text.replace("only: all ", f"only: {only} "), encoding="utf-8")
    ended = faces.run()

    assert (ended.returncode, ended.stderr) == (0, "")
    chosen: dict[Path, list[Box]] = {}
    names: set[str | None] = set()
    for photo in photos_of(faces):
        boxes = identify(photo, faces.folder / "people", tmp_path)
        chosen[photo] = [box for box in boxes if box.get("name") in expected]
        names |= {box.get("name") for box in boxes}
    assert names == {"eileen-collins", "person-14", "person-22", None}
    assert {box.get("name") for boxes in chosen.values() for box in boxes} == expected
    assert [fault for photo, boxes in chosen.items() for fault in faults(photo, result_of(faces, photo), boxes)] == []


def test_both_pipelines_end_in_one_image() -> None:
    """What the second README is about: image and command of the blur stage are the same, the detector is not."""
    stages = {}
    for example in DETECTORS:
        document = yaml.safe_load((EXAMPLES / example / "queue.yaml").read_text(encoding="utf-8"))
        stages[example] = {stage["name"]: stage for stage in document["worker"]["stages"]}
    image = {"image": "longshore-example/blur-boxes:1", "command": ["blur-boxes"]}

    assert [{key: stages[example]["blur"][key] for key in image} for example in stages] == [image, image]
    assert stages[FACES]["detect"]["image"] != stages[CATS]["detect"]["image"]
    assert {path.name for path in (EXAMPLES / CATS).iterdir() if (path / "Dockerfile").exists()} == {"detect"}


def test_what_is_no_picture_fails_where_it_is_found_out(faces: LocalRun) -> None:
    """At the first stage, at once, in words; the photos beside it are done, and a page is made of those."""
    bad = {"no picture.jpg": b"no picture at all", "empty.png": b"", "cut.png": b"\x89PNG\r\n\x1a\n\0\0"}
    for name, content in bad.items():
        (faces.folder / "photos" / name).write_bytes(content)
    ended, rows = faces.run(), {row["item"]: row for row in faces.rows()}
    subprocess.run([sys.executable, faces.folder / "before_after.py"], check=True, capture_output=True)

    assert ended.returncode == 1
    for name in bad:
        row = rows.pop(name)
        assert (row["state"], row["stage"], row["exit_code"]) == ("failed", "detect", 65)
        assert row["reason"].startswith("stage detect, exit code 65: ")
        assert row["reason"].endswith(f"/{name} is no picture")
    good = {"astronaut.png", "coffee.png", "row.png"}
    assert {name: row["state"] for name, row in rows.items()} == dict.fromkeys(good, "done")
    assert {path.name for path in (faces.folder / "blurred").iterdir()} == {f"{name}.png" for name in good}
    assert set(shown(faces.folder)) == {f"{name}.jpg" for name in good}


TURNED = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
"""EXIF orientations, and how a camera that was held so has its sensor see an upright scene."""


def test_a_telephones_photo_under_any_name_is_done_upright(faces: LocalRun, tmp_path: Path) -> None:
    """Turned by its EXIF data alone; spaces, quotes, dashes and letters of anywhere are a name; so is .JPG."""
    names = {3: "-rf $(touch x) 'a' \"b\".jpg", 6: "Fête à Zürich/été 日本 😀.JPG", 8: "a & <b> #1?%20.jpeg"}
    with Image.open(faces.folder / "photos/astronaut.png") as upright:
        for orientation, name in names.items():
            exif = Image.Exif()
            exif[0x0112] = orientation
            target = faces.folder / "photos" / name
            target.parent.mkdir(exist_ok=True)
            sensor = upright.convert("RGB").crop((0, 0, 400, 512)).transpose(TURNED[orientation])
            sensor.save(target, quality=95, exif=exif, format="JPEG")
    ended = faces.run()
    subprocess.run([sys.executable, faces.folder / "before_after.py"], check=True, capture_output=True)

    assert (ended.returncode, ended.stderr) == (0, "")
    for name in names.values():
        photo = faces.folder / "photos" / name
        with Image.open(photo) as raw, Image.open(result_of(faces, photo)) as result:
            assert (ImageOps.exif_transpose(raw).size, result.size) == ((400, 512), (400, 512))
            assert dict(result.getexif()) == {}
        boxes = identify(photo, faces.folder / "people", tmp_path)
        # Where she is in the upright photo; of another turn it would be elsewhere. The helmet is a face at times.
        (box,) = (box for box in boxes if box.get("name") == "eileen-collins")
        assert (150 < box["x"] < 200, 50 < box["y"] < 80) == (True, True)
        assert faults(photo, result_of(faces, photo), boxes) == []
    assert set(shown(faces.folder)) == {
        f"{photo.relative_to(faces.folder / 'photos').as_posix()}.jpg" for photo in photos_of(faces)
    }


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1), (31, 33)], ids=str)
@pytest.mark.parametrize("detector", DETECTORS.values())
def test_a_photo_of_any_shape_is_looked_at(detector: str, size: tuple[int, int], tmp_path: Path) -> None:
    """However small or narrow, there is nothing in it, which is no failure; nor is a grey or a transparent one."""
    for mode in ("RGB", "L", "RGBA", "P", "I;16"):
        Image.new(mode, size).save(tmp_path / "small.png")

        assert detect(detector, tmp_path / "small.png", tmp_path) == []


def items_for(folder: Path) -> dict[str, dict[str, str]]:
    """For each worker an item that it does, over files in `folder`."""
    subprocess.run([sys.executable, EXAMPLES / FACES / "fetch_photos.py", folder], check=True, capture_output=True)
    photo = {"photo": str(folder / "photos/row.png")}
    boxes, tagged = ({"boxes": str(folder / f"{name}.json")} for name in ("boxes", "given"))
    identify(Path(photo["photo"]), folder / "people", folder)
    shutil.copyfile(folder / "boxes.json", folder / "given.json")
    return {
        "detect-faces": photo | boxes,
        "detect-cats": photo | boxes,
        "identify-people": photo | tagged | {"people": str(folder / "people"), "tagged": str(folder / "tagged.json")},
        "blur-boxes": photo | tagged | {"result": str(folder / "a/b/result.png")},
    }


@pytest.mark.parametrize("name", WORKERS)
def test_each_stage_is_a_worker_by_itself(name: str, tmp_path: Path) -> None:
    """It keeps every rule that a worker can be asked about."""
    environ = {**os.environ, "PATH": path_with_workers()}
    results = check_worker([str(WORKERS[name])], data=items_for(tmp_path)[name], environ=environ)

    assert [result for result in results if result.outcome == "failed"] == []
    assert sum(result.outcome == "passed" for result in results) > 3


@pytest.mark.parametrize("name", WORKERS)
def test_a_bad_item_is_told_in_words(name: str, tmp_path: Path) -> None:
    """65, which is never tried again, and a reason that names what is missing; nothing is written."""
    good = items_for(tmp_path)[name]
    photo = str(tmp_path / "photos/none.png")
    bad: list[tuple[Any, str]] = [
        ([], "the item needs 'photo', a text"),
        (good | {"photo": 7}, "the item needs 'photo', a text"),
        (good | {"photo": photo}, f"there is no photo {photo}"),
    ]
    if name == "blur-boxes":
        choices = "it may be all, tagged, untagged, or a list of names"
        bad.append((good | {"only": "some"}, f"the item's 'only' is 'some': {choices}"))
    for item, words in bad:
        ended = run_worker(name, item, tmp_path)

        assert (ended.returncode, ended.stdout, ended.stderr) == (65, f"{words}\n", "")
        assert (tmp_path / "said").read_text(encoding="utf-8") == words
    assert not (tmp_path / "a").exists()


def test_the_measured_numbers_are_those_that_are_told() -> None:
    """identify-people and its README say what measure_threshold.py finds on real portraits."""
    script = EXAMPLES / FACES / "identify/measure_threshold.py"
    said = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True).stdout
    one, two = (float(share) for share in re.findall(r"([\d.]+)% are", said))

    for page in ("identify-people", "README.md"):
        text = (EXAMPLES / FACES / "identify" / page).read_text(encoding="utf-8")
        assert (f"{one:g} %" in text, f"{two:g} %" in text) == (True, True), said
