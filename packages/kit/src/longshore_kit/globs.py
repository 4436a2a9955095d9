"""Which paths, or keys, are items: globs, seen from one folder at a time, so that a walk enters no folder in vain.

A pattern is the whole path from the root: `*.mp4` is the root's own files, `**/*.mp4` those of every folder. `**` is
any number of folders, none too; `*`, `?` and `[…]` stay within one name; `{mp4,mov}` is either. Case counts.
As in a shell, a name with a leading dot is taken only by a part of a pattern that itself begins with a dot. Refused:
patterns that can match nothing below the root (absolute, `..`, empty parts). Within a name Python's rules hold:
https://docs.python.org/3/library/fnmatch.html
"""

import fnmatch
import re
from collections.abc import Iterable
from functools import cached_property
from typing import Annotated, Final, TypeAlias

from pydantic import AfterValidator

from longshore_kit.settings import TextList

Parts: TypeAlias = tuple[str, ...]
"""What is left of a pattern below some folder; never empty, and never `**` at its end."""

ANY_FOLDERS: Final = "**"

# Innermost braces with a comma. Not across `/`, which would change a pattern's depth; `[{]` is a brace as such.
_BRACES: Final = re.compile(r"(?<!\[)\{([^{}\[\]/]*,[^{}\[\]/]*)\}")
_CROSSING: Final = re.compile(
    r"(?<!\[)\{[^{}\[\]]*,[^{}\[\]]*/[^{}\[\]]*\}|(?<!\[)\{[^{}\[\]]*/[^{}\[\]]*,[^{}\[\]]*\}"
)
# A guess at "more than anybody means": twenty braces with two choices would be a million patterns.
_EXPANSIONS_MAX: Final = 1000

TEMPORARY_SUFFIXES: Final = (
    "~",  # editors' backups
    ".tmp",
    ".temp",
    ".part",  # Firefox, yt-dlp, curl wrappers
    ".partial",
    ".filepart",  # WinSCP
    ".crdownload",  # Chromium
    ".download",  # Safari
    ".swp",  # vim
    ".swx",
)
TEMPORARY_PREFIXES: Final = (
    ".nfs",  # an NFS client's name for a file that was removed while open
    "~$",  # Office's locks
    ".~lock.",  # LibreOffice's
)
NOT_CONTENT: Final = frozenset(
    {
        "@eadir",  # Synology: previews, with names that end in .mp4 too
        "#recycle",  # Synology: removed files
        "@recycle",  # QNAP: removed files
        "#snapshot",  # Synology: every file once more per snapshot
        "$recycle.bin",  # Windows
        "lost+found",
    }
)


class BadPattern(ValueError):
    """A pattern that can match nothing below the root; the text says why."""


def is_temporary(name: str) -> bool:
    """Whether a file or folder called `name` is somebody's unfinished or discarded work; case does not count."""
    lower = name.lower()
    return lower.endswith(TEMPORARY_SUFFIXES) or lower.startswith(TEMPORARY_PREFIXES) or lower in NOT_CONTENT


def parse(pattern: str) -> frozenset[Parts]:
    """
    The pattern, once per choice of its braces, in parts.

    Raises:
        BadPattern: it can match nothing below the root, or its braces have too many choices.
    """
    return frozenset(_split(one) for one in _expand(pattern))


def _expand(pattern: str) -> frozenset[str]:
    done: set[str] = set()
    left = {pattern}
    while left:
        one = left.pop()
        if (braces := _BRACES.search(one)) is None:
            done.add(one)
        else:
            left.update(one[: braces.start()] + choice + one[braces.end() :] for choice in braces[1].split(","))
        if len(done) + len(left) > _EXPANSIONS_MAX:
            raise BadPattern(f"the pattern {pattern!r} has more than {_EXPANSIONS_MAX} choices in its braces")
    return frozenset(done)


def _split(pattern: str) -> Parts:
    if pattern.startswith("/"):
        raise BadPattern(f"the pattern {pattern!r} is absolute; patterns begin at the root, without a slash")
    if braces := _CROSSING.search(pattern):
        raise BadPattern(
            f"the pattern {pattern!r} has a choice with a slash in it, {braces[0]}: write it as two patterns"
        )
    if "\0" in pattern:
        raise BadPattern(f"the pattern {pattern!r} contains a NUL")
    parts = tuple(pattern.split("/"))
    for part in parts:
        if part in {"", ".", ".."}:
            raise BadPattern(f"the pattern {pattern!r} has a part {part!r}, which no path below the root has")
    # `clips/**` means the files in it, at any depth.
    return (*parts, "*") if parts[-1] == ANY_FOLDERS else parts


