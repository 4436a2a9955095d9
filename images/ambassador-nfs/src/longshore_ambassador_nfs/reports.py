"""Warnings that are given once: a poll every few seconds must not repeat what nobody has mended yet."""

from typing import Final

from longshore_kit.logs import get_logger

REMEMBERED_MAX: Final = 100
"""How many paths are reported one by one. More are one more line: somebody has to look at the whole folder then."""


class Reports:
    """What was reported so far, in bounded memory. Not for several threads at once."""

    def __init__(self) -> None:
        self._seen: set[tuple[str, bytes]] = set()
        self._is_full = False
        self._log = get_logger("longshore.ambassador-nfs")

    def once(self, event: str, path: bytes, *, reason: str) -> None:
        """A warning about `path`, unless there was the same one before."""
        if self._is_full or (event, path) in self._seen:
            return
        if len(self._seen) == REMEMBERED_MAX:
            self._is_full = True
            self._log.warning("more paths skipped than are reported one by one", reported=REMEMBERED_MAX)
            return
        self._seen.add((event, path))
        self._log.warning(event, path=path.decode(errors="backslashreplace"), reason=reason)
