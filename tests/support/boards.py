"""Boards to look at, without a manager: queues with nothing in them, with a bit of everything, with far too much."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

from longshore.breaker import Breaker
from longshore.control import Mode
from longshore.manager import Survey
from longshore.plan import Limits, Verdict
from longshore.records import Records
from longshore.scaling import Decision, Load, Rule
from longshore.state import Job, Record, State
from longshore.web.actions import Actions
from longshore.web.board import Board, Inside
from longshore.web.serving import status_server
from longshore.web.settings import StatusSettings
from longshore_kit.contract import ItemList

NOW = 1_790_000_040.0
LIMITS = Limits(rule=Rule(maximum=4))
MARKUP = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
HOSTILE = (
    MARKUP,
    "line\nbreak\r\nand \x1b[31mred\x1b[0m \x1b]0;owned\x07.mp4",
    "\u202egpj.reversed",
    '\'; DROP TABLE jobs; -- &amp; "quotes" ${jndi:x} {{7*7}}',
    "/leading/../slash?and=query#hash%2F%00",
    "long-" + "x" * 1019,
    "日本語 と émojis 🎬 and  two spaces",
)
"""Names that a page, a terminal or a log might obey."""


def job(item: str, state: State = State.DONE, **changes: Any) -> Job:
    """A Job as an engine shows it."""
    known: dict[str, Any] = {"created": NOW - 90, "since": NOW - 30, "attempt": 1, "processing_seconds": 12.0}
    return Job(f"thumbs-{crc32(item.encode()):08x}", item, f"uid-{item}", state, **(known | changes))


def survey(*jobs: Job, waiting: tuple[str, ...] = (), records: tuple[Record, ...] = (), **more: Any) -> Survey:
    """What a tick saw; `more` are fields of a survey."""
    listed = tuple(dict.fromkeys([*(one.item for one in jobs), *(one.item for one in records), *waiting]))
    known: dict[str, Any] = {"items": ItemList(listed), "at": NOW - 1, "listed_at": NOW - 4}
    return Survey(
        jobs={one.item: one for one in jobs}, records=Records({one.item: one for one in records}), **(known | more)
    )


def decision() -> Decision:
    """What a law decided."""
    load = Load(waiting=3, live=3, arrivals=0.1033, steady=0.1033, processing_seconds=31.5, place_seconds=34.0)
    return Decision(4, load, Rule("staffing", maximum=4), offered=5.21)


def verdict(*, is_open: bool = False) -> Verdict:
    """The same, with a breaker."""
    if not is_open:
        return Verdict(decision(), Breaker())
    why = "exec /bin/thumb: no such file"
    return Verdict(
        decision(), Breaker(is_open=True, reason=why, failures=5, since=NOW - 70, may_start=0, next_probe=NOW + 20)
    )


def mixed(**more: Any) -> Survey:
    """Twelve items, some in each state, over a history of an hour or two."""
    jobs = [
        job("camera-01/2026-11-24/0001.mp4", State.RUNNING, since=NOW - 754, attempt=2, attempts=3),
        job("camera-01/2026-11-24/0002.mp4", State.RUNNING, since=NOW - 42, attempts=3, stage="blur"),
        job("camera-02/2026-11-24/0001.mp4", State.STARTING, since=NOW - 4.2, attempt=0, attempts=3),
        job("camera-03/a b.mp4", State.DONE, since=NOW - 1500, created=NOW - 1560),
        job("camera-03/b.mp4", State.DONE, since=NOW - 900, created=NOW - 1000),
        job("camera-03/c.mp4", State.DONE, since=NOW - 65, created=NOW - 82),
        job("camera-03/d.mp4", State.DONE, since=NOW - 50, created=NOW - 67),
        job(
            "half.mp4",
            State.FAILED,
            since=NOW - 610,
            attempt=1,
            attempts=3,
            exit_code=65,
            reason="it is truncated: by its own headers 851507 bytes are missing at its end",
        ),
        job(
            "camera-09/0007.mp4",
            State.FAILED,
            since=NOW - 20,
            attempt=3,
            attempts=3,
            exit_code=1,
            reason="ffmpeg ended\nNo space left on device",
        ),
    ]
    waiting = ("camera-10/0001.mp4", "camera-10/0002.mp4", "camera-10/0003.mp4")
    return survey(*jobs, waiting=waiting, **more)


def busy(hours: float = 6) -> Survey:
    """The mixed queue after hours of work, as plots show it."""
    small = mixed(verdict=verdict())
    jobs = dict(small.jobs)
    for number in range(int(hours * 180)):
        at = NOW - 60 - number * 20 - (number * 7919 % 23)
        waited = 8 + 6 * ((number // 60) % 5) + number * 104729 % 11
        if (number // 40) % 6 == 4:
            continue
        name = f"camera-{number % 8:02d}/old/{number:05d}.mp4"
        state = State.FAILED if number % 61 == 60 else State.DONE
        jobs[name] = job(
            name, state, since=at, created=at - 12 - waited, reason="exit code 1" if state is State.FAILED else ""
        )
    listed = ItemList((*jobs, *(name for name in small.items.names if name not in jobs))) if small.items else None
    return survey(*jobs.values(), items=listed, verdict=verdict())


def hostile(failed: int = 5_000) -> Survey:
    """Thousands of failed items, the latest with names and reasons that are meant to do harm."""
    nasty = [
        job(name, State.FAILED, since=NOW - 5 - number, attempts=3, exit_code=1, reason=f"first\n{name}")
        for number, name in enumerate(HOSTILE)
    ]
    rest = [
        job(
            f"batch/{number:05d}<b>.mp4",
            State.FAILED,
            since=NOW - 60 - number / 2,
            reason="<b>no</b> \x1b[1mspace\x1b[0m",
        )
        for number in range(failed - len(nasty))
    ]
    running = [job(f"{HOSTILE[1]}#{number}", State.RUNNING, since=NOW - number) for number in range(3)]
    words = f"connection refused: {MARKUP}\x1b[2J"
    return survey(*nasty, *rest, *running, verdict=verdict(is_open=True), source_error=words, listed_at=NOW - 300)


LOG = "\n".join(
    [f"frame={number * 50} fps=25 {MARKUP}" for number in range(30)]
    + [
        "\x1b[31;1mError writing trailer: No space left on device\x1b[0m",
        "10 %\r50 %\r100 %",
        "bell \x07 and \x1b[2J",
        "",
    ]
)
"""What a worker wrote, of which only the end is shown."""


@dataclass
class Recorder:
    """Actions that only remember that they were asked for."""

    retried: list[str] = field(default_factory=list)
    said: Mode = Mode.RUNNING

    def retry(self, items: Sequence[str]) -> Sequence[str]:
        """As `Retry`."""
        self.retried += items
        return items

    def mode(self) -> Mode:
        """As `Control.mode`."""
        return self.said

    def set_mode(self, mode: Mode) -> None:
        """As `Control.set_mode`."""
        self.said = mode

    def note_seen(self, mode: Mode) -> None:
        """As `Control.note_seen`; no manager is here."""

    def is_seen(self, mode: Mode) -> bool:  # noqa: ARG002 - no manager is here
        """As `Control.is_seen`."""
        return False


@dataclass
class Shown:
    """A board that is served."""

    board: Board
    url: str
    did: Recorder


def written(one: Job) -> str:
    """What its worker wrote."""
    return LOG if one.state is State.FAILED else "frame=100\n"


def board_of(
    seen: Survey | None = None, *, workers: Mapping[str, str] | None = None, log: Callable[[Job], str] = written
) -> Board:
    """A board at `NOW`."""
    pods = workers or {}
    inside = Inside(
        log=log,
        workers=lambda: pods,
        retry_command=lambda item: f"longshore retry queue.yaml {item!r}",
        now=lambda: NOW,
    )
    board = Board("thumbs", LIMITS, version="0.1.0", inside=inside)
    if seen:
        board.note(seen)
    return board


@contextmanager
def shown(
    seen: Survey | None = None, *, token: str = "", port: int = 0, log: Callable[[Job], str] = written
) -> Iterator[Shown]:
    """The page of a board, over HTTP."""
    pods = {one.uid: f"{one.name}-x7k2p" for one in seen.jobs.values() if one.is_live} if seen else {}
    board, did = board_of(seen, workers=pods, log=log), Recorder()
    settings = StatusSettings.from_environment({"STATUS_TOKEN": token})
    actions = Actions(did.retry, did)
    server = status_server(board, settings, port=port, host="127.0.0.1", variable="PORT", actions=actions)
    with server:
        yield Shown(board, f"http://127.0.0.1:{server.port}", did)
