"""From a record to an item: its name, which is its place, and its data. Pure.

A value that is JSON is handed on as what it says; any other is base64, and `valueEncoding` says so: nothing is guessed
of bytes. Names of another form are none of ours.
"""

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from longshore_kit.contract import Malformed, decode

_NAME: Final = re.compile(r"([^/]+)/(0|[1-9]\d{0,9})/(0|[1-9]\d{0,18})")
_BASE64: Final = "base64"


@dataclass(frozen=True, order=True)
class Partition:
    """One partition of a topic."""

    topic: str
    number: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.number}"


@dataclass(frozen=True)
class Record:
    """One record as it was read."""

    partition: Partition
    offset: int
    timestamp_ms: int | None
    key: bytes | None
    headers: Sequence[tuple[str, bytes | None]]
    value: bytes | None


def name_of(partition: Partition, offset: int) -> str:
    """`<topic>/<partition>/<offset>`."""
    return f"{partition}/{offset}"


def place_of(name: str) -> tuple[Partition, int] | None:
    """The partition and offset that a name says; None: it is no name of a record."""
    match = _NAME.fullmatch(name)
    return (Partition(match[1], int(match[2])), int(match[3])) if match else None


def data_of(record: Record) -> Mapping[str, Any]:
    """What the worker gets of a record."""
    return {
        "topic": record.partition.topic,
        "partition": record.partition.number,
        "offset": record.offset,
        "timestamp": _timestamp(record.timestamp_ms),
        **_text("key", record.key),
        "headers": [{"name": name, **_text("value", value)} for name, value in record.headers],
        **_value(record.value),
    }


def _value(value: bytes | None) -> dict[str, Any]:
    if value is None:
        return {"value": None}
    try:
        return {"value": decode(value)}
    except Malformed:
        return {"value": base64.b64encode(value).decode(), "valueEncoding": _BASE64}


def _text(field: str, value: bytes | None) -> dict[str, Any]:
    if value is None:
        return {field: None}
    try:
        return {field: value.decode()}
    except UnicodeDecodeError:
        return {field: base64.b64encode(value).decode(), f"{field}Encoding": _BASE64}


def _timestamp(milliseconds: int | None) -> str | None:
    if milliseconds is None:
        return None
    try:
        at = datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None  # what a producer set by mistake is beyond the calendar
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
