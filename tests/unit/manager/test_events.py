"""What people are told through the cluster's Events, in which words, and how often."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longshore.engines.kubernetes.notices import (
    JOB_BURST,
    JOB_EVERY_SECONDS,
    LASTING_SECONDS,
    MESSAGE_MAX,
    REMEMBERED_MAX,
    REPEAT_SECONDS,
    SERIES_SECONDS,
    SETTLING_SECONDS,
    Notice,
    Notices,
    Reason,
    Reference,
    cut,
)
from longshore.state import Job, State
from support.queues import NASTY_NAMES, job_for

POD = Reference("v1", "Pod", "q-manager-7d9f-x2x4z", "pod-uid")
EPOCH = 1_000_000.0
DNS_SUBDOMAIN = re.compile(r"(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
HINT = "Once mended, delete this Job to have the item tried again."


@dataclass
class Listener:
    """Looks again and again, and writes down what it is told; the clock is the test's."""

    pod: Reference | None = POD
    now: float = SETTLING_SECONDS
    notices: Notices = field(init=False)
    told: list[Notice] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.notices = Notices(self.pod, 0.0)

    def look(self, *failed: str, error: str = "", after: float = 0.0, breaker: str = "") -> list[tuple[str, str, int]]:
        """What it is told, as (reason, message, count), when these items have failed since the look before."""
        return self.see([failed_job(item) for item in failed], error, after, breaker)

    def see(
        self, changes: Sequence[Job], error: str = "", after: float = 0.0, breaker: str = ""
    ) -> list[tuple[str, str, int]]:
        """The same, of any changes."""
        self.now += after
        told = self.notices.after(changes, error, wall=EPOCH + self.now, monotonic=self.now, breaker=breaker)
        self.told += told
        return [(str(one.reason), one.message, one.count) for one in told]


def failed_job(item: str, **fields: object) -> Job:
    """A Job whose one attempt failed."""
    return job_for(item, State.FAILED, **{"attempt": 1, "reason": "disk full"} | fields)


def of_pod(told: list[tuple[str, str, int]]) -> list[tuple[str, str, int]]:
    """Without what is told on Jobs."""
    return [one for one in told if one[0] not in {"ItemFailed", "ItemRefused"}]


# --- words


@pytest.mark.parametrize(
    ("fields", "reason", "message"),
    [
        ({}, "ItemFailed", f"a failed after 1 attempt: disk full. {HINT}"),
        ({"attempt": 3, "exit_code": 1}, "ItemFailed", f"a failed after 3 attempts, exit code 1: disk full. {HINT}"),
        ({"reason": ""}, "ItemFailed", f"a failed after 1 attempt. {HINT}"),
        ({"reason": "Traceback\nOSError: gone\n"}, "ItemFailed", f"a failed after 1 attempt: OSError: gone. {HINT}"),
        (
            {"attempt": 0, "reason": "${item.x}: no such value"},
            "ItemRefused",
            f"a failed before its first attempt: ${{item.x}}: no such value. {HINT}",
        ),
    ],
    ids=["failed", "exit code", "without a word", "traceback", "refused"],
)
def test_a_failed_item_is_told_on_its_job(fields: dict[str, object], reason: str, message: str) -> None:
    """How it ended, why, and what to do; as a warning, with the Job to be shown with."""
    listener = Listener(pod=None)
    listener.see([failed_job("a", **fields)])

    (notice,) = listener.told
    assert notice == Notice(
        name=notice.name,
        about=Reference("batch/v1", "Job", "q-a", "uid-a"),
        type="Warning",
        reason=Reason(reason),
        message=message,
        first=EPOCH + SETTLING_SECONDS,
        last=EPOCH + SETTLING_SECONDS,
    )


def test_nobody_is_told_of_what_goes_well() -> None:
    """A quiet healthy hour, and a busy one, make no Events."""
    listener = Listener()
    for number, state in enumerate((State.STARTING, State.RUNNING, State.DONE)):
        listener.see([job_for(f"a{number}", state)], after=600)

    assert listener.told == []


