"""A tree that has not changed costs a look at its folders, and a tree that has is never taken for unchanged."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from images.ambassador_nfs.media import Media, scanned_folders
from longshore_ambassador_nfs.walk import RACY_SECONDS, RESCAN_SECONDS

# Well above RACY_SECONDS: files are made by the real clock, perhaps slowly, after the test's clock was.
QUIET_SECONDS = 60.0


def test_an_unchanged_tree_gives_the_same_list_without_reading_it(
    media: Media, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same object tells the app to answer 304; no folder is read for it."""
    media.write("a.mp4")
    media.write("sub/b.mp4")
    media.clock.advance(QUIET_SECONDS)
    source = media.source()
    before = source.list_items()
    read = scanned_folders(media, monkeypatch)

    assert source.list_items() is before
    assert read == []


def test_only_the_folder_that_changed_is_read_again(media: Media, monkeypatch: pytest.MonkeyPatch) -> None:
    """One new file costs one folder."""
    for name in ["a.mp4", "one/b.mp4", "two/c.mp4"]:
        media.write(name)
    media.clock.advance(QUIET_SECONDS)
    source = media.source()
    source.list_items()
    wait_for_the_next_timestamp(media)
    media.write("two/d.mp4")
    read = scanned_folders(media, monkeypatch)

    assert source.list_items().names == ("a.mp4", "one/b.mp4", "two/c.mp4", "two/d.mp4")
    assert read == ["two"]


def test_a_folder_that_changed_a_moment_ago_is_not_trusted(media: Media, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two changes within one step of the file server's clock leave one timestamp; the second is still seen."""
    media.write("a.mp4")
    source = media.source()
    source.list_items()
    read = scanned_folders(media, monkeypatch)

    source.list_items()
    media.clock.advance(RACY_SECONDS)
    source.list_items()
    source.list_items()
    assert read == [".", "."]


def test_a_modification_time_that_was_put_back_does_not_make_a_folder_trusted(
    media: Media, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How long ago a folder changed is told by the time that nobody can set."""
    media.write("a.mp4")
    os.utime(media.root, (1, 1))
    source = media.source()
    source.list_items()
    read = scanned_folders(media, monkeypatch)

    source.list_items()
    assert read == ["."]


def test_a_folder_with_a_time_in_the_future_is_trusted_once_it_has_kept_it(
    media: Media, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file server whose clock is ahead costs a few scans, not one at every poll."""
    media.write("a.mp4")
    media.clock.now -= 86400
    source = media.source(settle_seconds=0)
    read = scanned_folders(media, monkeypatch)
    for _ in range(5):
        source.list_items()
        media.clock.advance(RACY_SECONDS)

    assert read == [".", "."]


def test_a_modification_time_that_was_put_back_does_not_hide_a_file(media: Media) -> None:
    """rsync and tar set a folder's modification time after they have added files to it."""
    media.write("a.mp4")
    os.utime(media.root, (1, 1))
    media.clock.advance(QUIET_SECONDS)
    source = media.source()
    source.list_items()
    wait_for_the_next_timestamp(media)
    media.write("b.mp4")
    os.utime(media.root, (1, 1))

    assert source.list_items().names == ("a.mp4", "b.mp4")


def test_every_folder_is_read_again_now_and_then(media: Media, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a file system's times for folders lie, a file is late, not lost; and the list is the same object still."""
    media.write("a.mp4")
    media.clock.advance(QUIET_SECONDS)
    source = media.source()
    before = source.list_items()
    read = scanned_folders(media, monkeypatch)
    media.clock.advance(RESCAN_SECONDS)

    assert source.list_items() is before
    assert read == ["."]


def test_a_file_that_settles_changes_the_list_without_reading_a_folder(
    media: Media, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What may still be written is looked at alone."""
    media.write("a.mp4")
    media.clock.advance(QUIET_SECONDS)
    media.write("b.mp4", age=0)
    source = media.source(settle_seconds=30)
    assert source.list_items().names == ("a.mp4",)
    read = scanned_folders(media, monkeypatch)
    media.clock.advance(30)

    assert source.list_items().names == ("a.mp4", "b.mp4")
    assert read == []


def test_the_order_in_which_a_file_server_names_files_does_not_matter(
    media: Media, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same names in another order are the same list."""
    for name in ["a.mp4", "b.mp4", "c.mp4"]:
        media.write(name)
    source = media.source()
    before = source.list_items()
    scandir = os.scandir

    @contextmanager
    def backwards(path: bytes) -> Iterator[list[os.DirEntry[bytes]]]:
        with scandir(path) as entries:
            yield list(entries)[::-1]

    monkeypatch.setattr(os, "scandir", backwards)
    assert source.list_items() is before


def test_a_change_and_its_undoing_give_the_same_list(media: Media) -> None:
    """A list with the same names is the same object, however it came about."""
    media.write("a.mp4")
    source = media.source()
    before = source.list_items()
    (media.root / "a.mp4").rename(media.root / "b.mp4")
    (media.root / "b.mp4").rename(media.root / "a.mp4")
    media.write("c.txt")

    assert source.list_items() is before


def wait_for_the_next_timestamp(media: Media) -> None:
    """Until the file system gives out a new time: it counts in steps of some milliseconds."""
    probe = media.root.with_name("probe")
    probe.touch()
    first = probe.stat().st_ctime_ns
    deadline = time.monotonic() + 10
    while probe.stat().st_ctime_ns == first:
        assert time.monotonic() < deadline
        probe.touch()
