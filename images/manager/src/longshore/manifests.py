"""From a queue and one item to the Kubernetes Job that works on it: the only place that builds one.

Pure. The cluster, Docker and the laptop run the same manifest; what differs is where an engine shows a worker its
files, which is its `Layout`. Why each field is what it is: docs/design.md §4.
"""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from longshore import names
from longshore.podtemplate import CONTAINER, ITEM_FOLDER, ITEM_VOLUME, WORK_VOLUME, overlay
from longshore.queuefile import Queue, Volume, Worker
from longshore_kit import contract
from longshore_kit.chain import CHAIN_VARIABLE, Chain, Link
from longshore_kit.contract import Item
from longshore_kit.errors import ItemRejected
from longshore_kit.programs import ADAPTER, WORK, Program, Stage, variable_text, volume_variable
from longshore_kit.references import fill, references, texts_in

Manifest: TypeAlias = dict[str, Any]
"""A Kubernetes object, as its JSON."""

ITEM_ANNOTATION: Final = "longshore.dev/item"
DIGEST_ANNOTATION: Final = "longshore.dev/item-sha256"
DATA_ANNOTATION: Final = "longshore.dev/item-data"
REFUSED_ANNOTATION: Final = "longshore.dev/refused"
"""On a Job that never runs: why its item could not be started."""
ITEM_REFUSED_ANNOTATION: Final = "longshore.dev/item-refused"
"""Beside it, where the reason is the item's own, and says nothing of others."""
PENDING_ANNOTATION: Final = "longshore.dev/pending-seconds"
"""How long its worker may take to start: the Job's own, so that a changed queue file leaves it as it is."""
PAYLOAD_ANNOTATION: Final = "longshore.dev/payload"
"""On a Job whose item's data is in an object of its own: which, as Kind/name."""
FIRST_SEEN_ANNOTATION: Final = "longshore.dev/first-seen"
"""When the item was first seen in the list, in seconds since the epoch; not on a Job whose item was there before."""
STAGES_ANNOTATION: Final = "longshore.dev/stages"
"""On the Job of a chain: the containers that do its work, in their order, with commas."""
QUEUE_LABEL: Final = "longshore.dev/queue"
MANAGED_BY_LABEL: Final = "app.kubernetes.io/managed-by"
ITEM_FILE: Final = "item.json"

INLINE_MAX_BYTES: Final = 16 * 1024
"""Data up to this size rides in the Job itself; every listing of Jobs carries it."""
PAYLOAD_MAX_BYTES: Final = 1024 * 1024 - 4096
"""Data up to this size fits in a ConfigMap, which etcd limits to 1 MiB with its own fields."""
JOB_MAX_BYTES: Final = 1280 * 1024
"""Of a whole Job; etcd takes 1.5 MiB, with what the cluster adds."""
_REASON_MAX: Final = 1024
_KUEUE: Final = "kueue.x-k8s.io/"

SCRIPT_VARIABLE: Final = "SCRIPT"
"""Where worker-script finds `worker.script`."""
SHIPPED_PREFIX: Final = "longshore/"
SHIPPED_IMAGES: Final = ("worker-ffmpeg", "worker-script", ADAPTER)
"""Images of this repository that a queue file may name by their short names."""


@dataclass(frozen=True)
class Layout:
    """Where an engine shows one Job's worker its files."""

    item_folder: str = ITEM_FOLDER
    result_file: str = "/dev/termination-log"
    mounts: Mapping[str, str] = field(default_factory=dict)
    """Each volume's folder, by the volume's name."""
    working_folder: str | None = None
    """None: as the image says."""
    work_folder: str = f"/{WORK}"
    """What the stages of a chain share."""
    stages_folder: str = "/stages"
    """Where the adapter writes each stage's item file, in a folder of the stage's name."""

    def item_folder_of(self, stage: str) -> str:
        """Where a stage finds its item file: a container shows it where any worker has it."""
        return f"{self.stages_folder}/{stage}" if self.working_folder else ITEM_FOLDER


@dataclass(frozen=True)
class Bundle:
    """Everything that one item needs: its Job, and the object that holds its data where that is too big for it."""

    job: Manifest
    payload: Manifest | None = None
    """A ConfigMap or Secret, for the engine to make and to have owned by the Job, which names it."""

    @property
    def name(self) -> str:
        """The Job's name."""
        return str(self.job["metadata"]["name"])

    @property
    def item(self) -> str:
        """The item's name."""
        return str(self.job["metadata"]["annotations"][ITEM_ANNOTATION])


