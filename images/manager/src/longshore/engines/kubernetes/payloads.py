"""The data of an item that is too large for its Job: a ConfigMap or Secret, owned by the Job from birth.

Owns how one is made, whose it is, and what becomes of one that an earlier Job of the name has left. Refuses to touch
what is not a queue's.
"""

from typing import Final
from urllib.parse import quote

import msgspec

from longshore.engines.kubernetes.api import Api, Conflict, Forbidden, Invalid, NotThere
from longshore.engines.kubernetes.objects import Metadata
from longshore.manifests import QUEUE_LABEL, Manifest
from longshore_kit.errors import EngineError, EngineFull, EngineUnavailable

_TRIES: Final = 3


class _Object(msgspec.Struct):
    metadata: Metadata


class Payloads:
    """The payloads of a namespace. For many threads."""

    def __init__(self, api: Api) -> None:
        self._api: Final = api

    def make(self, payload: Manifest, job: Metadata) -> None:
        """
        Make a Job's payload, once.

        Raises:
            EngineFull: there is no room, or no right, for it.
            EngineError: it is not taken, or its name is somebody else's.
            EngineUnavailable: safe to retry.
        """
        path = self._path(f"{payload['kind']}/{payload['metadata']['name']}")
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": job.name, "uid": job.uid, "controller": True}
        owned = {**payload, "metadata": {**payload["metadata"], "ownerReferences": [owner]}}
        for _ in range(_TRIES):
            try:
                self._api.create(path.rsplit("/", 1)[0], owned)
            except Conflict:
                if self._is_there(path, job):
                    return  # ours, and the reply was lost
            except Forbidden as exc:
                raise EngineFull(f"the item's data could not be stored: {exc}") from exc
            except Invalid as exc:
                raise EngineError(f"the item's data could not be stored: {exc}") from exc
            else:
                return
        raise EngineUnavailable(f"the item's data could not be stored: {path} is made again and again by somebody else")

    def has(self, payload: str, job: Metadata) -> bool:
        """
        Whether a Job has its payload, `Kind/name`; what an earlier Job of its name has left goes, as that Job has.

        Raises:
            Forbidden: it may not be seen.
            EngineError: as `make`.
        """
        return self._is_there(self._path(payload), job)

    def _is_there(self, path: str, job: Metadata) -> bool:
        try:
            there = self._api.read(path, _Object).metadata
        except NotThere:
            return False
        if any(owner.uid == job.uid for owner in there.owner_references):
            return True
        if QUEUE_LABEL not in there.labels:
            raise EngineError(f"{path} is there, and is not ours: rename it, or the item")
        self._api.delete(path, there.uid, propagation="Background")
        return False

    def _path(self, payload: str) -> str:
        kind, _, name = payload.partition("/")
        collection = "configmaps" if kind == "ConfigMap" else "secrets"
        return f"/api/v1/namespaces/{self._api.namespace}/{collection}/{quote(name)}"
