"""Makes one page of photos before and after, to look at: `before-after/index.html`, and a picture of each pair.

Reads `photos/` and `blurred/` of a folder that a run has finished in; a photo without a result is left out.
`--sheet FILE` puts all pairs into one picture too, as the READMEs show it.
"""

import argparse
import html
import sys
from pathlib import Path
from urllib.parse import quote

import cv2
import numpy as np
from cv2.typing import MatLike

WIDTH = 480
"""Pixels of one photo in a pair; in the sheet it is two thirds of that."""
GAP = 8
PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Before and after</title>
<style>
:root {{ color-scheme: light dark; font-family: system-ui, sans-serif; }}
body {{ margin: 2rem auto; max-width: 62rem; padding: 0 1rem; }}
figure {{ margin: 0 0 2rem; }} figcaption {{ margin: 0 0 .5rem; overflow-wrap: anywhere; }}
img {{ width: 100%; height: auto; border-radius: .25rem; display: block; }}
</style>
<h1>{count} photos, before and after</h1>
{figures}
</html>
"""
FIGURE = """<figure><figcaption>{name}</figcaption>
<img src="{source}" width="{width}" height="{height}" loading="lazy"
 alt="{name}: before on the left, after on the right">
</figure>"""


def before_after(folder: Path) -> list[MatLike]:
    """Writes the page and its pictures into `before-after/` below `folder`; the pairs, by their photos' names."""
    pairs, figures = [], []
    for photo in sorted(path for path in (folder / "photos").rglob("*") if path.is_file()):
        name = photo.relative_to(folder / "photos").as_posix()
        blurred = folder / "blurred" / f"{name}.png"
        if not blurred.exists():
            continue
        pair = side_by_side(read(photo), read(blurred))
        write(folder / "before-after" / f"{name}.jpg", pair)
        height, width = pair.shape[:2]
        source = html.escape(quote(f"{name}.jpg"))
        figures.append(FIGURE.format(name=html.escape(name), source=source, width=width, height=height))
        pairs.append(pair)
    (folder / "before-after").mkdir(exist_ok=True)
    page = PAGE.format(count=len(pairs), figures="\n".join(figures))
    (folder / "before-after" / "index.html").write_text(page, encoding="utf-8")
    return pairs


def side_by_side(before: MatLike, after: MatLike) -> MatLike:
    """Both, as wide as each other, with a gap between them."""
    left, right = (in_width(picture, WIDTH) for picture in (before, after))
    return np.hstack([left, gap(left.shape[0], GAP), right])


def sheet(pairs: list[MatLike]) -> MatLike:
    """All pairs, one below the other, with gaps between them."""
    rows: list[MatLike] = []
    for pair in pairs:
        small = in_width(pair, pair.shape[1] * 2 // 3)
        rows += [gap(GAP, small.shape[1]), small]
    return np.vstack(rows[1:])


def in_width(picture: MatLike, width: int) -> MatLike:
    """A picture in another size, and of the same shape."""
    height = max(1, round(picture.shape[0] * width / picture.shape[1]))
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)


def gap(height: int, width: int) -> MatLike:
    """White, as large."""
    return np.full((height, width, 3), 255, np.uint8)


def read(path: Path) -> MatLike:
    """A picture, turned as its EXIF data say."""
    picture = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
    if picture is None:
        raise SystemExit(f"{path} is no picture")
    return picture


def write(path: Path, picture: MatLike) -> None:
    """A JPEG, small enough to look at many."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Photos before and after, side by side.")
    parser.add_argument("folder", type=Path, nargs="?", default=Path(__file__).parent, help="has photos/ and blurred/")
    parser.add_argument("--sheet", type=Path, metavar="FILE", help="a JPEG with all pairs")
    options = parser.parse_args()
    made = before_after(options.folder)
    if options.sheet and made:
        write(options.sheet, sheet(made))
    sys.stdout.write(f"{len(made)} pairs; look at them in {options.folder / 'before-after' / 'index.html'}\n")
