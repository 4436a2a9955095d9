"""The settings of worker-script, from the environment. In a queue file they stand under `worker.env`."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, model_validator

from longshore_kit.keys import check_template
from longshore_kit.s3 import S3Settings
from longshore_kit.settings import Boolean, TextList, setting
from longshore_worker_script.output import check_output
from longshore_worker_script.workplace import is_plain


def _output(text: str) -> str:
    check_output(check_template(text))
    return text


def _marker(name: str) -> str:
    if not name or "/" in name or name in {".", ".."}:
        raise ValueError("it must be a plain name, without a slash")
    return name


def _input_name(name: str) -> str:
    if name and not is_plain(name):
        raise ValueError("it must be a plain name: letters, digits, dots, dashes")
    return name


def _below(path: str) -> str:
    if not all(part and is_plain(part) for part in path.split("/")):
        raise ValueError("it must be a path below WORK_DIR, of plain names")
    return path


class ScriptSettings(S3Settings):
    """What is run on what is fetched, and where the result goes."""

    script: str = setting(
        "The script itself: `worker.script` of a queue file. Its first line may say what runs it, else it is bash.",
        unit="text",
        default="",
    )
    script_file: Path | None = setting(
        "A file with the script, where it is in the image or on a volume; need not be executable.",
        unit="path",
        default=None,
    )
    output: Annotated[str, AfterValidator(_output)] = setting(
        "Where what is in OUTPUT_DIR goes: `s3://bucket/thumbs/{path}/`, or a folder, `/thumbs/{path}/`. `{key}` is "
        "the item's whole key, `{path}` what follows INPUT_PREFIX, `{folder}`, `{name}`, `{stem}`, `{extension}` are "
        "parts of that.",
        unit="template that ends in a slash",
        default="",
    )
    input_prefix: str = setting("What `{path}` leaves out at the beginning of a key.", unit="text", default="")
    marker: Annotated[str, AfterValidator(_marker)] = setting(
        "The last thing that is stored, when all else is: a JSON object that lists the files. What waits for results, "
        "such as `unlessExists` of ambassador-s3, looks for this one.",
        unit="name",
        default="_SUCCESS",
    )
    allowed_hosts: TextList = setting(
        "Hosts that items with a `url` may be fetched from, redirects too: `example.org`, `*.example.org`.",
        unit="host, or a JSON list of them",
        default=(),
    )
    max_input_bytes: int = setting(
        "An item that is larger is bad: it would fill the node's disk. 0: any size.", unit="bytes", default=0, ge=0
    )
    work_dir: Path | None = setting(
        "The scratch folder. For the steps one by one it is the folder that they share; for all three in one a fresh "
        "folder is made in it and removed. Empty: the system's folder for temporary files.",
        unit="folder",
        default=None,
    )
    input_name: Annotated[str, AfterValidator(_input_name)] = setting(
        "What the fetched file is called, for a stage that must know it beforehand; empty: as its key ends, where that "
        "is a plain name.",
        unit="name",
        default="",
    )
    output_folder: Annotated[str, AfterValidator(_below)] = setting(
        "The folder in WORK_DIR whose content is stored: the script's OUTPUT_DIR, or where a stage before `store` "
        "leaves what it makes.",
        unit="relative path",
        default="output",
    )
    pass_credentials: Boolean = setting(
        "Let the script see AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN; it needs none of them.",
        unit="true or false",
        default=False,
    )

    @model_validator(mode="after")
    def _one_script(self) -> Self:
        if self.script and self.script_file:
            raise ValueError("SCRIPT and SCRIPT_FILE are both set: keep one")
        return self
