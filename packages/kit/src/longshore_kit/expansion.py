"""`$(VAR)` and `$$` as Kubernetes expands them in a container's command, args and env. Pure.

For whoever starts containers, or processes, without Kubernetes. Nothing but the standard library: a supervisor, of
which there is one per Job, starts with it.
https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final

_EXPANDED: Final = re.compile(r"\$\$|\$\((?P<name>[^)]*)\)")


def expand(text: str, variables: Mapping[str, str]) -> str:
    """`text` with its variables in place; unknown ones stay as they are."""

    def value_of(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        return variables.get(match["name"], match[0])

    return _EXPANDED.sub(value_of, text)


def expand_all(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """A container's variables, by name: each may refer to those before it."""
    variables: dict[str, str] = {}
    for name, value in pairs:
        variables[name] = expand(value, variables)
    return variables
