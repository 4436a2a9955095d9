"""The Docker engine, on a real daemon: the engines' contract, and what only containers of a daemon can suffer."""

import contextlib
import gc
import resource
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from longshore.engines.base import Engine
from longshore.engines.docker import DockerApi, DockerEngine
from longshore.manifests import bundle_for
from longshore.names import job_name
from longshore.queuefile import Queue
from longshore.state import Job, State
from longshore_kit.errors import EngineError, EngineUnavailable, ManifestRefused
from support.cluster import images
from support.cluster.docker import OwnDocker
from support.daemon import containers, volumes
from support.queues import item_named, queue_with, shell_stage
from support.waiting import until

from .engine_contract import EngineContract, Watched

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("docker")]


class Unanswered:
    """A daemon that leaves one question unanswered, the one with this number; only questions of this name count."""

    def __init__(self, api: DockerApi, number: int, name: str = "") -> None:
        self._api = api
        self._left = number
        self._name = name

    def __getattr__(self, name: str) -> Any:
        known = getattr(self._api, name)

        def ask(*arguments: Any, **keywords: Any) -> Any:
            counts = self._name in {"", name}
            self._left -= counts
            if counts and self._left == 0:
                raise EngineUnavailable(f"no answer to {name}")
            return known(*arguments, **keywords)

        return ask


def docker_engine(folder: Path, host: str = "", api: Any = None) -> DockerEngine:
    """An engine on the state under `folder`, with pauses for tests."""
    return DockerEngine(
        api or DockerApi.from_environment({"DOCKER_HOST": host} if host else {}),
        "q",
        state_folder=folder / "state",
        working_folder=folder,
        volumes=(),
        backoff_seconds=0.05,
    )


def left(folder: Path) -> Sequence[str]:
    """Containers and volumes of a queue."""
    return [*containers(folder / "state", "--all"), *volumes(folder / "state")]


