"""Lists that are written down in a file: what counts as an item, and a file that is just being written."""

import os
from pathlib import Path

import pytest
from structlog.testing import capture_logs

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

    def write(self, text: str | bytes, *, age: float = 10.0) -> None:
        """The file, last written to so long ago."""
        self.path.write_bytes(text if isinstance(text, bytes) else text.encode())
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


def test_a_line_may_be_torn_within_a_character(tmp_path: Path) -> None:
    """What is not written yet is no fault of the file's."""
    shelf = Shelf(tmp_path / "a.txt")
    shelf.write("a\n")
    shelf.names()
    shelf.write("a\nb\nü".encode()[:-1], age=0.1)

    assert shelf.names() == ("a", "b")


def test_a_file_that_grows_without_a_pause_is_read_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that is added while it is read hides none of the others, on the first look too."""
    shelf = Shelf(tmp_path / "a.txt", settles=False)
    shelf.write("a\nb\n", age=0.1)
    read = Path.read_bytes

    def read_and_add(path: Path) -> bytes:
        found = read(path)
        shelf.write(found + b"more\n", age=0)
        return found

    monkeypatch.setattr(Path, "read_bytes", read_and_add)
    first = shelf.names()

    assert (first, shelf.names()) == (("a", "b"), ("a", "b", "more"))


def test_a_file_that_changes_while_it_is_read_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It seemed to have settled, and what was read of it is half."""
    shelf = Shelf(tmp_path / "a.csv")
    shelf.write("name\na\nb\n")
    before = shelf.names()
    shelf.write("name\na\n", age=3)
    read = Path.read_bytes

    def read_and_write(path: Path) -> bytes:
        found = read(path)
        shelf.write("name\na\nc\n", age=0)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", read_and_write)
        during = shelf.names()
    shelf.now += 3

    assert (before, during, shelf.names()) == (("a", "b"), ("a", "b"), ("a", "c"))


def test_a_fault_in_a_file_that_is_being_written_is_none_yet(tmp_path: Path) -> None:
    """The last list stays; the fault is told when nobody is writing any more."""
    shelf = Shelf(tmp_path / "a.jsonl")
    shelf.write('{"name": "a"}\n')
    shelf.names()
    shelf.write('{"name": "a"}\n{"na\n', age=0.1)
    during = shelf.names()
    shelf.now += 3

    assert during == ("a",)
    with pytest.raises(SourceUnavailable, match=r"a\.jsonl:2: no valid JSON"):
        shelf.names()


@pytest.mark.parametrize("text", ["", "half a li"])
def test_a_file_without_one_whole_line_yet_is_no_empty_list(tmp_path: Path, text: str) -> None:
    """Where all were done, an empty list would be taken for the end of them."""
    shelf = Shelf(tmp_path / "a.txt", settles=False)
    shelf.write(text, age=0.1)
    with pytest.raises(SourceUnavailable, match="is just being written"):
        shelf.names()


def test_a_list_that_is_kept_for_long_is_told_once(tmp_path: Path) -> None:
    """Somebody edits for a moment: not a word. A file that never rests is never read: somebody should know."""
    shelf = Shelf(tmp_path / "a.csv")
    shelf.write("name\na\n")
    shelf.names()
    with capture_logs() as logs:
        told = []
        for seconds in (0, 9, 2, 2):
            shelf.now += seconds
            shelf.write("name\n", age=0.1)
            assert shelf.names() == ("a",)
            told.append(len(logs))

    assert told == [0, 0, 1, 1]
    assert logs == [
        {
            "log_level": "warning",
            "event": "list kept as it was: its file never rests, write it aside and rename it",
            "path": str(shelf.path),
            "rest_seconds": 2.0,
        }
    ]


def test_edits_with_a_rest_between_them_are_never_told(tmp_path: Path) -> None:
    """Each is read when it has settled."""
    shelf = Shelf(tmp_path / "a.csv")
    with capture_logs() as logs:
        for number in range(4):
            shelf.write(f"name\n{number}\n", age=0.1)
            if number:
                assert shelf.names() == (str(number - 1),)
            shelf.now += 6
            assert shelf.names() == (str(number),)

    assert logs == []


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
        (
            "a.yaml",
            "- {name: a, 2026-11-27: x}",
            "{path}[0]: the key datetime.date(2026, 11, 27) has no form in JSON: put it in quotes",
        ),
        ("a.yaml", "- a\n- {name: b, .nan: x}", "{path}[1]: the key nan has no form in JSON: put it in quotes"),
        (
            "a.yaml",
            "- {name: a, of: {2026-11-27: x}}",
            "{path}[0]: 'of' is {{datetime.date(2026, 11, 27): 'x'}}, for which JSON has no form: put it in quotes",
        ),
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
