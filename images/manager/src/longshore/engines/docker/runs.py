"""One run of a Job on the daemon: laid out, its containers started one by one, and written down when it has ended.

Owns what a kubelet does with a pod. Decides nothing: which container is next, and how a run counts, is steps.py's.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from longshore import __version__
from longshore.engines.docker import fields, objects, steps
from longshore.engines.docker.api import DockerApi
from longshore.engines.docker.images import Images
from longshore.engines.docker.objects import (
    CONTAINER_LABEL,
    GRACE_LABEL,
    INDEX_LABEL,
    LOGS,
    OUTCOME_LABEL,
    UID_LABEL,
    Family,
    Outcome,
    Part,
    Piece,
    Ran,
    containers_of,
    seconds_of,
)
from longshore.engines.docker.pieces import publish
from longshore.engines.docker.steps import Begin
from longshore.manifests import ITEM_FILE, Manifest
from longshore.podtemplate import ITEM_VOLUME
from longshore_kit import envfile
from longshore_kit.contract import RESULT_MAX_BYTES
from longshore_kit.errors import EngineError, EngineUnavailable, SettingsError

RESULT_FILE: Final = "/longshore-result/message"
LOG_BYTES: Final = 64 * 1024
_RESULT: Final = "message"
_TAIL_BYTES: Final = 2048
_TAIL_LINES: Final = 80
_FILES: Final = "/longshore-files"
"""Where the container that is never started has all volumes of a run, each in a folder of its name."""


class Runs:
    """The runs of a queue's Jobs; `working_folder`: where relative folders and secrets' files count from."""

    def __init__(self, api: DockerApi, working_folder: Path) -> None:
        self._api: Final = api
        self._working_folder: Final = working_folder
        self._images: Final = Images(api)

    def secret_file(self, secret: str) -> Path:
        """Where a Secret's keys are, on this machine."""
        return self._working_folder / f"{secret}.env"

    def why_not_begun(self, family: Family, step: Begin, manifest: Manifest) -> str:
        """
        Start a container; why that can't be now, in words.

        Raises:
            EngineUnavailable: the daemon does not answer; it may have been started.
        """
        try:
            return self._begin(family, step, manifest)
        except EngineUnavailable:
            raise
        except (EngineError, SettingsError, OSError, UnicodeDecodeError) as exc:
            return str(exc)

    def conclude(self, family: Family, rans: Sequence[Ran], now: float, *, is_late: bool) -> Outcome:
        """How a run has ended, with its worker's words."""
        last = rans[-1]
        path = f"{_FILES}/{fields.result_volume(last.index)}/{_RESULT}"
        files = family.name_of(family.run, Part.FILES)
        words = (self._api.read(files, path, RESULT_MAX_BYTES) or b"").decode(errors="ignore").strip()
        if not words and last.code:
            pieces = [one for one in family.containers if one.index == last.index]
            tail = b"".join(self._api.log(one.id, _TAIL_BYTES, _TAIL_LINES) for one in pieces)
            words = tail.decode(errors="replace").strip()
        since = seconds_of(self._api.started_at()) if last.code else None
        return steps.outcome_of(family, rans, words, now, is_late=is_late, daemon_since=since)

    def write_down(self, family: Family, outcome: Outcome) -> None:
        """Have a run's outcome be there; of one that is not done with its logs."""
        labels = objects.part_labels(family.record, Part.OUTCOME, family.run, **{OUTCOME_LABEL: outcome.as_text()})
        logs: dict[str, bytes | None] = {}
        if outcome.state != "done":
            logs = {f"{LOGS}/{one.container}": self._api.log(one.id, LOG_BYTES) for one in family.containers}
        publish(self._api, labels, logs)

    def log(self, family: Family, name: str) -> bytes:
        """The end of what a container wrote, that runs or of the last run."""
        for piece in family.containers:
            if piece.container == name:
                return self._api.log(piece.id, LOG_BYTES)
        if family.outcomes:
            return self._api.read(family.outcomes[-1].id, f"/{LOGS}/{name}") or b""
        return b""

    def _begin(self, family: Family, step: Begin, manifest: Manifest) -> str:
        containers = containers_of(manifest)
        # Of all that the run will need: a chain whose last image is missing does not even begin.
        for one in containers:
            if why := self._images.why_missing(fields.image_of(one, __version__), may_pull=fields.may_pull(one)):
                return why
        container = containers[step.index]
        image = self._api.image(fields.image_of(container, __version__)) or {}
        if why := fields.user_problem(manifest, container, str(image.get("Config", {}).get("User") or "")):
            return why
        secrets = self._secrets(container)
        if step.index == 0:
            self._lay_out(family, step.run, manifest)
        self._start(family, step, manifest, secrets)
        return ""

    def _secrets(self, container: Manifest) -> dict[str, str]:
        found: dict[str, str] = {}
        for path in map(self.secret_file, fields.secrets_of(container)):
            found |= envfile.variables(path.read_text(encoding="utf-8"), str(path))
        return found

    def _lay_out(self, family: Family, run: int, manifest: Manifest) -> None:
        """The volumes of a run, with what belongs into them; those of a start that came to nothing are made anew."""
        labels = objects.part_labels(family.record, Part.FILES, run)
        names = fields.own_volumes(manifest)
        files = family.name_of(run, Part.FILES)
        # Its first container too, where a manager was killed before it could start it: it holds the volumes.
        for name in (files, *(one.id for one in family.containers)):
            self._api.remove(name)
        for name in names:
            self._api.remove_volume(family.name_of(run, name))
            self._api.create_volume(family.name_of(run, name), labels)
        self._api.create_empty(files, labels, [_mount(family.name_of(run, name), f"{_FILES}/{name}") for name in names])
        content: dict[str, bytes | None] = dict.fromkeys(names)
        if ITEM_VOLUME in names:
            content[f"{ITEM_VOLUME}/{ITEM_FILE}"] = self._api.read(family.record.id, f"/{ITEM_FILE}")
        self._api.put(files, _FILES, content)
        results = (fields.result_volume(index) for index in range(len(containers_of(manifest))))
        self._api.put(files, _FILES, {f"{one}/{_RESULT}": b"" for one in results}, mode=0o666)

    def _start(self, family: Family, step: Begin, manifest: Manifest, secrets: dict[str, str]) -> None:
        container = containers_of(manifest)[step.index]
        more = {
            INDEX_LABEL: str(step.index),
            CONTAINER_LABEL: container["name"],
            GRACE_LABEL: str(family.facts.grace_seconds),
        }
        labels = objects.part_labels(family.record, Part.CONTAINER, step.run, **more)
        around = fields.Surroundings(
            volumes={name: family.name_of(step.run, name) for name in fields.own_volumes(manifest)},
            folders=fields.host_folders(manifest, str(self._working_folder)),
            secrets=secrets,
            cpus=self._api.cpus(),
        )
        template = manifest["spec"]["template"].get("metadata", {}).get("labels", {})
        options = {**fields.options_of(manifest, step.index, around), "labels": {**template, **labels}}
        name, image = objects.name_of(labels), fields.image_of(container, __version__)
        if not self._api.create(name, image, options, fields.mounts_of(manifest, step.index, around)):
            # Made by a manager that was killed then; one that has run is none that may be started again.
            known = self._api.inspect(name) or {}
            is_ours = known.get("Config", {}).get("Labels", {}).get(UID_LABEL) == family.record.uid
            if not is_ours or known["State"]["Status"] != "created":
                raise EngineError(f"the container {name} is there already, and none to start: remove it")
        try:
            self._api.start(name)
        except EngineUnavailable:
            raise
        except EngineError:
            inspected = self._api.inspect(name)
            # A program that is not there is an end like any other, which the container itself tells.
            if inspected is None or Ran.of(Piece(name, name, "", labels), inspected).code is None:
                raise


def _mount(volume: str, target: str) -> dict[str, object]:
    return {"type": "volume", "source": volume, "target": target}
