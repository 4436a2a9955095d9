"""Settings from the environment: one frozen class per image, read once, in `__main__`.

Each field names its variable by its own name in capitals (`poll_seconds` → `POLL_SECONDS`) and says its meaning, unit
and reason in its description; from those the README's table is made. A bad value stops the start, and the error
names every bad variable. A `Secret` may also come from a file (`REDIS_PASSWORD_FILE`), and is shown by no repr, log or
error. Refused: booleans other than true and false.

    class ExampleSettings(Settings):
        media_path: Path = setting(MEANING, unit="folder")
        poll_seconds: float = setting(MEANING, unit="seconds", default=5, ge=0.1)
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from textwrap import wrap
from typing import Annotated, Any, Final, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from longshore_kit.errors import SettingsError


def setting(
    meaning: str,
    *,
    unit: str,
    default: Any = PydanticUndefined,  # noqa: ANN401 - as pydantic's Field
    is_shown: bool = True,
    **limits: Any,  # noqa: ANN401
) -> Any:  # noqa: ANN401
    """
    One setting. `meaning` is a sentence with its reason; `unit` says how to write a value ("seconds", "true or
    false", "glob"); without `default` the variable must be set; a wrong value is not shown where people may have put a
    password into it; `limits` are pydantic's (`ge`, `le`, `pattern` …).
    """
    extra: dict[str, Any] = {"unit": unit, "shown": is_shown}
    return Field(default=default, description=meaning, json_schema_extra=extra, **limits)


def log_format_setting() -> Any:  # noqa: ANN401 - as `setting`
    """`log_format: LogFormat`, the same for every program that logs."""
    return setting(
        "How the log looks: JSON lines for programs, text for people, auto by whether stderr is a terminal.",
        unit="auto, json or text",
        default="auto",
    )


def log_level_setting() -> Any:  # noqa: ANN401 - as `setting`
    """`log_level: LogLevel`, the same for every program that logs."""
    return setting("The least that is logged.", unit="DEBUG, INFO, WARNING or ERROR", default="INFO")


def _boolean(value: object) -> object:
    if isinstance(value, str):
        if value not in {"true", "false"}:
            raise ValueError("expected true or false")
        return value == "true"
    return value


def _text_list(value: object) -> object:
    """One text is a list of one; a JSON list of texts is that list. So a glob like `[ab]*.mp4` stays a glob."""
    if isinstance(value, str):
        try:
            parsed = json.loads(value)
        except ValueError:
            parsed = None
        if isinstance(parsed, list) and all(isinstance(one, str) for one in parsed):
            return tuple(parsed)
        return (value,) if value else ()
    return value


Boolean = Annotated[bool, BeforeValidator(_boolean)]
"""`true` or `false`, nothing else: `no`, `0` and `off` have surprised too many."""

TextList = Annotated[tuple[str, ...], BeforeValidator(_text_list)]
"""One text, or a JSON list of texts: `**/*.mp4` or `["**/*.mp4", "**/*.mov"]`."""

Secret = SecretStr | None
"""What nobody may see: the variable itself, as a Kubernetes Secret sets it, or `…_FILE` with the path of a file."""
_FILE: Final = "_file"


class Settings(BaseModel):
    """The base of every image's settings."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Self:
        """
        The settings in `environ`. A variable that is set but empty counts as not set, as in a compose or chart file.

        Raises:
            SettingsError: one or more variables are missing or wrong; the message has a line for each.
        """
        given = {name: environ[name.upper()] for name in cls.model_fields if environ.get(name.upper())}
        problems: list[str] = []
        for name in cls._secrets():
            try:
                given |= _from_file(name, given, environ)
            except SettingsError as exc:
                problems.append(str(exc))
        try:
            settings = cls.model_validate(given)
        except ValidationError as exc:
            problems += [_problem(cls, error, given) for error in exc.errors()]
            raise SettingsError("\n".join(dict.fromkeys(problems))) from exc
        if problems:
            raise SettingsError("\n".join(problems))
        return settings

    @classmethod
    def _secrets(cls) -> Iterator[str]:
        return (name for name, field in cls.model_fields.items() if field.annotation == Secret)

    @classmethod
    def help(cls, program: str) -> str:
        """What `program --help` prints: it is set up by its environment alone."""
        lines = [f"{program} takes no arguments. Its settings are variables of its environment:"]
        for name, field in cls.model_fields.items():
            default = "" if field.is_required() else f", default {_default(field).strip('`') or 'none'}"
            lines += ["", f"  {name.upper()}  ({_unit(field)}{default})"]
            lines += wrap(field.description or "", 100, initial_indent="    ", subsequent_indent="    ")
        return "\n".join(lines)

    @classmethod
    def table(cls) -> str:
        """The settings as a table in Markdown, for the README."""
        rows = ["| variable | meaning | unit | default |", "|---|---|---|---|"]
        for name, field in cls.model_fields.items():
            meaning = " ".join((field.description or "").split())
            rows.append(f"| `{name.upper()}` | {meaning} | {_unit(field)} | {_default(field)} |")
        return "\n".join(rows) + "\n"


def _from_file(name: str, given: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, str]:
    """A secret whose file is named, if one is; an editor's newline at its end is none of it."""
    variable = (name + _FILE).upper()
    path = environ.get(variable)
    if not path:
        return {}
    if name in given:
        raise SettingsError(f"{name.upper()} and {variable} are both set: keep one")
    try:
        return {name: Path(path).read_text(encoding="utf-8").rstrip("\r\n")}
    except (OSError, UnicodeDecodeError) as exc:
        raise SettingsError(f"{variable}={path!r}: can't be read: {getattr(exc, 'strerror', None) or exc}") from exc


def _problem(cls: type[Settings], error: Any, given: Mapping[str, str]) -> str:  # noqa: ANN401 - pydantic_core.ErrorDetails
    if not error["loc"]:  # a rule over several fields, which names them in its message
        return str(error["msg"]).removeprefix("Value error, ")
    name = str(error["loc"][0])
    field = cls.model_fields[name]
    if error["type"] == "missing":
        return f"{name.upper()} is not set: expected {_unit(field)}. {field.description}"
    # A pattern says nothing to people: the unit has it in words.
    is_pattern = error["type"] == "string_pattern_mismatch"
    reason = "" if is_pattern else f" ({str(error['msg']).removeprefix('Value error, ')})"
    extra = field.json_schema_extra
    if name in cls._secrets() or not (isinstance(extra, dict) and extra.get("shown", True)):
        return f"{name.upper()}: expected {_unit(field)}{reason}"
    return f"{name.upper()}={given.get(name)!r}: expected {_unit(field)}{reason}"


def _unit(field: FieldInfo) -> str:
    extra = field.json_schema_extra
    return str(extra.get("unit", "")) if isinstance(extra, dict) else ""


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "*required*"
    value = field.default
    if isinstance(value, tuple):
        value = value[0] if len(value) == 1 else json.dumps(value)
    if value is None or value == "":
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"
