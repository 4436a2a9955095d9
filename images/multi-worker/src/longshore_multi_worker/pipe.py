"""`multi-worker run pipeline.yaml`: one item through a chain of containers on a Docker host.

Owns the order, and what the end of a stage means for the item. A stage that fails fails the item, by its name; nothing
after it begins, and nothing of it is left.
"""

import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from longshore_kit import contract, envfile
from longshore_kit.chain import Chain, Link
from longshore_kit.contract import Item
from longshore_kit.errors import ItemFailed, ItemRejected, SettingsError
from longshore_kit.expansion import expand, expand_all
from longshore_kit.logs import get_logger
from longshore_kit.programs import WORK, Stage, variable_text, volume_variable
from longshore_kit.quantities import quantity
from longshore_kit.references import fill
from longshore_kit.worker import Work
from longshore_multi_worker.containers import Containers, Ended, Run
from longshore_multi_worker.pipeline import Pipeline, parse
from longshore_multi_worker.prepare import ITEM_FILE
from longshore_multi_worker.settings import MultiWorkerSettings

_WORK_FOLDER: Final = f"/{WORK}"
_ITEM_FOLDER: Final = "/longshore"
_RESULT_FOLDER: Final = "/longshore-result"
_RESULT: Final = "message"
_OPEN: Final = 0o777
_READABLE: Final = 0o755


def runner(path: Path) -> Callable[[Work], str]:
    """What does one item with the pipeline in the file at `path`."""

    def run(work: Work) -> str:
        settings = MultiWorkerSettings.from_environment(work.environ)
        if not settings.allow_docker:
            raise SettingsError(
                "ALLOW_DOCKER is not true: who may speak to a Docker daemon is root on its machine; set it where you "
                "mean that, and give the daemon's socket"
            )
        pipeline = _read(path)
        label = hashlib.sha256(f"{work.queue}\0{work.item}".encode(errors="surrogatepass")).hexdigest()
        with Containers(settings.docker_host, label, settings.grace_seconds) as containers:
            return _Pipe(pipeline, work, settings, containers).run()

    return run


def _read(path: Path) -> Pipeline:
    try:
        return parse(path.read_text(encoding="utf-8"), str(path))
    except OSError as exc:
        raise SettingsError(f"{path}: can't be read: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise SettingsError(f"{path}: can't be read: it is not UTF-8 ({exc.reason})") from exc


class _Pipe:
    def __init__(self, pipeline: Pipeline, work: Work, settings: MultiWorkerSettings, containers: Containers) -> None:
        self._pipeline: Final = pipeline
        self._item: Final = Item(work.item, work.data)
        self._queue: Final = work.queue
        self._settings: Final = settings
        self._containers: Final = containers
        self._log: Final = get_logger("longshore.multi-worker", item=work.item)

    def run(self) -> str:
        stages = self._pipeline.stages
        links = tuple(Link(stage.name, self._folders(stage), stage.item) for stage in stages)
        chain = Chain(_WORK_FOLDER, "", links)
        # All of them first: an item that is refused starts nothing.
        items = {link.name: contract.encode(chain.item_of(link, self._item)) for link in links}
        runs = [self._run_of(stage) for stage in stages]
        names = (WORK, *(f"{kind}-{stage.name}" for stage in stages for kind in ("item", "result")))
        self._containers.make_volumes(names, stages[0].image)
        self._containers.put(WORK, {}, mode=_OPEN)
        for name, data in items.items():
            self._containers.put(f"item-{name}", {ITEM_FILE: data}, mode=_READABLE)
            self._containers.put(f"result-{name}", {}, mode=_OPEN)
        words = ""
        for one in runs:
            words = self._stage(one)
        return words

    def _stage(self, one: Run) -> str:
        """Its result, in words; else the item has failed."""
        began = time.monotonic()
        try:
            ended = self._containers.run(one)
        except ItemFailed as exc:
            raise ItemFailed(f"stage {one.name}: {exc}") from exc
        said = self._containers.read(f"result-{one.name}", _RESULT, contract.RESULT_MAX_BYTES).strip()
        seconds = round(time.monotonic() - began, 3)
        self._log.info("stage ended", stage=one.name, exit_code=ended.code, seconds=seconds)
        if ended.code == 0:
            return said
        error = ItemRejected if ended.code in contract.NO_RETRY else ItemFailed
        raise error(f"stage {one.name}: {_reason(ended, said)}")

    def _folders(self, stage: Stage) -> dict[str, str]:
        return {volume_variable(name): f"/{name}" for name in stage.volumes}

    def _run_of(self, stage: Stage) -> Run:
        folders = {**self._folders(stage), volume_variable(WORK): _WORK_FOLDER}
        known = {**folders, WORK: _WORK_FOLDER}
        own = {
            contract.ITEM_FILE_VARIABLE: f"{_ITEM_FOLDER}/{ITEM_FILE}",
            contract.ITEM_NAME_VARIABLE: self._item.name.replace("$", "$$"),
            contract.QUEUE_VARIABLE: self._queue.replace("$", "$$"),
            contract.RESULT_FILE_VARIABLE: f"{_RESULT_FOLDER}/{_RESULT}",
            **folders,
            **({"SCRIPT": stage.script.replace("$", "$$")} if stage.script else {}),
            **{name: fill(variable_text(value), self._item, known) for name, value in stage.env.items()},
        }
        environ = expand_all(own.items())
        limits = {name: quantity(variable_text(one)) for name, one in stage.resources.get("limits", {}).items()}
        return Run(
            name=stage.name,
            image=stage.image,
            command=tuple(expand(fill(text, self._item, known), environ) for text in stage.command),
            args=tuple(expand(fill(text, self._item, known), environ) for text in stage.args),
            environ={**self._secret(stage), **environ},
            volumes={
                WORK: (_WORK_FOLDER, False),
                f"item-{stage.name}": (_ITEM_FOLDER, True),
                f"result-{stage.name}": (_RESULT_FOLDER, False),
            },
            folders={
                self._pipeline.volumes[name].host_path.path: (f"/{name}", self._pipeline.volumes[name].read_only)
                for name in stage.volumes
            },
            memory_bytes=int(limits["memory"]) if "memory" in limits else None,
            cpus=limits.get("cpu"),
        )

    def _secret(self, stage: Stage) -> dict[str, str]:
        if not stage.existing_secret:
            return {}
        path = self._settings.secrets_folder / stage.existing_secret
        try:
            return envfile.variables(path.read_text(encoding="utf-8"), str(path))
        except (OSError, UnicodeDecodeError) as exc:
            raise SettingsError(
                f"stages.{stage.name}.existingSecret: {path} can't be read: {exc}; give a file with lines "
                "NAME=value, or set SECRETS_FOLDER"
            ) from exc


def _reason(ended: Ended, said: str) -> str:
    if ended.was_out_of_memory:
        return f"OOMKilled: it wanted more memory than resources.limits.memory{f': {said}' if said else ''}"
    return said or ended.tail or f"exit code {ended.code}, without a word"
