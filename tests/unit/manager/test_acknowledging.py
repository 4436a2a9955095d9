"""Acknowledging: what is told, what is told again, and when."""

import threading
from concurrent.futures import ThreadPoolExecutor

from longshore.acknowledging import FIRST_SECONDS, Acknowledger
from longshore.plan import Acks
from longshore_kit.contract import Item, ItemList
from longshore_kit.errors import SourceUnavailable
from longshore_kit.logs import get_logger
from support.managers import AtOnce


class AckItems:
    """A source that takes in what it is told, unless it is down."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.is_down = False
        self.bugs: set[str] = set()

    def list_items(self, *, wait_seconds: float = 0) -> ItemList:
        raise NotImplementedError

    def get_item(self, name: str) -> Item:
        raise NotImplementedError

    def wants_acks(self) -> bool:
        return True

    def acknowledge(self, name: str) -> None:
        if self.is_down:
            raise SourceUnavailable("down")
        if name in self.bugs:
            raise RuntimeError("a bug")
        self.told.append(name)


class Time:
    """Stands still until the test moves it."""

    now = 1000.0


def make(items: AckItems) -> tuple[Acknowledger, Time]:
    """An acknowledger, and its time."""
    time = Time()
    log = get_logger("longshore.test")
    return Acknowledger(items, pool=AtOnce(), log=log, now=lambda: time.now), time


def test_what_was_told_is_remembered() -> None:
    """In the order in which it was asked for, and once."""
    items, ended = AckItems(), []
    acknowledger, _ = make(items)

    acknowledger.tell(["b", "a", "b"], lambda: ended.append(True))

    assert (items.told, ended) == (["b", "a"], [True])
    assert acknowledger.acks(is_wanted=True) == Acks(is_wanted=True, told=frozenset("ab"))


def test_it_is_seen_while_something_is_told() -> None:
    """Who ends when all is done waits for it."""
    begun, may_go, ended = threading.Event(), threading.Event(), threading.Event()

    class SlowItems(AckItems):
        def acknowledge(self, name: str) -> None:  # noqa: ARG002 - whichever
            begun.set()
            may_go.wait()

    items = SlowItems()
    with ThreadPoolExecutor(1) as pool:
        acknowledger = Acknowledger(items, pool=pool, log=get_logger("longshore.test"), now=lambda: 1.0)
        seen = [acknowledger.is_telling]
        acknowledger.tell(["a"], ended.set)
        begun.wait()
        seen.append(acknowledger.is_telling)
        may_go.set()
        ended.wait()

    assert [*seen, acknowledger.is_telling] == [False, True, False]


def test_what_could_not_be_told_is_held_for_a_while() -> None:
    """Another attempt comes, and not at once."""
    items = AckItems()
    acknowledger, time = make(items)
    items.is_down = True
    acknowledger.tell(["a"], lambda: None)
    held = acknowledger.acks(is_wanted=True)
    time.now += FIRST_SECONDS
    due = acknowledger.acks(is_wanted=True)
    items.is_down = False
    acknowledger.tell(["a"], lambda: None)

    assert (held.held, due.held, items.told) == (frozenset("a"), frozenset(), ["a"])


def test_what_is_listed_again_returns() -> None:
    """Only by a listing that was asked for later; then more and more seldom, should the source never take it in."""
    items = AckItems()
    acknowledger, time = make(items)
    acknowledger.tell(["a", "gone"], lambda: None)
    returns = []
    for _ in range(60):
        asked_at, time.now = time.now + 0.5, time.now + 1
        if acknowledger.acks(is_wanted=True, listed={"a"}, asked_at=asked_at).returned:
            returns.append(time.now - 1000)
            acknowledger.tell(["a"], lambda: None)

    assert acknowledger.acks(is_wanted=True, listed={"a"}, asked_at=time.now - 100).returned == frozenset()
    assert returns == [1, 5, 13, 29]


def test_what_is_gone_is_forgotten() -> None:
    """Memory is as long as what is listed or has a Job."""
    acknowledger, _ = make(AckItems())
    acknowledger.tell(["a", "b"], lambda: None)

    acknowledger.forget({"b"})

    assert acknowledger.acks(is_wanted=True).told == frozenset("b")


def test_a_bug_with_one_item_holds_up_no_other() -> None:
    """It is logged, and that item tried again later."""
    items = AckItems()
    items.bugs = {"a"}
    acknowledger, _ = make(items)

    acknowledger.tell(["a", "b"], lambda: None)

    assert (items.told, acknowledger.acks(is_wanted=True).held) == (["b"], frozenset("a"))