@pytest.mark.parametrize("text", [*NASTY_NAMES, "\x00\x07\u202e\u2028\r", "\ud800", "🎬" * 300])
def test_no_text_of_others_can_do_harm(text: str) -> None:
    """Of a name, a worker or a source: on one line, printable, of bounded size, and valid UTF-8."""
    listener = Listener()
    listener.see([failed_job(text, name="q-x", uid="u", reason=text * 20)], text * 20)

    assert [str(one.reason) for one in listener.told] == ["ItemFailed", "ItemsFailed", "SourceUnavailable"]
    assert all(one.message.isprintable() for one in listener.told)
    assert all(len(one.message.encode()) <= MESSAGE_MAX for one in listener.told)


def test_what_is_too_long_is_cut_but_not_what_to_do() -> None:
    """The hint comes last, and is there whatever comes before it."""
    listener = Listener(pod=None)
    ((_, message, _),) = listener.look("x" * 1024)

    assert (message[:3], message[-len(HINT) :]) == ("xxx", HINT)


@pytest.mark.parametrize(
    ("text", "expected"), [("", ""), ("12345678", "12345678"), ("123456789", "12345…"), ("123é6789", "123é…")]
)
def test_text_is_cut_between_characters(text: str, expected: str) -> None:
    """In bytes, the ellipsis included."""
    assert cut(text, 8) == expected


@given(text=st.text(alphabet=st.characters(exclude_categories=["Cs"])), most=st.integers(3, 50))
def test_cut_text_is_never_longer(text: str, most: int) -> None:
    """Whatever its characters weigh."""
    assert len(cut(text, most).encode()) <= most


# --- the failed ones as a number


def test_failed_items_are_one_number_on_the_pod() -> None:
    """All that failed at once are told at once, with the last of them."""
    jobs = [failed_job(f"i{number}", since=float(number)) for number in (1, 3, 2)]

    assert of_pod(Listener().see(jobs)) == [
        ("ItemsFailed", "3 items failed; the last: i3, after 1 attempt: disk full", 3)
    ]


def test_more_of_them_are_counted_and_told_once_a_minute() -> None:
    """The first at once; what comes meanwhile when the minute is over, though nothing comes then."""
    listener = Listener()
    told = [of_pod(listener.look(*items, after=20)) for items in (["a"], ["b"], ["c"], [], [], [], [])]

    assert told == [
        [("ItemsFailed", "1 item failed: a, after 1 attempt: disk full", 1)],
        [],
        [],
        [("ItemsFailed", "3 items failed; the last: c, after 1 attempt: disk full", 3)],
        [],
        [],
        [],
    ]


def test_a_repetition_is_the_same_event_with_another_time() -> None:
    """Its name and first time stay; its last time is when it happened, not when it is told."""
    listener = Listener()
    for items in (["a"], ["b"], []):
        listener.look(*items, after=40)

    first, again = (one for one in listener.told if one.reason is Reason.ITEMS_FAILED)
    assert (again.name, again.about, again.is_repeat, first.is_repeat) == (first.name, POD, True, False)
    at = EPOCH + SETTLING_SECONDS + 40
    assert (first.first, first.last, again.first, again.last) == (at, at, at, at + 40)


def test_what_was_quiet_for_an_hour_begins_anew() -> None:
    """The cluster has forgotten the Event by then: another name, and counted from one."""
    listener = Listener()
    listener.look("a")
    listener.look("b", after=SERIES_SECONDS)

    first, again = (one for one in listener.told if one.reason is Reason.ITEMS_FAILED)
    assert (again.count, again.is_repeat, again.name != first.name) == (1, False, True)


def test_one_job_fails_once() -> None:
    """It may be seen to change after its failure, as its pods go; that is no other failure. A retried one is."""
    listener = Listener()
    listener.look("a")
    listener.see([failed_job("a", attempt=2)])
    listener.see([failed_job("a", uid="another")], after=REPEAT_SECONDS)

    assert [(str(one.reason), one.count) for one in listener.told] == [
        ("ItemFailed", 1),
        ("ItemsFailed", 1),
        ("ItemFailed", 1),
        ("ItemsFailed", 2),
    ]


