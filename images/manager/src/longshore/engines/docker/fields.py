"""What Docker can honour of a Job's manifest, and what a container of it is made with. Pure.

Refuses by name: a field that is neither honoured here nor meaningless to a plain container is a problem, in words that
say what to write instead. What it takes on trust: that emptyDirs of the manager's own need not be in memory.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Final

from longshore.engines.docker.objects import containers_of
from longshore.manifests import REFUSED_ANNOTATION, SHIPPED_PREFIX, Manifest
from longshore.podtemplate import ITEM_VOLUME, WORK_VOLUME
from longshore_kit.expansion import expand, expand_all
from longshore_kit.quantities import quantity

_POD_FIELDS: Final = {
    "restartPolicy", "activeDeadlineSeconds", "terminationGracePeriodSeconds", "initContainers", "containers",
    "volumes", "securityContext", "hostNetwork",
    # True of every container: there is no token and no service link to mount.
    "automountServiceAccountToken", "enableServiceLinks",
}  # fmt: skip
_CONTAINER_FIELDS: Final = {
    "name", "image", "imagePullPolicy", "command", "args", "workingDir", "env", "envFrom", "resources", "volumeMounts",
    "terminationMessagePath", "terminationMessagePolicy", "securityContext",
}  # fmt: skip
_POD_SECURITY: Final = {"runAsUser", "runAsGroup", "runAsNonRoot", "supplementalGroups", "seccompProfile"}
_SECURITY: Final = {
    "runAsUser", "runAsGroup", "runAsNonRoot", "readOnlyRootFilesystem", "allowPrivilegeEscalation", "capabilities",
    "privileged", "seccompProfile",
}  # fmt: skip
_SECCOMP: Final = {"RuntimeDefault", "Unconfined"}
_PULL_POLICIES: Final = {"IfNotPresent", "Never"}
_RESOURCES: Final = {"cpu", "memory"}
_KINDS: Final = {"requests", "limits"}
_MEMORY_MIN: Final = 6 * 1024**2
_NANO: Final = 1_000_000_000
_SHARES: Final = 1024
"""Of a whole CPU: https://docs.docker.com/engine/containers/resource_constraints/"""


def problems(job: Manifest) -> Iterator[str]:
    """Every field that Docker can't honour, and what to write instead."""
    if REFUSED_ANNOTATION in job["metadata"]["annotations"]:
        return
    pod = job["spec"]["template"]["spec"]
    yield from (f"can't honour podTemplate.spec.{name}: leave it out here" for name in sorted(set(pod) - _POD_FIELDS))
    if len(pod["containers"]) > 1:
        yield "runs containers one after the other: leave those beside the worker's in podTemplate.spec out here"
    grace = pod.get("terminationGracePeriodSeconds", 0)
    if not _is_count(grace):
        yield f"can't read podTemplate.spec.terminationGracePeriodSeconds: {grace!r} is no number of seconds"
    labels = job["spec"]["template"].get("metadata", {}).get("labels", {})
    yield from (f"can't read podTemplate.metadata.labels.{name}: it is no text" for name in _no_texts(labels))
    yield from _security_problems(pod.get("securityContext") or {}, _POD_SECURITY, "podTemplate.spec")
    for volume in pod.get("volumes", []):
        yield from _volume_problems(volume)
    known = {volume["name"] for volume in pod.get("volumes", [])}
    for container in containers_of(job):
        yield from _container_problems(container, known)


def _container_problems(container: Manifest, known: set[str]) -> Iterator[str]:
    whose = f"of container {container['name']}"
    for name in sorted(set(container) - _CONTAINER_FIELDS):
        yield f"can't honour {name} {whose}: leave it out here"
    if not container.get("image"):
        yield f"has no image to run {container['name']} in: set image beside its command"
    policy = container.get("imagePullPolicy", "IfNotPresent")
    if policy not in _PULL_POLICIES:
        yield f"can't honour imagePullPolicy {policy} {whose}: pull it yourself, and leave this out"
    yield from _variable_problems(container, whose)
    yield from _resource_problems(container, whose)
    for mount in container.get("volumeMounts", []):
        if mount["name"] not in known:
            yield f"finds no volume {mount['name']!r} to mount {whose}: add it to podTemplate.spec.volumes"
        if extra := sorted(set(mount) - {"name", "mountPath", "readOnly"}):
            yield f"can't honour {', '.join(extra)} of the mount of {mount['name']!r}: leave it out here"
    yield from _security_problems(container.get("securityContext") or {}, _SECURITY, f"container {container['name']}")


def _variable_problems(container: Manifest, whose: str) -> Iterator[str]:
    for variable in container.get("env", []):
        if "valueFrom" in variable:
            yield f"can't look up the variable {variable['name']} {whose}: give it a value here"
    for source in container.get("envFrom", []):
        if set(source) != {"secretRef"}:
            yield f"can't honour envFrom {whose}, other than a secretRef: set env"


