"""A file that is still being written is not listed."""

import os

from images.ambassador_nfs.media import Media


def test_a_file_is_listed_once_it_has_not_been_modified_for_the_settling_time(media: Media) -> None:
    """29 seconds are too few, 30 are enough."""
    media.write("a.mp4", age=0)
    source = media.source(settle_seconds=30)

    assert source.list_items().names == ()
    media.clock.advance(29)
    assert source.list_items().names == ()
    media.clock.advance(1)
    assert source.list_items().names == ("a.mp4",)


def test_a_file_that_grows_is_not_listed(media: Media) -> None:
    """Each write begins the settling time anew, also in a folder that doesn't change otherwise."""
    source = media.source(settle_seconds=30)
    for length in range(10):
        media.write("a.mp4", b"x" * length, age=0)
        assert source.list_items().names == ()
        media.clock.advance(20)

    media.clock.advance(10)
    assert source.list_items().names == ("a.mp4",)


def test_a_finished_file_that_is_renamed_into_the_folder_is_listed_at_once(media: Media) -> None:
    """Renaming keeps the modification time, so writing aside and renaming is the quickest way in."""
    source = media.source(settle_seconds=30)
    source.list_items()
    media.write(".upload/a.mp4", age=60).rename(media.root / "a.mp4")

    assert source.list_items().names == ("a.mp4",)


def test_a_listed_file_stays_listed_while_it_exists(media: Media) -> None:
    """An item doesn't come and go with later writes: its work may have begun."""
    media.write("a.mp4")
    source = media.source(settle_seconds=30)
    assert source.list_items().names == ("a.mp4",)
    media.write("a.mp4", b"more", age=0)
    media.write("b.mp4", age=0)
    assert source.list_items().names == ("a.mp4",)

    (media.root / "a.mp4").unlink()
    assert source.list_items().names == ()


def test_a_file_from_the_future_is_listed_when_it_has_not_changed_for_the_settling_time(media: Media) -> None:
    """A file server whose clock is ahead must not hide a file for ever."""
    media.write("a.mp4", age=-86400)
    source = media.source(settle_seconds=30)

    assert source.list_items().names == ()
    media.clock.advance(29)
    assert source.list_items().names == ()
    media.clock.advance(1)
    assert source.list_items().names == ("a.mp4",)


def test_a_file_from_the_future_that_grows_is_not_listed(media: Media) -> None:
    """Two looks count only if size and modification time are the same at both."""
    source = media.source(settle_seconds=30)
    for length in range(5):
        media.write("a.mp4", b"x" * length, age=-86400)
        assert source.list_items().names == ()
        media.clock.advance(29)


def test_a_link_settles_with_its_target(media: Media) -> None:
    """What counts is the file that is written, wherever the link is."""
    media.write("store/a.bin", age=0)
    (media.root / "a.mp4").symlink_to("store/a.bin")
    source = media.source(settle_seconds=30)

    assert source.list_items().names == ()
    media.clock.advance(30)
    assert source.list_items().names == ("a.mp4",)
    os.utime(media.root / "store/a.bin", (media.clock.now, media.clock.now))
    media.write("new.txt")
    assert source.list_items().names == ("a.mp4",)


def test_without_settling_a_file_is_listed_at_once(media: Media) -> None:
    """0 is for folders into which finished files are renamed."""
    media.write("a.mp4", age=-86400)

    assert media.source(settle_seconds=0).list_items().names == ("a.mp4",)