class _Globs:
    """Several patterns as they look from inside one folder. Made once per different look, see `_GlobSet`."""

    def __init__(self, tails: frozenset[Parts], owner: "_GlobSet") -> None:
        # `**` may also stand for no folder at all.
        whole = set(tails)
        for tail in tails:
            rest = tail
            while rest[0] == ANY_FOLDERS:
                rest = rest[1:]
                whole.add(rest)
        self._tails = whole
        self._owner = owner

    def __bool__(self) -> bool:
        return bool(self._tails)

    @cached_property
    def _names(self) -> re.Pattern[str] | None:
        """One expression for all names that end a pattern here."""
        last = sorted(tail[0] for tail in self._tails if len(tail) == 1)
        return re.compile("|".join(map(self._owner.expression, last))) if last else None

    @cached_property
    def _folders(self) -> list[tuple[re.Pattern[str], Parts]]:
        """For each way into a folder: what its name must match, and what is left of the pattern below it."""
        ways = [(tail[0], tail[1:]) for tail in self._tails if len(tail) > 1 and tail[0] != ANY_FOLDERS]
        ways += [("*", tail) for tail in self._tails if tail[0] == ANY_FOLDERS]
        return [(re.compile(self._owner.expression(part)), rest) for part, rest in ways]

    def match(self, name: str) -> bool:
        return self._names is not None and self._names.match(name) is not None

    def enter(self, name: str) -> "_Globs":
        return self._owner.at(frozenset(rest for folder, rest in self._folders if folder.match(name)))


class _GlobSet:
    """Patterns, and all their looks from inside some folder: a handful, whatever the number of folders."""

    def __init__(self, patterns: Iterable[str], *, may_be_hidden: bool) -> None:
        self.may_be_hidden = may_be_hidden
        self._looks: dict[frozenset[Parts], _Globs] = {}
        self.root = self.at(frozenset().union(*map(parse, patterns)))

    def at(self, tails: frozenset[Parts]) -> _Globs:
        if tails not in self._looks:
            self._looks[tails] = _Globs(tails, self)
        return self._looks[tails]

    def expression(self, part: str) -> str:
        hidden = "" if self.may_be_hidden or part.startswith(".") else r"(?!\.)"
        return hidden + fnmatch.translate(part)


class Place:
    """One folder as the patterns see it. Immutable."""

    __slots__ = ("_unwanted", "_wanted")

    def __init__(self, wanted: _Globs, unwanted: _Globs) -> None:
        self._wanted = wanted
        self._unwanted = unwanted

    def takes(self, name: str) -> bool:
        """Whether a file called `name` in this folder is an item."""
        return self._wanted.match(name) and not self._unwanted.match(name) and not is_temporary(name)

    def enter(self, name: str) -> "Place | None":
        """The folder called `name` in this one; None when nothing below it can be an item."""
        if self._unwanted.match(name) or is_temporary(name):
            return None
        inside = self._wanted.enter(name)
        return Place(inside, self._unwanted.enter(name)) if inside else None


class Selection:
    """
    Which paths below a root are items: matched by one of `patterns` and by none of `exclude`.

    An `exclude` that matches a folder excludes all that is in it, and matches hidden names as any others.

    Raises:
        BadPattern: a pattern can match nothing below the root.
    """

    def __init__(self, patterns: Iterable[str], exclude: Iterable[str] = ()) -> None:
        self.root = Place(
            _GlobSet(patterns, may_be_hidden=False).root,
            _GlobSet(exclude, may_be_hidden=True).root,
        )

    def takes(self, path: str) -> bool:
        """Whether a file at `path`, relative to the root, is an item. A path that leaves the root never is."""
        *folders, name = path.split("/")
        if "\0" in path or any(part in {"", ".", ".."} for part in (*folders, name)):
            return False
        place: Place | None = self.root
        for folder in folders:
            place = place.enter(folder) if place else None
        return place is not None and place.takes(name)


def _checked(patterns: tuple[str, ...]) -> tuple[str, ...]:
    Selection(patterns)
    return patterns


Globs = Annotated[TextList, AfterValidator(_checked)]
"""A setting: one pattern, or a JSON list of them."""
