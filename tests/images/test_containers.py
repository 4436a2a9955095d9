"""The images, built from their Dockerfiles and run as a careful cluster does: no root, no network, nothing writable.

Owns what only a container can show. What the programs do is said by their own tests.
"""

import importlib.metadata
import json
import re
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import pytest
from PIL import Image

from longshore.service import ManagerSettings
from longshore_ambassador_kafka.settings import KafkaSettings
from longshore_ambassador_nfs.settings import NfsSettings
from longshore_ambassador_redis.settings import RedisSettings
from longshore_ambassador_s3.settings import S3SourceSettings
from longshore_kit.settings import Settings
from longshore_worker_ffmpeg.settings import FfmpegSettings
from longshore_worker_script.settings import ScriptSettings
from support.cluster import images, tools
from support.videos import real_videos

pytestmark = pytest.mark.slow

LOCKED_DOWN = ("--read-only", "--network=none", "--cap-drop=ALL", "--security-opt=no-new-privileges")
SETTINGS: Final[Mapping[str, type[Settings]]] = {
    "ambassador-kafka": KafkaSettings,
    "ambassador-nfs": NfsSettings,
    "ambassador-redis": RedisSettings,
    "ambassador-s3": S3SourceSettings,
    "manager": ManagerSettings,
    "worker-ffmpeg": FfmpegSettings,
    "worker-script": ScriptSettings,
}
# A worker that is also its three steps says so before its settings.
FIRST = {
    "worker-script": "longshore-worker-script: all steps; longshore-worker-script fetch | run | store: one of them\n"
}
IMAGES = sorted(path.parent.name for path in images.ROOT.glob("images/*/Dockerfile"))
USER = 65532
START_SECONDS = 30.0
LINES_TO_LOOK_AT = re.compile(r"\b(warn|warning|error|critical|traceback)\b", re.IGNORECASE)

each_image = pytest.mark.parametrize("image", IMAGES)


@dataclass(frozen=True)
class Container:
    """A container that was started."""

    id: str

    def state(self) -> dict[str, Any]:
        """What Docker says of it."""
        state: dict[str, Any] = json.loads(images.docker("inspect", "--format", "{{json .State}}", self.id))
        return state

    def wait(self) -> int:
        """The exit code, once it has ended."""
        return int(images.docker("wait", self.id))

    def log(self) -> str:
        """All that it wrote, on stdout and on stderr."""
        command = [tools.path_of("docker"), "logs", self.id]
        ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True)
        return ended.stdout.strip()

    def python(self, code: str) -> str:
        """What Python code prints inside of it."""
        return images.docker("exec", self.id, "python3", "-c", code)

    def wait_for(self, words: str) -> None:
        """Until its log has these words."""
        until = time.monotonic() + START_SECONDS
        while words not in (log := self.log()):
            assert self.state()["Running"], f"it ended:\n{log}"
            assert time.monotonic() < until, f"no {words!r} in {START_SECONDS:.0f} s:\n{log}"
            time.sleep(0.05)  # docker logs can be followed, but not until words or an end, whichever is first


class Run(Protocol):
    """Starts a container of an image, with more options of `docker run`."""

    def __call__(self, image: str, *arguments: str, options: Sequence[str] = ()) -> Container: ...


@pytest.fixture
def run(docker: None) -> Iterator[Run]:  # noqa: ARG001 - there must be one
    """Containers of the project's images; they are removed in the end."""
    started: list[Container] = []

    def start(image: str, *arguments: str, options: Sequence[str] = ()) -> Container:
        reference = images.project_image(image)
        started.append(Container(images.docker("run", "--detach", *LOCKED_DOWN, *options, reference, *arguments)))
        return started[-1]

    yield start
    for container in started:
        images.docker("rm", "--force", container.id)


@pytest.fixture
def media(tmp_path: Path) -> Path:
    """A folder with two real videos, and one file that is none."""
    folder = tmp_path / "media"
    (folder / "a folder").mkdir(parents=True)
    bikes = next(path for path in real_videos() if path.stem == "bikes")
    (folder / "bikes.mp4").write_bytes(bikes.read_bytes())
    (folder / "a folder" / "Fahrräder.mp4").write_bytes(bikes.read_bytes())
    (folder / "notes.mp4").write_text("no video at all\n" * 100, encoding="utf-8")
    return folder


def to_look_at(log: str) -> list[str]:
    """The lines of a log that somebody should look at."""
    return [line for line in log.splitlines() if LINES_TO_LOOK_AT.search(line)]


