"""What is never started of a Job: made as a whole or not at all, and removed."""

import contextlib
import uuid
from collections.abc import Iterable, Mapping
from typing import Final

from longshore.engines.docker.api import DockerApi
from longshore.engines.docker.objects import HALF_MADE, JOB_LABEL, Piece, name_of
from longshore_kit.errors import EngineError

_NAME_MAX: Final = 40


def publish(api: DockerApi, labels: Mapping[str, str], files: Mapping[str, bytes | None]) -> bool:
    """
    Have something be there, under the name that its labels say: False if that is taken.

    Raises:
        EngineError, EngineUnavailable: it could not be made; at most something without a name is left, for the sweep.
    """
    aside = f"{labels[JOB_LABEL][:_NAME_MAX]}{HALF_MADE}{uuid.uuid4()}"
    if not api.create_empty(aside, labels):
        raise EngineError(f"the name {aside} is taken")
    try:
        if files:
            api.put(aside, "/", files)
        is_first = api.rename(aside, name_of(labels))
    except EngineError:
        with contextlib.suppress(EngineError):
            api.remove(aside)
        raise
    if not is_first:
        api.remove(aside)
    return is_first


def remove(api: DockerApi, pieces: Iterable[Piece]) -> None:
    """
    Remove what does not run.

    Raises:
        EngineError, EngineUnavailable: not all of them could be; safe to retry.
    """
    for piece in pieces:
        api.remove(piece.id)