def test_memory_of_failed_jobs_is_bounded() -> None:
    """The oldest are forgotten first."""
    notices = Notices(None, 0.0)
    notices.after([failed_job(str(n)) for n in range(REMEMBERED_MAX + 2)], "", wall=EPOCH, monotonic=0.0)

    assert (len(notices._told), next(iter(notices._told))) == (REMEMBERED_MAX, "uid-2")


# --- many at once


def test_of_a_flood_a_few_are_told_each_and_all_as_a_number() -> None:
    """5,000 failures at once do not become 5,000 Events."""
    told = Listener().look(*(f"i{number}" for number in range(5000)))

    assert [one[0] for one in told] == ["ItemFailed"] * JOB_BURST + ["ItemsFailed"]
    assert told[-1][2] == 5000


def test_after_a_flood_jobs_are_told_again_in_time() -> None:
    """One in ten seconds at first, and never more than the burst, however long it was quiet."""
    listener = Listener(pod=None)
    numbers = iter(range(10**6))
    told = [
        len(listener.look(*(f"i{next(numbers)}" for _ in range(100)), after=pause))
        for pause in (0, 0, JOB_EVERY_SECONDS - 1, 1, 3 * JOB_EVERY_SECONDS, 86400)
    ]

    assert told == [JOB_BURST, 0, 0, 1, 3, JOB_BURST]


# --- names


def test_two_managers_make_one_event_of_one_failed_job() -> None:
    """Its name is made of the Job alone; of the Job that is retried under the same name it is another."""
    names = []
    for pod, now, uid in ((POD, 10.0, "1"), (None, 99.0, "1"), (POD, 10.0, "2")):
        listener = Listener(pod, now)
        listener.see([failed_job("a", uid=uid)])
        names.append(listener.told[0].name)

    assert (names[0] == names[1], names[0] == names[2]) == (True, False)


def test_a_manager_that_is_started_again_in_its_pod_begins_anew() -> None:
    """It knows no count: its Event is another, beside the one before."""
    names = []
    for now in (10.0, 99.0):
        listener = Listener(POD, now)
        listener.look("a")
        names.append(listener.told[1].name)

    assert len(set(names)) == 2


@pytest.mark.parametrize("name", ["a", "q-manager-7d9f-x2x4z", "a" * 253, "a" * 235 + ".b", "a" * 234 + "-.b"])
def test_names_of_events_are_names(name: str) -> None:
    """However long the pod's own is, and wherever that is cut."""
    listener = Listener(Reference("v1", "Pod", name, "u"))
    listener.look("a")

    assert DNS_SUBDOMAIN.fullmatch(listener.told[-1].name)


# --- the source


def test_a_source_that_goes_and_comes_back_is_told_once_each() -> None:
    """Not once per look; its reason as it was when it went."""
    listener = Listener()
    told = [listener.look(error=error, after=5) for error in ("", "503", "503", "timed out", "", "")]

    assert told == [
        [],
        [("SourceUnavailable", "503; nothing is started or forgotten meanwhile", 1)],
        [],
        [],
        [("SourceAvailable", "the source answers again, after 15 s", 1)],
        [],
    ]
    assert [one.type for one in listener.told] == ["Warning", "Normal"]


def test_a_breaker_that_opens_and_closes_is_told_once_each() -> None:
    """With why it opened; that it closed is good news."""
    listener = Listener()
    words = "open: 5 items in a row failed, the last with: no such image"
    told = [listener.look(breaker=said, after=5) for said in ("", words, words, "", "")]

    assert told == [
        [],
        [("BreakerOpened", f"{words}; one trial at a time goes on", 1)],
        [],
        [("BreakerClosed", "a trial went well: items are started again", 1)],
        [],
    ]
    assert [one.type for one in listener.told] == ["Warning", "Normal"]