def bundle_for(queue: Queue, item: Item, layout: Layout, first_seen: float | None = None) -> Bundle:
    """
    What starts the worker of `item`, which was first listed at `first_seen`.

    An item that can't be started (a reference to nothing, too much data) gets a Job that never runs and says why: a
    failed Job is the dead letter, also for an item that failed before its first attempt.
    """
    try:
        bundle = _bundle(queue, item, layout)
    except ItemRejected as exc:
        bundle = refused_bundle(queue, item.name, str(exc))
        bundle.job["metadata"]["annotations"][ITEM_REFUSED_ANNOTATION] = "true"
    if first_seen is not None:
        bundle.job["metadata"]["annotations"][FIRST_SEEN_ANNOTATION] = f"{first_seen:.3f}"
    return bundle


def is_item_refused(annotations: Mapping[str, str]) -> bool:
    """Whether `bundle_for` could make no worker of the item."""
    return ITEM_REFUSED_ANNOTATION in annotations


def first_seen_of(annotations: Mapping[str, str]) -> float | None:
    """What `bundle_for` wrote; None where it is missing, or somebody wrote something else."""
    try:
        seen = float(annotations[FIRST_SEEN_ANNOTATION])
    except (KeyError, ValueError):
        return None
    return seen if math.isfinite(seen) else None


def refused_bundle(queue: Queue, item_name: str, reason: str) -> Bundle:
    """A Job that is suspended for good and carries `reason`; engines show it as failed and never start it."""
    job = _job(queue, item_name, {"spec": {"restartPolicy": "Never", "containers": [{"name": CONTAINER}]}})
    job["spec"]["suspend"] = True
    program = queue.spec.worker.programs[-1]
    job["spec"]["template"]["spec"]["containers"][0]["image"] = image_reference(program.image) or CONTAINER
    job["metadata"]["annotations"][REFUSED_ANNOTATION] = reason[:_REASON_MAX]
    return Bundle(job)


def sample_item(worker: Worker) -> Item:
    """An item that has every value the worker refers to: for looking at a queue's Job before there is an item."""
    texts = [text for program in worker.programs for _, text in program.texts()]
    texts += [text for stage in worker.stages for _, text in texts_in(stage.item or {})]
    found = [path for text in texts for path in references(text) if path.startswith("item.")]
    paths = [path.removeprefix("item.").split(".") for path in found]
    data: dict[str, Any] = {}
    # The deepest first: with ${item.meta.title}, ${item.meta} is an object.
    for *steps, last in sorted(paths, key=len, reverse=True):
        place = data
        for step in steps:
            place = place.setdefault(step, {})
        place.setdefault(last, "sample")
    return Item(name="sample", data=data)


def mounts_at_root(volume_names: Sequence[str]) -> dict[str, str]:
    """Where containers have their volumes: `media` at /media."""
    return {name: f"/{name}" for name in volume_names}


def image_reference(image: str) -> str:
    """The whole reference of a shipped image's short name; any other image as it is."""
    return f"{SHIPPED_PREFIX}{image}" if image in SHIPPED_IMAGES else image


def _bundle(queue: Queue, item: Item, layout: Layout) -> Bundle:
    try:
        data = contract.encode(item.data)
    except (ValueError, RecursionError) as exc:
        raise ItemRejected(f"the item's data can't be written as JSON: {exc}") from exc
    if len(data) > PAYLOAD_MAX_BYTES:
        raise ItemRejected(
            f"the item's data has {len(data)} bytes, {PAYLOAD_MAX_BYTES} are allowed: "
            "let the source hand out a reference to it instead"
        )
    worker = queue.spec.worker
    kind = _payload_kind(worker, len(data))
    # By its content: what an earlier Job of this name has left can never be taken for other data.
    payload_name = f"{names.job_name(queue.name, item.name)}-{hashlib.sha256(data).hexdigest()[:8]}"
    template = _template(queue, item, layout, item_volume=_item_volume(kind, payload_name))
    if kind == "annotation":
        template["metadata"] = {"annotations": {DATA_ANNOTATION: data.decode()}}
    job = _job(queue, item.name, overlay(template, worker.pod_template))
    if (size := len(json.dumps(job))) > JOB_MAX_BYTES:
        raise ItemRejected(
            f"the item's Job would have {size} bytes, {JOB_MAX_BYTES} are allowed: "
            "let worker.args and worker.env refer to less of the item, and the worker read its file"
        )
    payload = _payload(kind, payload_name, job, data.decode())
    if payload:
        job["metadata"]["annotations"][PAYLOAD_ANNOTATION] = f"{payload['kind']}/{payload['metadata']['name']}"
    return Bundle(job, payload)


