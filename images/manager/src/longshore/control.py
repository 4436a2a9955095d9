"""Whether a queue starts items: running, paused or draining, as a person has said; it outlives every manager.

Of a queue on one machine it is a file in its state folder. What runs goes on in any case.
"""

import contextlib
import enum
import uuid
from pathlib import Path
from typing import Final, Protocol

from longshore_kit.errors import EngineUnavailable, SettingsError

_FILE: Final = "mode"
_SEEN_FILE: Final = "mode.seen"


class Mode(enum.StrEnum):
    """What a person has said."""

    RUNNING = "running"
    PAUSED = "paused"
    """Nothing new is started, until somebody resumes."""
    DRAINING = "draining"
    """The same, said in order to stop for good: whoever looks knows that it is on purpose, and when it is done."""

    @property
    def may_start(self) -> bool:
        """Whether items are started."""
        return self is Mode.RUNNING


class Control(Protocol):
    """Where it is kept what a person has said."""

    def mode(self) -> Mode:
        """
        What was said last.

        Raises:
            EngineUnavailable: it can't be read now.
        """

    def set_mode(self, mode: Mode) -> None:
        """
        Say it; no manager has seen it yet.

        Raises:
            EngineUnavailable, LedgerUnavailable: it can't be written now; safe to retry.
        """

    def note_seen(self, mode: Mode) -> None:
        """
        Note, as a manager, that it has seen that nothing is to be started, and starts nothing any more.

        Raises:
            EngineUnavailable, LedgerUnavailable: as for `set_mode`.
        """

    def is_seen(self, mode: Mode) -> bool:
        """Whether a manager has noted that of this mode."""


class FileControl:
    """A file in the queue's state folder; there is none while it runs."""

    def __init__(self, state_folder: Path) -> None:
        self._path: Final = state_folder / _FILE
        self._seen: Final = state_folder / _SEEN_FILE

    def mode(self) -> Mode:
        """As `Control.mode`."""
        try:
            text = self._path.read_bytes().decode(errors="backslashreplace").strip()
        except FileNotFoundError:
            return Mode.RUNNING
        except OSError as exc:
            raise EngineUnavailable(f"{self._path} can't be read: {exc}") from exc
        return mode_of(text, str(self._path))

    def set_mode(self, mode: Mode) -> None:
        """As `Control.set_mode`."""
        self._write(self._seen, "")
        self._write(self._path, "" if mode is Mode.RUNNING else mode)

    def note_seen(self, mode: Mode) -> None:
        """As `Control.note_seen`."""
        self._write(self._seen, mode)

    def is_seen(self, mode: Mode) -> bool:
        """As `Control.is_seen`."""
        with contextlib.suppress(OSError):
            return self._seen.read_bytes().strip() == mode.encode()
        return False

    def _write(self, path: Path, text: str) -> None:
        """Have a file say this; no file says nothing."""
        try:
            if not text:
                path.unlink(missing_ok=True)
                return
            aside = path.with_name(f".{path.name}.{uuid.uuid4()}")
            try:
                aside.write_text(f"{text}\n", encoding="utf-8")
                aside.replace(path)
            finally:
                aside.unlink(missing_ok=True)
        except OSError as exc:
            raise EngineUnavailable(f"{path} can't be written: {exc}") from exc


def mode_of(text: str, where: str) -> Mode:
    """
    The mode that a text names.

    Raises:
        SettingsError: it names none: somebody wrote it by hand, and the queue must not start what was to stand still.
    """
    with contextlib.suppress(ValueError):
        return Mode(text)
    raise SettingsError(f"{where} says {text!r}, and may say {', '.join(Mode)}: resume the queue to begin anew")
