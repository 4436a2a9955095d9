"""The seam between the manager and the place where Jobs live. tests/contract/engine_contract.py is its meaning.

An engine keeps Jobs and runs their workers; it never decides which. The manager decides, and reads back everything
it knows from what an engine shows.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from longshore.manifests import Bundle, Layout
from longshore.state import Job, Jobs


class Engine(Protocol):
    """The Jobs of one queue. Calls may come from any process of the queue at any time; `create` from any thread."""

    def layout(self, job_name: str) -> Layout:
        """Where this engine shows that Job's worker its files."""

    def check(self, bundle: Bundle) -> None:
        """
        Refuse a manifest that this engine can't honour, before anything is made of it.

        Raises:
            ManifestRefused: the message names every such field, and what to write instead.
        """

    def jobs(self) -> Jobs:
        """
        Every Job of the queue as it is now, by item name; changes nothing.

        Raises:
            EngineUnavailable: could not look; what was seen before is not an answer. Safe to retry.
        """

    def still_there(self, jobs: Sequence[Job]) -> Sequence[Job]:
        """
        Those of these Jobs that are there now, the very same, and that nobody is deleting; by a look of its own.

        Raises:
            EngineUnavailable: as `jobs`.
        """

    def create(self, bundle: Bundle) -> bool:
        """
        Make the Job, once: True, or False if it is there already, made by whomever. Never a second one.

        Raises:
            ManifestRefused: as `check`.
            EngineFull: there is no room, or no right, for another Job now; safe to retry later.
            EngineError: another item's Job has this name, or the Job could not be made.
            EngineUnavailable: safe to retry; a Job may or may not have been made.
        """

    def delete(self, job: Job) -> None:
        """
        Delete this very Job (its uid decides); a worker of it is stopped first, and its name stays taken until that
        is gone. A Job that is gone already is no error.

        Raises:
            EngineError: could not; safe to retry.
        """

    def tend(self) -> Sequence[str]:
        """
        See to Jobs as they are, without a decision of the plan; called before each look. What a Job controller does,
        where there is none: start what is not started, notice what was lost, finish deletions. On a cluster: have
        finished Jobs say everything themselves before their pods go, and give up what does not start in time.

        Returns what could not be done, in words: one Job that can't be seen to must not stop the others.

        Raises:
            EngineError: could not look; safe to retry.
        """

    def log(self, job: Job, stage: str = "") -> str:
        """
        The end of what the Job's last worker wrote, 64 KiB at most; empty if nothing is kept. Of a chain, what `stage`
        wrote; without one, what `job.stage` did.
        """

    def watch(self, on_change: Callable[[], None]) -> None:
        """
        Call `on_change` soon after a Job changes, from any thread. A hint: it may come too often, or not at all for
        what another process did; only looking is the truth.
        """

    def close(self) -> None:
        """Stop watching. Workers go on."""


class LocalEngine(Engine, Protocol):
    """An engine of this machine, where a person who stops a queue expects its workers to stop."""

    def stop_workers(self, jobs: Iterable[Job]) -> bool:
        """
        Ask these Jobs' workers to stop, for another start to take them up; False once none of them is left.
        SIGTERM first, SIGKILL when their grace is over. Call it again until it says so.
        """

    def is_supervised_here(self, job: Job) -> bool:
        """Whether the Job's worker is this very object's to stop while other managers go on."""
