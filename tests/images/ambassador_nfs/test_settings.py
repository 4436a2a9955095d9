"""The environment of ambassador-nfs, and the README that documents it."""

from pathlib import Path

import pytest

from longshore_ambassador_nfs.settings import NfsSettings
from longshore_kit.errors import SettingsError

README = Path(__file__).parents[3] / "images/ambassador-nfs/README.md"


def test_only_the_folder_must_be_set() -> None:
    """The defaults list every `.mp4` that has been left alone for 30 seconds."""
    settings = NfsSettings.from_environment({"MEDIA_PATH": "/media"})

    assert settings.media_path == Path("/media")
    assert settings.nfs_pattern == ("**/*.mp4",)
    assert settings.nfs_exclude == ()
    assert settings.nfs_settle_seconds == 30
    assert settings.nfs_marker_file is None


def test_every_setting_can_be_set() -> None:
    """Lists are one text or a JSON list of texts."""
    settings = NfsSettings.from_environment(
        {
            "MEDIA_PATH": "videos",
            "NFS_PATTERN": '["**/*.mp4", "**/*.mov"]',
            "NFS_EXCLUDE": "[ab]*",
            "NFS_SETTLE_SECONDS": "0.5",
            "NFS_MARKER_FILE": "meta/mounted",
        }
    )

    assert settings.nfs_pattern == ("**/*.mp4", "**/*.mov")
    assert settings.nfs_exclude == ("[ab]*",)
    assert settings.nfs_settle_seconds == 0.5
    assert settings.nfs_marker_file == "meta/mounted"


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("MEDIA_PATH", "", "MEDIA_PATH is not set"),
        ("NFS_PATTERN", "/media/*.mp4", "is absolute"),
        ("NFS_PATTERN", "[]", "at least 1 item"),
        ("NFS_EXCLUDE", '["a", "../b"]', "has a part '..'"),
        ("NFS_SETTLE_SECONDS", "soon", "NFS_SETTLE_SECONDS='soon': expected seconds"),
        ("NFS_SETTLE_SECONDS", "-1", "greater than or equal to 0"),
        ("NFS_SETTLE_SECONDS", "nan", "NFS_SETTLE_SECONDS='nan'"),
        ("NFS_MARKER_FILE", "/mounted", "a path below the folder"),
        ("NFS_MARKER_FILE", "../mounted", "a path below the folder"),
    ],
)
def test_a_wrong_value_names_its_variable(variable: str, value: str, expected: str) -> None:
    """The message says which variable is wrong, what it is and what was expected."""
    with pytest.raises(SettingsError) as caught:
        NfsSettings.from_environment({"MEDIA_PATH": "/media", variable: value})

    assert str(caught.value).startswith(variable)
    assert expected in str(caught.value)
