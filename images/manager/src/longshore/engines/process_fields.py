"""What the process engine can honour of a Job's manifest, and what a shipped image is on this machine.

Pure but for looking whether folders and programs are there. Refuses by name: a field that is neither honoured here
nor meaningless to a plain process is a problem, in words that say what to write instead.
"""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from longshore.manifests import REFUSED_ANNOTATION, SHIPPED_PREFIX, STAGES_ANNOTATION, Manifest
from longshore.podtemplate import CONTAINER, ITEM_VOLUME, WORK_VOLUME
from longshore_kit.programs import ADAPTER

_POD_FIELDS: Final = {
    "restartPolicy", "activeDeadlineSeconds", "terminationGracePeriodSeconds", "initContainers", "containers",
    "volumes",
    # True of every process: there is no token and no service link to mount.
    "automountServiceAccountToken", "enableServiceLinks",
}  # fmt: skip
_CONTAINER_FIELDS: Final = {
    "name", "image", "imagePullPolicy", "command", "args", "workingDir", "env", "resources", "volumeMounts",
    "terminationMessagePath", "terminationMessagePolicy",
    # Secrets are variables of who starts the queue here: a process has all of those.
    "envFrom",
}  # fmt: skip


def problems(job: Manifest) -> Iterator[str]:
    """Every field that a process on this machine can't honour, and what to write instead."""
    if is_refused(job):
        return
    pod = job["spec"]["template"]["spec"]
    stages = _stages(job)
    yield from (f"can't honour podTemplate.spec.{name}: leave it out here" for name in sorted(set(pod) - _POD_FIELDS))
    own = [one for one in containers(job) if one["name"] in (stages or [CONTAINER])]
    if own != containers(job):
        yield "runs the worker's own containers only: leave others in podTemplate.spec out here"
    for index, container in enumerate(own):
        yield from _container_problems(container, f"worker.stages[{index - 1}]" if stages else "worker")
    yield from _folder_problems(pod)
    for container in own:
        yield from _mount_problems(pod, container)


def _container_problems(container: Manifest, program: str) -> Iterator[str]:
    for name in sorted(set(container) - _CONTAINER_FIELDS):
        yield f"can't honour {name} of a container: leave it out here"
    if "limits" in container.get("resources", {}):
        yield f"can't limit a process: leave {program}.resources.limits out here"
    if not command(container).get("command") and container["name"] == ADAPTER:
        yield f"finds no longshore-{ADAPTER}, which every chain begins with: install it beside longshore"
    elif not command(container).get("command"):
        image = container.get("image", "")
        yield f"has no images, and {image!r} is not installed here: set {program}.command to the program that it runs"
    for variable in container.get("env", []):
        if "valueFrom" in variable:
            yield f"can't look up the variable {variable['name']}: give it a value here"


def program_problems(job: Manifest) -> Iterator[str]:
    """Whether what it starts is there now; for a look before the first item, since it may come and go."""
    if is_refused(job):
        return
    stages = _stages(job)
    for index, container in enumerate(containers(job)):
        argv = command(container).get("command", [""])
        path = next((one.get("value", "") for one in container.get("env", []) if one["name"] == "PATH"), None)
        name = argv[0]
        # A name with a variable in it is known only when that is filled.
        if name and "$" not in name:
            place = str(Path(container.get("workingDir", "")) / name) if "/" in name else name
            if shutil.which(place, path=path) is None:
                key = f"worker.stages[{index - 1}].command" if stages else "worker.command"
                yield f"finds no program {name!r}: install it, or correct {key}"


def _folder_problems(pod: Manifest) -> Iterator[str]:
    for volume in pod["volumes"]:
        if _is_own(volume["name"]):
            continue
        if "hostPath" not in volume:
            kind = next((key for key in volume if key != "name"), "volume")
            yield (
                f"can't mount the {kind} of volume {volume['name']!r}: "
                f"give --volume {volume['name']}=FOLDER, or make it a hostPath"
            )
        elif _is_missing(volume["hostPath"]):
            path = volume["hostPath"]["path"]
            what = "finds a file, and no folder, at" if Path(path).exists() else "finds no folder"
            yield f"{what} {path} for volume {volume['name']!r}: make one, or set its hostPath.path"


def _mount_problems(pod: Manifest, container: Manifest) -> Iterator[str]:
    folders: dict[str, Any] = {volume["name"]: volume.get("hostPath", {}).get("path") for volume in pod["volumes"]}
    for mount in container.get("volumeMounts", []):
        if _is_own(mount["name"]):
            continue
        folder = folders.get(mount["name"])
        if folder is not None and mount["mountPath"] != folder:
            yield f"can't mount {mount['name']!r} at {mount['mountPath']}: a process sees it at {folder}"
        if extra := sorted(set(mount) - {"name", "mountPath", "readOnly"}):
            yield f"can't honour {', '.join(extra)} of the mount of {mount['name']!r}: leave it out here"


def _is_own(volume: str) -> bool:
    """Whether it is the item's file, or a folder of a chain: where these lie the engine itself has said."""
    return volume in {ITEM_VOLUME, WORK_VOLUME} or volume.startswith(f"{ITEM_VOLUME}-")


def _is_missing(host_path: Manifest) -> bool:
    path = Path(host_path["path"])
    # In this order: another start may be making it right now.
    return not path.is_dir() if path.exists() else host_path.get("type") != "DirectoryOrCreate"


def is_refused(job: Manifest) -> bool:
    """Whether this Job never runs, and only says why its item failed."""
    return REFUSED_ANNOTATION in job["metadata"]["annotations"]


def _stages(job: Manifest) -> list[str]:
    """The containers of a chain, in their order; none for a worker alone."""
    names = job["metadata"]["annotations"].get(STAGES_ANNOTATION, "")
    return names.split(",") if names else []


def containers(job: Manifest) -> list[Manifest]:
    """What runs, in order: of a chain the adapter and the stages, else the worker."""
    pod = job["spec"]["template"]["spec"]
    return [*pod.get("initContainers", ()), *pod["containers"]]


def command(container: Manifest) -> Manifest:
    """What to run: the container's command, or the program that a shipped image is on this machine."""
    if "command" in container:
        return {"command": container["command"]}
    # A chain's adapter is a program of ours, whatever image a cluster has it in.
    image = f"{SHIPPED_PREFIX}{ADAPTER}" if container["name"] == ADAPTER else container.get("image", "")
    program = _shipped_program(image)
    return {"command": [program]} if program else {}


def _shipped_program(image: str) -> str | None:
    """The installed program of a shipped image: beside this Python first, then on the PATH."""
    if not image.startswith(SHIPPED_PREFIX):
        return None
    name = f"longshore-{image.removeprefix(SHIPPED_PREFIX).partition(':')[0]}"
    beside = str(Path(sys.executable).parent)
    return shutil.which(name, path=os.pathsep.join([beside, os.defpath])) or shutil.which(name)
