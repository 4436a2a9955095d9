"""`worker.podTemplate`: how it is laid over the pod that the manager builds, and what it may not say.

Pure. Merges as people expect of Kubernetes: objects by key, lists of named things by name, anything else replaced.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

CONTAINER: Final = "worker"
"""The name of the worker's container in its pod."""
ITEM_VOLUME: Final = "longshore-item"
ITEM_FOLDER: Final = "/longshore"
"""Where a container has the item's file."""

# What a podTemplate may not say, each with what decides it instead.
_OWNED: Final[Mapping[tuple[str, ...], str]] = {
    ("metadata", "name"): "the item decides it",
    ("metadata", "generateName"): "the item decides it",
    ("metadata", "namespace"): "the release decides it",
    ("spec", "restartPolicy"): "retry.attempts decides",
    ("spec", "activeDeadlineSeconds"): "set retry.deadlineSeconds",
    ("spec", "containers", CONTAINER, "image"): "set worker.image",
    ("spec", "containers", CONTAINER, "command"): "set worker.command",
    ("spec", "containers", CONTAINER, "args"): "set worker.args",
    ("spec", "containers", CONTAINER, "env"): "set worker.env",
    ("spec", "containers", CONTAINER, "terminationMessagePath"): "the worker contract decides it",
    ("spec", "containers", CONTAINER, "terminationMessagePolicy"): "the worker contract decides it",
    ("spec", "containers", CONTAINER, "volumeMounts", ITEM_VOLUME): "the item's file lies there",
    ("spec", "volumes", ITEM_VOLUME): "the item's file lies there",
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
        f"spec.containers.{entry['name']}.volumeMounts: "
        f"nothing can be mounted over {ITEM_FOLDER}: the item's file lies there"
        for entry in template.get("spec", {}).get("containers", [])
        for mount in entry.get("volumeMounts") or []
        if f"{mount.get('mountPath', '').rstrip('/')}/".startswith(f"{ITEM_FOLDER}/")
    ]
    metadata = template.get("metadata", {})
    lines += [
        f"metadata.{group}.{key} can't be set here: longshore.dev/ is the manager's"
        for group in ("labels", "annotations")
        for key in metadata.get(group, {})
        if str(key).startswith("longshore.dev/")
    ]
    return lines


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
