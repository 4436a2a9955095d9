"""A listing that could not be made whole is an error, never a shorter list."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from images.ambassador_nfs.media import Media, as_nobody, break_scandir
from longshore_kit.errors import ItemNotFound, SourceUnavailable

SAY_WHERE = "say where it is: in a queue file by the first of source.volumes, else by MEDIA_PATH"


def test_a_missing_root_is_unavailable_until_it_is_there(media: Media) -> None:
    """The ambassador may start before its folder; it needs no restart when the folder comes."""
    media.root.rmdir()
    source = media.source()
    for _ in range(2):
        with pytest.raises(SourceUnavailable) as caught:
            source.list_items()
        assert str(caught.value) == (
            f"{media.root} could not be looked at (No such file or directory): mount or create it, or {SAY_WHERE}"
        )

    media.write("a.mp4")
    assert source.list_items().names == ("a.mp4",)


def test_a_root_that_goes_is_unavailable_and_comes_back(media: Media, tmp_path: Path) -> None:
    """The list before and after an outage is the same, and in between there is none."""
    media.write("a/b.mp4")
    source = media.source()
    before = source.list_items()
    media.root.rename(tmp_path / "away")
    with pytest.raises(SourceUnavailable):
        source.list_items()
    with pytest.raises(SourceUnavailable):
        source.get_item("a/b.mp4")

    (tmp_path / "away").rename(media.root)
    assert source.list_items() is before


def test_a_root_that_is_a_file_is_unavailable(media: Media) -> None:
    """MEDIA_PATH must be a folder."""
    media.root.rmdir()
    media.root.write_bytes(b"")

    with pytest.raises(SourceUnavailable, match=f"is no folder: {SAY_WHERE}"):
        media.source().list_items()


def test_a_root_that_must_not_be_read_is_unavailable(public_media: Media) -> None:
    """No permission for the root is no permission for the source."""
    public_media.write("a.mp4")
    public_media.root.chmod(0)
    source = public_media.source()
    with as_nobody(), pytest.raises(SourceUnavailable, match="Permission denied"):
        source.list_items()
    public_media.root.chmod(0o755)


def test_a_missing_marker_file_is_unavailable(media: Media) -> None:
    """A mount point without its mount is an ordinary empty folder; only the marker file tells."""
    source = media.source(marker_file="meta/mounted")
    with pytest.raises(SourceUnavailable, match=r"marker file 'meta/mounted' .* could not be looked at"):
        source.list_items()
    with pytest.raises(SourceUnavailable):
        source.get_item("a.mp4")

    media.write("meta/mounted")
    assert source.list_items().names == ()
    with pytest.raises(ItemNotFound):
        source.get_item("a.mp4")


@pytest.mark.parametrize("code", [errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT, errno.EHOSTDOWN])
@pytest.mark.parametrize("where", [b"media", b"sub"])
def test_an_error_of_the_file_server_is_unavailable(
    media: Media, monkeypatch: pytest.MonkeyPatch, where: bytes, code: int
) -> None:
    """Where the store and not one path is the trouble, there is no list, whatever was read by then."""
    media.write("a.mp4")
    media.write("sub/b.mp4")
    source = media.source()
    before = source.list_items()
    with monkeypatch.context() as patch:
        break_scandir(patch, where, code)
        for _ in range(2):
            with pytest.raises(SourceUnavailable, match="check the mount and the file server"):
                source.list_items()

    assert source.list_items() is before


def test_an_error_at_one_file_is_unavailable(media: Media, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stat that fails with EIO tells nothing about whether the file is still there."""
    media.write("a.mp4")

    def broken(_path: bytes) -> os.stat_result:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "lstat", broken)
    source = media.source()
    with pytest.raises(SourceUnavailable, match="Input/output error"):
        source.list_items()
    with pytest.raises(SourceUnavailable, match="Input/output error"):
        source.get_item("a.mp4")


@pytest.mark.parametrize("left_behind", [[], [".placeholder", "README.txt"]])
def test_a_file_system_that_vanishes_is_not_an_empty_folder(
    elsewhere: Path, tmp_path: Path, left_behind: list[str]
) -> None:
    """When the root is suddenly on another file system, with nothing to list, that is an outage until it is back."""
    mounted, local = Media(elsewhere), Media(tmp_path / "local")
    mounted.write("a/b.mp4")
    for name in left_behind:
        local.write(name)
    root = tmp_path / "root"
    root.symlink_to(elsewhere)
    source = Media(root).source()
    before = source.list_items()
    point(root, local.root)
    for _ in range(2):
        with pytest.raises(SourceUnavailable, match=r"on another file system than before.*was it unmounted"):
            source.list_items()
    with pytest.raises(SourceUnavailable):
        source.get_item("a/b.mp4")

    point(root, elsewhere)
    assert source.list_items() is before


def test_another_file_system_with_items_is_taken_as_it_is(elsewhere: Path, tmp_path: Path) -> None:
    """A folder that moved to a new server is listed as soon as there is something in it."""
    Media(elsewhere).write("a.mp4")
    local = Media(tmp_path / "local")
    local.write("b.mp4")
    root = tmp_path / "root"
    root.symlink_to(elsewhere)
    source = Media(root).source()
    source.list_items()
    point(root, local.root)

    assert source.list_items().names == ("b.mp4",)


def test_a_root_that_changes_during_the_walk_is_unavailable(
    media: Media, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unmount between two folders would look like a removed folder: the root is looked at once more at the end."""
    media.write("a.mp4")
    media.write("sub/b.mp4")
    source = media.source()
    before = source.list_items()
    media.clock.advance(700)
    scandir = os.scandir

    def unmounting(path: bytes) -> object:
        found = scandir(path)
        if path.endswith(b"media"):
            media.root.rename(tmp_path / "away")
            media.root.mkdir()
        return found

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", unmounting)
        with pytest.raises(SourceUnavailable, match="while it was listed; try again"):
            source.list_items()

    shutil.rmtree(media.root)
    (tmp_path / "away").rename(media.root)
    assert source.list_items() is before


def point(link: Path, target: Path) -> None:
    """Let `link` lead to `target`: to a program the same as an unmount, without the right to mount."""
    link.unlink()
    link.symlink_to(target, target_is_directory=True)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    """A folder on another file system than pytest's."""
    shared_memory = Path("/dev/shm")
    if not shared_memory.is_dir() or shared_memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("needs a second file system: run where /dev/shm is a tmpfs, as in Linux and in containers")
    with tempfile.TemporaryDirectory(dir=shared_memory) as folder:
        yield Path(folder)
