"""Files as a Docker daemon takes them and hands them out: a tar, out of it in pieces. Knows no daemon."""

import contextlib
import io
import tarfile
from collections.abc import Iterator, Mapping
from typing import Any, Final

_PIECE_BYTES: Final = 64 * 1024


class _Reader(io.RawIOBase):
    """Pieces that come one after the other, as a file to read from."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces: Final = pieces
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - any buffer, as its base says
        self._rest = self._rest or next(self._pieces, b"")
        size = min(len(buffer), len(self._rest))
        buffer[:size], self._rest = self._rest[:size], self._rest[size:]
        return size


def first_file(pieces: Iterator[bytes], most_bytes: int | None = None) -> bytes | None:
    """The first member's content, or its last `most_bytes`; None where it is no file, or no tar comes.

    Never more of it at a time than is kept: a worker may have made it of any size.
    """
    kept = b""
    with contextlib.suppress(tarfile.TarError), tarfile.open(fileobj=_Reader(pieces), mode="r|") as archive:
        member = archive.next()
        file = archive.extractfile(member) if member and member.isfile() else None
        if file is None:
            return None
        while piece := file.read(_PIECE_BYTES):
            kept = (kept + piece)[-most_bytes:] if most_bytes else kept + piece
        return kept
    return None


def archive_of(files: Mapping[str, bytes | None], *, mode: int = 0o444, folder_mode: int = 0o777) -> bytes:
    """A tar of files by their paths, in this order; None: a folder."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            if data is None:
                member.type, member.mode = tarfile.DIRTYPE, folder_mode
                archive.addfile(member)
            else:
                member.size, member.mode = len(data), mode
                archive.addfile(member, io.BytesIO(data))
    return made.getvalue()
