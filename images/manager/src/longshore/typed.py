"""Commands of ours as a person types them, whatever a file or an item is called: words only, nothing is run."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

KUBECTL: Final = "kubectl longshore"
"""The command as a part of kubectl. https://kubernetes.io/docs/tasks/extend-kubectl/kubectl-plugins/"""


def program() -> str:
    """How we were called: `longshore`, or as a part of kubectl."""
    return KUBECTL if Path(sys.argv[0]).name == "kubectl-longshore" else "longshore"


def command_line(verb: str, options: Sequence[str], *words: str, by: str | None = None) -> str:
    """A command to paste into a shell; `by`: the program, where it is not the one that we were called as."""
    end = ["--"] if any(word.startswith("-") for word in words) else []
    return " ".join([by or program(), verb, *map(_typed, [*options, *end, *words])])


def _typed(word: str) -> str:
    """`word` as one word of a shell; what can't be typed in bash's own notation."""
    if word.isprintable():
        return shlex.quote(word)
    return f"$'{''.join(map(_typed_character, word))}'"


def _typed_character(char: str) -> str:
    if char in "\\'":
        return f"\\{char}"
    return char if char.isprintable() else "".join(f"\\x{byte:02x}" for byte in char.encode())