def seen_by_workers(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The volume and the mount that show a test's folder to its workers, under its own path."""
    return {"name": "test", "hostPath": {"path": str(folder)}}, {"name": "test", "mountPath": str(folder)}


def worker_with(folder: Path, script: str, image: str = images.BASE, **container: Any) -> dict[str, Any]:
    """A worker that runs a shell script, with something more of its container."""
    volume, mount = seen_by_workers(folder)
    return {
        "image": image,
        "command": ["sh", "-c", script, "sh", "${name}"],
        "podTemplate": {
            "spec": {
                "terminationGracePeriodSeconds": 5,
                "volumes": [volume],
                "containers": [{"name": "worker", "volumeMounts": [mount], **container}],
            }
        },
    }


class TestDockerEngine(EngineContract):
    """The Docker engine keeps the engines' contract."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Iterator[Path]:
        """A folder that containers see under the same path; nothing of the queue is left at the end."""
        tmp_path.chmod(0o777)
        yield tmp_path
        assert left(tmp_path) == []

    def make_engine(self, folder: Path) -> Engine:
        """A fresh engine, as another manager process would have it."""
        return docker_engine(folder)

    def queue(self, folder: Path, script: str, **retry: int) -> Queue:
        """Workers run in an image with a shell, and see the test's folder."""
        return queue_with(folder, worker=worker_with(folder, script), retry=retry)

    def chain(self, folder: Path, stages: Sequence[dict[str, Any]], **retry: int) -> Queue:
        """Each stage runs in that image, and sees the same folder."""
        volume, mount = seen_by_workers(folder)
        *before, last = [{"name": stage["name"], "volumeMounts": [mount]} for stage in stages]
        spec = {"volumes": [volume], "initContainers": before, "containers": [last], "terminationGracePeriodSeconds": 5}
        worker = {
            "stages": [{**stage, "image": images.BASE} for stage in stages],
            "adapterImage": images.project_image("multi-worker"),
            "podTemplate": {"spec": spec},
        }
        return queue_with(folder, worker=worker, retry=retry)

    def start_worker(self, watched: Watched, folder: Path, worker: dict[str, Any], **retry: Any) -> None:
        """Create the Job of one item that this worker works on."""
        queue = queue_with(folder, worker=worker, retry=retry)
        bundle = bundle_for(queue, item_named("a"), watched.engine.layout(job_name(queue.name, "a")))
        watched.engine.check(bundle)
        assert watched.engine.create(bundle)

    def container_of(self, folder: Path) -> str:
        """The container that runs for the queue."""
        (found,) = containers(folder / "state")
        return found

    @pytest.mark.parametrize(
        ("attempts", "expected"),
        [
            (1, (State.FAILED, 1, "stage last: exit code 137, without a word")),
            (2, (State.DONE, 2, "")),
        ],
    )
    def test_a_worker_that_is_killed_has_failed_an_attempt(
        self, watched: Watched, folder: Path, attempts: int, expected: tuple[State, int, str]
    ) -> None:
        """By whomever: it is tried again as often as it may be, from the first stage on."""
        hang = f"echo run >> {folder}/runs; mkdir {folder}/second || exit 0; exec sleep 1000"
        self.start_chain(watched, folder, shell_stage("first", "true"), shell_stage("last", hang), attempts=attempts)
        watched.until("a", lambda job: job is not None and job.stage == "last" and (folder / "second").exists())
        images.docker("kill", self.container_of(folder))
        job = watched.until_finished("a")

        assert (job.state, job.attempt, job.told_reason) == expected
        assert (folder / "runs").read_text() == "run\n" * attempts

    def test_an_adapter_that_is_killed_has_failed_an_attempt(self, watched: Watched, folder: Path) -> None:
        """It is a container of the chain like any other."""
        sleeping = 'ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\nENTRYPOINT ["sh", "-c", "exec sleep 1000"]\n'
        queue = self.chain(folder, [shell_stage("first", "true"), shell_stage("last", "true")], attempts=1)
        worker = queue.spec.worker.model_copy(update={"adapter_image": images.image_of("sleeping", sleeping)})
        queue = replace(queue, spec=queue.spec.model_copy(update={"worker": worker}))
        watched.engine.create(bundle_for(queue, item_named("a"), watched.engine.layout("")))
        watched.until_state("a", State.RUNNING)
        images.docker("kill", self.container_of(folder))
        job = watched.until_finished("a")

        assert (job.state, job.told_reason) == (State.FAILED, "stage multi-worker: exit code 137, without a word")

    def test_an_image_that_is_not_there_fails_its_item_in_time(self, watched: Watched, folder: Path) -> None:
        """Also of the last stage: nothing begins, and the reason names the image and what the registry said."""
        stages = [shell_stage("first", f"touch {folder}/began"), shell_stage("last", "true")]
        queue = self.chain(folder, stages, attempts=3, pendingSeconds=3)
        worker = queue.spec.worker
        missing = worker.stages[1].model_copy(update={"image": "127.0.0.1:9/no/such:1"})
        spec = queue.spec.model_copy(
            update={"worker": worker.model_copy(update={"stages": (worker.stages[0], missing)})}
        )
        queue = replace(queue, spec=spec)
        watched.engine.create(bundle_for(queue, item_named("a"), watched.engine.layout("")))

        waiting = watched.until("a", lambda job: job is not None and "can't be pulled" in job.reason)
        job = watched.until_finished("a")

        assert waiting
        assert (waiting.state, job.state, (folder / "began").exists()) == (State.STARTING, State.FAILED, False)
        assert job.reason.startswith(
            "its worker did not start within 3 s (retry.pendingSeconds): "
            "there is no image 127.0.0.1:9/no/such:1 on this machine, and it can't be pulled: "
        )

    @pytest.mark.parametrize(
        ("worker", "words"),
        [
            ({"command": ["true"]}, "has no image to run worker in: set image beside its command"),
            (
                {"image": "longshore/none"},
                "finds no image longshore/none:0.1.0 here: build the shipped ones with `make",
            ),
        ],
    )
    def test_what_can_never_run_is_refused_at_once(
        self, watched: Watched, folder: Path, worker: dict[str, Any], words: str
    ) -> None:
        """Before there is any item, with what to do."""
        queue = queue_with(folder, worker=worker)

        with pytest.raises(ManifestRefused) as refused:
            watched.engine.check(bundle_for(queue, item_named("a"), watched.engine.layout("")))

        assert str(refused.value).startswith(f"the Docker engine {words}")

    def test_no_registry_is_asked_for_a_shipped_image(
        self, watched: Watched, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Where it was removed between the first look and a start: there, somebody else may have its name."""
        asked: list[str] = []
        monkeypatch.setattr(DockerApi, "pull", lambda _, image: asked.append(image))
        queue = queue_with(folder, worker={"image": "longshore/none"}, retry={"pendingSeconds": 1})
        watched.engine.create(bundle_for(queue, item_named("a"), watched.engine.layout("")))
        job = watched.until_finished("a")

        assert (asked, job.state) == ([], State.FAILED)
        assert job.reason.endswith(
            "there is no image longshore/none:0.1.0 on this machine: build it, or pull it yourself"
        )

    @pytest.mark.parametrize(
        ("number", "name"), [*((number, "") for number in range(1, 40, 3)), (1, "start"), (2, "start")]
    )
    def test_a_daemon_that_fails_once_costs_nothing(self, folder: Path, number: int, name: str) -> None:
        """Whichever question it leaves unanswered: an item is done, once, and nothing of it is left."""
        engine = docker_engine(folder, api=Unanswered(DockerApi.from_environment({}), number, name))
        queue = self.chain(folder, [shell_stage("only", f"echo run >> {folder}/runs")], attempts=1)
        bundle = bundle_for(queue, item_named("a"), engine.layout(""))

        def look() -> Job | None:
            with contextlib.suppress(EngineUnavailable):
                engine.create(bundle)
                engine.tend()
                return engine.jobs().get("a")
            return None

        until(lambda: (job := look()) is not None and job.is_finished)
        found = engine.jobs()["a"]
        engine.close()

        assert (found.state, found.attempt, runs(folder)) == (State.DONE, 1, 1)
        assert left(folder) == [f"{found.name}.1.outcome", found.name]
        self.end_workers(folder)

    def test_a_name_that_is_no_images_fails_its_item_in_time(self, watched: Watched, folder: Path) -> None:
        """In the daemon's own words."""
        self.start_worker(watched, folder, worker_with(folder, "true", image="Debian:X"), pendingSeconds=1)
        job = watched.until_finished("a")

        assert job.state is State.FAILED
        assert "retry.pendingSeconds" in job.reason
        assert "invalid reference format" in job.reason

    @pytest.mark.parametrize(
        "make_result",
        [
            'mkdir "$LONGSHORE_RESULT_FILE.d"; rm "$LONGSHORE_RESULT_FILE"; ln -s /etc/passwd "$LONGSHORE_RESULT_FILE"',
            'rm "$LONGSHORE_RESULT_FILE"; mkfifo "$LONGSHORE_RESULT_FILE"',
            'rm "$LONGSHORE_RESULT_FILE"; mkdir "$LONGSHORE_RESULT_FILE"; echo x > "$LONGSHORE_RESULT_FILE/x"',
        ],
        ids=["link", "pipe", "folder"],
    )
    def test_a_result_that_is_no_file_says_nothing(self, watched: Watched, folder: Path, make_result: str) -> None:
        """Whatever a worker puts in its place."""
        self.start(watched, folder, make_result)

        job = watched.until_finished("a")

        assert (job.state, job.reason) == (State.DONE, "")

    def test_a_result_of_any_size_costs_its_end_alone(self, watched: Watched, folder: Path) -> None:
        """It is read in pieces: a manager's memory is not a worker's to fill."""
        self.start(
            watched, folder, 'head -c 300M /dev/zero > "$LONGSHORE_RESULT_FILE"; echo end >> "$LONGSHORE_RESULT_FILE"'
        )
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        job = watched.until_finished("a")
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before

        assert (job.state, job.reason.lstrip("\0"), grown < 100_000) == (State.DONE, "end", True)

    def test_a_secret_is_a_file_and_stays_out_of_the_job(self, watched: Watched, folder: Path) -> None:
        """Its lines are variables of the worker's; a record names it only, and one that is missing is told."""
        worker = worker_with(folder, f'printf "$TOKEN" > {folder}/seen') | {"existingSecret": "keys"}
        queue = queue_with(folder, worker=worker)
        bundle = bundle_for(queue, item_named("a"), watched.engine.layout(""))
        with pytest.raises(ManifestRefused) as refused:
            watched.engine.check(bundle)
        (folder / "keys.env").write_text("# two\nTOKEN=canary-4711\nOTHER=x\n", encoding="utf-8")
        self.start_worker(watched, folder, worker)
        watched.until_finished("a")
        record = images.docker("inspect", job_name("q", "a"))

        assert str(refused.value) == (
            f"the Docker engine finds no file {folder}/keys.env for the secret 'keys': make one with lines NAME=value"
        )
        assert ((folder / "seen").read_text(), "canary" in record) == ("canary-4711", False)

    def test_a_worker_runs_as_whom_and_within_what_its_manifest_says(self, watched: Watched, folder: Path) -> None:
        """User, read-only root, no new rights, memory."""
        script = (
            f"(id -u; id -g; touch /x 2>/dev/null || echo read-only) > {folder}/seen; "
            f"grep NoNewPrivs /proc/self/status >> {folder}/seen; exec python3 -c 'print(len(bytearray(300_000_000)))'"
        )
        security = {
            "runAsUser": 7,
            "runAsGroup": 8,
            "runAsNonRoot": True,
            "readOnlyRootFilesystem": True,
            "allowPrivilegeEscalation": False,
        }
        worker = worker_with(folder, script, securityContext=security, resources={"limits": {"memory": "64Mi"}})
        self.start_worker(watched, folder, worker, attempts=1)
        job = watched.until_finished("a")

        assert (folder / "seen").read_text().split() == ["7", "8", "read-only", "NoNewPrivs:", "1"]
        assert (job.state, job.exit_code, job.reason) == (
            State.FAILED, 137, "OOMKilled: it wanted more memory than resources.limits.memory",
        )  # fmt: skip

    def test_root_is_refused_where_it_must_not_be(self, watched: Watched, folder: Path) -> None:
        """As the kubelet does: the container never starts."""
        worker = worker_with(folder, "true", securityContext={"runAsNonRoot": True})
        self.start_worker(watched, folder, worker, pendingSeconds=1)
        job = watched.until_finished("a")

        assert (job.state, job.attempt) == (State.FAILED, 0)
        assert job.reason == (
            "its worker did not start within 1 s (retry.pendingSeconds): container worker has runAsNonRoot, "
            "and it would run as root: set securityContext.runAsUser"
        )

    def test_what_is_not_the_queues_is_left_alone(self, make: Callable[[], Watched], folder: Path) -> None:
        """Containers and volumes of others stay; those that an image makes for itself go with its container."""
        image = images.image_of("with-volume", "ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\nVOLUME /data\n")
        before = set(images.docker("volume", "ls", "--quiet").split())
        stranger = images.docker("create", "--label", "longshore.dev/queue=q", images.BASE, "true")
        try:
            watched = make()
            self.start_worker(watched, folder, worker_with(folder, "touch /data/x", image=image))
            job = watched.until_finished("a")
            during = left(folder)
            watched.engine.delete(job)
            watched.until("a", lambda one: one is None)

            assert during == [f"{job.name}.1.outcome", job.name]
            assert set(images.docker("volume", "ls", "--quiet").split()) == before
            assert images.docker("ps", "--all", "--quiet", "--no-trunc", "--filter", f"id={stranger}") == stranger
        finally:
            images.docker("rm", stranger)

    def test_another_folders_queue_of_the_same_name_is_told(self, watched: Watched, folder: Path) -> None:
        """Two copies of one example on one daemon: the second one neither shares nor harms the first one's Jobs."""
        bundle = self.start(watched, folder, "exit 0")
        watched.until_finished("a")
        other = docker_engine(folder / "other")

        with pytest.raises(EngineError) as refused:
            other.create(bundle)
        other.close()

        assert str(refused.value) == (
            f"the container {bundle.name} is there, and belongs to the queue whose state is in {folder}/state: "
            "set another queue.name, or remove it"
        )
        assert watched.engine.jobs()["a"].state is State.DONE

    def test_a_second_folders_queue_of_the_same_name_is_refused_before_it_runs(
        self, watched: Watched, folder: Path
    ) -> None:
        """Else its items would wait for ever, for names that are taken."""
        self.start(watched, folder, "exit 0")
        watched.until_finished("a")
        other = docker_engine(folder / "other")
        queue = queue_with(folder, worker=worker_with(folder, "true"))

        with pytest.raises(ManifestRefused) as refused:
            other.check(bundle_for(queue, item_named("b"), other.layout("")))
        other.close()

        assert str(refused.value) == (
            f"the Docker engine finds Jobs of another queue 'q' on the daemon, whose state is in {folder}/state: "
            "set another queue.name, or remove them"
        )

    def test_a_removed_worker_begins_anew_on_a_clean_folder(self, watched: Watched, folder: Path) -> None:
        """As if it had never been started."""
        script = (
            f'test -e "$WORK_PATH/left" && touch {folder}/dirty; touch "$WORK_PATH/left"; '
            f"echo run >> {folder}/runs; mkdir {folder}/second || exit 0; exec sleep 1000"
        )
        self.start_chain(watched, folder, shell_stage("only", script))
        watched.until("a", lambda _: (folder / "second").exists())
        names = [name for name in left(folder) if "-" in name.rpartition(".")[2] and ".1." in name]
        images.docker("rm", "--force", *(name for name in names if name.endswith(("-only", "-multi-worker"))))
        job = watched.until_finished("a")

        assert (job.state, runs(folder), (folder / "dirty").exists()) == (State.DONE, 2, False)

    def test_a_volume_that_somebody_holds_stops_nobody_else(self, watched: Watched, folder: Path) -> None:
        """It is told, the other Jobs go on, and it goes when it is let go."""
        self.start_chain(
            watched, folder, shell_stage("only", f"touch {folder}/up; until test -e {folder}/go; do sleep 0.1; done")
        )
        watched.until("a", lambda _: (folder / "up").exists())
        (volume,) = [name for name in volumes(folder / "state") if name.endswith("longshore-work")]
        holder = images.docker("create", "--volume", f"{volume}:/w", images.BASE, "true")
        try:
            (folder / "go").touch()
            watched.until_finished("a")
            troubles = watched.engine.tend()
            self.start(watched, folder, "exit 0", name="b")
            other = watched.until_finished("b")
        finally:
            images.docker("rm", holder)
        watched.engine.tend()

        assert [trouble.partition(": ")[0] for trouble in troubles] == [volume]
        assert (other.state, volumes(folder / "state")) == (State.DONE, [])

    def test_a_busy_queue_is_swept_too(self, watched: Watched, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """What a run leaves goes although something has moved in every round of a look."""
        see_to_all = DockerEngine._see_to_all
        monkeypatch.setattr(DockerEngine, "_see_to_all", lambda *arguments: see_to_all(*arguments) or True)
        self.start_chain(watched, folder, shell_stage("only", "exit 0"))
        job = watched.until_finished("a")
        watched.engine.tend()

        assert (job.state, volumes(folder / "state")) == (State.DONE, [])

    def test_a_record_that_somebody_removed_takes_its_worker_along(self, watched: Watched, folder: Path) -> None:
        """As with `kubectl delete job`: the item can begin anew, and not beside what is left."""
        script = (
            f"trap 'echo end >> {folder}/log; exit 1' TERM; echo start >> {folder}/log; while :; do sleep 0.1; done"
        )
        bundle = self.start(watched, folder, script)
        watched.until("a", lambda _: (folder / "log").exists())
        images.docker("rm", bundle.name)
        watched.until("a", lambda _: left(folder) == [])

        assert (dict(watched.engine.jobs()), left(folder)) == ({}, [])

    def test_who_stops_the_queue_stops_its_workers_and_costs_no_attempt(
        self, make: Callable[[], Watched], folder: Path
    ) -> None:
        """The next start takes them up, from the first container on."""
        script = (
            f"trap 'touch {folder}/asked; exit 1' TERM; echo run >> {folder}/runs; "
            f"while ! test -e {folder}/asked; do sleep 0.1; done"
        )
        first = make()
        self.start(first, folder, script, attempts=1)
        running = first.until("a", lambda job: job is not None and (folder / "runs").exists())
        assert running
        engine = first.engine
        assert isinstance(engine, DockerEngine)
        until(lambda: not engine.stop_workers([running]))
        stopped = engine.jobs()["a"]

        job = make().until_finished("a")

        assert (stopped.state, stopped.reason, containers(folder / "state")) == (
            State.STARTING, "stopped; it will be started again", [],
        )  # fmt: skip
        assert (job.state, job.attempt, (folder / "runs").read_text()) == (State.DONE, 1, "run\nrun\n")

    def test_only_one_manager_takes_steps_at_a_time(self, make: Callable[[], Watched], folder: Path) -> None:
        """However many look: a worker runs once, and in order."""
        managers = [make() for _ in range(3)]
        self.start_chain(
            managers[0],
            folder,
            shell_stage("first", f"echo first >> {folder}/runs; sleep 0.5"),
            shell_stage("last", f"echo last >> {folder}/runs"),
        )
        with ThreadPoolExecutor(len(managers)) as pool:
            jobs = list(pool.map(lambda one: one.until_finished("a"), managers))

        assert {job.state for job in jobs} == {State.DONE}
        assert (folder / "runs").read_text() == "first\nlast\n"


@pytest.fixture(scope="module")
def own_docker(docker: None) -> Iterator[OwnDocker]:  # noqa: ARG001 - its images come from there
    """A daemon that may be killed."""
    with OwnDocker() as own:
        own.load(images.BASE)
        own.load(images.project_image("multi-worker"))
        yield own


# The client leaves the closing of a socket that could not connect to the garbage collector.
@pytest.mark.filterwarnings("ignore:.*unclosed <socket.socket:ResourceWarning")
@pytest.mark.filterwarnings("ignore:.*socket.socket:pytest.PytestUnraisableExceptionWarning")
class TestADaemonThatGoesAway:
    """What a restart of the daemon costs: nothing but time."""

    @pytest.fixture(autouse=True)
    def _collect(self) -> Iterator[None]:
        """While these warnings are ignored, and not in some later test."""
        yield
        gc.collect()

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
    def test_a_restart_costs_no_attempt(self, own_docker: OwnDocker, tmp_path: Path, number: signal.Signals) -> None:
        """Whatever ran is started again, on a clean folder; nothing of the run before is left."""
        tmp_path.chmod(0o777)
        watched = Watched(docker_engine(tmp_path, own_docker.host))
        script = (
            f'test -e "$WORK_PATH/left" && touch {tmp_path}/dirty; touch "$WORK_PATH/left"; '
            f"echo run >> {tmp_path}/runs; "
            f"until test -e {tmp_path}/go; do sleep 0.1; done"
        )
        stages = [shell_stage("first", "true"), shell_stage("last", script)]
        queue = TestDockerEngine().chain(tmp_path, stages, attempts=1)
        watched.engine.create(bundle_for(queue, item_named("a"), watched.engine.layout("")))
        watched.until("a", lambda job: job is not None and job.stage == "last" and (tmp_path / "runs").exists())

        own_docker.end(number)
        with pytest.raises(EngineUnavailable, match="the Docker daemon does not answer"):
            watched.engine.jobs()
        own_docker.start()
        again = watched.until("a", lambda job: job is not None and job.stage == "last" and runs(tmp_path) == 2)
        (tmp_path / "go").touch()
        job = watched.until_finished("a")
        watched.engine.delete(job)
        watched.until("a", lambda one: one is None)
        watched.engine.close()

        assert again
        assert (again.attempt, job.state, job.attempt, runs(tmp_path)) == (1, State.DONE, 1, 2)
        assert (tmp_path / "dirty").exists() is False
        assert own_docker.docker("ps", "--all", "--quiet") == own_docker.docker("volume", "ls", "--quiet") == ""

    def test_a_daemon_that_is_not_there_is_told(self) -> None:
        """With what to do."""
        with pytest.raises(EngineUnavailable) as told:
            DockerApi.from_environment({"DOCKER_HOST": "unix:///no/docker.sock"})

        assert str(told.value).startswith("the Docker daemon at unix:///no/docker.sock can't be asked: ")
        assert str(told.value).endswith(". Start it, or set DOCKER_HOST to another")


def runs(folder: Path) -> int:
    """How often the worker was started."""
    return len((folder / "runs").read_text().split())