def test_a_source_that_flaps_costs_two_writes_a_minute() -> None:
    """Each time is counted all the same, and the last word is right."""
    listener = Listener()
    told = [listener.look(error=error, after=10) for _ in range(60) for error in ("503", "")]
    told.append(listener.look(after=REPEAT_SECONDS))

    assert sum(map(len, told)) <= 2 * (21 + 1)
    assert {one.reason: one.count for one in listener.told} == {
        Reason.SOURCE_UNAVAILABLE: 60,
        Reason.SOURCE_AVAILABLE: 60,
    }
    assert listener.told[-1].reason is Reason.SOURCE_AVAILABLE


def test_a_source_that_stays_away_is_told_again_before_the_cluster_forgets() -> None:
    """Twice an hour, with the reason of then, and not counted again: it is the same absence."""
    listener = Listener()
    listener.look(error="503")
    told = [listener.look(error="timed out", after=LASTING_SECONDS / 2) for _ in range(4)]

    message = "timed out; nothing is started or forgotten meanwhile"
    assert told == [[], [("SourceUnavailable", message, 1)], [], [("SourceUnavailable", message, 1)]]
    assert [one.is_repeat for one in listener.told] == [False, True, True]
    assert listener.told[-1].last - listener.told[-1].first == 2 * LASTING_SECONDS


def test_an_ambassador_that_starts_beside_its_manager_is_no_news() -> None:
    """For the first seconds nobody is to be woken; one that does not come up is told then."""
    starting = Listener(now=0.0)
    told = [starting.look(error=error, after=4) for error in ("refused", "", "")]
    missing = Listener(now=0.0)
    told_of_missing = [missing.look(error="refused", after=4) for _ in range(3)]

    assert told == [[], [], []]
    assert [len(one) for one in told_of_missing] == [0, 0, 1]


def test_without_a_pod_only_jobs_are_told_of() -> None:
    """There is nothing to show the rest with."""
    assert [one[0] for one in Listener(pod=None).look("a", error="503")] == ["ItemFailed"]


# --- whatever comes

LOOKS = st.lists(
    st.tuples(
        st.integers(0, 4000) | st.integers(0, 30),  # whole seconds, whose sums are exact
        st.lists(st.integers(0, 40), max_size=60),
        st.sampled_from(["", "", "503", "timed out"]),
    ),
    max_size=60,
)


@given(looks=LOOKS)
def test_whatever_comes_the_number_of_events_is_bounded(looks: list[tuple[int, list[int], str]]) -> None:
    """On Jobs by the bucket, on the Pod by one write a minute for each of three; no Event is repeated faster."""
    listener = Listener()
    written: dict[str, float] = {}
    for after, failed, error in looks:
        before = len(listener.told)
        listener.look(*map(str, failed), error=error, after=after)
        for one in listener.told[before:]:
            assert listener.now - written.get(one.name, -REPEAT_SECONDS) >= REPEAT_SECONDS
            assert one.is_repeat is (one.name in written)
            written[one.name] = listener.now

    seconds = listener.now - SETTLING_SECONDS
    on_pod = [one for one in listener.told if one.about == POD]
    assert len(on_pod) <= 3 * (seconds / REPEAT_SECONDS + 1)
    assert len(listener.told) - len(on_pod) <= JOB_BURST + seconds / JOB_EVERY_SECONDS


@given(looks=LOOKS)
def test_whatever_comes_every_failure_is_counted(looks: list[tuple[int, list[int], str]]) -> None:
    """Over all Events on the Pod the counts come to as many Jobs as have failed."""
    listener = Listener()
    for after, failed, error in looks:
        listener.look(*map(str, failed), error=error, after=after)
    listener.look(after=REPEAT_SECONDS)

    counts = {one.name: one.count for one in listener.told if one.reason is Reason.ITEMS_FAILED}
    assert sum(counts.values()) == len({item for _, failed, _ in looks for item in failed})
