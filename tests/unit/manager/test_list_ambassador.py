"""Lists that are written down in a file: what counts as an item, and a file that is just being written."""

import os
from pathlib import Path

import pytest

from longshore.list_ambassador import ListSourceOfItems
from longshore.sources import ListSource
from longshore_kit.errors import SourceUnavailable


class Shelf:
    """A file of items, a clock of the test's own, and the source that reads it."""

    def __init__(self, path: Path, *, settles: bool = True) -> None:
        self.path = path
        self.now = 1_000_000.0
        self.slept: list[float] = []
        self.settles = settles
        self.source = ListSourceOfItems(ListSource(file=path.name), path, clock=lambda: self.now, sleep=self.sleep)

    def sleep(self, seconds: float) -> None:
        """Time passes; where nothing settles, somebody has written to the file again."""
        self.slept.append(seconds)
        self.now += seconds
        if not self.settles:
            os.utime(self.path, (self.now, self.now))

    def write(self, text: str, *, age: float = 10.0) -> None:
        """The file, last written to so long ago."""
        self.path.write_text(text, encoding="utf-8")
        os.utime(self.path, (self.now - age, self.now - age))

    def names(self) -> tuple[str, ...]:
        """What is listed now."""
        return tuple(self.source.list_items().names)


def test_the_first_look_waits_until_a_file_is_written(tmp_path: Path) -> None:
    """There is no list to go on with."""
    shelf = Shelf(tmp_path / "a.txt")
    shelf.write("a\nb\n", age=0.5)

    assert shelf.names() == ("a", "b")
    assert shelf.slept == pytest.approx([1.5])


def test_a_file_from_the_future_is_written(tmp_path: Path) -> None:
    """A wrong clock must not keep a list from being read."""
    shelf = Shelf(tmp_path / "a.txt")
    shelf.write("a\n", age=-100)

    assert (shelf.names(), shelf.slept) == (("a",), [])


def test_a_list_that_is_being_rewritten_stays_what_it_was(tmp_path: Path) -> None:
    """Half of it would look like a shorter list; nobody waits, and the whole one is read when it has settled."""
    shelf = Shelf(tmp_path / "a.txt")
    shelf.write("a\nb\nc\n")
    before = shelf.names()
    shelf.write("a\nb", age=0.1)
    during = shelf.names()
    shelf.write("a\nb\nd\n", age=3)

    assert (before, during, shelf.names(), shelf.slept) == (("a", "b", "c"), ("a", "b", "c"), ("a", "b", "d"), [])


def test_lines_that_are_added_are_items_when_they_are_whole(tmp_path: Path) -> None:
    """A file that somebody writes to without end is read along."""
    shelf = Shelf(tmp_path / "a.txt")
    shelf.write("a\n")
    shelf.names()
    shelf.write("a\nb\nhalf a li", age=0.1)
    during = shelf.names()
    shelf.write("a\nb\nhalf a line\n", age=3)

    assert (during, shelf.names()) == (("a", "b"), ("a", "b", "half a line"))


@pytest.mark.parametrize(("name", "text"), [("a.csv", "name\na\nb"), ("a.yaml", "- a\n- b")])
def test_what_is_no_file_of_lines_is_read_when_it_has_settled(tmp_path: Path, name: str, text: str) -> None:
    """The beginning of a table or a document may be one too; without a list before it there is none."""
    shelf = Shelf(tmp_path / name, settles=False)
    shelf.write(text, age=0.1)
    with pytest.raises(SourceUnavailable, match="is just being written; it is read when that has ended"):
        shelf.names()
    shelf.now += 5

    assert shelf.names() == ("a", "b")


def test_what_was_listed_is_handed_out_whatever_has_become_of_the_file(tmp_path: Path) -> None:
    """An item that is about to be started must not fail by somebody's editing."""
    shelf = Shelf(tmp_path / "a.txt")
    shelf.write("a\n")
    shelf.names()
    shelf.path.unlink()

    assert shelf.source.get_item("a").data == {"line": "a"}


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        (
            "a.yaml",
            "- {name: a, at: 2026-11-27}",
            "{path}[0]: 'at' is datetime.date(2026, 11, 27), for which JSON has no form: put it in quotes",
        ),
        ("a.yaml", "- {name: a, n: .nan}", "{path}[0]: 'n' is nan, for which JSON has no form: put it in quotes"),
        ("a.jsonl", '{"name": "a"}\n{"name": NaN}\n', None),
    ],
)
def test_a_value_that_no_item_can_have_is_told_with_its_place(
    tmp_path: Path, name: str, text: str, words: str | None
) -> None:
    """When the list is read, and not when the item is started."""
    shelf = Shelf(tmp_path / name)
    shelf.write(text)
    with pytest.raises(SourceUnavailable) as caught:
        shelf.names()

    told = str(caught.value)
    assert told == words.format(path=shelf.path) if words else told.startswith(f"{shelf.path}:2: ")


def test_a_line_of_json_ends_with_a_newline_alone(tmp_path: Path) -> None:
    """U+2028 may stand in a text of JSON, and ends no line."""
    shelf = Shelf(tmp_path / "a.jsonl")
    shelf.write('{"name": "a\u2028b"}\r\n{"name": "c"}\n')

    assert shelf.names() == ("a\u2028b", "c")
