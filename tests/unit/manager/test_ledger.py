"""The ledger in a file: what is its own beside the contract that all ledgers keep (tests/contract)."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longshore.ledger import FileLedger, LedgerUnavailable
from longshore.state import Record, State

RECORDS = [Record("a", State.DONE, 1.5), Record("b", State.FAILED, 2.0, "no video stream")]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the ledger lies."""
    return tmp_path / "state" / "ledger.jsonl"


def by_item(*records: Record) -> dict[str, Record]:
    """Records as a ledger gives them."""
    return {record.item: record for record in records}


def test_a_ledger_that_was_never_written_is_empty(path: Path) -> None:
    """A new queue has no records, and reading makes no file."""
    assert (dict(FileLedger(path).read().named), path.exists()) == ({}, False)


@pytest.mark.parametrize("cut", range(1, 40, 3))
def test_a_line_cut_off_by_a_crash_never_counted(path: Path, cut: int) -> None:
    """Its Job was not deleted yet: the record is as if it had not been tried, and the next one is whole."""
    ledger = FileLedger(path)
    ledger.enter(RECORDS)
    path.write_bytes(path.read_bytes()[:-cut])

    survivors = dict(FileLedger(path).read().named)
    FileLedger(path).enter([Record("c", State.DONE, 3.0)])

    assert survivors == by_item(RECORDS[0])
    assert dict(FileLedger(path).read().named) == by_item(RECORDS[0], Record("c", State.DONE, 3.0))


def test_a_ledger_of_many_removals_is_written_anew(path: Path) -> None:
    """It is as long as what it holds, not as its history."""
    ledger = FileLedger(path)
    ledger.enter([Record(f"item {number}", State.DONE, 1.0) for number in range(2000)])
    reader = FileLedger(path)
    reader.read()

    ledger.remove([f"item {number}" for number in range(1, 2000)])

    # A line for the record, and one for when an item was done last.
    assert (len(path.read_bytes().splitlines()), list(reader.read().named)) == (2, ["item 0"])
    assert reader.read().done_at == 1.0


def test_what_was_done_last_takes_no_room(path: Path) -> None:
    """However often it is told."""
    ledger = FileLedger(path)
    for number in range(3000):
        ledger.note_done(float(number))
        ledger.note_done(1.0)

    assert (len(path.read_bytes().splitlines()) <= 1002, FileLedger(path).read().done_at) == (True, 2999.0)


def test_while_it_is_held_steady_nothing_is_entered(path: Path) -> None:
    """A Job is created in that time: its item can't become a record unseen."""
    held, other = FileLedger(path), FileLedger(path)
    with held.steady() as records:
        assert dict(records.named) == {}
        with other.steady() as also:
            assert dict(also.named) == {}

    other.enter(RECORDS)

    assert list(held.read().named) == ["a", "b"]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from([*State, None])), max_size=30))
def test_the_last_word_on_an_item_counts(
    tmp_path_factory: pytest.TempPathFactory, words: list[tuple[str, State | None]]
) -> None:
    """Whatever the order of entering and removing, it reads as a dictionary would."""
    ledger = FileLedger(tmp_path_factory.mktemp("ledger") / "ledger.jsonl")
    expected: dict[str, Record] = {}
    for item, state in words:
        if state is None:
            ledger.remove([item])
            expected.pop(item, None)
        else:
            ledger.enter([Record(item, state, 1.0)])
            expected[item] = Record(item, state, 1.0)

    assert dict(ledger.read().named) == expected


def test_a_reader_that_missed_two_compactions_reads_anew(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of a file that is gone is given to the next one; the reader must not take it for its own."""
    monkeypatch.setattr("longshore.ledger._COMPACT_AT", 0)
    reader, writer = FileLedger(path), FileLedger(path)
    writer.enter([Record(name, State.DONE, 1.0) for name in "abcdef"])
    reader.read()
    for name in "abcd":
        writer.remove([name])

    assert list(reader.read().named) == ["e", "f"]


def test_a_damaged_ledger_is_told_with_its_path(path: Path) -> None:
    """Records that can't be read are no records that are not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("no json\n")

    with pytest.raises(LedgerUnavailable, match=str(path)):
        FileLedger(path).read()
