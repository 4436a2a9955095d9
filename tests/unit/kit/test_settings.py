"""Settings from the environment."""

from pathlib import Path
from typing import Annotated

import pytest
from pydantic import AfterValidator, ValidationError, model_validator

from longshore_kit.ambassador import AmbassadorSettings
from longshore_kit.errors import SettingsError
from longshore_kit.settings import Boolean, Secret, Settings, TextList, setting


class Example(Settings):
    """A setting of each kind."""

    media_path: Path = setting("Where media lie.", unit="folder")
    poll_seconds: float = setting("How often.", unit="seconds", default=5, ge=0.1)
    pattern: TextList = setting("Which files.", unit="glob", default=("**/*.mp4",))
    is_quiet: Boolean = setting("Whether to be quiet.", unit="true or false", default=False)


def _refuse(url: str) -> str:
    if "@" in url:
        raise ValueError("has a password in it")
    return url


class Ordered(Settings):
    """Two settings with a rule between them."""

    least: int = setting("The least.", unit="number", default=1)
    most: int = setting("The most.", unit="number", default=2)

    @model_validator(mode="after")
    def _in_order(self) -> "Ordered":
        if self.least > self.most:
            raise ValueError("LEAST is more than MOST: swap them")
        return self


def problem(environ: dict[str, str], settings: type[Settings] = Example) -> str:
    """What is wrong with an environment, in words."""
    with pytest.raises(SettingsError) as raised:
        settings.from_environment(environ)
    return str(raised.value)


def test_variables_are_read() -> None:
    """Each variable is named by its field in capitals; the environment's others are nobody's business."""
    environ = {"MEDIA_PATH": "/m", "POLL_SECONDS": "0.5", "PATTERN": "*.mov", "IS_QUIET": "true", "HOME": "/"}

    assert Example.from_environment(environ) == Example(
        media_path=Path("/m"), poll_seconds=0.5, pattern=("*.mov",), is_quiet=True
    )


def test_empty_is_not_set() -> None:
    """A variable that is set but empty has its default, as a compose file or a chart writes it."""
    environ = {"MEDIA_PATH": "/m", "POLL_SECONDS": "", "PATTERN": "", "IS_QUIET": ""}

    assert Example.from_environment(environ) == Example(media_path=Path("/m"))


def test_every_bad_variable_is_named() -> None:
    """All that is wrong is said at once, a line for each variable: value, what was expected, why."""
    assert problem({"POLL_SECONDS": "fast", "IS_QUIET": "yes"}).splitlines() == [
        "MEDIA_PATH is not set: expected folder. Where media lie.",
        "POLL_SECONDS='fast': expected seconds (Input should be a valid number, unable to parse string as a number)",
        "IS_QUIET='yes': expected true or false (expected true or false)",
    ]


class Guarded(Settings):
    """Settings that may hold a password."""

    password: Secret = setting("What nobody may see.", unit="text", default=None)
    url: Annotated[str, AfterValidator(_refuse)] = setting("Where.", unit="URL", default="", is_shown=False)


def test_what_may_hold_a_password_is_not_repeated(tmp_path: Path) -> None:
    """The variable, what was expected and why; never its value."""
    told = problem({"URL": "http://user:canary@host"}, Guarded)
    (tmp_path / "secret").write_bytes(b"\xffcanary")
    unread = problem({"PASSWORD_FILE": str(tmp_path / "secret")}, Guarded)

    assert told == "URL: expected URL (has a password in it)"
    assert unread.startswith(f"PASSWORD_FILE='{tmp_path}/secret': can't be read: ")
    assert "canary" not in unread


@pytest.mark.parametrize("value", ["True", "1", "0", "no", "off", " true"])
def test_booleans_are_true_or_false(value: str) -> None:
    """Nothing but `true` and `false` is a boolean."""
    assert problem({"MEDIA_PATH": "/m", "IS_QUIET": value}) == (
        f"IS_QUIET={value!r}: expected true or false (expected true or false)"
    )


def test_limits_are_kept() -> None:
    """A value out of its limits is refused with the limit."""
    assert problem({"MEDIA_PATH": "/m", "POLL_SECONDS": "0"}) == (
        "POLL_SECONDS='0': expected seconds (Input should be greater than or equal to 0.1)"
    )


def test_a_pattern_is_told_by_what_it_means() -> None:
    """Nobody has to read a regular expression to write a value."""

    class Patterned(Settings):
        url: str = setting("Where it is.", unit="http:// URL", pattern="^http://")

    assert problem({"URL": "x:8080"}, Patterned) == "URL='x:8080': expected http:// URL"


@pytest.mark.parametrize(
    ("value", "texts"),
    [
        ("*.mp4", ("*.mp4",)),
        ('["*.mp4", "*.mov"]', ("*.mp4", "*.mov")),
        ("[ab]*.mp4", ("[ab]*.mp4",)),
        ("[1, 2]", ("[1, 2]",)),
        ("[]", ()),
    ],
)
def test_text_lists(value: str, texts: tuple[str, ...]) -> None:
    """A JSON list of texts is that list, anything else is one text: a glob in brackets stays a glob."""
    assert Example.from_environment({"MEDIA_PATH": "/m", "PATTERN": value}).pattern == texts


def test_rule_over_several_settings() -> None:
    """A rule over several settings is told in its own words."""
    assert problem({"LEAST": "3"}, Ordered) == "LEAST is more than MOST: swap them"


def test_settings_do_not_change() -> None:
    """Settings are read once."""
    settings = Example(media_path=Path("/m"))
    with pytest.raises(ValidationError, match="frozen"):
        setattr(settings, "poll_seconds", 1)  # noqa: B010 - mypy knows already


def test_table() -> None:
    """The README's table has a row for each setting, with its unit and default."""
    assert Example.table() == (
        "| variable | meaning | unit | default |\n"
        "|---|---|---|---|\n"
        "| `MEDIA_PATH` | Where media lie. | folder | *required* |\n"
        "| `POLL_SECONDS` | How often. | seconds | `5` |\n"
        "| `PATTERN` | Which files. | glob | `**/*.mp4` |\n"
        "| `IS_QUIET` | Whether to be quiet. | true or false | `false` |\n"
    )


def test_ambassadors_defaults() -> None:
    """An ambassador starts without a single variable."""
    assert AmbassadorSettings.from_environment({}).model_dump() == {
        "listen_port": 8080,
        "listen_fd": None,
        "health_port": 8081,
        "threads": 8,
        "exit_with_parent": False,
        "log_format": "auto",
        "log_level": "INFO",
    }
