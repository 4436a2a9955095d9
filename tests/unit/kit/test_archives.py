"""Files as a Docker daemon hands them out."""

import io
import tarfile
from collections.abc import Iterator

import pytest

from longshore_kit.archives import archive_of, first_file


def pieces_of(name: str, data: bytes | None, size: int = 700) -> Iterator[bytes]:
    """A tar of one file, or of a folder where there is no data, in pieces."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.size, member.type = len(data or b""), tarfile.DIRTYPE if data is None else tarfile.REGTYPE
        archive.addfile(member, io.BytesIO(data or b""))
    whole = made.getvalue()
    return iter([whole[at : at + size] for at in range(0, len(whole), size)])


@pytest.mark.parametrize(
    ("data", "most_bytes", "read"),
    [
        (b"abc", None, b"abc"),
        (b"abc", 2, b"bc"),
        (b"", 2, b""),
        (b"0123456789" * 20_000, 12, b"890123456789"),
        (b"0123456789" * 20_000, None, b"0123456789" * 20_000),
        (None, 2, None),
    ],
)
def test_of_a_file_its_end_is_read(data: bytes | None, most_bytes: int | None, read: bytes | None) -> None:
    """As much as is wanted, of any size; a folder is no file."""
    assert first_file(pieces_of("result", data), most_bytes) == read


def test_a_tar_has_files_and_folders_by_their_paths() -> None:
    """In their order, with their modes, and nothing of whose they were here."""
    made = archive_of({"work": None, "work/item.json": b"{}"}, mode=0o400, folder_mode=0o755)
    with tarfile.open(fileobj=io.BytesIO(made)) as archive:
        found = [(one.name, one.isdir(), one.mode, one.uid, one.size) for one in archive]

    assert found == [("work", True, 0o755, 0, 0), ("work/item.json", False, 0o400, 0, 2)]


@pytest.mark.parametrize("pieces", [[], [b"no tar"], [b"x" * 2000]])
def test_what_is_no_tar_has_no_file(pieces: list[bytes]) -> None:
    """A daemon that went away in the midst is not taken for a file."""
    assert first_file(iter(pieces)) is None
