"""The pipeline file: stages as in a queue file, and folders of a Docker host. Pure.

Refuses what a plain Docker host can't honour, with the line, the key and what to write instead.
"""

import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Final, Self

from pydantic import Field, model_validator

from longshore_kit import documents
from longshore_kit.documents import Misfit
from longshore_kit.programs import HostPath, Model, Stage, chain_misfits

_VOLUME_NAME: Final = re.compile(r"[a-z]([a-z0-9-]{0,40}[a-z0-9])?")
_LIMITS: Final = frozenset({"cpu", "memory"})


class Folder(Model):
    """A folder of the Docker host; stages see it at /<name>, and in <NAME>_PATH."""

    host_path: HostPath
    read_only: bool = False


class Pipeline(Model):
    """A chain of ordinary worker images."""

    volumes: dict[str, Folder] = Field(default={})
    stages: tuple[Stage, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _parts_fit_together(self) -> Self:
        if problems := list(misfits(self)):
            raise ValueError("; ".join(map(str, problems)))
        return self


def parse(text: str, where: str) -> Pipeline:
    """
    The pipeline of a file's text.

    Raises:
        SettingsError: it is wrong; a line for each thing that is, with its place.
    """
    return documents.parse(text, Pipeline, misfits, where=where, what="pipeline")


def misfits(pipeline: Pipeline) -> Iterator[Misfit]:
    """What no single part of a file shows, and what a Docker host has nothing for."""
    for name, folder in pipeline.volumes.items():
        if not _VOLUME_NAME.fullmatch(name) or name.startswith(("longshore", "stages")):
            yield Misfit(("volumes", name), "can't name a volume: use small letters, digits and inner dashes")
        if not PurePosixPath(folder.host_path.path).is_absolute():
            words = "give the whole path: it is one of the Docker host, wherever this file lies"
            yield Misfit(("volumes", name, "hostPath", "path"), words)
    yield from chain_misfits(pipeline.stages, ("stages",), pipeline.volumes)
    for index, stage in enumerate(pipeline.stages):
        if not stage.image:
            yield Misfit(("stages", index), "set image: on a Docker host every stage runs in one")
        for resource in stage.resources.get("limits", {}):
            if resource not in _LIMITS:
                place = ("stages", index, "resources", "limits", resource)
                yield Misfit(place, "Docker limits cpu and memory only: leave it out here")
