"""Whatever happens to a tree, the list is what a naive walk of everything gives."""

import os
import shutil
import tempfile
import time
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from images.ambassador_nfs.media import Media

FOLDERS = st.sampled_from(["", "a/", "b/", "a/b/", "skip/", ".hidden/"])
NAMES = st.sampled_from(["x.mp4", "y.mp4", "z.txt", ".h.mp4", "t.mp4.part", "a", "b"])
SETTLE_SECONDS = 30.0


class TreeMachine(RuleBasedStateMachine):
    """
    Files, folders and links come and go; the list must follow at once.

    The source's clock is an hour ahead, so that it trusts every timestamp at once: the hardest case for its memory.
    In return each change waits until the file system's clock has moved on.
    """

    def __init__(self) -> None:
        super().__init__()
        self.base = Path(tempfile.mkdtemp())
        self.media = Media(self.base / "media")
        self.media.clock.advance(3600)
        self.source = self.media.source("**/*.mp4", "a/*", exclude=["skip", "b/y*"], settle_seconds=SETTLE_SECONDS)
        self.listed: set[str] = set()

    @rule(folder=FOLDERS, name=NAMES, age=st.sampled_from([0, 10, 100]))
    def write(self, folder: str, name: str, age: float) -> None:
        """A new or changed file, where nothing else is in the way."""
        path = self.media.root / folder / name
        if self._is_free(path.parent) and not path.is_dir() and not path.is_symlink():
            self.media.write(folder + name, age=age)

    @rule(folder=FOLDERS, name=NAMES)
    def remove(self, folder: str, name: str) -> None:
        """A file, link or whole folder goes."""
        path = self.media.root / folder / name
        if path.is_symlink() or path.is_file():
            path.unlink()
        elif path.is_dir():
            shutil.rmtree(path)

    @rule(folder=FOLDERS, name=NAMES, to_folder=FOLDERS, to_name=NAMES)
    def rename(self, folder: str, name: str, to_folder: str, to_name: str) -> None:
        """A file or whole folder goes to a free place."""
        old, new = self.media.root / folder / name, self.media.root / to_folder / to_name
        is_inside = new.as_posix().startswith(f"{old.as_posix()}/")
        if os.path.lexists(old) and new.parent.is_dir() and not os.path.lexists(new) and not is_inside:
            old.rename(new)

    @rule(
        folder=FOLDERS,
        name=NAMES,
        to=st.sampled_from(["x.mp4", "z.txt", "a", "../x.mp4", "../../x.mp4", "/etc/hosts"]),
    )
    def link(self, folder: str, name: str, to: str) -> None:
        """A link, sound or not, inside or out."""
        path = self.media.root / folder / name
        if path.parent.is_dir() and not os.path.lexists(path):
            path.symlink_to(to)

    @rule(seconds=st.sampled_from([1, 15, 30, 700]))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.media.clock.advance(seconds)

    @invariant()
    def the_list_is_that_of_a_naive_walk(self) -> None:
        """Settled files, and those that were listed before and still exist."""
        self._wait_for_the_next_timestamp()
        expected = {name for name in self._items() if name in self.listed or self._is_settled(name)}
        found = self.source.list_items()

        assert list(found.names) == sorted(expected)
        assert self.source.list_items() is found
        for name in expected:
            assert self.source.get_item(name).data["path"] == name
        self.listed = expected
        self._wait_for_the_next_timestamp()

    def teardown(self) -> None:
        """Nothing is left behind."""
        shutil.rmtree(self.base)

    def _items(self) -> list[str]:
        found = []
        root = Path(os.path.realpath(self.media.root))
        for folder, _, files in os.walk(root):
            for name in files:
                path = Path(folder, name)
                # Unlike Path.resolve, it ends in a loop of links without an error.
                real = Path(os.path.realpath(path))
                is_inside = real.is_relative_to(root) and real.is_file() and not real.is_symlink()
                if is_inside and self._is_wanted(path.relative_to(root)):
                    found.append(path.relative_to(root).as_posix())
        return found

    @staticmethod
    def _is_wanted(path: Path) -> bool:
        # Folders by the same rule as files.
        if any(part.startswith(".") or part.endswith(".part") for part in path.parts) or path.parts[0] == "skip":
            return False
        if path.parts[0] == "b" and len(path.parts) > 1 and path.parts[1].startswith("y"):
            return False
        return path.name.endswith(".mp4") or (len(path.parts) == 2 and path.parts[0] == "a")

    def _is_settled(self, name: str) -> bool:
        return self.media.clock.now - (self.media.root / name).stat().st_mtime >= SETTLE_SECONDS

    def _is_free(self, folder: Path) -> bool:
        """Whether `folder` is, or can be made, without a file or a link on its way."""
        ways = [folder, *folder.parents]
        inside = ways[: ways.index(self.media.root)]
        return all(not way.is_symlink() and (way.is_dir() or not way.exists()) for way in inside)

    def _wait_for_the_next_timestamp(self) -> None:
        probe = self.base / "probe"
        probe.touch()
        first = probe.stat().st_ctime_ns
        deadline = time.monotonic() + 10
        while probe.stat().st_ctime_ns == first:
            assert time.monotonic() < deadline
            probe.touch()


TestTree = TreeMachine.TestCase
TestTree.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
