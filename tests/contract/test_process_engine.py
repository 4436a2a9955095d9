"""The process engine: the engines' contract, and what only processes of this machine can suffer."""

import contextlib
import errno
import json
import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

from longshore.engines.base import Engine
from longshore.engines.process import ProcessEngine
from longshore.engines.supervisor import UID_VARIABLE, take_lock
from longshore.manifests import Bundle, bundle_for
from longshore.names import job_name
from longshore.state import Job, State
from longshore_kit.errors import EngineUnavailable, ManifestRefused
from support.queues import item_named, queue_with, shell_queue, shell_stage

from .engine_contract import TIMEOUT_SECONDS, EngineContract, Watched


def process_engine(folder: Path) -> ProcessEngine:
    """An engine on the state under `folder`, with pauses for tests."""
    return ProcessEngine(folder / "state", working_folder=folder, mounts={}, backoff_seconds=0.05)


def runs_still(pid: int) -> bool:
    """Whether a process runs; what is dead may wait to be reaped for as long as its parent likes."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


def holders_of(path: Path) -> list[int]:
    """Processes that have a file open."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if any(one.path == str(path) for one in process.open_files()):
                found.append(process.pid)
    return found


def fill_the_disk_of(process: psutil.Process, *, room: int = 0) -> None:
    """Have every file that a process writes fail once it has so many bytes, as a full disk has."""
    process.rlimit(psutil.RLIMIT_FSIZE, (room, psutil.RLIM_INFINITY))


