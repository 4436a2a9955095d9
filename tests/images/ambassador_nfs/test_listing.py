"""Which files are listed, and under which names."""

import errno
import os
import subprocess
import sys
import unicodedata
from contextlib import suppress
from pathlib import Path

import pytest

from images.ambassador_nfs.media import Media, as_nobody, break_scandir, scanned_folders
from longshore_ambassador_nfs.reports import REMEMBERED_MAX

NASTY_NAMES = [
    "two words.mp4",
    "'single' and \"double\".mp4",
    "line\nbreak.mp4",
    "tab\tand\\backslash.mp4",
    "100%2Fdone.mp4",
    "-rf.mp4",
    "a/b.mp4",
    "a-b.mp4",
    "a?b#c&d=e;f.mp4",
    "$(touch x) `y` ${z}.mp4",
    "動画/映画.mp4",
    "🎬.mp4",
    unicodedata.normalize("NFC", "café.mp4"),
    unicodedata.normalize("NFD", "café.mp4"),
    "\u202egpj.mp4",
    "[a]*{b,c}.mp4",
]


def test_names_are_listed_and_given_unharmed(media: Media) -> None:
    """Spaces, quotes, newlines, `%2F`, dashes, any script and both forms of an accent are part of a name, as it is."""
    for name in NASTY_NAMES:
        media.write(name)
    source = media.source()

    assert source.list_items().names == tuple(sorted(NASTY_NAMES))
    assert [source.get_item(name).data["path"] for name in NASTY_NAMES] == NASTY_NAMES


def test_an_empty_folder_is_an_empty_list(media: Media) -> None:
    """No files is an answer, not an error."""
    assert media.source().list_items().names == ()


def test_files_are_listed_by_pattern_and_exclude(media: Media) -> None:
    """Any of several patterns takes a file, any exclude leaves it out, and the list is sorted by name."""
    for name in ["b.mp4", "a.mov", "a.txt", "sub/c.mp4", "archive/d.mp4", "sub/archive/e.mp4"]:
        media.write(name)
    source = media.source("**/*.mp4", "*.mov", exclude=["archive"])

    assert source.list_items().names == ("a.mov", "b.mp4", "sub/archive/e.mp4", "sub/c.mp4")


def test_hidden_and_temporary_files_are_skipped(media: Media) -> None:
    """What begins with a dot, or looks unfinished, is not listed, and neither is what is in such a folder."""
    for name in [".a.mp4", ".b/a.mp4", "c.mp4.part", "~$d.mp4", "e.tmp/f.mp4", "@eaDir/g.mp4", "good.mp4"]:
        media.write(name)

    assert media.source("**").list_items().names == ("good.mp4",)


def test_only_regular_files_are_listed(media: Media, warnings: pytest.LogCaptureFixture) -> None:
    """Folders and pipes with a fitting name are no items, and nobody expects them to be."""
    (media.root / "folder.mp4").mkdir()
    os.mkfifo(media.root / "pipe.mp4")
    media.write("folder.mp4/a.mp4")

    assert media.source().list_items().names == ("folder.mp4/a.mp4",)
    assert warnings.records == []


def test_folders_in_which_nothing_can_match_are_not_read(media: Media, monkeypatch: pytest.MonkeyPatch) -> None:
    """The walk reads no folder in vain: neither beside a pattern's folders nor below its depth."""
    for name in ["in/a.mp4", "in/deep/b.mp4", "other/c.mp4", ".hidden/d.mp4"]:
        media.write(name)
    read = scanned_folders(media, monkeypatch)

    assert media.source("in/*.mp4").list_items().names == ("in/a.mp4",)
    assert read == [".", "in"]


def test_a_link_to_a_file_inside_the_root_is_listed(media: Media) -> None:
    """A link is an item as its target would be, relative or absolute."""
    target = media.write("store/a.bin")
    (media.root / "one.mp4").symlink_to("store/a.bin")
    (media.root / "two.mp4").symlink_to(target)
    source = media.source()

    assert source.list_items().names == ("one.mp4", "two.mp4")
    assert source.get_item("one.mp4").data["size"] == len(b"film")


def test_a_link_appears_and_disappears_with_its_target(media: Media) -> None:
    """A link's target is looked at each time, as no change of the link's own folder tells of it."""
    (media.root / "link.mp4").symlink_to("store/a.bin")
    (media.root / "store").mkdir()
    source = media.source()
    media.clock.advance(60)

    assert source.list_items().names == ()
    target = media.write("store/a.bin")
    assert source.list_items().names == ("link.mp4",)
    target.unlink()
    assert source.list_items().names == ()


def test_links_never_lead_out_of_the_root(media: Media, tmp_path: Path, warnings: pytest.LogCaptureFixture) -> None:
    """A link to a file or folder outside is not listed, and one warning says so."""
    outside = tmp_path / "media-secret"
    outside.mkdir()
    (outside / "a.mp4").write_bytes(b"secret")
    (media.root / "absolute.mp4").symlink_to(outside / "a.mp4")
    (media.root / "relative.mp4").symlink_to("../media-secret/a.mp4")
    (media.root / "folder").symlink_to(outside, target_is_directory=True)
    source = media.source(settle_seconds=0)

    assert source.list_items().names == ()
    assert source.list_items().names == ()
    assert len(warnings.records) == 2
    assert "the link leads out of the root" in warnings.text