def _resource_problems(container: Manifest, whose: str) -> Iterator[str]:
    resources = container.get("resources") or {}
    yield from (f"can't honour resources.{kind} {whose}: leave it out here" for kind in sorted(set(resources) - _KINDS))
    for kind, amounts in _amounts(container):
        for name in amounts:
            if name not in _RESOURCES:
                yield f"can't honour resources.{kind}.{name} {whose}: leave it out here"
    yield from _amount_problems(dict(_amounts(container)), whose)


def _amount_problems(amounts: Mapping[str, Manifest], whose: str) -> Iterator[str]:
    found = {kind: {name: str(one) for name, one in some.items()} for kind, some in amounts.items()}
    most, least = found.get("limits", {}).get("memory", ""), found.get("requests", {}).get("memory", "")
    if most and quantity(most) < _MEMORY_MIN:
        yield f"can't honour resources.limits.memory {whose}: Docker gives 6Mi at least"
    if most and least and quantity(least) > quantity(most):
        yield f"can't honour resources.requests.memory {whose}: it is more than the limit"


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _no_texts(labels: Manifest) -> list[str]:
    return sorted(name for name, value in labels.items() if not isinstance(value, str))


def _amounts(container: Manifest) -> list[tuple[str, Manifest]]:
    resources = container.get("resources") or {}
    return [(kind, resources[kind] or {}) for kind in sorted(_KINDS & set(resources))]


def _security_problems(context: Manifest, known: set[str], where: str) -> Iterator[str]:
    for name in sorted(set(context) - known):
        yield f"can't honour securityContext.{name} of {where}: leave it out here"
    for name in ("runAsUser", "runAsGroup"):
        if context.get(name) is not None and not _is_count(context[name]):
            yield f"can't read securityContext.{name} of {where}: {context[name]!r} is no number"
    if "runAsGroup" in context and "runAsUser" not in context:
        yield f"can't honour securityContext.runAsGroup of {where} without runAsUser: set both"
    profile = (context.get("seccompProfile") or {}).get("type", "RuntimeDefault")
    if profile not in _SECCOMP:
        yield f"can't honour securityContext.seccompProfile {profile} of {where}: leave it out here"


def _volume_problems(volume: Manifest) -> Iterator[str]:
    name = volume["name"]
    if is_own(name):
        return
    kind = next((key for key in volume if key != "name"), "volume")
    if kind == "emptyDir":
        for field in sorted(volume["emptyDir"] or {}):
            yield f"can't honour emptyDir.{field} of volume {name!r}: leave it out here"
    elif kind == "hostPath":
        if not (volume["hostPath"] or {}).get("path"):
            yield f"finds no path in the hostPath of volume {name!r}: set it"
    else:
        yield f"can't mount the {kind} of volume {name!r}: give --volume {name}=FOLDER, or make it a hostPath"


def is_own(volume: str) -> bool:
    """Whether it is the item's file, or a folder of a chain."""
    return volume in {ITEM_VOLUME, WORK_VOLUME} or volume.startswith(f"{ITEM_VOLUME}-")


def host_folders(job: Manifest, working_folder: str) -> dict[str, Manifest]:
    """The folders of this machine that it mounts, by their volumes' names; relative ones count from the queue file."""
    volumes = job["spec"]["template"]["spec"].get("volumes", [])
    found = {one["name"]: dict(one["hostPath"]) for one in volumes if "hostPath" in one}
    for folder in found.values():
        folder["path"] = str(PurePath(working_folder) / folder["path"])
    return found


def own_volumes(job: Manifest) -> list[str]:
    """The volumes that are made for each run: emptyDirs, the item's, and one for each container's result."""
    volumes = job["spec"]["template"]["spec"].get("volumes", [])
    results = [result_volume(index) for index in range(len(containers_of(job)))]
    return [*(one["name"] for one in volumes if "hostPath" not in one), *results]


def result_volume(index: int) -> str:
    """Where a container's result lies."""
    return f"longshore-result-{index}"


def image_of(container: Manifest, version: str) -> str:
    """A container's image; of a shipped one, the version that goes with this manager."""
    image: str = container["image"]
    return f"{image}:{version}" if is_shipped(container) and ":" not in image else image


def is_shipped(container: Manifest) -> bool:
    """Whether its image is one of this repository by its short name: no registry has it, and a stranger's might."""
    return str(container["image"]).startswith(SHIPPED_PREFIX)


def may_pull(container: Manifest) -> bool:
    """Whether its image may be asked of a registry."""
    return container.get("imagePullPolicy") != "Never" and not is_shipped(container)


def secrets_of(container: Manifest) -> list[str]:
    """The Secrets whose keys are its variables."""
    return [source["secretRef"]["name"] for source in container.get("envFrom", [])]


