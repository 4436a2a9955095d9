"""The three steps, one by one or all in one: what `worker.stages` puts between, and what a single container does."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from longshore_kit.errors import SettingsError
from longshore_kit.s3 import connect
from longshore_kit.worker import Work
from longshore_worker_script.fetch import fetch as fetch_input
from longshore_worker_script.origin import origin_of
from longshore_worker_script.output import target_for
from longshore_worker_script.script import run_script
from longshore_worker_script.settings import ScriptSettings
from longshore_worker_script.store import store as store_output
from longshore_worker_script.web import Web
from longshore_worker_script.workplace import Workplace, fresh, shared


def fetch(work: Work) -> str:
    """Fetch the item's input into the shared folder."""
    settings = ScriptSettings.from_environment(work.environ)
    return _fetch(work, settings, shared(settings.work_dir, settings.output_folder))


def run(work: Work) -> str:
    """Run the script on what was fetched."""
    settings = ScriptSettings.from_environment(work.environ)
    return _run(work, settings, shared(settings.work_dir, settings.output_folder))


def store(work: Work) -> str:
    """Store what is in the shared folder's output."""
    settings = ScriptSettings.from_environment(work.environ)
    return _store(work, settings, shared(settings.work_dir, settings.output_folder))


def everything(work: Work) -> str:
    """All three, in a folder of their own; the result is the script's."""
    settings = ScriptSettings.from_environment(work.environ)
    # What is missing is told before anything is fetched.
    _need_script(settings)
    _need_output(settings)
    with fresh(settings.work_dir, settings.output_folder) as place:
        _fetch(work, settings, place)
        said = _run(work, settings, place)
        stored = _store(work, settings, place)
        return said or stored


def _fetch(work: Work, settings: ScriptSettings, place: Workplace) -> str:
    origin = origin_of(work.data, settings.allowed_hosts)
    web = Web(settings.allowed_hosts)
    limit, name = settings.max_input_bytes, settings.input_name
    fetched = fetch_input(origin, place, client=lambda: connect(settings), web=web, limit=limit, name=name)
    return f"fetched {fetched.size_bytes} bytes"


def _run(work: Work, settings: ScriptSettings, place: Workplace) -> str:
    _need_script(settings)
    place.fetched()  # before anything is written beside it
    file = settings.script_file or _written(settings.script, place)
    return run_script(file.absolute(), place, work.environ, pass_credentials=settings.pass_credentials)


def _store(work: Work, settings: ScriptSettings, place: Workplace) -> str:
    _need_output(settings)
    origin = origin_of(work.data, settings.allowed_hosts)
    target = target_for(settings.output, origin.key, settings.input_prefix)
    about = {"item": work.item, "key": origin.key, "etag": place.fetched().etag}
    count = store_output(target, place, about, marker=settings.marker, client=lambda: connect(settings))
    where = f"s3://{target.bucket}/{target.base}" if target.bucket else target.base
    return f"stored {count} files in {where}"


def _written(script: str, place: Workplace) -> Path:
    """The script's text as a file, which the script itself can't take for its input or output."""
    file = place.folder / "script"
    file.write_text(script, encoding="utf-8")
    return file


def _need_script(settings: ScriptSettings) -> None:
    if not settings.script and settings.script_file is None:
        raise SettingsError(
            "neither SCRIPT nor SCRIPT_FILE is set: give the script to run, as worker.script in a queue file"
        )


def _need_output(settings: ScriptSettings) -> None:
    if not settings.output:
        raise SettingsError("OUTPUT is not set: say where results go, such as s3://bucket/results/{path}/")


STEPS: Final[dict[str, Callable[[Work], str]]] = {"fetch": fetch, "run": run, "store": store}
"""By the word on the command line."""
