"""The programs that the cluster is made of: what Debian packages carry, and what is built here from Go modules.

Owns the cache: a build is kept under the user's cache folder by the hash of everything that it was made from, so that
it is made once, and again only when that changes.
"""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from support.sharing import alone, cache_folder

SOURCE: Final = Path(__file__).parents[2] / "cluster" / "kubernetes"
KUBERNETES_VERSION: Final = "1.36.3"
"""Of the modules in tests/cluster/kubernetes/go.mod; the programs can't read it from there themselves."""
HELM: Final = "helm.sh/helm/v3/cmd/helm@v3.19.0"
CONTROLLER_GEN: Final = "sigs.k8s.io/controller-tools/cmd/controller-gen@v0.23.0"
PROMETHEUS_OPERATOR: Final = "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring"
PROMETHEUS_OPERATOR_VERSION: Final = "v0.95.1"
MONITORING_KINDS: Final = ("podmonitors", "servicemonitors", "prometheusrules")
PROGRAMS: Final = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "kubelet", "kubectl")

DEBIAN_PACKAGES: Final[Mapping[str, str]] = {
    "etcd": "etcd-server",
    "containerd": "containerd",
    "runc": "runc",
    "/usr/lib/cni/bridge": "containernetworking-plugins",
    "iptables": "iptables",  # the portmap plugin
    "nft": "nftables",  # kube-proxy
    "dockerd": "docker.io",  # builds the images
    "debootstrap": "debootstrap",  # the base of the images, where no registry can be reached
    "ip": "iproute2",
    "openssl": "openssl",
    "gcc": "gcc",  # the pause program, static
    "go": "golang-go, or Go 1.26 or newer from elsewhere",
}
"""Programs by the Debian package that has them; as root, `make cluster-tools` installs them."""


class Missing(Exception):
    """The cluster can't be started on this machine; the text says what to install or do."""


def check_machine() -> None:
    """
    Whether a cluster can run here.

    Raises:
        Missing: not Linux, not root, or programs are missing.
    """
    if os.uname().sysname != "Linux" or os.geteuid() != 0:
        raise Missing("a cluster of its own needs Linux and root: run as root, or set KUBECONFIG to a cluster to use")
    missing = [package for program, package in DEBIAN_PACKAGES.items() if find(program) is None]
    if missing:
        raise Missing(f"install {', '.join(missing)} (make cluster-tools), or set KUBECONFIG to a cluster to use")


def find(program: str) -> str | None:
    """Where a program is; Debian has some of these outside of a user's PATH."""
    return shutil.which(program, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")


def path_of(program: str) -> str:
    """
    Where a program is.

    Raises:
        Missing: it is not installed.
    """
    # Debian's own docker comes with what it needs to build; another one on the PATH may not.
    found = find(f"/usr/bin/{program}") or find(program)
    if found is None:
        raise Missing(f"install {DEBIAN_PACKAGES.get(program, program)} (make cluster-tools)")
    return found


def kubernetes() -> Path:
    """The folder with the programs of Kubernetes, built first where that was not done yet; minutes on two cores."""
    parts = [(SOURCE / name).read_bytes() for name in ("main.go", "go.mod", "go.sum")]
    return kept("kubernetes", b"\0".join([*parts, KUBERNETES_VERSION.encode()]), _build_kubernetes)


def _build_kubernetes(folder: Path) -> None:
    major, minor, _ = KUBERNETES_VERSION.split(".")
    values = {"gitVersion": f"v{KUBERNETES_VERSION}", "gitMajor": major, "gitMinor": minor}
    # Without a version Helm takes the server for v0.0.0.
    flags = " ".join(f"-X k8s.io/component-base/version.{name}={value}" for name, value in values.items())
    _go("build", "-trimpath", "-ldflags", f"-s -w {flags}", "-o", str(folder / "kubernetes"), ".", cwd=SOURCE)
    for program in PROGRAMS:
        (folder / program).symlink_to("kubernetes")


def helm() -> Path:
    """The real helm, built where there is none on the PATH."""
    if found := shutil.which("helm"):
        return Path(found)
    return kept("helm", HELM.encode(), _build_helm) / "helm"


def _build_helm(folder: Path) -> None:
    _go("install", "-trimpath", "-ldflags", "-s -w", HELM, cwd=folder, GOBIN=str(folder))


def promtool() -> Path:
    """
    What checks Prometheus' rules, and runs their tests.

    Raises:
        Missing: it is not installed.
    """
    found = find("promtool")
    if found is None:
        raise Missing("install promtool, of Debian's package prometheus (make test-servers)")
    return Path(found)


def monitoring_kinds() -> tuple[Path, ...]:
    """
    The CustomResourceDefinitions of PodMonitors, ServiceMonitors and PrometheusRules: of the Prometheus operator's own
    types, by the generator that they are made with there; a minute the first time. The files themselves are in no
    package.
    """
    made_from = f"{CONTROLLER_GEN} {PROMETHEUS_OPERATOR}@{PROMETHEUS_OPERATOR_VERSION}"
    folder = kept("monitoring", made_from.encode(), _generate_monitoring_kinds)
    return tuple(folder / "kinds" / f"monitoring.coreos.com_{kind}.yaml" for kind in MONITORING_KINDS)


def _generate_monitoring_kinds(folder: Path) -> None:
    (folder / "go.mod").write_text("module kinds\n", encoding="utf-8")
    # The package, since of its module alone the sums of what it imports would be missing.
    _go("get", f"{PROMETHEUS_OPERATOR}/v1@{PROMETHEUS_OPERATOR_VERSION}", cwd=folder)
    _go("install", "-trimpath", CONTROLLER_GEN, cwd=folder, GOBIN=str(folder))
    command = [str(folder / "controller-gen"), "crd", f"paths={PROMETHEUS_OPERATOR}/v1", "output:crd:dir=kinds"]
    subprocess.run(command, cwd=folder, env={**os.environ, "GOTOOLCHAIN": "local"}, check=True)


def kept(name: str, made_from: bytes, make: Callable[[Path], None]) -> Path:
    """A folder in the cache, made where there is none of the same name that was made from the same."""
    folder = cache_folder() / "bin" / f"{name}-{hashlib.sha256(made_from).hexdigest()[:16]}"
    with alone(folder.name):
        if not folder.exists():
            # Beside, and renamed when it is whole.
            fresh = folder.with_name(f".{folder.name}")
            shutil.rmtree(fresh, ignore_errors=True)
            fresh.mkdir(parents=True)
            make(fresh)
            fresh.rename(folder)
    return folder


def _go(*arguments: str, cwd: Path, **environ: str) -> None:
    # A version of its own choice would be downloaded: the machine's is new enough, or the message says so.
    environ = {**os.environ, "GOTOOLCHAIN": "local", **environ}
    subprocess.run([path_of("go"), *arguments], cwd=cwd, env=environ, check=True)
