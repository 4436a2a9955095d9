"""What every engine promises: one suite, run against each of them.

An engine's own test module derives from `EngineContract` and says how to make an engine. Workers are shell scripts,
so that the same suite runs where there is nothing but a shell.
"""

import json
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from longshore.engines.base import Engine
from longshore.manifests import DIGEST_ANNOTATION, Bundle, bundle_for, refused_bundle
from longshore.names import job_name
from longshore.queuefile import Queue
from longshore.state import Job, State
from longshore_kit.errors import EngineError
from support.queues import NASTY_NAMES, item_named, queue_with, shell_queue, shell_stage

TIMEOUT_SECONDS = 60.0
"""How long a test waits for what must come: far longer than it takes, since machines are slow at times."""


class Watched:
    """An engine with a test's ways to wait for it."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._changed = threading.Event()
        engine.watch(self._changed.set)

    def until(self, item: str, is_so: Callable[[Job | None], bool]) -> Job | None:
        """The item's Job as soon as `is_so`; fails after a generous while."""
        waited = 0.0
        while True:
            self._changed.clear()
            self.engine.tend()
            job = self.engine.jobs().get(item)
            if is_so(job):
                return job
            assert waited < TIMEOUT_SECONDS, f"waited {waited} s, the Job is {job}"
            # A change ends the pause at once; what another process started may only be seen by looking.
            if not self._changed.wait(0.5):
                waited += 0.5

    def until_state(self, item: str, *states: State) -> Job:
        """The item's Job as soon as it is in one of `states`."""
        job = self.until(item, lambda one: one is not None and one.state in states)
        assert job is not None
        return job

    def until_finished(self, item: str) -> Job:
        """The item's Job as soon as it is done or failed."""
        return self.until_state(item, State.DONE, State.FAILED)


