"""One item's data, and what is never given."""

import os
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from images.ambassador_nfs.media import Media
from longshore_kit.errors import ItemNotFound


def test_an_item_has_its_path_its_size_and_when_it_was_modified(media: Media) -> None:
    """`data` is the path relative to the root, bytes, and UTC in RFC 3339."""
    path = media.write("sub/a.mp4", b"12345")
    moment = datetime(2026, 11, 24, 4, 18, 45, 900_000, tzinfo=UTC).timestamp()
    os.utime(path, (moment, moment))

    item = media.source().get_item("sub/a.mp4")
    assert item.name == "sub/a.mp4"
    assert item.data == {"path": "sub/a.mp4", "size": 5, "modified": "2026-11-24T04:18:45Z"}


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0, "1970-01-01T00:00:00Z"), (-1, "1969-12-31T23:59:59Z"), (2**33, "2242-03-16T12:56:32Z")],
)
def test_any_time_of_a_file_system_can_be_said(media: Media, seconds: int, expected: str) -> None:
    """Times before 1970 and after 2038 are ordinary."""
    os.utime(media.write("a.mp4"), (seconds, seconds))

    assert media.source().get_item("a.mp4").data["modified"] == expected


@pytest.mark.parametrize(
    "name",
    [
        "missing.mp4",
        "missing/a.mp4",
        "a.mp4/b.mp4",
        "notes.txt",
        ".hidden.mp4",
        "folder.mp4",
        "pipe.mp4",
        "draft.mp4",
        "/etc/passwd.mp4",
        "../secret.mp4",
        "sub/../../secret.mp4",
        "sub/../a.mp4",
        "./a.mp4",
        "sub//a.mp4",
        "out.mp4",
        "dangling.mp4",
        "loop.mp4",
        "linked/a.mp4",
        "outside/secret.mp4",
        "a\0.mp4",
        "x" * 300 + ".mp4",
        "A.mp4",
    ],
)
def test_what_would_not_be_listed_is_not_found(media: Media, tmp_path: Path, name: str) -> None:
    """Paths that leave the root, links that do, and files that the patterns don't take are no items."""
    (tmp_path / "secret.mp4").write_bytes(b"secret")
    for present in ["a.mp4", "sub/a.mp4", "notes.txt", ".hidden.mp4", "draft.mp4"]:
        media.write(present)
    (media.root / "folder.mp4").mkdir()
    os.mkfifo(media.root / "pipe.mp4")
    for link, target in {
        "out.mp4": "../secret.mp4",
        "dangling.mp4": "nowhere",
        "loop.mp4": "loop.mp4",
        "linked": "sub",
        "outside": "..",
    }.items():
        (media.root / link).symlink_to(target)
    source = media.source(exclude=["draft*"])

    with pytest.raises(ItemNotFound):
        source.get_item(name)
    assert name not in source.list_items().names


def test_a_file_beside_a_root_with_the_same_beginning_is_outside(media: Media, tmp_path: Path) -> None:
    """`/media-old` is not inside `/media`."""
    Media(tmp_path / "media-old").write("a.mp4")
    (media.root / "a.mp4").symlink_to(tmp_path / "media-old" / "a.mp4")

    with pytest.raises(ItemNotFound, match="leads out of the root"):
        media.source().get_item("a.mp4")


def test_items_are_given_while_the_list_is_made(media: Media) -> None:
    """`get_item` may be called from several threads, during a listing too."""
    names = [f"{number}.mp4" for number in range(50)]
    for name in names:
        media.write(name)
    source = media.source()
    failures: list[BaseException] = []

    def read() -> None:
        try:
            for name in names:
                source.get_item(name)
        except BaseException as exc:  # noqa: BLE001 - a thread's error must reach the test
            failures.append(exc)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    lists = {source.list_items().names for _ in range(20)}
    for thread in threads:
        thread.join()

    assert failures == []
    assert lists == {tuple(sorted(names))}
