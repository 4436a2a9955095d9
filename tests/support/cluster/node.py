"""One node of a real Kubernetes: etcd, API server, controllers, scheduler, containerd, kubelet and kube-proxy.

Owns the processes and their configuration; stops only what it started, by process id. Everything listens on loopback,
or on an address that no other machine can reach: a node's own must not be of the loopback range.
Each setting that looks odd is one that a machine without systemd, with cgroup v1 or inside a container needs.
"""

import contextlib
import json
import os
import secrets
import shutil
import signal
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from support.cluster import tools

ADDRESS: Final = "10.254.0.1"
SERVICE_RANGE: Final = "10.96.0.0/16"
POD_RANGE: Final = "10.88.0.0/16"
API_PORT: Final = 16443
ETCD: Final = "http://127.0.0.1:12379"
PAUSE_IMAGE: Final = "longshore.test/pause:1"
START_SECONDS: Final = 180.0
"""For one part to answer: it takes two or three, but machines are slow at times."""
STOP_SECONDS: Final = 20.0
_PAUSE_SECONDS: Final = 0.2
_TOO_EARLY: Final = "server is not initialized yet"
"""What containerd answers a kubelet while it still recovers what ran before."""

_PAUSE_PROGRAM: Final = """
#include <signal.h>
#include <unistd.h>
static void end(int number) { (void)number; _exit(0); }
int main(void) { signal(SIGTERM, end); signal(SIGINT, end); for (;;) pause(); }
"""

_USERS: Final = {
    "admin": ("admin", "system:masters"),
    "controllers": ("system:kube-controller-manager", ""),
    "scheduler": ("system:kube-scheduler", ""),
    "proxy": ("system:kube-proxy", ""),
    "node": ("system:node:node1", "system:nodes"),
}

# Who created which Job: what proves that there was one creation per item.
_AUDIT_POLICY: Final = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived", "ResponseStarted"],
    "rules": [
        {"level": "Metadata", "resources": [{"group": "batch", "resources": ["jobs"]}]},
        {"level": "Metadata", "userGroups": ["system:serviceaccounts"]},
        {"level": "None"},
    ],
}


