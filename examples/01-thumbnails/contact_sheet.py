"""Makes one page of all thumbnails under a folder, for looking at them: `thumbs/contact-sheet.html`."""

import html
import json
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

PAGE = """<!doctype html>
<meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Contact sheet</title>
<style>
:root {{ color-scheme: light dark; font-family: system-ui, sans-serif; }}
body {{ margin: 2rem auto; max-width: 80rem; padding: 0 1rem; }}
h2 {{ font-size: 1rem; margin: 2rem 0 .5rem; overflow-wrap: anywhere; }}
h2 small {{ font-weight: normal; opacity: .7; }}
ul {{ display: grid; gap: .5rem; grid-template-columns: repeat(auto-fill, minmax(10rem, 1fr)); padding: 0; }}
li {{ list-style: none; }}
img {{ width: 100%; border-radius: .25rem; display: block; }}
figure {{ margin: 0; }} figcaption {{ font-size: .75rem; opacity: .7; }}
</style>
<h1>{videos} videos, {images} pictures</h1>
{sections}
"""
SECTION = "<section><h2>{title} <small>{facts}</small></h2><ul>{pictures}</ul></section>"
PICTURE = '<li><figure><img src="{source}" alt="{alt}" loading="lazy"><figcaption>{alt}</figcaption></figure></li>'


def contact_sheet(thumbs: Path) -> str:
    """The page for every `index.json` under `thumbs`; its links are relative to that folder."""
    sections, images = [], 0
    for index_file in sorted(thumbs.rglob("index.json")):
        index = json.loads(index_file.read_text(encoding="utf-8"))
        folder = index_file.parent.relative_to(thumbs).as_posix()
        images += len(index["images"])
        sections.append(_section(index, folder))
    return PAGE.format(videos=len(sections), images=images, sections="\n".join(sections))


def _section(index: dict[str, Any], folder: str) -> str:
    source = index["source"]
    facts = f"{source['width']}×{source['height']}, {source['duration_seconds']} s, {index['mode']}"
    pictures = "".join(
        PICTURE.format(source=html.escape(quote(f"{folder}/{image['file']}")), alt=html.escape(_caption(image)))
        for image in index["images"]
    )
    return SECTION.format(title=html.escape(source["path"]), facts=html.escape(facts), pictures=pictures)


def _caption(image: dict[str, Any]) -> str:
    frame = f"frame {image['frame']}" if image["frame"] is not None else "a keyframe"
    return f"{frame}, {image['time_seconds']:.1f} s" if image["time_seconds"] is not None else frame


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if sys.argv[1:] else Path(__file__).parent / "thumbs"
    page = folder / "contact-sheet.html"
    page.write_text(contact_sheet(folder), encoding="utf-8")
    sys.stdout.write(f"the pictures are in {folder}; look at them all in {page}\n")
