"""Files with lines NAME=value, in which a Docker host has what a cluster has in Secrets. Pure."""

import re
from typing import Final

from longshore_kit.errors import SettingsError

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def variables(text: str, where: str) -> dict[str, str]:
    """
    What such a file says, by name. A value is all that comes after the first `=`; nothing is unquoted or expanded.

    Raises:
        SettingsError: a line is none; told by its number alone, since it may hold a secret.
    """
    found: dict[str, str] = {}
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        stripped = line.removesuffix("\r")
        if not stripped.strip() or stripped.lstrip().startswith("#"):
            continue
        name, equals, value = stripped.partition("=")
        if not equals or not _NAME.fullmatch(name.strip()) or "\0" in value:
            raise SettingsError(
                f"{where}:{number}: expected NAME=value without a NUL, an empty line, or one that begins with #"
            )
        found[name.strip()] = value
    return found
