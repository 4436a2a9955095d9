"""`${…}` references: filled on parsed values, one argument staying one argument, JSON staying JSON. Pure.

    ${item.path}   a value of the item's data, at any depth: ${item.meta.tags.0}
    ${name}        the item's name
    ${MEDIA_PATH}  the folder of the volume `media`; of a chain of stages also ${work}, the folder that they share
    $${…}          the text ${…} itself

What a reference yields is never looked at again, and no shell is involved, ever. Kubernetes expands `$(VAR)` and folds
`$$` in args and env once more, so what goes there has every `$` of a value doubled; the text around the references is
the user's own and stays as it is.
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


def unknown_references(text: str, folders: Mapping[str, str]) -> list[str]:
    """References that no item could ever fill: neither `item.…`, `name` nor a folder."""
    known = {_NAME, *folders}
    return [path for path in references(text) if path not in known and not path.startswith(_ITEM_PREFIX)]


def fill(text: str, item: Item, folders: Mapping[str, str], *, doubled: bool = True) -> str:
    """
    `text` with its references filled. A string goes in as it is, anything else as JSON. `doubled`: for Kubernetes,
    every `$` of a value twice.

    Raises:
        ItemRejected: the item has no such value, or one that no argument can hold; the message names the reference.
    """

    def value_of(match: re.Match[str]) -> str:
        if match["escape"]:
            return match[0][1:]
        plain = _text(_look_up(match["path"], item, folders))
        if "\0" in plain:
            raise ItemRejected(f"${{{match['path']}}} has a NUL in it, which no argument or variable can hold")
        return plain.replace("$", "$$") if doubled else plain

    return _REFERENCE.sub(value_of, text)


def fill_json(template: Any, item: Item, folders: Mapping[str, str]) -> Any:  # noqa: ANN401 - any value of JSON
    """
    `template`, any JSON, with its references filled. A text that is one reference alone becomes the value itself, of
    whatever type; within a text a string goes in as it is, anything else as JSON. Keys stay as they are.

    Raises:
        ItemRejected: the item has no such value; the message names the reference.
    """
    if isinstance(template, str):
        alone = _REFERENCE.fullmatch(template)
        if alone and not alone["escape"]:
            return _look_up(alone["path"], item, folders)
        return _REFERENCE.sub(
            lambda match: match[0][1:] if match["escape"] else _text(_look_up(match["path"], item, folders)), template
        )
    if isinstance(template, Mapping):
        return {key: fill_json(value, item, folders) for key, value in template.items()}
    if isinstance(template, list | tuple):
        return [fill_json(value, item, folders) for value in template]
    return template


def texts_in(template: Any) -> Iterator[tuple[tuple[str | int, ...], str]]:  # noqa: ANN401 - any value of JSON
    """Every text of a template that may hold references, with its place."""
    if isinstance(template, str):
        yield (), template
    elif isinstance(template, Mapping):
        for key, value in template.items():
            yield from (((key, *place), text) for place, text in texts_in(value))
    elif isinstance(template, list | tuple):
        for index, value in enumerate(template):
            yield from (((index, *place), text) for place, text in texts_in(value))


def _text(value: Any) -> str:  # noqa: ANN401 - any value of JSON
    return value if isinstance(value, str) else encode({"": value})[len('{"":') : -1].decode()


def _look_up(path: str, item: Item, folders: Mapping[str, str]) -> Any:  # noqa: ANN401 - any value of JSON
    if path in folders:
        return folders[path]
    if path == _NAME:
        return item.name
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
