"""From what Redis holds to an item's data. Pure.

A value that is a JSON object is the data; any other is `{"value": text}`, and what is no UTF-8 is base64, said so by
`"encoding": "base64"`.
"""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from longshore_kit.contract import Malformed, decode


def data_of(value: bytes) -> Mapping[str, Any]:
    """The data of one value."""
    try:
        found = decode(value)
    except Malformed:
        found = None
    return found if isinstance(found, dict) else _plain("value", value)


def fields_of(pairs: Sequence[bytes]) -> Mapping[str, Any]:
    """The data of a stream's entry or of a hash: its fields, as text; one that is none is base64, in `encodings`."""
    found: dict[str, Any] = {}
    encodings: dict[str, str] = {}
    for name, value in zip(pairs[::2], pairs[1::2], strict=True):
        field = name.decode(errors="backslashreplace")
        plain = _plain("value", value)
        found[field] = plain["value"]
        if "encoding" in plain:
            encodings[field] = plain["encoding"]
    return found | ({"encodings": encodings} if encodings else {})


def name_in(member: bytes, field: str) -> str | None:
    """The name in a member that is a JSON object; None: it has none."""
    try:
        found = decode(member)
    except Malformed:
        return None
    value = found.get(field) if isinstance(found, dict) else None
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    return str(value)


def _plain(field: str, value: bytes) -> dict[str, Any]:
    try:
        return {field: value.decode()}
    except UnicodeDecodeError:
        return {field: base64.b64encode(value).decode(), "encoding": "base64"}
