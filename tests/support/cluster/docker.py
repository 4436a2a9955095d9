"""Docker's daemon, where none runs: started for a while, and ended by its process id. Or one of a test's own."""

import contextlib
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Self

import psutil

from support import sharing
from support.cluster import tools

_START_SECONDS = 60.0


@contextlib.contextmanager
def running_docker() -> Iterator[None]:
    """
    A daemon that answers, for as long as this is held.

    Raises:
        tools.Missing: there is none, and none can be started here.
    """
    with sharing.together("dockerd", _start, _end):
        yield


def _start() -> None:
    if _answers():
        return
    log = sharing.cache_folder() / "dockerd.log"
    # Nobody's child: it may have to outlive the process that starts it.
    command = [tools.path_of("setsid"), "--fork", tools.path_of("dockerd"), f"--pidfile={_pid_file()}"]
    with log.open("wb") as out:
        subprocess.run(command, stdout=out, stderr=out, check=True)
    _until_it_answers(log)


def _end() -> None:
    """By whoever goes last, which need not be who has started it."""
    if not _pid_file().exists():
        return
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(int(_pid_file().read_text(encoding="utf-8")))
        if f"--pidfile={_pid_file()}" in process.cmdline():
            process.terminate()
            process.wait()


def _pid_file() -> Path:
    """Of a daemon that was started here; it writes the file, and removes it."""
    return sharing.cache_folder() / "dockerd.pid"


class OwnDocker:
    """
    A daemon beside any other, which may be killed and started again; a context, after which nothing of it is left.

    Its images are its own: `load` them.
    """

    _BRIDGE: Final = "longshore-own"
    _NETWORK: Final = "172.31.251.1/24"

    def __init__(self) -> None:
        # A socket's path may have 107 bytes: a test's own folder may be deeper.
        self._folder: Final = Path(tempfile.mkdtemp(prefix="longshore-docker-"))
        self.host: Final = f"unix://{self._folder}/docker.sock"
        self._containerd: subprocess.Popen[bytes] | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        _ip("link", "add", self._BRIDGE, "type", "bridge")
        _ip("address", "add", self._NETWORK, "dev", self._BRIDGE)
        # Beside the daemon and not below it, as distributions have it: containers outlive a daemon that is killed.
        places = [f"--{name}={self._folder}/containerd/{name}" for name in ("root", "state")]
        self._containerd = self._spawn("containerd", *places, f"--address={self._folder}/containerd.sock")
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end(signal.SIGTERM)
        if self._containerd:
            self._containerd.terminate()
            self._containerd.wait()
        # Shims of containers whose daemon was killed may outlive all of it.
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if any(str(self._folder) in word for word in process.cmdline()):
                    process.kill()
        _ip("link", "delete", self._BRIDGE)
        mounts = (line.split()[1] for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines())
        for mount in sorted((one for one in mounts if one.startswith(f"{self._folder}/")), reverse=True):
            subprocess.run(["umount", mount], check=True)  # noqa: S607 - the system's; a daemon mounts its own folder
        shutil.rmtree(self._folder)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        places = [f"--data-root={self._folder}/data", f"--exec-root={self._folder}/exec", f"--bridge={self._BRIDGE}"]
        options = [f"--pidfile={self._folder}/pid", "--iptables=false", f"--containerd={self._folder}/containerd.sock"]
        self._process = self._spawn("dockerd", *places, *options, "--host", self.host)
        _until_it_answers(self._folder / "dockerd.log", self.host, self._process)

    def end(self, number: signal.Signals) -> None:
        """End it by a signal; after SIGTERM it ends its containers first, after SIGKILL they are left to themselves."""
        if self._process:
            self._process.send_signal(number)
            self._process.wait()
            self._process = None

    def _spawn(self, program: str, *arguments: str) -> "subprocess.Popen[bytes]":
        with (self._folder / f"{program}.log").open("ab") as log:
            command = [tools.path_of(program), *arguments]
            return subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)

    def load(self, image: str) -> None:
        """Have an image of the machine's other daemon."""
        docker = tools.path_of("docker")
        with subprocess.Popen([docker, "save", image], stdout=subprocess.PIPE) as saved:
            subprocess.run([docker, "--host", self.host, "load", "--quiet"], stdin=saved.stdout, check=True)

    def docker(self, *arguments: str) -> str:
        """What a docker command prints."""
        command = [tools.path_of("docker"), "--host", self.host, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _ip(*arguments: str) -> None:
    subprocess.run([tools.path_of("ip"), *arguments], check=True)


def _answers(options: Sequence[str] = ()) -> bool:
    ended = subprocess.run([tools.path_of("docker"), *options, "version"], capture_output=True, check=False)
    return ended.returncode == 0


def _until_it_answers(log: Path, host: str = "", process: "subprocess.Popen[bytes] | None" = None) -> None:
    until = time.monotonic() + _START_SECONDS
    while not _answers(["--host", host] if host else []):
        if (process and process.poll() is not None) or time.monotonic() > until:
            raise tools.Missing(f"dockerd did not start:\n{log.read_text(errors='replace')[-1000:]}")
        time.sleep(0.2)  # a daemon tells nobody that it answers