def _payload_kind(worker: Worker, size: int) -> str:
    if worker.payload == "auto":
        return "annotation" if size <= INLINE_MAX_BYTES else "configMap"
    return worker.payload


def _item_volume(kind: str, name: str) -> Manifest:
    sources: dict[str, Manifest] = {
        "annotation": {
            "downwardAPI": {
                "items": [{"path": ITEM_FILE, "fieldRef": {"fieldPath": f"metadata.annotations['{DATA_ANNOTATION}']"}}]
            }
        },
        # By the key: what has none is not ours, and no pod starts with it.
        "configMap": {"configMap": {"name": name, "items": [{"key": ITEM_FILE, "path": ITEM_FILE}]}},
        "secret": {"secret": {"secretName": name, "items": [{"key": ITEM_FILE, "path": ITEM_FILE}]}},
    }
    return {"name": ITEM_VOLUME, **sources[kind]}


def _payload(kind: str, name: str, job: Manifest, data: str) -> Manifest | None:
    if kind == "annotation":
        return None
    metadata = {"name": name, "labels": dict(job["metadata"]["labels"])}
    head = {"apiVersion": "v1", "kind": "ConfigMap" if kind == "configMap" else "Secret", "metadata": metadata}
    return {**head, "immutable": True, "data" if kind == "configMap" else "stringData": {ITEM_FILE: data}}


def _job(queue: Queue, item_name: str, template: Manifest) -> Manifest:
    stages = [stage.name for stage in queue.spec.worker.stages]
    labels = {MANAGED_BY_LABEL: "longshore", QUEUE_LABEL: queue.name}
    template = overlay(template, {"metadata": {"labels": labels}})
    # Kueue looks at the Job, and a podTemplate is where people give labels: https://kueue.sigs.k8s.io/docs/tasks/run/jobs/
    admission = {name: one for name, one in template["metadata"]["labels"].items() if name.startswith(_KUEUE)}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": names.job_name(queue.name, item_name),
            "labels": {**admission, **labels},
            "annotations": {
                ITEM_ANNOTATION: item_name,
                DIGEST_ANNOTATION: names.item_digest(queue.name, item_name),
                PENDING_ANNOTATION: str(queue.spec.retry.pending_seconds),
                **({STAGES_ANNOTATION: ",".join([ADAPTER, *stages])} if stages else {}),
            },
        },
        "spec": {
            "parallelism": 1,
            "completions": 1,
            "backoffLimit": queue.spec.retry.attempts - 1,
            # Two pods of one item never overlap: the next starts when the last has failed for good.
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {
                "rules": [
                    {
                        "action": "FailJob",
                        "onExitCodes": {
                            # Without a name it is any container's: whichever stage refuses the item.
                            **({} if stages else {"containerName": CONTAINER}),
                            "operator": "In",
                            "values": [int(code) for code in contract.NO_RETRY],
                        },
                    },
                    # A drained node costs no attempt.
                    {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                ]
            },
            "template": template,
        },
    }


def _template(queue: Queue, item: Item, layout: Layout, *, item_volume: Manifest) -> Manifest:
    worker, volumes = queue.spec.worker, queue.spec.volumes
    *before, last = _Containers(queue, item, layout).all()
    # What is in a Secret is written to no disk.
    medium = {"medium": "Memory"} if worker.payload == "secret" else {}
    shared: list[Manifest] = [{"name": WORK_VOLUME, "emptyDir": {}}] if worker.stages else []
    shared += [{"name": _stage_volume(stage), "emptyDir": dict(medium)} for stage in worker.stages]
    return {
        "spec": {
            "restartPolicy": "Never",
            # Per attempt, from the node's acceptance; a Job's own deadline would count the queueing too.
            "activeDeadlineSeconds": queue.spec.retry.deadline_seconds,
            # Workers talk to no API server, and a namespace's services are none of their business.
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            **({"initContainers": before} if before else {}),
            "containers": [last],
            "volumes": [
                item_volume,
                *shared,
                *(_volume(name, volumes[name], layout) for name in worker.all_volumes),
            ],
        }
    }


