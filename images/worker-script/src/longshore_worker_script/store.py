"""The step `store`: everything in OUTPUT_DIR to where results go, content first, the marker last.

Owns that a marker never stands over half a result: an old one goes first, the new one comes when all else is there. In
a folder each file is written aside and renamed. Running it again overwrites the same keys; nothing else is touched.
"""

import hashlib
import json
import mimetypes
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from longshore_kit.errors import ItemFailed
from longshore_kit.logs import get_logger
from longshore_kit.s3 import STORE_ERRORS, error_code, in_words, put_file
from longshore_worker_script.output import Target
from longshore_worker_script.workplace import Workplace

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

_DENIED: Final = frozenset({"AccessDenied", "403"})
_ASIDE: Final = ".longshore"
"""Below a folder of results, while they are stored: where each file is written before it gets its name."""
_PART: Final = "part"


@dataclass(frozen=True)
class File:
    """One file of the result."""

    name: str
    """Relative to OUTPUT_DIR, with slashes."""
    path: Path

    def facts(self) -> dict[str, Any]:
        """What the marker says of it."""
        with self.path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return {"name": self.name, "size": self.path.stat().st_size, "sha256": digest}


def files_in(output: Path) -> list[File]:
    """
    The files in OUTPUT_DIR, sorted.

    Raises:
        ItemFailed: something in it is no file, leads out of it, or has a name that is no text.
    """
    if not output.is_dir():
        raise ItemFailed(f"there is no folder {output} to store: a step before must make it, or OUTPUT_FOLDER name it")
    root = output.resolve()
    return sorted(_walk(root, root), key=lambda file: file.name)


def store(
    target: Target, place: Workplace, about: dict[str, Any], *, marker: str, client: "Callable[[], S3Client]"
) -> int:
    """
    Store the result: how many files it has, without the marker.

    Raises:
        ItemFailed: it could not be stored, and no marker says that it was.
        ItemRejected: a key would be longer than keys may be.
    """
    files = files_in(place.output)
    if any(file.name == marker for file in files):
        raise ItemFailed(f"the script made a file {marker!r}, which is the marker's name: set MARKER to another one")
    content = json.dumps({**about, "files": [file.facts() for file in files]}, ensure_ascii=False, indent=1) + "\n"
    if target.bucket:
        _Upload(client(), target).run(files, marker, content)
    else:
        _expect_none_aside(files)
        _to_folder(Path(target.base), files, marker, content)
    return len(files)


def _walk(folder: Path, root: Path) -> Iterator[File]:
    for path in folder.iterdir():
        name = path.relative_to(root).as_posix()
        if not name.isprintable() and any("\udc80" <= character <= "\udcff" for character in name):
            raise ItemFailed(f"the script made a file whose name is no UTF-8: {name!r}")
        if path.is_symlink() and not path.resolve().is_relative_to(root):
            raise ItemFailed(f"the script made a link that leads out of OUTPUT_DIR: {name!r}")
        if path.is_dir() and not path.is_symlink():
            yield from _walk(path, root)
        elif path.is_file():
            yield File(name, path)
        else:
            raise ItemFailed(f"the script made {name!r}, which is no file")


class _Upload:
    def __init__(self, client: "S3Client", target: Target) -> None:
        self.client = client
        self.target = target

    def run(self, files: list[File], marker: str, content: str) -> None:
        marker_key = self.target.key(marker)
        keys = [self.target.key(file.name) for file in files]
        self._forget(marker_key)
        for key, file in zip(keys, files, strict=True):
            self._try(key, partial(self._upload, key, file))
        self._try(marker_key, lambda: self._put(marker_key, content.encode()))

    def _forget(self, key: str) -> None:
        """A marker of an earlier run would stand over content that is being exchanged."""
        try:
            self.client.delete_object(Bucket=self.target.bucket, Key=key)
        except STORE_ERRORS as exc:
            if error_code(exc) not in _DENIED:
                raise ItemFailed(f"the old marker {key!r} could not be removed: {in_words(exc)}") from exc
            # Who may not delete may still store: then readers must look at what the marker lists.
            get_logger("longshore.worker-script").warning("old marker not removed", key=key, reason=in_words(exc))

    def _upload(self, key: str, file: File) -> None:
        kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        put_file(self.client, file.path, self.target.bucket, key, content_type=kind)

    def _put(self, key: str, body: bytes) -> None:
        self.client.put_object(Bucket=self.target.bucket, Key=key, Body=body, ContentType="application/json")

    def _try(self, key: str, request: Callable[[], None]) -> None:
        try:
            request()
        except STORE_ERRORS as exc:
            raise ItemFailed(f"{key!r} could not be stored in bucket {self.target.bucket!r}: {in_words(exc)}") from exc


def _expect_none_aside(files: list[File]) -> None:
    """What the script puts there would be removed with what lies there meanwhile, though the marker lists it."""
    for file in files:
        if file.name.split("/", 1)[0] == _ASIDE:
            raise ItemFailed(f"the script made {file.name!r}: below {_ASIDE} results lie while they are stored")


def _to_folder(folder: Path, files: list[File], marker: str, content: str) -> None:
    """As to a bucket: each file at once or not at all, the marker last; what else is there is left alone."""
    aside = folder / _ASIDE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / marker).unlink(missing_ok=True)
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir()
        for file in files:
            shutil.copyfile(file.path, aside / _PART)
            (folder / file.name).parent.mkdir(parents=True, exist_ok=True)
            (aside / _PART).replace(folder / file.name)
        (aside / _PART).write_text(content, encoding="utf-8")
        (aside / _PART).replace(folder / marker)
    except OSError as exc:
        raise ItemFailed(f"{exc.filename} could not be stored: {exc.strerror}") from exc
    finally:
        shutil.rmtree(aside, ignore_errors=True)
