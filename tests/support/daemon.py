"""A Docker daemon for tests of queues on Docker, and what a queue has there."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from longshore.engines.docker.engine import IDENTITY
from longshore.engines.docker.objects import STATE_LABEL
from support.cluster import images, tools
from support.cluster.docker import running_docker


@contextmanager
def docker_or_skip() -> Iterator[None]:
    """A daemon, with an image that has a shell, and the adapter of chains; where there can't be one, a skip."""
    try:
        with running_docker():
            images.make_base()
            images.project_image("multi-worker")
            yield
    except tools.Missing as exc:
        pytest.skip(f"containers are run by Docker: {exc}")


def _ours(state_folder: Path) -> str:
    """What all that belongs to the queue with this state carries; nothing has it where none was run."""
    identity = state_folder / IDENTITY
    return f"label={STATE_LABEL}={identity.read_text(encoding='utf-8').strip() if identity.exists() else 'none'}"


def containers(state_folder: Path, *options: str) -> Sequence[str]:
    """Names of containers of the queue with this state that run; with `--all` of those that don't, too."""
    return images.docker("ps", "--format", "{{.Names}}", "--filter", _ours(state_folder), *options).split()


def volumes(state_folder: Path) -> Sequence[str]:
    """Names of its volumes."""
    return images.docker("volume", "ls", "--quiet", "--filter", _ours(state_folder)).split()


def remove_all(state_folder: Path) -> None:
    """Remove whatever it has there."""
    if found := containers(state_folder, "--all"):
        images.docker("rm", "--force", "--volumes", *found)
    if found := volumes(state_folder):
        images.docker("volume", "rm", *found)
