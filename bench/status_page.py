"""What one refresh of the status page costs the server: 100,000 items of which 5,000 failed.

    python bench/status_page.py [--items 100000] [--failed 5000]

A refresh is what the page asks every two seconds: /api/status and one page of items. Over HTTP on loopback, with the
manager's own server; each time with a survey that is new, as while items finish, and again with one that is not.
"""

import argparse
import json
import statistics
import time
import urllib.request
from collections.abc import Callable
from functools import partial

from longshore.manager import Survey
from longshore.plan import Limits
from longshore.records import Digests, Records
from longshore.scaling import Rule
from longshore.state import Job, Record, State
from longshore.web import board as boards
from longshore.web.board import Board
from longshore.web.serving import status_server
from longshore.web.settings import StatusSettings
from longshore_kit.contract import ItemList

ROUNDS = 15
NOW = time.time()


def job_of(number: int, name: str, state: State) -> Job:
    """A Job as an engine shows it."""
    reason = "<b>disk full</b>\nexit code 1" if state is State.FAILED else ""
    at = NOW - number % 20_000
    return Job(f"bench-{number}", name, f"uid-{number}", state, at - 60, at, 1, 1, reason, None, 12.5)


def surveys(items: int, failed: int) -> dict[str, Callable[[], Survey]]:
    """The same queue as each engine keeps it; a call makes a new survey."""
    names = [f"camera-{number % 40:02d}/2026-11/<i>{number:07d}</i>.mp4" for number in range(items)]
    listed, waiting = ItemList(tuple(names)), items // 10
    ended = range(waiting, items)
    states = {number: State.FAILED if number < waiting + failed else State.DONE for number in ended}
    jobs = {names[number]: job_of(number, names[number], states[number]) for number in ended}
    few = {name: job for name, job in jobs.items() if int(job.uid[4:]) < waiting + failed + 1000}
    named = Records({name: Record(name, job.state, job.since) for name, job in jobs.items() if name not in few})
    digests = Digests("bench")
    hashed = Records(hashed=frozenset(digests.of(name) for name in jobs if name not in few), digests=digests)
    return {
        "all of them Jobs": lambda: Survey(listed, jobs, at=NOW, listed_at=NOW),
        "1,000 Jobs, the rest in a file's ledger": lambda: Survey(listed, few, named, at=NOW, listed_at=NOW),
        "1,000 Jobs, the rest in a cluster's ledger": lambda: Survey(listed, few, hashed, at=NOW, listed_at=NOW),
    }


def milliseconds(work: Callable[[], object]) -> tuple[float, float]:
    """The median and the longest time of one call."""
    spent = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        work()
        spent.append((time.perf_counter() - began) * 1000)
    return statistics.median(spent), max(spent)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--failed", type=int, default=5_000)
    options = parser.parse_args()
    boards.KEPT_SECONDS = 0.0  # type: ignore[misc] # every refresh pays for its survey
    print(f"{options.items} items, {options.failed} failed; ms per refresh, median and longest of {ROUNDS}")
    for kept, survey in surveys(options.items, options.failed).items():
        board = Board("bench", Limits(rule=Rule(maximum=100)), version="bench")
        began = time.perf_counter()
        board.note(survey())
        first = (time.perf_counter() - began) * 1000
        with status_server(board, StatusSettings(), port=0, host="127.0.0.1", variable="PORT") as server:

            def refresh(query: str = "", port: int = server.port) -> int:
                got = 0
                for path in ("/api/status", f"/api/items?{query}"):
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}") as reply:
                        body = reply.read()
                        json.loads(body)
                        got += len(body)
                return got

            def busy(query: str = "", board: Board = board, survey: Callable[[], Survey] = survey) -> None:
                board.note(survey())
                refresh(query)

            print(f"  {kept}")
            print(f"    {'the history of a fresh manager, once':<46} {first:7.1f}")
            for what, query in {
                "all": "",
                "failed, page 90": "state=failed&page=90",
                "done, page 1500": "state=done&page=1500",
                "search": "search=39.mp",
                "search that finds nothing": "search=nowhere",
            }.items():
                median, most = milliseconds(partial(busy, query))
                print(f"    {'new survey, ' + what:<46} {median:7.1f} {most:7.1f}")
            median, most = milliseconds(refresh)
            print(f"    {f'nothing new, {refresh() / 1000:.0f} kB':<46} {median:7.1f} {most:7.1f}")


if __name__ == "__main__":
    main()
