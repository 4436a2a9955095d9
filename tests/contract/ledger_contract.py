"""What every ledger promises: one suite, run against each of them."""

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from longshore.ledger import Ledger
from longshore.state import Record, State
from support.queues import NASTY_NAMES
from support.waiting import until

DONE, FAILED = Record("a", State.DONE, 1.5), Record("b", State.FAILED, 2.0, "no video stream")


def states_of(ledger: Ledger, *items: str) -> dict[str, State]:
    """What a ledger says of these items, as one would before starting one."""
    with ledger.steady() as records:
        return {item: record.state for item in items if (record := records.get(item))}


class LedgerContract(ABC):
    """The rules. Several ledgers of one queue stand for several managers and people's commands."""

    @abstractmethod
    def make_ledger(self, folder: Path) -> Ledger:
        """One more ledger on the records of one queue."""

    @pytest.fixture
    def make(self, tmp_path: Path) -> Iterator[Callable[[], Ledger]]:
        """Makes ledgers on one queue's records."""
        with ExitStack() as stack:

            def make() -> Ledger:
                ledger = self.make_ledger(tmp_path)
                if close := getattr(ledger, "close", None):
                    stack.callback(close)
                return ledger

            yield make

    @pytest.fixture
    def ledger(self, make: Callable[[], Ledger]) -> Ledger:
        """One of them."""
        return make()

    def test_a_new_queue_has_no_records(self, ledger: Ledger) -> None:
        """Nothing entered, nothing there; and what is not there can be removed."""
        ledger.remove(["never there"])

        assert (len(ledger.read()), list(ledger.read().all_keys()), ledger.read().get("a")) == (0, [], None)

    def test_records_are_there_for_everybody(self, make: Callable[[], Ledger]) -> None:
        """What one enters another reads, also one that had read before; of a failure the reason too."""
        before = make()
        states_of(before, "a")

        entered = make().enter([DONE, FAILED])

        after = make()
        assert (entered, states_of(after, "a", "b", "c")) == ({"a", "b"}, {"a": State.DONE, "b": State.FAILED})
        assert after.read().get("b") == FAILED
        assert after.read().count(State.DONE) == after.read().count(State.FAILED) == 1
        until(lambda: states_of(before, "a", "b", "c") == {"a": State.DONE, "b": State.FAILED})

    def test_a_removed_record_is_gone_and_can_come_back(self, make: Callable[[], Ledger]) -> None:
        """A retried item fails again, a done one is done again: its record is the latest one."""
        ledger, other = make(), make()
        ledger.enter([DONE, FAILED])
        ledger.remove([ledger.read().key_of("a"), "b", "never there"])
        until(lambda: states_of(other, "a", "b") == {})
        ledger.enter([Record("b", State.DONE, 9.0)])

        assert states_of(make(), "a", "b") == {"b": State.DONE}

    def test_the_last_word_on_an_item_counts(self, ledger: Ledger) -> None:
        """What has failed, and was done after all, is done."""
        ledger.enter([FAILED])
        ledger.enter([Record("b", State.DONE, 9.0)])
        ledger.enter([Record("b", State.DONE, 9.0)])

        assert (states_of(ledger, "b"), len(ledger.read())) == ({"b": State.DONE}, 1)

    def test_when_an_item_was_last_done_outlives_its_record(self, make: Callable[[], Ledger]) -> None:
        """Failed ones stay: without it they would look like a row in which nothing went well."""
        ledger = make()
        never = ledger.read().done_at
        ledger.enter([FAILED, Record("a", State.DONE, 20.0)])
        entered = ledger.read().done_at
        ledger.remove([ledger.read().key_of("a")])
        removed = make().read().done_at
        ledger.note_done(30.5)
        ledger.note_done(10.0)

        assert (never, entered, removed, make().read().done_at) == (None, 20.0, 20.0, 30.5)

    def test_a_time_of_a_wrong_clock_hides_no_true_one(self, make: Callable[[], Ledger]) -> None:
        """However far ahead a machine was when it finished an item, or noted one."""
        ledger = make()
        ledger.enter([Record("a", State.DONE, time.time() + 1e8)])
        ledger.note_done(time.time() + 1e8)
        ahead = make().read().done_at
        ledger.enter([Record("b", State.DONE, 20.0)])
        entered = make().read().done_at
        ledger.note_done(30.5)

        assert (ahead, entered, make().read().done_at) == (None, 20.0, 30.5)

    @pytest.mark.parametrize("state", [State.DONE, State.FAILED])
    def test_every_name_is_kept_apart(self, ledger: Ledger, state: State) -> None:
        """Newlines, quotes and all that Unicode has; those of names that differ in little, too."""
        kept, others = NASTY_NAMES[::2], NASTY_NAMES[1::2]

        ledger.enter([Record(name, state, 1.0, f"about {name}" if state is State.FAILED else "") for name in kept])

        assert states_of(ledger, *kept, *others) == dict.fromkeys(kept, state)
        if state is State.FAILED:
            assert [record.reason for name in kept if (record := ledger.read().get(name))] == [
                f"about {name}" for name in kept
            ]

    def test_only_what_is_still_due_is_entered(self, ledger: Ledger) -> None:
        """What was deleted meanwhile, to be tried again, does not become a record."""
        entered = ledger.enter([DONE, FAILED], lambda: ["b"])

        assert (entered, states_of(ledger, "a", "b")) == ({"b"}, {"b": State.FAILED})

    def test_a_removal_wins_over_an_entry_under_way(self, make: Callable[[], Ledger]) -> None:
        """Somebody retries an item whose record is being entered: in the end there is no record."""
        ledger, other = make(), make()
        there = {"a"}
        removal = threading.Thread(target=lambda: other.remove(["a"]))

        def still() -> set[str]:
            """The first time the Job is there, and is deleted and its record removed just after."""
            seen = set(there)
            if there:
                there.clear()
                removal.start()
                if ledger.settle_seconds:
                    removal.join()
            return seen

        ledger.enter([DONE], still)
        removal.join()

        assert states_of(ledger, "a") == {}

    def test_records_that_were_read_do_not_change(self, ledger: Ledger) -> None:
        """A view draws from them while the manager goes on."""
        ledger.enter([DONE])
        before = ledger.read()
        ledger.enter([FAILED])

        assert ("b" in before, "b" in ledger.read()) == (False, True)

    def test_managers_that_enter_side_by_side_lose_nothing(self, make: Callable[[], Ledger]) -> None:
        """Each record that was entered is there, whoever wrote at the same moment."""
        ledgers = [make() for _ in range(3)]

        def enter(number: int) -> None:
            for turn in range(5):
                items = [f"{number}-{turn}-{index}" for index in range(20)]
                ledgers[number].enter([Record(item, State.DONE, 1.0) for item in items])
                ledgers[number].remove([ledgers[number].read().key_of(items[0])])

        with ThreadPoolExecutor(3) as pool:
            list(pool.map(enter, range(3)))

        kept = [f"{number}-{turn}-{index}" for number in range(3) for turn in range(5) for index in range(1, 20)]
        removed = [f"{number}-{turn}-0" for number in range(3) for turn in range(5)]
        assert states_of(make(), *kept, *removed) == dict.fromkeys(kept, State.DONE)

    def test_a_record_of_an_item_that_is_not_listed_can_be_struck_out(self, ledger: Ledger) -> None:
        """The ledger is as long as the source, not as its history: what a list lacks is found, and goes."""
        ledger.enter([DONE, Record("c", State.DONE, 1.0), FAILED])

        ledger.remove(list(ledger.read().unlisted({"c"})))

        assert (states_of(ledger, "a", "b", "c"), len(ledger.read())) == ({"c": State.DONE}, 1)
