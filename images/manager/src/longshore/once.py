"""A file that is written once and whole, whoever comes first; what it says never changes. Knows no queue."""

import contextlib
import uuid
from pathlib import Path


def written_once(path: Path, text: str) -> str:
    """What `path` says: `text`, or what another process wrote there before. Its folder must be there."""
    if not path.exists():
        aside = path.with_name(f".{path.name}.{uuid.uuid4()}")
        try:
            aside.write_text(text, encoding="utf-8")
            # A link is made once, and whole; a rename would take the place of what another has just written.
            with contextlib.suppress(FileExistsError):
                path.hardlink_to(aside)
        finally:
            aside.unlink(missing_ok=True)
    return path.read_text(encoding="utf-8")
