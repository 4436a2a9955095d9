"""Globs, against a matcher so simple that it can't be wrong."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from longshore_kit.globs import BadPattern, Selection

PARTS = st.one_of(
    st.just("**"),
    st.lists(st.sampled_from(["a", "b", ".", "*", "?", "[ab]", "[!a]", "\n"]), min_size=1, max_size=4).map("".join),
).filter(lambda part: part not in {".", ".."})
NAMES = st.text("ab.\n", min_size=1, max_size=4).filter(lambda name: name not in {".", ".."})


def name_matches(part: str, name: str) -> bool:
    """One character of the pattern at a time."""
    if not part:
        return not name
    if part[0] == "*":
        return name_matches(part[1:], name) or (bool(name) and name_matches(part, name[1:]))
    if not name:
        return False
    if part.startswith("["):
        inside, rest = part[1:].split("]", 1)
        is_in = name[0] not in inside[1:] if inside.startswith("!") else name[0] in inside
        return is_in and name_matches(rest, name[1:])
    return part[0] in {"?", name[0]} and name_matches(part[1:], name[1:])


def path_matches(pattern: list[str], path: list[str]) -> bool:
    """One part at a time; a leading dot is matched by a leading dot only."""
    if not pattern or not path:
        return not pattern and not path
    if pattern[0] == "**":
        if pattern[1:] and path_matches(pattern[1:], path):
            return True
        rest = path_matches(pattern, path[1:]) if path[1:] else not pattern[1:]
        return rest and not path[0].startswith(".")
    hidden = path[0].startswith(".") and not pattern[0].startswith(".")
    return not hidden and name_matches(pattern[0], path[0]) and path_matches(pattern[1:], path[1:])


@given(st.lists(PARTS, min_size=1, max_size=4), st.lists(NAMES, min_size=1, max_size=4))
@example(["**"], ["a"])
@example(["a", "**", "**", "b"], ["a", "b"])
@example(["**", "*"], ["a", ".b"])
def test_a_glob_matches_what_the_naive_matcher_matches(pattern: list[str], path: list[str]) -> None:
    """`**` is any number of folders; `*`, `?` and `[…]` stay within a name; leading dots are matched by dots only."""
    expected = path_matches(pattern, path)

    assert Selection(["/".join(pattern)]).takes("/".join(path)) is expected


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("**/*.mp4", "a.mp4", True),
        ("**/*.mp4", "a/b/c.mp4", True),
        ("**/*.mp4", "a.mp4/b.txt", False),
        ("*.mp4", "a/b.mp4", False),
        ("**/*.mp4", "A.MP4", False),
        ("**/*.[mM][pP]4", "A.MP4", True),
        ("**/*.{mp4,mov}", "x/a.mov", True),
        ("**/*.{mp4,mov}", "x/a.mkv", False),
        ("{a,b{c,d}}/*", "bd/x", True),
        ("{a}", "{a}", True),
        ("[{]a,b[}]", "{a,b}", True),
        ("a/**", "a/b/c", True),
        ("a/**", "a", False),
        ("**", "a/b", True),
        ("[a", "[a", True),
        ("a+(b)", "a+(b)", True),
        ("*", "line\nbreak", True),
        ("動画/*", "動画/🎬.mp4", True),
        ("caf\u00e9/*", "cafe\u0301/x", False),
        (".incoming/*", ".incoming/a", True),
        ("**/*", ".incoming/a", False),
    ],
)
def test_a_glob_means_what_the_readme_says(pattern: str, path: str, expected: bool) -> None:
    """The examples that documentation and habit suggest hold."""
    assert Selection([pattern]).takes(path) is expected


@pytest.mark.parametrize(
    "name",
    ["a.mp4~", "a.part", "a.TMP", "~$a.doc", ".nfs00001", ".a.swp", "x.crdownload", "@eaDir/a.mp4", "#recycle/a.mp4"],
)
def test_unfinished_and_discarded_files_are_never_items(name: str) -> None:
    """Temporary names are skipped whatever the patterns say."""
    assert Selection(["**", "**/.*"]).takes(name) is False


def test_excluded_folders_are_excluded_with_all_that_is_in_them() -> None:
    """An exclude that matches a folder excludes the files below it, an exclude of files only those."""
    selection = Selection(["**/*.mp4", ".h/*"], exclude=["old", "**/*-draft.mp4", ".h/x*"])

    paths = ["a.mp4", "old/a.mp4", "old/b/a.mp4", "x/old/a.mp4", "x/a-draft.mp4", ".h/x1", ".h/y1"]
    assert [path for path in paths if selection.takes(path)] == ["a.mp4", "x/old/a.mp4", ".h/y1"]


@pytest.mark.parametrize("path", ["/a.mp4", "../a.mp4", "a/../b.mp4", "./a.mp4", "a//b.mp4", "a.mp4/", "", "a\0.mp4"])
def test_a_path_that_is_not_plainly_below_the_root_is_never_an_item(path: str) -> None:
    """Absolute paths, `.` and `..`, empty parts and NUL are refused before the file system sees them."""
    assert Selection(["**"]).takes(path) is False


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("/media/*.mp4", "is absolute"),
        ("../*.mp4", "has a part '..'"),
        ("a//b", "has a part ''"),
        ("a/", "has a part ''"),
        ("", "has a part ''"),
        ("./*.mp4", "has a part '.'"),
        ("a\0b", "contains a NUL"),
        ("{a,b}" * 12, "more than 1000 choices"),
        ("{a/b,c}", "has a choice with a slash in it, {a/b,c}: write it as two patterns"),
        ("x/{c,d/*}.mp4", "has a choice with a slash in it, {c,d/*}: write it as two patterns"),
    ],
)
def test_a_pattern_that_matches_nothing_below_the_root_is_refused(pattern: str, reason: str) -> None:
    """A pattern that can't match is a mistake, and the message says which one."""
    with pytest.raises(BadPattern, match=re.escape(reason)):
        Selection([pattern])


def test_folders_in_which_nothing_can_match_are_not_entered() -> None:
    """A pattern's fixed folders and fixed depth bound the walk."""
    root = Selection(["incoming/*/*.mp4", "top.mp4"]).root

    assert root.enter("other") is None
    incoming = root.enter("incoming")
    assert incoming is not None
    day = incoming.enter("2026")
    assert day is not None
    assert day.enter("deeper") is None
