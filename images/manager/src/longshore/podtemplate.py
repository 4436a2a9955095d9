"""`worker.podTemplate`: how it is laid over the pod that the manager builds, and what it may not say.

Pure. Merges as people expect of Kubernetes: objects by key, lists of named things by name, anything else replaced.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from longshore_kit.programs import ADAPTER
from longshore_kit.quantities import is_quantity, not_a_quantity

CONTAINER: Final = "worker"
"""The name of the worker's container in its pod; in a chain each container is called as its stage."""
ITEM_VOLUME: Final = "longshore-item"
ITEM_FOLDER: Final = "/longshore"
"""Where a container has the item's file."""
WORK_VOLUME: Final = "longshore-work"
"""What the stages of a chain share."""

# What a podTemplate may not say, each with what decides it instead.
_OWNED: Final[Mapping[tuple[str, ...], str]] = {
    ("metadata", "name"): "the item decides it",
    ("metadata", "generateName"): "the item decides it",
    ("metadata", "namespace"): "the release decides it",
    ("spec", "restartPolicy"): "retry.attempts decides",
    ("spec", "activeDeadlineSeconds"): "set retry.deadlineSeconds",
    ("spec", "volumes", ITEM_VOLUME): "the item's file lies there",
}
_OWNED_OF_CONTAINER: Final[Mapping[str, str]] = {
    "image": "set {program}.image",
    "command": "set {program}.command",
    "args": "set {program}.args",
    "env": "set {program}.env",
    "terminationMessagePath": "the worker contract decides it",
    "terminationMessagePolicy": "the worker contract decides it",
}

# Lists whose entries Kubernetes tells apart by something else than their names, and lists whose entries must have
# one: an entry without would have the whole list replaced, the worker's container with it.
# https://kubernetes.io/docs/reference/using-api/server-side-apply/#merge-strategy
_MERGE_KEYS: Final[Mapping[str, str]] = {"volumeMounts": "mountPath", "ports": "containerPort"}
_NAMED: Final = ("containers", "initContainers", "volumes")


def problems(template: Mapping[str, Any]) -> list[str]:
    """What in a podTemplate is no pod's, or the manager's own: a sentence for each, with what to set instead."""
    if shapes := list(_shape_problems(template)):
        return shapes
    found = [(path, why) for path, why in _OWNED.items() if _holds(template, path)]
    lines = [f"{'.'.join(path)} can't be set here: {why}" for path, why in found]
    lines += [
        f"spec.volumes.{entry['name']} can't be set here: volumes called longshore-… are the manager's"
        for entry in template.get("spec", {}).get("volumes", [])
        if str(entry["name"]).startswith("longshore-") and entry["name"] != ITEM_VOLUME
    ]
    lines += _amount_problems(template)
    metadata = template.get("metadata", {})
    lines += [
        f"metadata.{group}.{key} can't be set here: longshore.dev/ is the manager's"
        for group in ("labels", "annotations")
        for key in metadata.get(group, {})
        if str(key).startswith("longshore.dev/")
    ]
    return lines


def container_problems(template: Mapping[str, Any], stages: Sequence[str]) -> Iterator[str]:
    """What a podTemplate says of the containers that run the worker, or each stage of a chain, and may not."""
    ours = {("initContainers", ADAPTER): ""} if stages else {("containers", CONTAINER): "worker"}
    for index, stage in enumerate(stages):
        ours["containers" if index == len(stages) - 1 else "initContainers", stage] = f"worker.stages[{index}]"
    for group in ("initContainers", "containers"):
        for entry in template.get("spec", {}).get(group, []):
            name = entry["name"]
            if (group, name) in ours:
                yield from _owned_in(entry, f"spec.{group}.{name}", ours[group, name])
            elif stages and "image" not in entry:
                named = ", ".join(f"{where}.{name}" for where, name in ours)
                yield f"spec.{group}.{name}: there is no such container; there are {named}"


def _owned_in(entry: Mapping[str, Any], place: str, program: str) -> Iterator[str]:
    for key, why in _OWNED_OF_CONTAINER.items():
        if key in entry:
            said = why.format(program=program) if program or "{" not in why else "the chart decides it"
            yield f"{place}.{key} can't be set here: {said}"
    for mount in entry.get("volumeMounts") or []:
        path = f"{mount.get('mountPath', '').rstrip('/')}/"
        if mount.get("name") == ITEM_VOLUME:
            yield f"{place}.volumeMounts.{ITEM_VOLUME} can't be set here: the item's file lies there"
        elif path.startswith(f"{ITEM_FOLDER}/"):
            yield f"{place}.volumeMounts: nothing can be mounted over {ITEM_FOLDER}: the item's file lies there"


def _amount_problems(template: Mapping[str, Any]) -> Iterator[str]:
    """What no API server would take as a request or a limit."""
    spec = template.get("spec", {})
    holders = [(f"spec.{group}.{one['name']}", one) for group in _NAMED[:2] for one in spec.get(group, [])]
    for place, holder in [("spec", spec), *holders]:
        resources = holder.get("resources")
        for kind in ("requests", "limits"):
            amounts = resources.get(kind) if isinstance(resources, Mapping) else None
            for name, amount in amounts.items() if isinstance(amounts, Mapping) else ():
                if isinstance(amount, bool) or not is_quantity(str(amount)):
                    yield f"{place}.resources.{kind}.{name}: {not_a_quantity(amount)}"


def _shape_problems(template: Mapping[str, Any]) -> Iterator[str]:
    for key in ("metadata", "spec"):
        if not isinstance(template.get(key, {}), Mapping):
            yield f"{key}: expected an object, as in a pod"
            return
    for group in ("labels", "annotations"):
        if not isinstance(template.get("metadata", {}).get(group, {}), Mapping):
            yield f"metadata.{group}: expected an object of texts"
    for key in _NAMED:
        entries = template.get("spec", {}).get(key, [])
        # Null is no list either: it would take the manager's own entries away.
        names = [entry["name"] for entry in entries if _is_named(entry)] if isinstance(entries, list) else []
        if not isinstance(entries, list) or len(names) != len(entries):
            yield f"spec.{key}: expected a list of objects, each with a name (the worker's container is {CONTAINER!r})"
        elif len(set(map(str, names))) != len(names):
            yield f"spec.{key}: a name stands twice in it"


def overlay(base: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` laid on `base`: objects merge, lists of named things merge by name, anything else is replaced."""
    merged = copy.deepcopy(base)
    for key, value in over.items():
        merged[key] = _merged(merged.get(key), value, by=_MERGE_KEYS.get(key, "name"))
    return merged


def _merged(base: Any, over: Any, *, by: str = "name") -> Any:  # noqa: ANN401 - JSON
    if isinstance(base, dict) and isinstance(over, Mapping):
        return overlay(base, over)
    if isinstance(base, list) and isinstance(over, list) and all(_is_named(one, by) for one in [*base, *over]):
        by_key = {one[by]: one for one in base}
        for one in over:
            by_key[one[by]] = _merged(by_key.get(one[by]), one)
        return list(by_key.values())
    return copy.deepcopy(over)


def _is_named(value: object, by: str = "name") -> bool:
    return isinstance(value, Mapping) and by in value


def _holds(tree: Any, path: Sequence[str]) -> bool:  # noqa: ANN401 - JSON
    for step in path:
        if isinstance(tree, list):
            tree = next((one for one in tree if _is_named(one) and one["name"] == step), None)
            if tree is None:
                return False
        elif isinstance(tree, Mapping) and step in tree:
            tree = tree[step]
        else:
            return False
    return True