class TestProcessEngine(EngineContract):
    """The process engine keeps the engines' contract."""

    def make_engine(self, folder: Path) -> Engine:
        """A fresh engine, as another manager process would have it."""
        return process_engine(folder)

    def processes_of(self, job: Job) -> list[psutil.Process]:
        """What runs for a Job's worker, however deep."""
        return [one for one in psutil.process_iter() if _variables(one).get(UID_VARIABLE) == job.uid]

    def supervisor_of(self, job: Job) -> psutil.Process:
        """The Job's supervisor."""
        return next(one for one in psutil.process_iter() if _is_supervisor(one, job))

    def test_a_hanging_worker_that_ignores_term_is_killed_with_its_whole_group(
        self, watched: Watched, folder: Path
    ) -> None:
        """A worker can't escape its deadline, nor can what it started."""
        script = f"trap '' TERM; sleep 1000 & echo $! > {folder}/child; while :; do sleep 0.1; done"
        pod = {"podTemplate": {"spec": {"terminationGracePeriodSeconds": 1}}}
        worker = {"command": ["sh", "-c", script], **pod}
        queue = queue_with(folder, worker=worker, retry={"attempts": 1, "deadlineSeconds": 1})
        watched.engine.create(bundle_for(queue, item_named("a"), watched.engine.layout(job_name("q", "a"))))

        job = watched.until_finished("a")

        assert (job.state, job.exit_code, self.processes_of(job)) == (State.FAILED, 137, [])

    def test_a_deletion_that_has_to_wait_is_finished_later(self, watched: Watched, folder: Path) -> None:
        """The Job's supervisor may still be ending; looking at the Job meanwhile forgets nothing of its deletion."""
        self.start(watched, folder, "true")
        job = watched.until_finished("a")
        psutil.wait_procs([one for one in psutil.process_iter() if _is_supervisor(one, job)])
        lock = take_lock(folder / "state/jobs" / job.name[-16:-14] / job.name)
        assert lock is not None
        watched.engine.delete(job)
        seen = [watched.engine.jobs()["a"].deleting for _ in range(3)]
        watched.engine.tend()
        os.close(lock)

        watched.engine.tend()

        assert (seen, dict(watched.engine.jobs())) == ([True, True, True], {})

    @pytest.mark.parametrize(
        "escape",
        [
            "setsid sleep 1000 &",
            "timeout 1000 sleep 1000 &",
            "setsid env -i sleep 1000 &",
            "setsid sh -c 'setsid env -i sleep 1000 &' &",
        ],
        ids=["session", "group", "environment", "daemon"],
    )
    def test_nothing_of_an_attempt_outlives_it(self, watched: Watched, folder: Path, escape: str) -> None:
        """However a worker's child detaches itself, the next attempt never runs beside it."""
        started = folder / "started"
        # Each attempt counts what holds this file open, the sleepers of the ones before, and only then opens it.
        count = f"ls -l /proc/[0-9]*/fd/7 2>/dev/null | grep -c '{started}$'"
        script = f"{count} >> {folder}/seen; exec 7>>{started}; {escape} sleep 0.3; exit 1"
        self.start(watched, folder, script, attempts=3)

        job = watched.until_finished("a")

        left = (folder / "seen").read_text().split()
        assert (job.state, left, holders_of(started)) == (State.FAILED, ["0", "0", "0"], [])

    def test_what_closed_its_files_is_found_when_its_supervisor_was_killed(
        self, watched: Watched, folder: Path
    ) -> None:
        """A worker that holds nothing open any more still carries its Job's uid."""
        script = (
            f"echo $$$$ >> {folder}/runs; test -e {folder}/go || exec 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&- sleep 1000"
        )
        self.start(watched, folder, script)
        running = watched.until("a", lambda _: (folder / "runs").exists())
        assert running is not None
        (folder / "go").touch()
        first = int((folder / "runs").read_text())
        self.supervisor_of(running).kill()

        job = watched.until_finished("a")

        assert (job.state, runs_still(first)) == (State.DONE, False)

    @pytest.mark.parametrize(
        ("deed", "state", "attempts"),
        [
            ('rm -rf "$(dirname "$WORK_ITEM_FILE")"; exit 1', State.FAILED, 2),
            ('rm -rf "$(dirname "$WORK_ITEM_FILE")"; exit 0', State.DONE, 1),
            ('mkdir "$LONGSHORE_RESULT_FILE"; exit 0', State.DONE, 1),
            ('mkfifo "$LONGSHORE_RESULT_FILE"; exit 0', State.DONE, 1),
            ('ln -s /dev/zero "$LONGSHORE_RESULT_FILE"; exit 1', State.FAILED, 2),
            ('rm -f "$(dirname "$WORK_ITEM_FILE")/../worker.log"; exit 1', State.FAILED, 2),
            ('chmod 0 "$(dirname "$WORK_ITEM_FILE")"; exit 1', State.FAILED, 2),
        ],
    )
    def test_whatever_a_worker_does_to_its_files_its_exit_code_counts(
        self, watched: Watched, folder: Path, deed: str, state: State, attempts: int
    ) -> None:
        """Its folder is its own, and the next attempt finds a new one."""
        self.start(watched, folder, f'test -r "$WORK_ITEM_FILE" || exit 65; {deed}', attempts=2)

        job = watched.until_finished("a")

        assert (job.state, job.attempt, job.exit_code != 65) == (state, attempts, True)

    @pytest.mark.parametrize(
        "instead",
        ["mkfifo worker.log", "ln -s /dev/zero worker.log", "ln -s manifest.json worker.log", "mkdir worker.log"],
    )
    def test_whatever_a_worker_puts_in_its_logs_place_nobody_hangs_on_it(
        self, watched: Watched, folder: Path, instead: str
    ) -> None:
        """Who looks at a log gets what is in a file, or nothing."""
        script = f'cd "$(dirname "$WORK_ITEM_FILE")/.."; rm worker.log; {instead}; touch {folder}/up; sleep 1000'
        self.start(watched, folder, script)
        running = watched.until("a", lambda _: (folder / "up").exists())
        assert running is not None

        assert watched.engine.log(running) == ""

    @pytest.mark.parametrize("damage", ["", "{", "[]", '{"phase": 1}'])
    def test_a_job_whose_status_is_damaged_has_failed_and_says_so(
        self, watched: Watched, folder: Path, damage: str
    ) -> None:
        """It is neither run again nor in the way of the others."""
        self.start(watched, folder, "true")
        done = watched.until_finished("a")
        status = folder / "state/jobs" / done.name[-16:-14] / done.name / "status.json"
        status.write_text(damage)

        job = process_engine(folder)
        seen = job.jobs()["a"]
        job.close()

        assert (seen.state, "status.json is damaged" in seen.reason) == (State.FAILED, True)

    def test_a_done_job_without_its_status_does_not_run_again(self, watched: Watched, folder: Path) -> None:
        """Nobody can tell how far its worker came: a person decides."""
        self.start(watched, folder, f"echo run >> {folder}/runs")
        done = watched.until_finished("a")
        (folder / "state/jobs" / done.name[-16:-14] / done.name / "status.json").unlink()
        fresh = process_engine(folder)
        fresh.tend()
        job = fresh.jobs()["a"]
        fresh.close()

        assert (job.state, (folder / "runs").read_text()) == (State.FAILED, "run\n")

    def test_files_of_the_system_in_the_jobs_folder_are_passed_over(self, watched: Watched, folder: Path) -> None:
        """Some systems leave a file of their own in every folder."""
        self.start(watched, folder, "true")
        watched.until_finished("a")
        (folder / "state/jobs/.DS_Store").write_text("x")

        assert list(watched.engine.jobs()) == ["a"]

    def test_what_a_worker_leaves_running_ends_with_it(self, watched: Watched, folder: Path) -> None:
        """As in a container, whose processes end with its first."""
        self.start(watched, folder, "sleep 1000 & exit 0")

        job = watched.until_finished("a")

        assert (job.state, self.processes_of(job)) == (State.DONE, [])

    def test_a_worker_whose_supervisor_was_killed_is_ended_before_its_item_is_started_again(
        self, watched: Watched, folder: Path
    ) -> None:
        """Nobody can tell any more how it ends: it is lost, costs no attempt, and never overlaps with the next."""
        script = (
            f"for pid in $(cat {folder}/runs); do kill -0 $pid && touch {folder}/overlap; done; "
            f"echo $$ >> {folder}/runs; test -e {folder}/go || sleep 1000"
        )
        self.start(watched, folder, script, attempts=1)
        running = watched.until("a", lambda _: (folder / "runs").exists())
        assert running is not None
        (folder / "go").touch()
        self.supervisor_of(running).kill()

        job = watched.until_finished("a")

        runs = (folder / "runs").read_text().splitlines()
        assert (job.state, job.attempt, len(runs), (folder / "overlap").exists()) == (State.DONE, 1, 2, False)

    def test_a_chain_whose_supervisor_was_killed_begins_again(self, watched: Watched, folder: Path) -> None:
        """With its first stage, on a clean folder; it costs no attempt, and nothing of the lost one is left."""
        first = f'echo run >> {folder}/runs; test -e "$WORK_PATH/left" && touch {folder}/dirty; touch "$WORK_PATH/left"'
        last = f"touch {folder}/up; test -e {folder}/go || sleep 1000"
        self.start_chain(watched, folder, shell_stage("first", first), shell_stage("last", last), attempts=1)
        running = watched.until("a", lambda _: (folder / "up").exists())
        assert running is not None
        (folder / "go").touch()
        self.supervisor_of(running).kill()

        job = watched.until_finished("a")

        assert (job.state, job.attempt, (folder / "dirty").exists()) == (State.DONE, 1, False)
        assert (folder / "runs").read_text() == "run\n" * 2
        assert self.processes_of(job) == []

    def test_a_stage_that_is_killed_fails_the_attempt_by_its_name(self, watched: Watched, folder: Path) -> None:
        """As any worker's end by a signal."""
        stages = [shell_stage("first", "kill -9 $$$$"), shell_stage("last", f"touch {folder}/began")]
        self.start_chain(watched, folder, *stages, attempts=1)

        job = watched.until_finished("a")

        assert (job.state, job.told_reason) == (State.FAILED, "stage first: exit code 137, without a word")
        assert (folder / "began").exists() is False

    def test_what_a_killed_worker_left_behind_is_ended_before_the_next_start(
        self, watched: Watched, folder: Path
    ) -> None:
        """A grandchild that outlived supervisor and worker, environment and group, would overlap with the retry."""
        left = ["sleep", f"1000.{os.getpid()}"]
        script = f"mkdir {folder}/second || exit 0; env -i setsid {' '.join(left)} & touch {folder}/up; exec sleep 2000"
        self.start(watched, folder, script)
        running = watched.until("a", lambda _: (folder / "up").exists())
        assert running is not None
        supervisor = self.supervisor_of(running)
        (worker,) = supervisor.children()
        for process in (supervisor, worker):
            process.kill()

        job = watched.until_finished("a")

        assert (job.state, [one for one in psutil.process_iter(["cmdline"]) if one.info["cmdline"] == left]) == (
            State.DONE, [],
        )  # fmt: skip

    def test_a_job_whose_maker_died_before_starting_it_is_started_by_the_next_look(
        self, watched: Watched, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A crash between the two calls loses nothing."""
        engine = process_engine(folder)
        monkeypatch.setattr(engine, "_supervise", lambda _name: None)  # the crash
        engine.create(bundle_for(shell_queue(folder, "exit 0"), item_named("a"), engine.layout(job_name("q", "a"))))
        engine.close()

        assert watched.until_finished("a").state is State.DONE

    def test_a_job_half_made_is_not_there(self, watched: Watched, folder: Path) -> None:
        """A folder appears whole or not at all, so a crash in the middle of making leaves no Job."""
        bundle = self.start(watched, folder, "exit 0", name="whole")
        watched.until_finished("whole")
        (folder / "state/aside/new-half").mkdir()
        (folder / "state/aside/new-half/manifest.json").write_text(json.dumps(bundle.job))

        assert list(watched.engine.jobs()) == ["whole"]

    def test_a_folder_that_can_not_be_read_is_an_error_not_an_empty_queue(self, watched: Watched, folder: Path) -> None:
        """Could not look is never "nothing there"."""
        (folder / "state").mkdir(exist_ok=True)
        (folder / "state/jobs").write_text("no folder")

        with pytest.raises(EngineUnavailable, match="Not a directory"):
            watched.engine.jobs()
        (folder / "state/jobs").unlink()

    def test_a_job_that_can_not_be_deleted_is_an_error_of_the_engine(
        self, watched: Watched, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A state folder that is only to be read: who retries is told so in words."""
        self.start(watched, folder, "exit 65")
        failed = watched.until_finished("a")

        def refuse(path: Path) -> None:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

        with monkeypatch.context() as only:
            only.setattr(Path, "touch", refuse)
            with pytest.raises(EngineUnavailable, match=r"could not be deleted.*Read-only"):
                watched.engine.delete(failed)

        assert dict(watched.engine.jobs()) == {"a": failed}

    def test_a_job_made_anew_under_its_name_is_seen_anew(
        self, watched: Watched, make: Callable[[], Watched], folder: Path
    ) -> None:
        """What is remembered of a finished Job ends with it, also when another process replaced it."""
        bundle = self.start(watched, folder, f"test -e {folder}/mended || exit 65")
        failed = watched.until_finished("a")
        other = make()
        (folder / "mended").touch()
        other.engine.delete(other.engine.jobs()["a"])
        other.engine.create(bundle)
        done = other.until_finished("a")

        assert (failed.state, dict(watched.engine.jobs())) == (State.FAILED, {"a": done})

    def test_stopping_workers_costs_no_attempt(self, make: Callable[[], Watched], folder: Path) -> None:
        """Ctrl-C stops what runs; the next run takes it up where its attempts stood."""
        watched = make()
        self.start(watched, folder, f"mkdir {folder}/second || exit 0; touch {folder}/up; sleep 1000", attempts=1)
        watched.until("a", lambda _: (folder / "up").exists())
        engine = watched.engine
        assert isinstance(engine, ProcessEngine)
        jobs = list(engine.jobs().values())
        _until(lambda: not engine.stop_workers(jobs))
        stopped = engine.jobs()["a"]

        job = make().until_finished("a")

        assert (stopped.state, job.state, job.attempt) == (State.STARTING, State.DONE, 1)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"nodeSelector": {"a": "b"}}, "can't honour podTemplate.spec.nodeSelector: leave it out here"),
            (
                {"containers": [{"name": "worker", "resources": {"limits": {"cpu": 1}}}]},
                "can't limit a process: leave worker.resources.limits out here",
            ),
            (
                {"containers": [{"name": "worker"}, {"name": "side", "image": "x"}]},
                "runs the worker's own containers only: leave others in podTemplate.spec out here",
            ),
        ],
        ids=["nodeSelector", "limits", "sidecar"],
    )
    def test_a_field_that_a_process_can_not_honour_is_refused_by_name(
        self, watched: Watched, change: Mapping[str, Any], message: str
    ) -> None:
        """Better no run than one that is not what the file says."""
        bundle = self.bundle_with(watched, worker={"command": ["true"], "podTemplate": {"spec": change}})

        with pytest.raises(ManifestRefused) as caught:
            watched.engine.create(bundle)

        assert str(caught.value) == f"the process engine {message}"

    def test_a_volume_that_this_machine_can_not_mount_is_refused_with_the_way_out(self, folder: Path) -> None:
        """An NFS volume needs a folder in its place, and a missing folder is told before anything runs."""
        volumes = {
            "nas": {"nfs": {"server": "x", "path": "/y"}},
            "gone": {"hostPath": {"path": str(folder / "gone")}},
        }
        engine = ProcessEngine(
            folder / "state", working_folder=folder, mounts={"nas": "/nas", "gone": str(folder / "gone")}
        )
        queue = queue_with(folder, volumes=volumes, worker={"command": ["true"], "volumes": ["nas", "gone"]})

        with pytest.raises(ManifestRefused) as caught:
            engine.check(bundle_for(queue, item_named("a"), engine.layout("q-a")))
        engine.close()

        assert str(caught.value).splitlines() == [
            "the process engine can't mount the nfs of volume 'nas': give --volume nas=FOLDER, or make it a hostPath",
            f"the process engine finds no folder {folder}/gone for volume 'gone': make one, or set its hostPath.path",
        ]

    def test_an_image_that_is_not_installed_is_refused(self, watched: Watched) -> None:
        """There are no images here: a shipped one is its program, any other needs a command."""
        with pytest.raises(ManifestRefused, match=r"has no images, and 'example\.com/x' is not installed here"):
            watched.engine.check(self.bundle_with(watched, worker={"image": "example.com/x"}))

    def test_a_worker_is_deaf_to_its_managers_signals(self, watched: Watched, folder: Path) -> None:
        """Ctrl-C in a terminal goes to the foreground group; workers are in groups of their own."""
        os.mkfifo(folder / "go")
        self.start(
            watched, folder, f"touch {folder}/up; read _ < {folder}/go"
        )  # a shell that waits and has no children
        running = watched.until("a", lambda _: (folder / "up").exists())
        assert running is not None
        groups = {os.getpgid(one.pid) for one in [self.supervisor_of(running), *self.processes_of(running)]}
        (folder / "go").write_text("on\n")
        watched.until_finished("a")

        assert (os.getpgid(0) in groups, len(groups)) == (False, 2)

    def test_a_supervisor_that_can_not_write_ends_when_it_is_told_to(self, watched: Watched, folder: Path) -> None:
        """A full disk keeps nobody who is to stop: what was under way is started again, at no attempt's cost."""
        self.start(watched, folder, f"mkdir {folder}/second || exit 0; touch {folder}/up; sleep 1000", attempts=1)
        running = watched.until("a", lambda _: (folder / "up").exists())
        assert running is not None
        supervisor = self.supervisor_of(running)
        fill_the_disk_of(supervisor)
        supervisor.send_signal(signal.SIGTERM)
        _, left = psutil.wait_procs([supervisor], timeout=TIMEOUT_SECONDS)

        job = watched.until_finished("a")

        assert (left, job.state, job.attempt) == ([], State.DONE, 1)

    def test_an_outcome_waits_for_room_on_the_disk(self, watched: Watched, folder: Path) -> None:
        """A worker that has done its work is not started again for want of a few bytes, whoever says stop."""
        script = f"echo run >> {folder}/runs; touch {folder}/up; until test -e {folder}/go; do sleep 0.05; done"
        self.start(watched, folder, script, attempts=1)
        running = watched.until("a", lambda _: (folder / "up").exists())
        assert running is not None
        supervisor = self.supervisor_of(running)
        (worker,) = supervisor.children()
        fill_the_disk_of(supervisor)
        (folder / "go").touch()
        psutil.wait_procs([worker], timeout=TIMEOUT_SECONDS)
        supervisor.send_signal(signal.SIGTERM)
        with pytest.raises(psutil.TimeoutExpired):
            supervisor.wait(0.5)
        fill_the_disk_of(supervisor, room=psutil.RLIM_INFINITY)

        job = watched.until_finished("a")

        assert (job.state, (folder / "runs").read_text()) == (State.DONE, "run\n")

    def test_a_supervisor_told_to_end_passes_it_on(self, watched: Watched, folder: Path) -> None:
        """A machine that shuts down sends TERM to everything: workers end in order and are taken up later."""
        script = (
            f"trap 'touch {folder}/asked; exit 1' TERM; mkdir {folder}/second || exit 0; "
            f"touch {folder}/up; while :; do sleep 0.05; done"
        )
        self.start(watched, folder, script)
        running = watched.until("a", lambda _: (folder / "up").exists())
        assert running is not None
        self.supervisor_of(running).send_signal(signal.SIGTERM)

        job = watched.until_finished("a")

        assert (job.state, job.attempt, (folder / "asked").exists()) == (State.DONE, 1, True)

    def bundle_with(self, watched: Watched, **parts: Any) -> Bundle:
        """The bundle of an item in a queue of these parts."""
        return bundle_for(queue_with(**parts), item_named("a"), watched.engine.layout(job_name("q", "a")))


def _until(is_so: Callable[[], bool]) -> None:
    for _ in range(10_000):
        if is_so():
            return
    pytest.fail("it never became so")


def _variables(process: psutil.Process) -> Mapping[str, str]:
    try:
        return process.environ()
    except psutil.Error:
        return {}


def _is_supervisor(process: psutil.Process, job: Job) -> bool:
    """By the Job's uid: another run of these tests has a Job of the same name."""
    try:
        line = process.cmdline()
        is_one = len(line) > 3 and line[2].endswith("supervisor.py")
        return is_one and json.loads((Path(line[3]) / "manifest.json").read_bytes())["metadata"]["uid"] == job.uid
    except (psutil.Error, FileNotFoundError):
        return False
