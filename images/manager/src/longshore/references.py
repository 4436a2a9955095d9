"""`${…}` references in `worker.command`, `args` and `env`: filled on parsed values, one argument staying one argument.

    ${item.path}   a value of the item's data, at any depth: ${item.meta.tags.0}
    ${name}        the item's name
    ${MEDIA_PATH}  the folder of the volume `media`
    $${…}          the text ${…} itself

No shell is involved, ever. Kubernetes expands `$(VAR)` and folds `$$` in args and env once more, so every `$` of an
item's value is doubled here; the text around the references is the user's own and stays as it is.
https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from longshore_kit.contract import Item, encode
from longshore_kit.errors import ItemRejected

_REFERENCE: Final = re.compile(r"(?P<escape>\$?)\$\{(?P<path>[^{}]*)\}")
_ITEM_PREFIX: Final = "item."
_NAME: Final = "name"


def references(text: str) -> Iterator[str]:
    """The references in `text`, without `${}`; escaped ones are none."""
    for match in _REFERENCE.finditer(text):
        if not match["escape"]:
            yield match["path"]


def unknown_references(text: str, volumes: Mapping[str, str]) -> list[str]:
    """References that no item could ever fill: neither `item.…`, `name` nor a volume's variable."""
    known = {_NAME, *volumes}
    return [path for path in references(text) if path not in known and not path.startswith(_ITEM_PREFIX)]


def fill(text: str, item: Item, volumes: Mapping[str, str]) -> str:
    """
    `text` with its references filled. A string goes in as it is, anything else as JSON.

    Raises:
        ItemRejected: the item has no such value, or one that no argument can hold; the message names the reference.
    """

    def value_of(match: re.Match[str]) -> str:
        if match["escape"]:
            return match[0][1:]
        path = match["path"]
        if path in volumes:
            return volumes[path].replace("$", "$$")
        value = item.name if path == _NAME else _look_up(path, item)
        plain = value if isinstance(value, str) else encode({"": value})[len('{"":') : -1].decode()
        if "\0" in plain:
            raise ItemRejected(f"${{{path}}} has a NUL in it, which no argument or variable can hold")
        return plain.replace("$", "$$")

    return _REFERENCE.sub(value_of, text)


def _look_up(path: str, item: Item) -> Any:  # noqa: ANN401 - any value of JSON
    value: Any = item.data
    for step in path.removeprefix(_ITEM_PREFIX).split("."):
        if isinstance(value, Mapping) and step in value:
            value = value[step]
        elif isinstance(value, list) and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        else:
            has = ", ".join(map(str, item.data)) or "nothing"
            raise ItemRejected(f"${{{path}}}: the item has no such value; its data has {has}")
    return value