@each_image
def test_its_size_is_told(image: str, docker: None, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: ARG001 - docker runs
    """An image is its base, what it installs, and nothing of its build."""
    size, base = (
        int(images.docker("image", "inspect", "--format", "{{.Size}}", reference))
        for reference in (images.project_image(image), images.BASE)
    )

    with capsys.disabled():
        print(f"\n{image}: {size / 1e6:.0f} MB, {(size - base) / 1e6:.0f} MB of it above the base")  # noqa: T201 - to be read
    assert size > base


@each_image
def test_it_is_labelled_and_has_no_more_rights_than_it_says(image: str, run: Run) -> None:
    """Its process is the number of the Dockerfile, without any capability, and can write nowhere."""
    code = (
        "import json, os, pathlib;"
        "status = dict(line.split(':\\t') for line in pathlib.Path('/proc/self/status').read_text().splitlines());"
        "can_write = [path for path in ('/', '/tmp', '/opt/longshore', '/src', '/uv', os.getcwd())"
        "             if os.access(path, os.W_OK)];"
        "print(json.dumps([os.getuid(), os.getgid(), int(status['CapEff'], 16), can_write, os.path.exists('/uv')]))"
    )
    container = run(image, "-c", code, options=["--entrypoint=python3"])
    labels = json.loads(images.docker("inspect", "--format", "{{json .Config.Labels}}", container.id))

    assert (container.wait(), container.log()) == (0, json.dumps([USER, USER, 0, [], False]))
    assert labels["org.opencontainers.image.version"] == importlib.metadata.version("longshore")
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"


@pytest.mark.parametrize(("image", "settings"), SETTINGS.items(), ids=SETTINGS)
def test_help_lists_its_settings(image: str, settings: type[Settings], run: Run) -> None:
    """`docker run IMAGE --help` is the manual of an image that is set up by its environment."""
    container = run(image, "--help")

    assert (container.wait(), container.log()) == (0, FIRST.get(image, "") + settings.help(f"longshore-{image}"))


def test_the_ambassador_serves_a_mounted_folder(run: Run, media: Path) -> None:
    """It lists and tells the files under it, is healthy, and logs only that it started."""
    options = [f"--volume={media}:/media:ro", "--env=MEDIA_PATH=/media", "--env=NFS_SETTLE_SECONDS=0"]
    container = run("ambassador-nfs", options=options)
    container.wait_for("ambassador started")

    ask = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:{}').read().decode())"
    items = json.loads(container.python(ask.format("8080/api/v1/items")))["items"]
    item = json.loads(container.python(ask.format("8080/api/v1/items/a%20folder%2FFahrr%C3%A4der.mp4")))
    ready = json.loads(container.python(ask.format("8081/readyz")))

    assert sorted(items) == ["a folder/Fahrräder.mp4", "bikes.mp4", "notes.mp4"]
    assert item["data"]["size"] == (media / "bikes.mp4").stat().st_size
    assert ready == {"status": "ready"}
    assert len(container.log().splitlines()) == 1
    assert to_look_at(container.log()) == []


def test_the_ambassador_ends_soon_after_it_is_asked_to(run: Run, media: Path) -> None:
    """`docker stop` gives it ten seconds and then kills it: it ends by itself, with 0."""
    container = run("ambassador-nfs", options=[f"--volume={media}:/media:ro", "--env=MEDIA_PATH=/media"])
    container.wait_for("ambassador started")

    images.docker("stop", container.id)

    assert container.state()["ExitCode"] == 0
    assert container.log().splitlines()[-1].count("ambassador stopped") == 1
    assert to_look_at(container.log()) == []


def work(run: Run, folder: Path, path: str) -> Container:
    """One worker for one video below the folder's `media`, with pictures in its `thumbs`."""
    (folder / "thumbs").mkdir(mode=0o777)
    (folder / "thumbs").chmod(0o777)
    (folder / "result").touch()
    (folder / "result").chmod(0o666)
    (folder / "item.json").write_text(json.dumps({"path": path}), encoding="utf-8")
    mounts = ("media:/media:ro", "thumbs:/thumbs", "item.json:/item.json:ro", "result:/result")
    environ = {
        "WORK_ITEM_FILE": "/item.json",
        "LONGSHORE_RESULT_FILE": "/result",
        "MEDIA_PATH": "/media",
        "THUMBS_PATH": "/thumbs",
        "SPRITE": "true",
    }
    options = [f"--volume={folder}/{mount}" for mount in mounts]
    return run("worker-ffmpeg", options=[*options, *(f"--env={name}={value}" for name, value in environ.items())])


@pytest.mark.usefixtures("media")
def test_the_worker_makes_thumbnails_of_a_real_video(run: Run, tmp_path: Path) -> None:
    """With Debian's ffmpeg, from a folder that it can't write to, and without a folder for temporary files."""
    container = work(run, tmp_path, "a folder/Fahrräder.mp4")

    assert (container.wait(), to_look_at(container.log())) == (0, [])
    made = tmp_path / "thumbs" / "a folder" / "Fahrräder.mp4"
    index = json.loads((made / "index.json").read_text(encoding="utf-8"))
    assert [image["frame"] for image in index["images"]] == [0, 100, 200]
    for image in index["images"]:
        with Image.open(made / image["file"]) as picture:
            picture.load()
            assert picture.size == (index["source"]["width"], index["source"]["height"])
    assert (made / "thumbs.vtt").is_file()
    assert json.loads((tmp_path / "result").read_text())["images"] == 3


@pytest.mark.usefixtures("media")
def test_the_worker_rejects_what_is_no_video(run: Run, tmp_path: Path) -> None:
    """Exit code 65, which no attempt is made after, and a reason for people."""
    container = work(run, tmp_path, "notes.mp4")

    assert container.wait() == 65
    (line,) = to_look_at(container.log())
    assert json.loads(line)["reason"] == (tmp_path / "result").read_text(encoding="utf-8")
    assert list((tmp_path / "thumbs").iterdir()) == []


AMBASSADORS = {
    "ambassador-kafka": ("KAFKA_BOOTSTRAP_SERVERS=127.0.0.1:9", "KAFKA_TOPICS=a", "KAFKA_GROUP=g"),
    "ambassador-redis": ("REDIS_URL=redis://127.0.0.1:9", "REDIS_KEY=a"),
    "ambassador-s3": ("S3_BUCKET=abc", "S3_ENDPOINT_URL=http://127.0.0.1:9"),
}


@pytest.mark.parametrize(("image", "environ"), AMBASSADORS.items(), ids=AMBASSADORS)
def test_an_ambassador_without_its_store_lives_and_is_not_ready(image: str, environ: Sequence[str], run: Run) -> None:
    """Locked down as it is: 503 with a reason, and one warning, not one a second."""
    options = [f"--env={setting}" for setting in (*environ, "AWS_ACCESS_KEY_ID=x", "AWS_SECRET_ACCESS_KEY=y")]
    container = run(image, options=options)
    container.wait_for("ambassador started")
    ask = (
        "import urllib.request as r, urllib.error as e\n"
        "for path in ('healthz', 'readyz', 'readyz'):\n"
        "    try: print(r.urlopen('http://127.0.0.1:8081/' + path).status)\n"
        "    except e.HTTPError as exc: print(exc.code)"
    )

    assert container.python(ask).split() == ["200", "503", "503"]
    assert [json.loads(line)["message"] for line in to_look_at(container.log())] == ["source unavailable"]


def test_the_script_worker_has_what_scripts_need(run: Run, tmp_path: Path) -> None:
    """bash, coreutils, jq, curl and python3, on a read-only root file system with one folder to work in."""
    script = "set -e; jq --version; curl --version | head -1; python3 --version; sha256sum --version | head -1"
    (tmp_path / "check.sh").write_text(script, encoding="utf-8")
    volume = f"--volume={tmp_path}/check.sh:/check.sh:ro"
    container = run("worker-script", "/check.sh", options=[volume, "--entrypoint=bash"])

    assert container.wait() == 0, container.log()
    told = [line.split()[0].partition("-")[0] for line in container.log().splitlines()]
    assert told == ["jq", "curl", "Python", "sha256sum"]


def test_the_manager_says_that_there_is_no_queue_file(run: Run) -> None:
    """Exit code 64 and one line that names the file, no traceback."""
    container = run("manager")

    assert container.wait() == 64
    assert container.log() == "/etc/longshore/queue.yaml: can't be read: No such file or directory"


def test_the_manager_says_that_there_is_no_cluster(run: Run, tmp_path: Path) -> None:
    """It has read the queue file, and found that the Kubernetes client is there."""
    (tmp_path / "queue.yaml").write_text(
        "source: {kind: custom, custom: {url: 'http://127.0.0.1:9'}}\nworker: {image: worker-ffmpeg}\n"
    )
    container = run("manager", options=[f"--volume={tmp_path}/queue.yaml:/etc/longshore/queue.yaml:ro"])

    assert container.wait() == 64
    assert container.log().startswith("no cluster to speak to: ")
    assert len(container.log().splitlines()) == 1


def test_the_managers_image_has_the_command_too(run: Run) -> None:
    """For looking at a queue from within the cluster."""
    container = run("manager", "--version", options=["--entrypoint=longshore"])

    assert (container.wait(), container.log()) == (0, f"longshore {importlib.metadata.version('longshore')}")