@dataclass(frozen=True)
class Surroundings:
    """What a container is made in: volumes by their names on the daemon, folders of the machine, secrets' variables."""

    volumes: Mapping[str, str]
    folders: Mapping[str, Manifest]
    secrets: Mapping[str, str]
    cpus: float = float("inf")
    """How many the machine has: more can't be asked for."""


def options_of(job: Manifest, index: int, around: Surroundings) -> dict[str, Any]:
    """What the Docker client makes a container with, other than its name, labels, image and mounts."""
    pod = job["spec"]["template"]["spec"]
    container = containers_of(job)[index]
    environ = expand_all((one["name"], one.get("value", "")) for one in container.get("env", []))
    options: dict[str, Any] = {"environment": {**around.secrets, **environ}}
    if container.get("command"):
        options["entrypoint"] = [expand(text, environ) for text in container["command"]]
    if container.get("args"):
        options["command"] = [expand(text, environ) for text in container["args"]]
    if container.get("workingDir"):
        options["working_dir"] = container["workingDir"]
    if pod.get("hostNetwork"):
        options["network_mode"] = "host"
    return options | _resource_options(container, around.cpus) | _security_options(job, container)


def mounts_of(job: Manifest, index: int, around: Surroundings) -> list[dict[str, Any]]:
    """What a container mounts: an entry for each, as Docker's API names it."""
    container = containers_of(job)[index]
    mounts: list[dict[str, Any]] = []
    for mount in container.get("volumeMounts", []):
        name = mount["name"]
        common = {"target": mount["mountPath"], "read_only": bool(mount.get("readOnly"))}
        if name in around.folders:
            mounts.append({"type": "bind", "source": around.folders[name]["path"], **common})
        else:
            mounts.append({"type": "volume", "source": around.volumes[name], **common})
    if path := container.get("terminationMessagePath"):
        target = str(PurePath(path).parent)
        mounts.append({"type": "volume", "source": around.volumes[result_volume(index)], "target": target})
    return mounts


def user_of(job: Manifest, container: Manifest) -> str:
    """Whom it runs as by its manifest, as `user` or `user:group`; empty: as its image says."""
    context = _security(job["spec"]["template"]["spec"], container)
    user, group = context.get("runAsUser"), context.get("runAsGroup")
    if user is None:
        return ""
    return str(user) if group is None else f"{user}:{group}"


def user_problem(job: Manifest, container: Manifest, image_user: str) -> str:
    """Why it may not run as whom it would: only where it must not be root. Empty: it may."""
    if not _security(job["spec"]["template"]["spec"], container).get("runAsNonRoot"):
        return ""
    user = (user_of(job, container) or image_user).partition(":")[0]
    if user.isdigit() and int(user) != 0:
        return ""
    told = f"its image's user is {user!r}, and not a number" if user and user != "0" else "it would run as root"
    return f"container {container['name']} has runAsNonRoot, and {told}: set securityContext.runAsUser"


def _security(pod: Manifest, container: Manifest) -> Manifest:
    return {**(pod.get("securityContext") or {}), **(container.get("securityContext") or {})}


def _security_options(job: Manifest, container: Manifest) -> dict[str, Any]:
    context = _security(job["spec"]["template"]["spec"], container)
    options: dict[str, Any] = {}
    if user := user_of(job, container):
        options["user"] = user
    if groups := context.get("supplementalGroups"):
        options["group_add"] = [str(one) for one in groups]
    if context.get("readOnlyRootFilesystem"):
        options["read_only"] = True
    if context.get("privileged"):
        options["privileged"] = True
    security = []
    if context.get("allowPrivilegeEscalation") is False:
        security.append("no-new-privileges")
    if (context.get("seccompProfile") or {}).get("type") == "Unconfined":
        security.append("seccomp=unconfined")
    if security:
        options["security_opt"] = security
    for name, option in (("drop", "cap_drop"), ("add", "cap_add")):
        if named := (context.get("capabilities") or {}).get(name):
            options[option] = list(named)
    return options


def _resource_options(container: Manifest, cpus: float) -> dict[str, Any]:
    options: dict[str, Any] = {}
    amounts = {
        (kind, name): quantity(str(amount)) for kind, some in _amounts(container) for name, amount in some.items()
    }
    if ("limits", "cpu") in amounts:
        options["nano_cpus"] = int(min(cpus, amounts["limits", "cpu"]) * _NANO)
    if ("limits", "memory") in amounts:
        # No swap beyond it, as in a cluster.
        options["mem_limit"] = options["memswap_limit"] = int(amounts["limits", "memory"])
    if ("requests", "cpu") in amounts:
        options["cpu_shares"] = max(2, int(amounts["requests", "cpu"] * _SHARES))
    if ("requests", "memory") in amounts:
        options["mem_reservation"] = int(amounts["requests", "memory"])
    return options
