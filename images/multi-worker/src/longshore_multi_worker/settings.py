"""The settings of `multi-worker run`, from the environment."""

from pathlib import Path

from longshore_kit.settings import Boolean, Settings, setting


class MultiWorkerSettings(Settings):
    """With which Docker a pipeline's stages are run, and whether they may be."""

    allow_docker: Boolean = setting(
        "Let it start containers. Whoever may speak to a Docker daemon is root on its machine: give its socket only to "
        "pipelines that you trust as much.",
        unit="true or false",
        default=False,
    )
    docker_host: str = setting("Where the daemon answers.", unit="URL", default="unix:///var/run/docker.sock")
    secrets_folder: Path = setting(
        "Where a stage's `existingSecret` is looked for: a file of its name, with lines NAME=value.",
        unit="folder",
        default=Path("/run/secrets"),
    )
    grace_seconds: float = setting(
        "What a stage gets to stop in, after SIGTERM and before SIGKILL: less than its own container gets.",
        unit="seconds",
        default=20,
        ge=0,
    )
