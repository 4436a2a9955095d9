"""Keys made of keys: where the result of an object goes, by a template that ambassador and worker read alike.

    thumbs/{path}/index.json    with the prefix videos/, of videos/2026/a.mp4:  thumbs/2026/a.mp4/index.json
    pages/{folder}{stem}.png    the same:                                       pages/2026/a.png

Owns the placeholders. They are filled once, on values: braces inside of a key stay braces. `{{` and `}}` are the
characters themselves. Refuses placeholders that there are none of.
"""

import difflib
import string
from typing import Annotated, Final

from pydantic import AfterValidator

PLACEHOLDERS: Final = ("key", "path", "folder", "name", "stem", "extension")
"""key: the whole; path: without its prefix; folder: of the path, with its slash; name, stem, extension: of its end."""


class BadTemplate(ValueError):
    """A template that can't be filled; the text says why."""


def check_template(template: str) -> str:
    """
    The template, when it can be filled.

    Raises:
        BadTemplate: it has a placeholder that there is none of, or half a brace.
    """
    for _, field, form, conversion in _parts(template):
        if form or conversion or (field is not None and field not in PLACEHOLDERS):
            near = difflib.get_close_matches(field or "", PLACEHOLDERS, n=1)
            meant = f"; did you mean {{{near[0]}}}?" if near else ""
            raise BadTemplate(
                f"there is no {{{field}}}{meant}: use {', '.join(f'{{{one}}}' for one in PLACEHOLDERS)}, "
                "and double a brace that stands for itself"
            )
    return template


def fill_template(template: str, key: str, prefix: str = "") -> str:
    """`template` with the parts of `key`; `prefix` is what `{path}` leaves out where the key begins with it."""
    path = key.removeprefix(prefix)
    folder, slash, name = path.rpartition("/")
    stem, dot, extension = name.rpartition(".")
    if not stem:
        stem, dot, extension = name, "", ""
    values = {
        "key": key,
        "path": path,
        "folder": folder + slash,
        "name": name,
        "stem": stem,
        "extension": dot + extension,
    }
    return "".join(text + (values[field] if field is not None else "") for text, field, _, _ in _parts(template))


def constant_prefix(template: str) -> str:
    """What every key that a template makes begins with: what stands before its first placeholder."""
    found = ""
    for text, field, _, _ in _parts(template):
        found += text
        if field is not None:
            break
    return found


KeyTemplate = Annotated[str, AfterValidator(check_template)]
"""A setting: a template, checked."""


def _parts(template: str) -> list[tuple[str, str | None, str | None, str | None]]:
    try:
        return list(string.Formatter().parse(template))
    except ValueError as exc:
        raise BadTemplate(f"{exc}: double a brace that stands for itself") from exc