def test_loops_of_links_end(media: Media) -> None:
    """Links to folders are not followed, and a link to itself is no item."""
    media.write("a/b.mp4")
    (media.root / "a" / "loop").symlink_to("..", target_is_directory=True)
    (media.root / "self.mp4").symlink_to("self.mp4")

    assert media.source().list_items().names == ("a/b.mp4",)


def test_a_root_that_is_a_link_is_as_good_as_its_target(media: Media, tmp_path: Path) -> None:
    """MEDIA_PATH itself may be a link: `/media` → `/mnt/nas` is common."""
    media.write("a/b.mp4")
    (tmp_path / "link").symlink_to(media.root, target_is_directory=True)
    source = Media(tmp_path / "link").source()

    assert source.list_items().names == ("a/b.mp4",)
    assert source.get_item("a/b.mp4").data["path"] == "a/b.mp4"


def test_names_that_are_not_utf_8_are_skipped_with_one_warning(
    media: Media, warnings: pytest.LogCaptureFixture
) -> None:
    """A name that JSON can't carry is reported once, not at every poll, and only if it had been an item."""
    media.write("good.mp4")
    root = os.fsencode(media.root)
    for name in [b"caf\xe9.mp4", b"\xff.txt"]:
        with open(os.path.join(root, name), "wb"):  # noqa: PTH118, PTH123 - pathlib has no bytes
            pass
    os.mkdir(os.path.join(root, b"\xfe"))  # noqa: PTH102, PTH118 - the same
    source = media.source()

    assert [source.list_items().names for _ in range(3)] == [("good.mp4",)] * 3
    assert sorted(record.getMessage().count("not UTF-8") for record in warnings.records) == [1, 1]
    assert "caf\\\\xe9.mp4" in warnings.text
    assert ".txt" not in warnings.text


def test_the_number_of_warnings_is_bounded(media: Media, warnings: pytest.LogCaptureFixture) -> None:
    """A folder full of bad names costs a bounded number of lines, and the last one says that there are more."""
    root = os.fsencode(media.root)
    for number in range(REMEMBERED_MAX + 50):
        with open(os.path.join(root, b"%d\xff.mp4" % number), "wb"):  # noqa: PTH118, PTH123 - pathlib has no bytes
            pass
    source = media.source()
    source.list_items()
    source.list_items()

    assert len(warnings.records) == REMEMBERED_MAX + 1
    assert "more paths skipped than are reported one by one" in warnings.records[-1].getMessage()


def test_a_folder_that_must_not_be_read_is_skipped_with_one_warning(
    public_media: Media, warnings: pytest.LogCaptureFixture
) -> None:
    """No permission for one folder leaves out that folder alone, and it comes back with the permission."""
    public_media.write("good.mp4")
    secret = public_media.write("secret/a.mp4").parent
    secret.chmod(0)
    source = public_media.source()
    with as_nobody():
        assert [source.list_items().names for _ in range(3)] == [("good.mp4",)] * 3

    assert [record.levelname for record in warnings.records] == ["WARNING"]
    assert "Permission denied" in warnings.text
    secret.chmod(0o755)
    with as_nobody():
        assert source.list_items().names == ("good.mp4", "secret/a.mp4")


def test_files_of_a_folder_that_must_not_be_entered_are_skipped(
    public_media: Media, warnings: pytest.LogCaptureFixture
) -> None:
    """A folder whose names may be read but whose files may not be looked at leaves them out, each with a warning."""
    public_media.write("good.mp4")
    public_media.write("names/a.mp4").parent.chmod(0o744)
    source = public_media.source()
    with as_nobody():
        assert [source.list_items().names for _ in range(3)] == [("good.mp4",)] * 3

    assert len(warnings.records) == 1


@pytest.mark.parametrize("code", [errno.ENOENT, errno.ENOTDIR])
def test_a_folder_that_goes_during_the_walk_is_left_out_quietly(
    media: Media, monkeypatch: pytest.MonkeyPatch, warnings: pytest.LogCaptureFixture, code: int
) -> None:
    """What is removed between two system calls is gone, and that is nothing to report."""
    media.write("good.mp4")
    media.write("going/a.mp4")
    break_scandir(monkeypatch, b"going", code)

    assert media.source().list_items().names == ("good.mp4",)
    assert warnings.records == []


def test_deep_folders_are_walked(media: Media) -> None:
    """Depth is bounded by the system's path length, not by Python's stack."""
    depth = sys.getrecursionlimit() + 50
    (media.root / "d").mkdir()
    try:
        make_deep_file(media.root, depth)
        source = media.source(settle_seconds=0)

        assert source.list_items().names == ("d/" * depth + "a.mp4",)
    finally:
        # Python's own way to remove it, which pytest would use, is recursive.
        subprocess.run(["/bin/rm", "-rf", str(media.root / "d")], check=True)


def make_deep_file(root: Path, depth: int) -> None:
    """`d/d/…/a.mp4`, step by step, as its path as a whole is long."""
    folder = os.open(root, os.O_RDONLY)
    for _ in range(depth):
        with suppress(FileExistsError):
            os.mkdir("d", dir_fd=folder)
        below = os.open("d", os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = below
    os.close(os.open("a.mp4", os.O_CREAT, dir_fd=folder))
    os.close(folder)
