"""ambassador-nfs keeps what every shipped ambassador keeps, over a real folder."""

import itertools
from pathlib import Path

import pytest

from contract.ambassador_contract import AmbassadorContract
from images.ambassador_nfs.media import Media


class FolderBackend:
    """A folder; its server dies by its going away."""

    program = "longshore-ambassador-nfs"
    secrets = ()

    def __init__(self, folder: Path) -> None:
        self._media = Media(folder / "media")
        self._aside = folder / "aside"
        self._numbers = itertools.count()
        self.environ = {"MEDIA_PATH": str(self._media.root)}

    def add(self) -> str:
        name = f"clip {next(self._numbers)}.mp4"
        self._media.write(name)
        return name

    def remove(self, name: str) -> None:
        (self._media.root / name).unlink()

    def kill(self) -> None:
        self._media.root.rename(self._aside)

    def revive(self) -> None:
        self._aside.rename(self._media.root)


class TestNfsAmbassador(AmbassadorContract):
    """Every rule."""

    @pytest.fixture
    def backend(self, tmp_path: Path) -> FolderBackend:
        """An empty folder."""
        return FolderBackend(tmp_path)
