"""The READMEs of the images and of the kit against the code: their settings and their queue files."""

import ast
import re
from pathlib import Path

import pytest

from longshore.list_ambassador import ListSettings
from longshore.queuefile import parse
from longshore.service import ManagerSettings
from longshore.web.settings import StatusSettings
from longshore_ambassador_kafka.settings import KafkaSettings
from longshore_ambassador_nfs.settings import NfsSettings
from longshore_ambassador_redis.settings import RedisSettings
from longshore_ambassador_s3.settings import S3SourceSettings
from longshore_kit.ambassador import AmbassadorSettings
from longshore_kit.programs import variable_text, volume_variable
from longshore_kit.s3 import S3Settings
from longshore_kit.settings import Settings
from longshore_multi_worker.settings import MultiWorkerSettings
from longshore_worker_ffmpeg.settings import FfmpegSettings
from longshore_worker_script.settings import ScriptSettings

ROOT = Path(__file__).parents[2]
DOCUMENTED = [
    ("packages/kit/README.md", AmbassadorSettings),
    ("images/ambassador-kafka/README.md", KafkaSettings),
    ("images/ambassador-nfs/README.md", NfsSettings),
    ("images/ambassador-redis/README.md", RedisSettings),
    ("images/ambassador-s3/README.md", S3SourceSettings),
    ("images/manager/README.md", ManagerSettings),
    ("images/multi-worker/README.md", MultiWorkerSettings),
    ("images/worker-ffmpeg/README.md", FfmpegSettings),
    ("images/worker-script/README.md", ScriptSettings),
]
PARTS = {StatusSettings, S3Settings, ListSettings}
"""Settings that stand in the tables of others, or that only the manager's package sets."""
READMES = sorted(
    path.relative_to(ROOT).as_posix()
    for folder in ("images", "packages")
    for path in ROOT.glob(f"{folder}/*/README.md")
)


def text_of(readme: str) -> str:
    """The whole of a README."""
    return (ROOT / readme).read_text(encoding="utf-8")


def yaml_blocks(readme: str) -> list[str]:
    """The blocks of YAML in a README."""
    return re.findall(r"^```yaml\n(.*?)^```$", text_of(readme), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(("readme", "settings"), DOCUMENTED)
def test_the_readme_has_the_table_of_its_settings(readme: str, settings: type[Settings]) -> None:
    """Between its markers stands what the class prints, and nothing else: `print(…Settings.table())` makes it anew."""
    _, _, rest = text_of(readme).partition("<!-- settings -->\n")
    table, _, _ = rest.partition("<!-- /settings -->")

    assert table == settings.table()


@pytest.mark.parametrize(("readme", "settings"), DOCUMENTED)
def test_every_variable_is_documented_once(readme: str, settings: type[Settings]) -> None:
    """In the whole README each has one row, and no other variable has one."""
    rows = re.findall(r"^\| `([A-Z][A-Z0-9_]*)` \|", text_of(readme), re.MULTILINE)

    assert rows == [name.upper() for name in settings.model_fields]


def test_no_settings_class_is_left_out() -> None:
    """Each class that is derived from Settings, or from one derived from it, is in the list above."""
    known = {settings for _, settings in DOCUMENTED} | PARTS
    bases = {"Settings"} | {settings.__name__ for settings in known}
    defined = {
        node.name
        for folder in ("packages", "images")
        for file in (ROOT / folder).glob("*/src/**/*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef) and bases & {ast.unparse(base).rpartition(".")[2] for base in node.bases}
    }

    assert sorted(defined) == sorted(settings.__name__ for settings in known)


@pytest.mark.parametrize("readme", READMES)
def test_what_a_readme_shows_as_a_queue_file_is_one(readme: str) -> None:
    """Whole ones can be copied; a block that has not both `source:` and `worker:` shows a part."""
    for block in yaml_blocks(readme):
        if {"source", "worker"} <= set(re.findall(r"^(\w+):", block, re.MULTILINE)):
            parse(block, readme)


def test_the_worker_ffmpeg_readme_sets_variables_that_there_are() -> None:
    """A worker's variables are no part of the queue file's schema, so a typo in one is found here alone."""
    (block,) = yaml_blocks("images/worker-ffmpeg/README.md")
    worker = parse(block).worker

    given = FfmpegSettings.from_environment(
        {name: variable_text(value) for name, value in worker.env.items()}
        | {volume_variable(name): f"/{name}" for name in worker.volumes}
    )
    assert given.model_fields_set == {name.lower() for name in worker.env} | {"media_path", "thumbs_path"}