@dataclass(frozen=True)
class _Containers:
    """What runs for one item, in order: the worker, or the adapter and the stages."""

    queue: Queue
    item: Item
    layout: Layout

    def all(self) -> Iterator[Manifest]:
        """Each of them; the last one is the pod's container."""
        worker, layout = self.queue.spec.worker, self.layout
        own: Manifest = {"name": ITEM_VOLUME, "mountPath": layout.item_folder, "readOnly": True}
        if not worker.stages:
            yield self._container(CONTAINER, worker, layout.item_folder, [own])
            return
        work: Manifest = {"name": WORK_VOLUME, "mountPath": layout.work_folder}
        yield self._adapter([own, dict(work)])
        for stage in worker.stages:
            folder = layout.item_folder_of(stage.name)
            items: Manifest = {"name": _stage_volume(stage), "mountPath": folder, "readOnly": True}
            yield self._container(stage.name, stage, folder, [items, dict(work)])

    def _adapter(self, mounts: Sequence[Manifest]) -> Manifest:
        """What comes before the first stage: it makes each stage's item file of the item's own."""
        stages, layout = self.queue.spec.worker.stages, self.layout
        links = tuple(Link(stage.name, self._folders(stage), stage.item) for stage in stages)
        chain = Chain(work_folder=layout.work_folder, stages_folder=layout.stages_folder, links=links)
        items = [
            {"name": _stage_volume(stage), "mountPath": f"{layout.stages_folder}/{stage.name}"} for stage in stages
        ]
        image = self.queue.spec.worker.adapter_image or ADAPTER
        program = Program.model_validate({"image": image, "args": ["prepare"]})
        container = self._container(ADAPTER, program, layout.item_folder, [*mounts, *items])
        container["env"].append({"name": CHAIN_VARIABLE, "value": chain.as_text().replace("$", "$$")})
        return container

    def _folders(self, program: Program) -> dict[str, str]:
        """Its volumes' folders, by the variables that name them."""
        return {volume_variable(name): self.layout.mounts[name] for name in program.volumes}

    def _container(self, name: str, program: Program, item_folder: str, mounts: Sequence[Manifest]) -> Manifest:
        layout, folders = self.layout, self._folders(program)
        if isinstance(program, Stage):
            folders[volume_variable(WORK)] = layout.work_folder
        known = folders | ({WORK: layout.work_folder} if isinstance(program, Stage) else {})
        container: Manifest = {"name": name}
        if program.image:
            container["image"] = image_reference(program.image)
        if program.command:
            container["command"] = [fill(text, self.item, known) for text in program.command]
        if program.args:
            container["args"] = [fill(text, self.item, known) for text in program.args]
        if layout.working_folder:
            container["workingDir"] = layout.working_folder
        variables = self._contract_variables(item_folder)
        variables |= {variable: folder.replace("$", "$$") for variable, folder in folders.items()}
        if program.script:
            # A shell's own ${…} and $(…) stay: what items hold is in files and variables, never in the text.
            variables[SCRIPT_VARIABLE] = program.script.replace("$", "$$")
        variables |= {key: fill(variable_text(value), self.item, known) for key, value in program.env.items()}
        container["env"] = [{"name": key, "value": value} for key, value in variables.items()]
        if program.existing_secret:
            container["envFrom"] = [{"secretRef": {"name": program.existing_secret}}]
        if program.resources:
            container["resources"] = {
                kind: {resource: variable_text(amount) for resource, amount in amounts.items()}
                for kind, amounts in program.resources.items()
            }
        container["volumeMounts"] = [*mounts, *self._mounts(program)]
        container["terminationMessagePath"] = layout.result_file
        # A worker that knows nothing of Longshore leaves its last lines as the reason.
        container["terminationMessagePolicy"] = "FallbackToLogsOnError"
        return container

    def _contract_variables(self, item_folder: str) -> dict[str, str]:
        return {
            contract.ITEM_FILE_VARIABLE: f"{item_folder}/{ITEM_FILE}".replace("$", "$$"),
            contract.ITEM_NAME_VARIABLE: self.item.name.replace("$", "$$"),
            contract.QUEUE_VARIABLE: self.queue.name,
            contract.RESULT_FILE_VARIABLE: self.layout.result_file.replace("$", "$$"),
        }

    def _mounts(self, program: Program) -> Iterator[Manifest]:
        for name in program.volumes:
            mount: Manifest = {"name": name, "mountPath": self.layout.mounts[name]}
            if self.queue.spec.volumes[name].read_only:
                mount["readOnly"] = True
            yield mount


def _stage_volume(stage: Stage) -> str:
    return f"{ITEM_VOLUME}-{stage.name}"


def _volume(name: str, volume: Volume, layout: Layout) -> Manifest:
    source = volume.model_dump(by_alias=True, exclude_none=True, exclude={"read_only"})
    if volume.host_path and layout.working_folder:
        # On the machine itself a mount is the folder, so a relative one is told in full.
        source["hostPath"]["path"] = layout.mounts[name]
    return {"name": name, **source}