class EngineContract(ABC):
    """The rules. `folder` is seen by workers under its own path."""

    @abstractmethod
    def make_engine(self, folder: Path) -> Engine:
        """One more manager's engine on the queue whose state is under `folder`."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        """Where workers leave what the tests look at."""
        return tmp_path

    @pytest.fixture
    def make(self, folder: Path) -> Iterator[Callable[[], Watched]]:
        """Makes engines on one queue, and closes them."""
        with ExitStack() as stack:

            def make() -> Watched:
                engine = self.make_engine(folder)
                stack.callback(engine.close)
                return Watched(engine)

            yield make
            self.end_workers(folder)

    def end_workers(self, folder: Path) -> None:
        """Leave nothing running: delete every Job and wait for its worker's end."""
        watched = Watched(self.make_engine(folder))
        for job in watched.engine.jobs().values():
            watched.engine.delete(job)
        for item in watched.engine.jobs():
            watched.until(item, lambda job: job is None)
        watched.engine.close()

    @pytest.fixture
    def watched(self, make: Callable[[], Watched]) -> Watched:
        """One engine."""
        return make()

    def queue(self, folder: Path, script: str, **retry: int) -> Queue:
        """A queue whose workers run `script`."""
        return shell_queue(folder, script, retry=retry)

    def chain(self, folder: Path, stages: Sequence[dict[str, Any]], **retry: int) -> Queue:
        """A queue whose workers are chains of `shell_stage`s."""
        return queue_with(folder, worker={"stages": stages}, retry=retry)

    def start_chain(
        self,
        watched: Watched,
        folder: Path,
        *stages: dict[str, Any],
        data: dict[str, Any] | None = None,
        **retry: int,
    ) -> None:
        """Create the Job of one item that a chain works on."""
        queue = self.chain(folder, stages, **retry)
        bundle = bundle_for(queue, item_named("a", data), watched.engine.layout(job_name(queue.name, "a")))
        assert watched.engine.create(bundle)

    def start(self, watched: Watched, folder: Path, script: str, name: str = "a", **retry: int) -> Bundle:
        """Create the Job of one item."""
        queue = self.queue(folder, script, **retry)
        bundle = bundle_for(queue, item_named(name), watched.engine.layout(job_name(queue.name, name)))
        assert watched.engine.create(bundle)
        return bundle

    def test_a_new_queue_has_no_jobs(self, watched: Watched) -> None:
        """Nothing made, nothing there."""
        assert dict(watched.engine.jobs()) == {}

    def test_a_worker_that_ends_with_0_makes_its_item_done(self, watched: Watched, folder: Path) -> None:
        """Created, run, done; and its result is kept."""
        bundle = self.start(watched, folder, 'printf "forty-two" > "$LONGSHORE_RESULT_FILE"')

        job = watched.until_finished("a")

        assert (job.name, job.item, job.state, job.attempt, job.exit_code, job.reason) == (
            bundle.name, "a", State.DONE, 1, 0, "forty-two",
        )  # fmt: skip

    def test_invariant_1_a_second_create_makes_nothing(self, watched: Watched, folder: Path) -> None:
        """The name is the lock: whoever comes second is told so, and the worker runs once."""
        bundle = self.start(watched, folder, f"echo run >> {folder}/runs")
        watched.until_finished("a")

        assert watched.engine.create(bundle) is False
        assert (folder / "runs").read_text() == "run\n"

    def test_invariant_1_many_creators_make_one_job(self, make: Callable[[], Watched], folder: Path) -> None:
        """However many managers see an item at once, exactly one of them makes its Job."""
        managers = [make() for _ in range(4)]
        queue = self.queue(folder, f'echo run >> "{folder}/runs-$1"')
        names = [f"item-{number}" for number in range(10)]

        def create_all(watched: Watched) -> list[bool]:
            engine = watched.engine
            return [engine.create(bundle_for(queue, item_named(n), engine.layout(job_name("q", n)))) for n in names]

        with ThreadPoolExecutor(len(managers)) as pool:
            made = list(pool.map(create_all, managers))
        for name in names:
            managers[0].until_finished(name)

        assert [sum(one) for one in zip(*made, strict=True)] == [1] * len(names)
        assert [(folder / f"runs-{name}").read_text() for name in names] == ["run\n"] * len(names)

    def test_invariant_2_a_manager_with_empty_memory_sees_everything(
        self, make: Callable[[], Watched], folder: Path
    ) -> None:
        """State lives in Jobs: a fresh engine shows what the last one left."""
        first = make()
        self.start(first, folder, "exit 65", name="bad")
        self.start(first, folder, "exit 0", name="good")
        known = {item: first.until_finished(item) for item in ("bad", "good")}

        assert dict(make().engine.jobs()) == known

    def test_invariant_4_a_failed_job_stays_and_deleting_it_is_retrying(self, watched: Watched, folder: Path) -> None:
        """The dead letter is the Job; once it is deleted, the item can be started again."""
        bundle = self.start(watched, folder, f"test -e {folder}/mended || exit 65")
        failed = watched.until_finished("a")
        (folder / "mended").touch()

        watched.engine.delete(failed)
        watched.until("a", lambda job: job is None)
        assert watched.engine.create(bundle)

        assert (failed.state, watched.until_finished("a").state) == (State.FAILED, State.DONE)

    @pytest.mark.parametrize("code", [64, 65])
    def test_a_bad_item_is_not_tried_again(self, watched: Watched, folder: Path, code: int) -> None:
        """64 and 65 fail the item at once, with the worker's own reason."""
        script = f'printf "no video stream" > "$LONGSHORE_RESULT_FILE"; exit {code}'
        self.start(watched, folder, script, attempts=5)

        job = watched.until_finished("a")

        assert (job.state, job.attempt, job.exit_code, job.reason) == (State.FAILED, 1, code, "no video stream")

    def test_a_failing_worker_is_tried_so_many_times(self, watched: Watched, folder: Path) -> None:
        """Any other exit code is tried again, up to the queue's attempts, and then failed."""
        self.start(watched, folder, f"echo run >> {folder}/runs; exit 3", attempts=3)

        job = watched.until_finished("a")

        assert (job.state, job.attempt, job.attempts, job.exit_code) == (State.FAILED, 3, 3, 3)
        assert (folder / "runs").read_text() == "run\n" * 3

    def test_a_later_attempt_can_succeed(self, watched: Watched, folder: Path) -> None:
        """What failed for a moment is done in the end."""
        self.start(watched, folder, f"mkdir {folder}/second || exit 0; exit 1", attempts=2)

        job = watched.until_finished("a")

        assert (job.state, job.attempt) == (State.DONE, 2)

    def test_a_worker_without_words_leaves_its_last_lines(self, watched: Watched, folder: Path) -> None:
        """A program that knows nothing of Longshore still says why it failed."""
        self.start(watched, folder, "echo loading >&2; echo 'cannot open a.mp4' >&2; exit 65")

        assert watched.until_finished("a").reason == "loading\ncannot open a.mp4"

    def test_a_program_that_is_not_there_fails_its_item_with_its_name(self, watched: Watched, folder: Path) -> None:
        """Not found is an outcome with a reason, not a Job that never starts."""
        queue = self.queue(folder, "", attempts=1)
        worker = queue.spec.worker.model_copy(update={"command": ("no-such-program",)})
        queue = replace(queue, spec=queue.spec.model_copy(update={"worker": worker}))
        watched.engine.create(bundle_for(queue, item_named("a"), watched.engine.layout(job_name("q", "a"))))

        job = watched.until_finished("a")

        assert (job.state, "no-such-program" in job.reason) == (State.FAILED, True)

    def test_a_hanging_worker_is_stopped_at_its_deadline(self, watched: Watched, folder: Path) -> None:
        """TERM first, so that it can clean up; the attempt has failed whatever it exits with."""
        script = f"trap 'touch {folder}/asked; exit 0' TERM; while :; do sleep 0.1; done"
        self.start(watched, folder, script, attempts=1, deadlineSeconds=1)

        job = watched.until_finished("a")

        assert (job.state, (folder / "asked").exists()) == (State.FAILED, True)
        assert "deadline" in job.reason

    def test_deleting_a_running_job_ends_its_worker_before_its_name_is_free(
        self, watched: Watched, folder: Path
    ) -> None:
        """A retry can't overlap with what it replaces."""
        script = f"trap 'touch {folder}/ended; exit 1' TERM; touch {folder}/up; while :; do sleep 0.1; done"
        self.start(watched, folder, script)
        running = watched.until_state("a", State.RUNNING)
        watched.until("a", lambda _: (folder / "up").exists())

        watched.engine.delete(running)
        watched.until("a", lambda job: job is None)

        assert (folder / "ended").exists()

    def test_deleting_another_jobs_uid_deletes_nothing(self, watched: Watched, folder: Path) -> None:
        """A delete decided on an old look does not hit the Job's successor."""
        self.start(watched, folder, "exit 0")
        job = watched.until_finished("a")

        watched.engine.delete(replace(job, uid="another"))

        assert watched.engine.jobs() == {"a": job}

    def test_deleting_what_is_gone_is_no_error(self, watched: Watched, folder: Path) -> None:
        """Two managers may decide the same."""
        self.start(watched, folder, "exit 0")
        job = watched.until_finished("a")

        watched.engine.delete(job)
        watched.engine.delete(job)
        watched.until("a", lambda one: one is None)

        assert dict(watched.engine.jobs()) == {}

    def test_a_refused_item_is_failed_and_never_runs(self, watched: Watched, folder: Path) -> None:
        """An item that could not even be started is a dead letter like any other."""
        bundle = refused_bundle(self.queue(folder, f"touch {folder}/ran"), "a", "the item has no path")

        watched.engine.create(bundle)
        job = watched.until_finished("a")

        assert (job.state, job.reason, job.attempt, (folder / "ran").exists()) == (
            State.FAILED, "the item has no path", 0, False,
        )  # fmt: skip

    def test_a_name_that_is_anothers_is_told(self, watched: Watched, folder: Path) -> None:
        """Should two items ever share a Job's name, the second is reported and the first left alone."""
        bundle = self.start(watched, folder, "exit 0")
        metadata = bundle.job["metadata"]
        other = metadata | {"annotations": metadata["annotations"] | {DIGEST_ANNOTATION: "0" * 64}}

        with pytest.raises(EngineError, match="is there for another item, 'a'"):
            watched.engine.create(Bundle(bundle.job | {"metadata": other}))

    @pytest.mark.parametrize("size", [10, 20_000, 300_000], ids=["inline", "in a ConfigMap", "a large one"])
    def test_the_items_data_is_the_item_file(self, watched: Watched, folder: Path, size: int) -> None:
        """Whatever its size and characters, the worker reads what the source gave."""
        data = {"text": '動画 $HOME $(HOME) \u2028 \\ "quoted"', "pad": "x" * size}
        queue = self.queue(folder, f'cat "$WORK_ITEM_FILE" > {folder}/seen')
        layout = watched.engine.layout(job_name("q", "a"))
        bundle = bundle_for(queue, item_named("a", data), layout)

        watched.engine.create(bundle)
        job = watched.until_finished("a")

        expected = bundle_for(queue, item_named("a", data), layout)
        kept = expected.payload["data"] if expected.payload else {"item.json": _annotation(expected)}
        assert (job.state, (folder / "seen").read_text()) == (State.DONE, kept["item.json"])

    def test_names_arrive_unharmed(self, watched: Watched, folder: Path) -> None:
        """As an argument and as a variable, byte by byte, for every name that is allowed."""
        queue = self.queue(folder, 'printf "%s|%s" "$1" "$LONGSHORE_ITEM" > "$LONGSHORE_RESULT_FILE"')
        for name in NASTY_NAMES:
            watched.engine.create(bundle_for(queue, item_named(name), watched.engine.layout(job_name("q", name))))

        results = {name: watched.until_finished(name).reason for name in NASTY_NAMES}

        # The engine trims the ends of a result, as people do.
        assert results == {name: f"{name}|{name}".strip() for name in NASTY_NAMES}

    def test_a_workers_environment_names_its_queue_and_its_files(self, watched: Watched, folder: Path) -> None:
        """The four variables of the worker contract."""
        script = 'test -r "$WORK_ITEM_FILE" && printf "$LONGSHORE_ITEM $LONGSHORE_QUEUE" > "$LONGSHORE_RESULT_FILE"'
        self.start(watched, folder, script)

        assert watched.until_finished("a").reason == "a q"

    def test_a_result_is_at_most_its_last_4_kib(self, watched: Watched, folder: Path) -> None:
        """A worker that writes a novel leaves its end."""
        script = 'i=0; while [ $i -lt 1000 ]; do echo "line $i"; i=$((i+1)); done > "$LONGSHORE_RESULT_FILE"'
        self.start(watched, folder, script)

        reason = watched.until_finished("a").reason

        assert (reason.endswith("line 999"), len(reason.encode()) <= 4096) == (True, True)

    def test_a_live_jobs_worker_can_be_read_along(self, watched: Watched, folder: Path) -> None:
        """The log of what runs is there while it runs."""
        self.start(watched, folder, f"echo step one; while ! test -e {folder}/go; do sleep 0.1; done")
        watched.until("a", lambda job: job is not None and "step one" in watched.engine.log(job))
        (folder / "go").touch()

        assert watched.until_finished("a").state is State.DONE

    def test_a_failed_jobs_log_is_kept_and_shown_by_its_end(self, watched: Watched, folder: Path) -> None:
        """Of half a megabyte the last lines are what a person needs."""
        # A container runtime may lose what is written in the moment of the end.
        self.start(watched, folder, "seq 1 90000; sleep 1; exit 65")
        job = watched.until_finished("a")

        text = watched.engine.log(job)

        last = text.split()[-500:]
        assert (last, len(text) <= 64 * 1024) == ([str(number) for number in range(89501, 90001)], True)

    def test_processing_time_is_what_the_workers_took(self, watched: Watched, folder: Path) -> None:
        """All attempts count, the pauses between them do not."""
        self.start(watched, folder, "sleep 1.2; exit 65")

        job = watched.until_finished("a")

        # Some engines' clocks tick in whole seconds.
        assert 1 <= job.processing_seconds <= job.since - job.created + 1

    def test_stages_run_one_after_the_other_over_a_shared_folder(self, watched: Watched, folder: Path) -> None:
        """What the first leaves the next one finds; the last one's result is the item's; each one's time is kept."""
        self.start_chain(
            watched,
            folder,
            shell_stage("first", 'echo one > "$WORK_PATH/left"; echo first > "$LONGSHORE_RESULT_FILE"'),
            shell_stage("second", 'echo two >> "$WORK_PATH/left"'),
            shell_stage("last", 'cat "${work}/left" > "$LONGSHORE_RESULT_FILE"'),
        )

        job = watched.until_finished("a")

        assert (job.state, job.reason, job.attempt, job.exit_code) == (State.DONE, "one\ntwo", 1, 0)
        assert [name for name, _ in job.stage_seconds] == ["multi-worker", "first", "second", "last"]

    def test_a_running_chain_says_at_which_stage_it_is(self, watched: Watched, folder: Path) -> None:
        """And what that stage writes can be read along."""
        waiting = f"echo step two; while ! test -e {folder}/go; do sleep 0.1; done"
        self.start_chain(watched, folder, shell_stage("first", "exit 0"), shell_stage("last", waiting))
        watched.until("a", lambda job: job is not None and job.state is State.RUNNING and job.stage == "last")
        watched.until("a", lambda job: job is not None and "step two" in watched.engine.log(job))
        (folder / "go").touch()

        assert watched.until_finished("a").state is State.DONE

    @pytest.mark.parametrize("number", [0, 1])
    def test_a_failed_stage_fails_the_item_and_is_named(self, watched: Watched, folder: Path, number: int) -> None:
        """With its own words and code; those after it never begin, and 65 of any of them means no retry."""
        failing = 'echo looking; echo "no face in it" > "$LONGSHORE_RESULT_FILE"; sleep 1; exit 65'
        scripts = ["echo fine; sleep 1", f"touch {folder}/began"]
        scripts[number] = failing
        names = ["first", "last"]
        stages = [shell_stage(name, script) for name, script in zip(names, scripts, strict=True)]
        self.start_chain(watched, folder, *stages, attempts=3)

        job = watched.until_finished("a")

        assert (job.state, job.stage, job.reason, job.exit_code, job.attempt) == (
            State.FAILED, names[number], "no face in it", 65, 1,
        )  # fmt: skip
        assert job.told_reason == f"stage {names[number]}, exit code 65: no face in it"
        assert (folder / "began").exists() is False
        assert watched.engine.log(job).split() == ["looking"]
        assert watched.engine.log(job, "first").split() == [["looking"], ["fine"]][number]

    def test_a_later_attempt_begins_with_the_first_stage_on_a_clean_folder(
        self, watched: Watched, folder: Path
    ) -> None:
        """Half of what a failed attempt has left is worth nothing."""
        first = f'test -e "$WORK_PATH/left" && touch {folder}/dirty; touch "$WORK_PATH/left"; echo run >> {folder}/runs'
        last = f"mkdir {folder}/second || exit 0; exit 1"
        self.start_chain(watched, folder, shell_stage("first", first), shell_stage("last", last), attempts=2)

        job = watched.until_finished("a")

        assert (job.state, job.attempt, (folder / "dirty").exists()) == (State.DONE, 2, False)
        assert (folder / "runs").read_text() == "run\n" * 2

    def test_each_stage_has_an_item_of_its_own(self, watched: Watched, folder: Path) -> None:
        """Made by its template on values, which stay values whatever stands in them; without one it is the item's."""
        data = {"path": "../$(id) `id` ${work} $HOME ; rm -rf /", "tags": [1, {"a": None}]}
        seen = f'cat "$WORK_ITEM_FILE" > {folder}/$(basename $0)'
        template = {"in": "${work}/${item.path}", "tags": "${item.tags}", "is": {"name": "<${name}>", "$${x}": True}}
        stages = [
            shell_stage("first", seen, item=template),
            shell_stage("last", seen),
        ]
        for stage in stages:
            stage["command"][3] = stage["name"]
        queue = self.chain(folder, stages)
        layout = watched.engine.layout(job_name(queue.name, "a"))
        watched.engine.create(bundle_for(queue, item_named("a", data), layout))

        job = watched.until_finished("a")

        assert job.state is State.DONE, job
        assert json.loads((folder / "first").read_text()) == {
            "in": f"{layout.work_folder}/{data['path']}",
            "tags": data["tags"],
            "is": {"name": "<a>", "$${x}": True},
        }
        assert json.loads((folder / "last").read_text()) == data

    def test_a_template_that_asks_for_what_is_not_there_rejects_the_item(self, watched: Watched, folder: Path) -> None:
        """Once, before any stage, with the stage and the reference."""
        last = shell_stage("last", "", item={"x": "${item.no}"})
        stages = [shell_stage("first", f"touch {folder}/began"), last]
        self.start_chain(watched, folder, *stages, attempts=3)

        job = watched.until_finished("a")

        assert (job.state, job.stage, job.exit_code, job.attempt, (folder / "began").exists()) == (
            State.FAILED, "multi-worker", 65, 1, False,
        )  # fmt: skip
        assert job.reason == "the item of stage last: ${item.no}: the item has no such value; its data has path"

    def test_a_large_item_reaches_every_stage(self, watched: Watched, folder: Path) -> None:
        """As large as items may be: each has it in a file."""
        data = {"text": "x" * 1_000_000}
        count = 'wc -c < "$WORK_ITEM_FILE"'
        stages = [
            shell_stage("first", f"{count} > $WORK_PATH/size", item={"again": "${item.text}"}),
            shell_stage("last", f'(cat "$WORK_PATH/size"; {count}) | tr -d " " > "$LONGSHORE_RESULT_FILE"'),
        ]
        self.start_chain(watched, folder, *stages, data=data)

        assert watched.until_finished("a").reason.split() == [str(1_000_012), str(1_000_011)]

    def test_a_stage_that_hangs_is_stopped_at_the_deadline(self, watched: Watched, folder: Path) -> None:
        """It is the attempt's, for all stages together."""
        stages = [shell_stage("first", "exec sleep 1000"), shell_stage("last", f"touch {folder}/began")]
        self.start_chain(watched, folder, *stages, attempts=1, deadlineSeconds=3)

        job = watched.until_finished("a")

        assert (job.state, job.stage, (folder / "began").exists()) == (State.FAILED, "first", False)
        assert "deadline" in job.reason


def _annotation(bundle: Bundle) -> Any:
    return bundle.job["spec"]["template"]["metadata"]["annotations"]["longshore.dev/item-data"]
