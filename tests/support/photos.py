"""The photo pipelines of the examples: their workers run alone, and their results compared pixel by pixel.

Owns what a right result is, wherever it was made: on this machine, by Docker, on a cluster.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

EXAMPLES: Final = Path(__file__).parents[2] / "examples"
FACES: Final = "06-blur-faces"
CATS: Final = "07-blur-cats"
WORKERS: Final = {
    "detect-faces": EXAMPLES / FACES / "detect/detect-faces",
    "identify-people": EXAMPLES / FACES / "identify/identify-people",
    "blur-boxes": EXAMPLES / FACES / "blur/blur-boxes",
    "detect-cats": EXAMPLES / CATS / "detect/detect-cats",
}
"""Each stage's program, by the name of its command and its image."""
DETECTORS: Final = {FACES: "detect-faces", CATS: "detect-cats"}
"""The first stage of each example."""
WITHOUT: Final = {FACES: {"coffee.png"}, CATS: {"astronaut.png"}}
"""The photos of each example in which there is nothing to find."""
MADE: Final = shutil.ignore_patterns(".longshore", "photos", "people", "blurred", "before-after", "__pycache__")

Picture = npt.NDArray[np.uint8]
Box = Mapping[str, Any]


def path_with_workers() -> str:
    """A PATH on which the stages' commands are found, and a python3 that has OpenCV."""
    folders = [str(worker.parent) for worker in WORKERS.values()]
    return os.pathsep.join([*folders, str(Path(sys.executable).parent), os.environ["PATH"]])


def fetch_photos(example: str, folder: Path) -> list[Path]:
    """The photos of an example, and the people that it knows, put below `folder`; the photos alone are told."""
    script = EXAMPLES / example / "fetch_photos.py"
    subprocess.run([sys.executable, script, folder], check=True, capture_output=True)
    return sorted((folder / "photos").iterdir())


def run_worker(name: str, item: object, folder: Path) -> subprocess.CompletedProcess[str]:
    """One worker on one item, started as the contract says and by nobody else; its item lies in `folder`."""
    file = folder / f"{name}-item.json"
    file.write_text(json.dumps(item), encoding="utf-8")
    environ = {"PATH": path_with_workers(), "WORK_ITEM_FILE": str(file), "LONGSHORE_RESULT_FILE": str(folder / "said")}
    return subprocess.run([WORKERS[name]], capture_output=True, text=True, check=False, timeout=120, env=environ)


def detect(detector: str, photo: Path, folder: Path) -> list[Box]:
    """The boxes that a detector finds, run alone; they lie in `folder` too."""
    ended = run_worker(detector, {"photo": str(photo), "boxes": str(folder / "boxes.json")}, folder)
    assert ended.returncode == 0, ended
    boxes: list[Box] = json.loads((folder / "boxes.json").read_bytes())
    return boxes


def identify(photo: Path, people: Path, folder: Path) -> list[Box]:
    """The boxes of the faces in a photo, with the names of those whom `people` shows."""
    detect("detect-faces", photo, folder)
    item = {"photo": str(photo), "people": str(people)}
    item |= {"boxes": str(folder / "boxes.json"), "tagged": str(folder / "tagged.json")}
    ended = run_worker("identify-people", item, folder)
    assert ended.returncode == 0, ended
    boxes: list[Box] = json.loads((folder / "tagged.json").read_bytes())
    return boxes


def read_picture(path: Path) -> Picture:
    """A picture as people see it: in three colours, and upright."""
    picture = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None, f"{path} is no picture"
    return np.asarray(picture, np.uint8)


def faults(photo: Path, result: Path, boxes: Sequence[Box]) -> list[str]:
    """
    What is wrong with `result`, in which these boxes of `photo`, and nothing else, should be blurred; empty: nothing.

    It is well if it has the photo's size, every pixel outside of the boxes is the photo's own, and in each box nine of
    ten pixels are others, and neighbours differ by less than a quarter of what they did.
    """
    if not result.exists():
        return [f"there is no {result.name}"]
    before, after = read_picture(photo), read_picture(result)
    if before.shape != after.shape:
        return [f"{result.name} is {after.shape}, {photo.name} {before.shape}"]
    changed = (before != after).any(axis=2)
    outside = changed.copy()
    found = []
    for box in boxes:
        rows, columns = (slice(box[at], box[at] + box[size]) for at, size in (("y", "height"), ("x", "width")))
        outside[rows, columns] = False
        share = changed[rows, columns].mean() if changed[rows, columns].size else 0.0
        if share < 0.9:
            found.append(f"{photo.name}: only {share:.0%} of {dict(box)} were changed")
        elif detail(after[rows, columns]) > detail(before[rows, columns]) / 4:
            found.append(f"{photo.name}: {dict(box)} was changed and not blurred")
    if outside.any():
        y, x = np.argwhere(outside)[0]
        found.append(
            f"{photo.name}: {outside.sum()} pixels outside of its boxes were changed, the first at x={x} y={y}"
        )
    return found


def detail(picture: Picture) -> float:
    """How much neighbours differ, on average."""
    values = picture.astype(np.int16)
    return float(np.abs(np.diff(values, axis=0)).mean() + np.abs(np.diff(values, axis=1)).mean())
