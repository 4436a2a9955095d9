"""The scratch folder of one item, which the three steps share: what lies where in it.

input/<name>    what was fetched; <name> is INPUT_NAME, or the key's own where that is plain enough to be a file's
output/         OUTPUT_DIR: what the script makes; OUTPUT_FOLDER says where else
fetched.json    what `fetch` tells `run` and `store`
result          what the script says of itself
"""

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from longshore_kit.errors import ItemFailed, SettingsError

_PLAIN: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,199}")
_OPEN: Final = 0o777
"""Of what stages share: each has the user id of its image, and reads or writes beside the others."""
_EXTENSION: Final = re.compile(r"\.[A-Za-z0-9]{1,10}")


@dataclass(frozen=True)
class Fetched:
    """What was fetched."""

    name: str
    """Of the file in `input`."""
    size_bytes: int
    etag: str
    """As the store gave it; of a URL its ETag, or empty."""


@dataclass(frozen=True)
class Workplace:
    """One scratch folder."""

    folder: Path
    output_folder: str = "output"
    """The name of the folder in it that is stored."""

    @property
    def output(self) -> Path:
        """What the script makes."""
        return self.folder / self.output_folder

    @property
    def result_file(self) -> Path:
        """What the script says of itself."""
        return self.folder / "result"

    def clear(self) -> None:
        """Empty it of what an earlier attempt has left; the folder itself may be a mount, and shared by others."""
        for folder in (self.folder / "input", self.output):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            folder.chmod(_OPEN)
        for name in ("fetched.json", "result"):
            (self.folder / name).unlink(missing_ok=True)

    def input_for(self, key: str, name: str = "") -> Path:
        """Where the file of this key is put: as `name`, or its own where it is plain, else with its ending at least."""
        name = name or key.rsplit("/", 1)[-1]
        if not _PLAIN.fullmatch(name):
            suffix = "." + name.rsplit(".", 1)[-1] if "." in name else ""
            name = "input" + (suffix if _EXTENSION.fullmatch(suffix) else "")
        return self.folder / "input" / name

    def tell(self, fetched: Fetched) -> None:
        """For the steps that follow."""
        (self.folder / "fetched.json").write_text(json.dumps(asdict(fetched)), encoding="utf-8")

    def fetched(self) -> Fetched:
        """
        What `fetch` told.

        Raises:
            ItemFailed: it was not here.
        """
        try:
            return Fetched(**json.loads((self.folder / "fetched.json").read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as exc:
            raise ItemFailed(
                f"nothing was fetched into {self.folder}: run the step `fetch` first, with the same WORK_DIR"
            ) from exc

    @property
    def input_file(self) -> Path:
        """The file that was fetched."""
        return self.folder / "input" / self.fetched().name


def is_plain(name: str) -> bool:
    """Whether a name means nothing to any tool."""
    return _PLAIN.fullmatch(name) is not None


@contextmanager
def fresh(parent: Path | None, output_folder: str) -> Iterator[Workplace]:
    """A folder for all three steps, removed at the end, however that comes."""
    try:
        folder = TemporaryDirectory(prefix="longshore-", dir=parent)
    except OSError as exc:
        raise SettingsError(
            f"WORK_DIR: no folder can be made in {parent or 'the temporary folder'}: {exc.strerror}"
        ) from exc
    with folder as path:
        yield Workplace(Path(path), output_folder)


def shared(work_dir: Path | None, output_folder: str) -> Workplace:
    """
    The folder that single steps share.

    Raises:
        SettingsError: none is named.
    """
    if work_dir is None:
        raise SettingsError("WORK_DIR is not set: fetch, run and store share a folder, name it")
    return Workplace(work_dir, output_folder)