@dataclass(frozen=True)
class Node:
    """The node under one folder, and the programs that it is made of."""

    folder: Path
    programs: Path

    @property
    def kubeconfig(self) -> Path:
        """For a client that may do anything."""
        return self.folder / "admin.kubeconfig"

    @property
    def audit_log(self) -> Path:
        """What the API server was asked of Jobs, and by service accounts: an event per line."""
        return self.folder / "audit.log"

    @property
    def socket(self) -> Path:
        """containerd's."""
        return self.folder / "run" / "containerd.sock"

    def up(self) -> None:
        """
        Start it, with nothing in it, and wait until it takes pods. Images that were loaded before are still there.

        Raises:
            tools.Missing: this machine can't; the text says why.
        """
        self.down()
        tools.check_machine()
        for name in ("pids", "log", "run", "pki"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        shutil.rmtree(self.folder / "etcd", ignore_errors=True)
        self.audit_log.unlink(missing_ok=True)
        _make_address()
        self._make_certificates()
        self._write_users()
        self._start_control_plane()
        self._start_containerd()
        self._start_node()
        self._until("the node to be ready", self._is_ready_at_last)

    def down(self) -> None:
        """Stop everything that was started here, however it was left."""
        for pid in self._pids():
            _signal(pid, signal.SIGTERM)
        until = time.monotonic() + STOP_SECONDS
        # The API server ends last, and a new one can't start while it does.
        while any(_lives(pid) for pid in self._pids()) and time.monotonic() < until:
            time.sleep(_PAUSE_SECONDS)  # they may be another process's children, whose end tells us nothing
        for pid in self._pids():
            _signal(pid, signal.SIGKILL)
        for pid in self._shims():
            _signal(pid, signal.SIGKILL)
        self._unmount()
        shutil.rmtree(self.folder / "pids", ignore_errors=True)
        shutil.rmtree(self.folder / "kubelet", ignore_errors=True)

    def is_up(self) -> bool:
        """Whether it takes pods now."""
        return self.kubeconfig.exists() and self._is_ready()

    def load_image(self, reference: str) -> None:
        """Give the node an image of this machine's Docker."""
        saved = subprocess.Popen([tools.path_of("docker"), "save", reference], stdout=subprocess.PIPE)
        try:
            self._ctr("images", "import", "--no-unpack=false", "-", stdin=saved)
        finally:
            if saved.stdout:
                saved.stdout.close()
            saved.wait()

    def has_image(self, reference: str) -> bool:
        """Whether the node has an image of this name."""
        return f"docker.io/{reference}" in (names := self._ctr("images", "ls", "-q").split()) or reference in names

    def containers_in(self, namespace: str) -> list[str]:
        """What the runtime has of a namespace's pods: their containers and sandboxes, those that have ended too."""
        return self._ctr("containers", "ls", "-q", f'labels."io.kubernetes.pod.namespace"=={namespace}').split()

    def pod_folder(self, uid: str) -> Path:
        """Where the kubelet keeps what a pod has, its volumes among it, until the pod is gone."""
        return self.folder / "kubelet/pods" / uid

    # --- parts

    def _start_control_plane(self) -> None:
        folder = self.folder
        etcd = [tools.path_of("etcd"), f"--data-dir={folder}/etcd", "--unsafe-no-fsync"]
        etcd += [f"--listen-client-urls={ETCD}", f"--advertise-client-urls={ETCD}"]
        etcd += ["--listen-peer-urls=http://127.0.0.1:12380"]
        self._start("etcd", etcd)
        (folder / "audit-policy.json").write_text(json.dumps(_AUDIT_POLICY), encoding="utf-8")
        self._start_program(
            "kube-apiserver",
            f"--etcd-servers={ETCD}",
            f"--bind-address={ADDRESS}",
            f"--advertise-address={ADDRESS}",
            f"--secure-port={API_PORT}",
            f"--cert-dir={folder}/pki",
            f"--tls-cert-file={folder}/pki/server.crt",
            f"--tls-private-key-file={folder}/pki/server.key",
            f"--token-auth-file={folder}/pki/tokens.csv",
            "--authorization-mode=Node,RBAC",
            "--allow-privileged",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-signing-key-file={folder}/pki/ca.key",
            f"--service-account-key-file={folder}/pki/ca.key",
            f"--service-cluster-ip-range={SERVICE_RANGE}",
            "--kubelet-preferred-address-types=InternalIP",
            f"--audit-policy-file={folder}/audit-policy.json",
            f"--audit-log-path={self.audit_log}",
            "--audit-log-maxsize=10000",  # MB: a file that is rotated has lost what tests count
            # What a deleted namespace leaves is looked for less often than it is asked for here.
            "--default-watch-cache-size=1000",
        )
        self._until("the API server to answer", self._answers)
        self._start_program(
            "kube-controller-manager",
            f"--kubeconfig={folder}/controllers.kubeconfig",
            "--bind-address=127.0.0.1",
            f"--service-account-private-key-file={folder}/pki/ca.key",
            f"--root-ca-file={folder}/pki/ca.crt",
            # Without them the Job controller may not create pods.
            "--use-service-account-credentials=true",
            "--leader-elect=false",
            # Twenty requests a second, the default, would make the controller the limit of every measurement.
            "--kube-api-qps=100",
            "--kube-api-burst=200",
        )
        self._start_program(
            "kube-scheduler",
            f"--kubeconfig={folder}/scheduler.kubeconfig",
            "--bind-address=127.0.0.1",
            "--leader-elect=false",
        )

    def _start_containerd(self) -> None:
        network = {
            "cniVersion": "0.4.0",
            "name": "longshore",
            "plugins": [
                {
                    "type": "bridge",
                    "bridge": "longshore0",
                    "isGateway": True,
                    "ipMasq": True,
                    "ipam": {
                        "type": "host-local",
                        "dataDir": f"{self.folder}/run/ipam",
                        "ranges": [[{"subnet": POD_RANGE}]],
                        "routes": [{"dst": "0.0.0.0/0"}],
                    },
                }
            ],
        }
        (self.folder / "cni").mkdir(exist_ok=True)
        (self.folder / "cni/10-bridge.conflist").write_text(json.dumps(network), encoding="utf-8")
        (self.folder / "containerd.toml").write_text(
            f"""version = 2
root = "{self.folder}/containerd"
state = "{self.folder}/run/containerd"
disabled_plugins = ["io.containerd.internal.v1.opt"]
[grpc]
  address = "{self.socket}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  # Without the right to lower it a sandbox would not start.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{self.folder}/cni"
""",
            encoding="utf-8",
        )
        self._start("containerd", [tools.path_of("containerd"), "-c", f"{self.folder}/containerd.toml"])
        self._until("containerd to answer", lambda: self._ctr("version", check=False) != "")
        if PAUSE_IMAGE not in self._ctr("images", "ls", "-q").split():
            self._load_pause()

    def _start_node(self) -> None:
        configuration = {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": ADDRESS,
            "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
            "authorization": {"mode": "AlwaysAllow"},
            "cgroupDriver": "cgroupfs",
            "failCgroupV1": False,
            "failSwapOn": False,
            "evictionHard": {},
            "containerRuntimeEndpoint": f"unix://{self.socket}",
            "maxPods": 250,
            "registryPullQPS": 0,
            "kubeAPIQPS": 100,
            "kubeAPIBurst": 200,
            "clusterDNS": [],
            "resolvConf": "",
        }
        (self.folder / "kubelet.json").write_text(json.dumps(configuration), encoding="utf-8")
        self._start_kubelet()
        self._start_program(
            "kube-proxy",
            f"--kubeconfig={self.folder}/proxy.kubeconfig",
            "--proxy-mode=nftables",
            f"--cluster-cidr={POD_RANGE}",
            "--hostname-override=node1",
            "--healthz-bind-address=127.0.0.1:10256",
            "--metrics-bind-address=127.0.0.1:10249",
            # These are the machine's own, which a container may not set.
            "--conntrack-max-per-core=0",
            "--conntrack-tcp-timeout-established=0",
            "--conntrack-tcp-timeout-close-wait=0",
        )

    def _start_kubelet(self) -> None:
        self._start_program(
            "kubelet",
            f"--config={self.folder}/kubelet.json",
            f"--kubeconfig={self.folder}/node.kubeconfig",
            f"--root-dir={self.folder}/kubelet",
            "--hostname-override=node1",
            f"--node-ip={ADDRESS}",
        )

    def _start_program(self, name: str, *arguments: str) -> None:
        self._start(name, [str(self.programs / name), *arguments])

    def _start(self, name: str, command: list[str]) -> None:
        path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
        with (self.folder / "log" / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, "PATH": path},
            )
        process.returncode = 0  # it outlives this process, which a Popen would warn of
        (self.folder / "pids" / name).write_text(str(process.pid), encoding="utf-8")

    # --- credentials

    def _make_certificates(self) -> None:
        """An authority and the API server's certificate, as strict clients want them: with key identifiers."""
        pki = self.folder / "pki"
        if (pki / "server.crt").exists():
            return
        names = ["DNS:kubernetes", "DNS:kubernetes.default", "DNS:kubernetes.default.svc", "DNS:localhost"]
        names += [f"IP:{ADDRESS}", "IP:10.96.0.1", "IP:127.0.0.1"]
        (pki / "server.ext").write_text(
            f"subjectAltName={','.join(names)}\nextendedKeyUsage=serverAuth\nkeyUsage=digitalSignature,keyEncipherment\n"
            "authorityKeyIdentifier=keyid\nsubjectKeyIdentifier=hash\nbasicConstraints=CA:FALSE\n",
            encoding="utf-8",
        )
        openssl = tools.path_of("openssl")
        for command in (
            (
                "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -days 3650 -subj /CN=longshore-test-ca "
                "-addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign"
            ),
            "req -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj /CN=kube-apiserver",
            (
                "x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out server.crt -days 3650 "
                "-extfile server.ext"
            ),
        ):
            subprocess.run([openssl, *command.split()], cwd=pki, check=True, capture_output=True)

    def _write_users(self) -> None:
        rows = []
        for name, (user, group) in _USERS.items():
            token = secrets.token_hex(16)
            rows.append(f'{token},{user},{name},"{group}"')
            (self.folder / f"{name}.kubeconfig").write_text(self._kubeconfig_for(token), encoding="utf-8")
            (self.folder / f"{name}.kubeconfig").chmod(0o600)
            (self.folder / "pki" / f"{name}.token").write_text(token, encoding="utf-8")
        (self.folder / "pki/tokens.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")

    def _kubeconfig_for(self, token: str) -> str:
        cluster = {"server": f"https://{ADDRESS}:{API_PORT}", "certificate-authority": f"{self.folder}/pki/ca.crt"}
        return json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "longshore-test", "cluster": cluster}],
                "users": [{"name": "user", "user": {"token": token}}],
                "contexts": [{"name": "longshore-test", "context": {"cluster": "longshore-test", "user": "user"}}],
                "current-context": "longshore-test",
            }
        )

    # --- looking

    def _until(self, what: str, is_so: Callable[[], bool]) -> None:
        until = time.monotonic() + START_SECONDS
        while not is_so():
            if ended := [name for name, pid in self._started().items() if not _lives(pid)]:
                tail = (self.folder / "log" / f"{ended[0]}.log").read_text(errors="replace")[-2000:]
                raise tools.Missing(f"{', '.join(ended)} ended while waiting for {what}:\n{tail}")
            if time.monotonic() > until:
                raise tools.Missing(f"waited {START_SECONDS:.0f} s for {what}; see {self.folder}/log")
            time.sleep(_PAUSE_SECONDS)  # no part of a node tells us when it answers

    def _answers(self) -> bool:
        return self._get("/readyz") == b"ok"

    def _is_ready_at_last(self) -> bool:
        """Whether it is; a kubelet that came before containerd was ready for it has ended, and is started again."""
        log = self.folder / "log/kubelet.log"
        if not _lives(self._started()["kubelet"]) and _TOO_EARLY in log.read_text(errors="replace"):
            self._start_kubelet()
        return self._is_ready()

    def _is_ready(self) -> bool:
        found = json.loads(self._get("/api/v1/nodes/node1") or b"{}")
        conditions = found.get("status", {}).get("conditions", [])
        return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)

    def _get(self, path: str) -> bytes:
        """The API server's answer; empty while it gives none."""
        token = (self.folder / "pki/admin.token").read_text(encoding="utf-8")
        request = urllib.request.Request(
            f"https://{ADDRESS}:{API_PORT}{path}", headers={"Authorization": f"Bearer {token}"}
        )
        try:
            with self._opener.open(request, timeout=10) as reply:
                answer: bytes = reply.read()
                return answer
        except (urllib.error.URLError, OSError):
            return b""

    @cached_property
    def _opener(self) -> urllib.request.OpenerDirector:
        context = ssl.create_default_context(cafile=f"{self.folder}/pki/ca.crt")
        return urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )

    def _ctr(self, *arguments: str, check: bool = True, stdin: "subprocess.Popen[bytes] | None" = None) -> str:
        ended = subprocess.run(
            [tools.path_of("ctr"), "-a", str(self.socket), "-n", "k8s.io", *arguments],
            stdin=stdin.stdout if stdin else subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if check and ended.returncode != 0:
            raise tools.Missing(f"ctr {' '.join(arguments)}: {ended.stderr.strip()}")
        return ended.stdout if ended.returncode == 0 else ""

    def _load_pause(self) -> None:
        """The container that holds a pod's namespaces, made here: no registry is asked for it."""
        source, program = self.folder / "run/pause.c", self.folder / "run/pause"
        source.write_text(_PAUSE_PROGRAM, encoding="utf-8")
        subprocess.run([tools.path_of("gcc"), "-static", "-Os", "-o", str(program), str(source)], check=True)
        archive = subprocess.run(
            ["tar", "-C", str(self.folder / "run"), "-c", "pause"],  # noqa: S607 - a tool of the system
            stdout=subprocess.PIPE,
            check=True,
        ).stdout
        subprocess.run(
            [tools.path_of("docker"), "import", "-c", 'ENTRYPOINT ["/pause"]', "-", PAUSE_IMAGE],
            input=archive,
            stdout=subprocess.DEVNULL,
            check=True,
        )
        self.load_image(PAUSE_IMAGE)

    # --- what was started

    def _started(self) -> Mapping[str, int]:
        folder = self.folder / "pids"
        return {path.name: int(path.read_text()) for path in folder.iterdir()} if folder.is_dir() else {}

    def _pids(self) -> list[int]:
        """Processes that were started here; a number that was given to somebody else meanwhile is not among them."""
        return [pid for pid in self._started().values() if str(self.folder) in _command_line(pid)]

    def _shims(self) -> Iterator[int]:
        """containerd's helpers, which outlive it, and hold what runs in pods."""
        for path in Path("/proc").glob("[0-9]*"):
            command = _command_line(int(path.name))
            if "containerd-shim" in command and str(self.socket) in command:
                yield int(path.name)

    def _unmount(self) -> None:
        mounts = [line.split()[1] for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines()]
        for mount in sorted((one for one in mounts if one.startswith(f"{self.folder}/")), reverse=True):
            subprocess.run([tools.path_of("umount"), "-l", mount], check=False, capture_output=True)


def _make_address() -> None:
    """An address of our own that only this machine has: on the loopback interface, but not of the loopback range."""
    made = subprocess.run(
        [tools.path_of("ip"), "addr", "add", f"{ADDRESS}/32", "dev", "lo"], capture_output=True, text=True, check=False
    )
    if made.returncode and not {"exists", "already"} & set(made.stderr.replace(":", " ").split()):
        raise tools.Missing(f"this machine can't be given the address {ADDRESS}: {made.stderr.strip()}")
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1", encoding="utf-8")


def _command_line(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return ""


def _lives(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
