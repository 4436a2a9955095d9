"""The wire forms of the source and worker contracts: values, names, and a parser that believes nothing.

Owns what both sides of a contract must read alike. Refuses whatever the contract does not allow, with a reason;
never repairs. The contracts in words: docs/source-contract.md and docs/worker-contract.md.
"""

import enum
import hashlib
import itertools
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, TypeAlias
from urllib.parse import quote, unquote_to_bytes

API_VERSION: Final = "v1"
_PART: Final = 10_000
NAME_MAX_BYTES: Final = 1024
"""Longest item name in bytes of UTF-8. S3 keys, the longest names of the book's sources, end here too."""

ACK: Final = "ack"
"""The capability of a source that shrinks when it is told that an item is done."""

ITEM_FILE_VARIABLE: Final = "WORK_ITEM_FILE"
ITEM_NAME_VARIABLE: Final = "LONGSHORE_ITEM"
QUEUE_VARIABLE: Final = "LONGSHORE_QUEUE"
RESULT_FILE_VARIABLE: Final = "LONGSHORE_RESULT_FILE"
RESULT_MAX_BYTES: Final = 4096
"""What is kept of a result, in bytes: the kubelet's own limit for a termination message."""

ItemData: TypeAlias = Mapping[str, Any]
"""An item's `data`: any JSON object. What it means is between the source and the worker."""


class ExitCode(enum.IntEnum):
    """
    How a worker says what became of its item.

    https://man.freebsd.org/cgi/man.cgi?sysexits for 64 and 65.
    """

    DONE = 0
    RETRY = 1
    USAGE = 64
    """The worker was started wrongly; no retry."""
    REJECTED = 65
    """The item is bad; no retry."""
    STOPPED = 143
    """Stopped by SIGTERM before the item was finished; another attempt takes it up."""


NO_RETRY: Final = (ExitCode.USAGE, ExitCode.REJECTED)


class Malformed(ValueError):
    """A message is not in the contract's words; the text says where."""


def name_problem(name: str) -> str | None:
    """What keeps `name` from being an item's name, in words; None when nothing does."""
    try:
        encoded = name.encode()
    except UnicodeEncodeError:
        return "it is not valid UTF-8"
    if not encoded:
        return "it is empty"
    if len(encoded) > NAME_MAX_BYTES:
        return f"it has {len(encoded)} bytes, {NAME_MAX_BYTES} are allowed"
    if "\0" in name:
        return "it contains a NUL"
    if name in {".", ".."}:
        return "clients remove it from URLs"
    return None


def quote_name(name: str) -> str:
    """`name` as the last part of a URL path: everything but unreserved characters encoded, `/` included."""
    return quote(name, safe="")


def unquote_name(part: str) -> str:
    """
    The name in the raw, still encoded rest of a URL path; a `/` that was not encoded is part of the name too.

    Raises:
        Malformed: it is no valid item name.
    """
    try:
        name = unquote_to_bytes(part).decode()
    except UnicodeDecodeError as exc:
        raise Malformed("the name in the path is not valid UTF-8") from exc
    if problem := name_problem(name):
        raise Malformed(f"{name[:80]!r} is no item name: {problem}")
    return name


@dataclass(frozen=True)
class Item:
    """One item: its name, which is its identity, and the data that its worker gets."""

    name: str
    data: ItemData

    def to_wire(self) -> dict[str, Any]:
        """The reply to `GET /api/v1/items/<name>`."""
        return {"kind": "Item", "apiVersion": API_VERSION, "data": dict(self.data)}


@dataclass(frozen=True)
class ItemList:
    """
    Names that a source has, in the source's order: all of them, or one page of them.

    Immutable and compared by identity first, so that a source that has not changed can hand out the same object
    and cost nothing.
    """

    names: tuple[str, ...]
    continue_token: str = ""
    """Not empty: this is a page, and the token asks for the next one."""
    pending_count: int = 0
    """Items that the source sees and will list by itself, such as files that are still being written."""

    @cached_property
    def version(self) -> str:
        """A digest of names and order, the same in every process: 32 hex digits. The list's ETag is made of it."""
        digest = hashlib.blake2b(digest_size=16)
        for at, part in enumerate(_parts(self.names)):
            digest.update((("\0" if at else "") + "\0".join(part)).encode())
        # Without it the empty list and a list of one empty name would be alike.
        digest.update(str(len(self.names)).encode())
        if self.pending_count:
            digest.update(f" {self.pending_count}".encode())
        return digest.hexdigest()

    def to_wire(self) -> dict[str, Any]:
        """The reply to `GET /api/v1/items`."""
        wire: dict[str, Any] = {"kind": "ItemList", "apiVersion": API_VERSION, "items": list(self.names)}
        metadata: dict[str, Any] = {}
        if self.continue_token:
            metadata["continue"] = self.continue_token
        if self.pending_count:
            metadata["pendingItemCount"] = self.pending_count
        return wire | ({"metadata": metadata} if metadata else {})


@dataclass(frozen=True)
class Status:
    """An error, in the form that Kubernetes uses: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/"""

    code: int
    reason: str
    """One word in CamelCase, for programs."""
    message: str
    """A sentence, for people."""

    def to_wire(self) -> dict[str, Any]:
        """The body of every reply that is an error."""
        return {
            "kind": "Status",
            "apiVersion": API_VERSION,
            "status": "Failure",
            "reason": self.reason,
            "message": self.message,
            "code": self.code,
        }


@dataclass(frozen=True)
class SourceInfo:
    """What a source can do beyond listing and giving: the reply to `GET /api/v1`."""

    capabilities: tuple[str, ...] = ()

    def to_wire(self) -> dict[str, Any]:
        """The reply to `GET /api/v1`."""
        return {"kind": "SourceInfo", "apiVersion": API_VERSION, "capabilities": list(self.capabilities)}


def _parts(names: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Some thousand names at a time: of a million, copies of all at once would take more memory than the names."""
    return (names[at : at + _PART] for at in range(0, len(names), _PART))


def encode_list(items: ItemList) -> bytes:
    """`items` as the reply to `GET /api/v1/items`."""
    return b"".join(list_pieces(items))


def list_pieces(items: ItemList) -> Iterator[bytes]:
    """The same, piece by piece: of a million names no more than a few thousand are ever there twice."""
    if len(items.names) <= _PART:
        yield encode(items.to_wire())
        return
    head, _, tail = encode(ItemList((), items.continue_token, items.pending_count).to_wire()).partition(b"[]")
    yield head
    for at, part in enumerate(_parts(items.names)):
        yield (b"," if at else b"[") + json.dumps(part, ensure_ascii=False, separators=(",", ":"))[1:-1].encode()
    yield b"]" + tail


def encode(wire: Mapping[str, Any]) -> bytes:
    """`wire` as JSON in UTF-8, without NaN, which is no JSON."""
    return json.dumps(wire, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def decode(body: bytes) -> Any:  # noqa: ANN401 - it is JSON: the callers below narrow it at once
    """
    JSON in UTF-8, strictly: no NaN or Infinity, no key twice, nothing after the end.

    Raises:
        Malformed: it isn't that; the message shows how the body begins.
    """
    try:
        return json.loads(
            body.decode(), parse_constant=_refuse_constant, parse_float=_finite, object_pairs_hook=_unique
        )
    except (ValueError, RecursionError) as exc:
        raise Malformed(f"no valid JSON ({exc}); it begins with {body[:60]!r}") from exc


def parse_item(body: bytes, name: str) -> Item:
    """
    The item in a reply to `GET /api/v1/items/<name>`.

    Raises:
        Malformed: it is anything but an Item; the message says what is wrong.
    """
    data = _object_of_kind(decode(body), "Item").get("data")
    if not isinstance(data, dict):
        raise Malformed(f"Item.data must be an object, it is {_type_name(data)}")
    # Half of a character can only come from an escape, since the body is UTF-8.
    if b"\\u" in body and not _is_text(json.dumps(data, ensure_ascii=False)):
        raise Malformed("Item.data holds half of a character (a lone surrogate), which nobody could write again")
    return Item(name=name, data=data)


def parse_item_list(body: bytes) -> ItemList:
    """
    The names in a reply to `GET /api/v1/items`, invalid names included: see `split_names`.

    Raises:
        Malformed: it is anything but an ItemList; the message says what is wrong. Never an empty list instead.
    """
    wire = _object_of_kind(decode(body), "ItemList")
    items = wire.get("items")
    if not isinstance(items, list):
        raise Malformed(f"ItemList.items must be a list, it is {_type_name(items)}")
    for index, name in enumerate(items):
        if not isinstance(name, str):
            raise Malformed(f"ItemList.items[{index}] must be a string, it is {_type_name(name)}")
    metadata = wire.get("metadata", {})
    token = metadata.get("continue", "") if isinstance(metadata, dict) else None
    if not isinstance(token, str) or not _is_text(token):
        raise Malformed("ItemList.metadata.continue must be a string")
    pending = metadata.get("pendingItemCount", 0)
    if not isinstance(pending, int) or isinstance(pending, bool) or pending < 0:
        raise Malformed("ItemList.metadata.pendingItemCount must be a number from 0")
    return ItemList(names=tuple(items), continue_token=token, pending_count=pending)


def parse_source_info(body: bytes) -> SourceInfo:
    """
    What a source says of itself in a reply to `GET /api/v1`.

    Raises:
        Malformed: it is anything but a SourceInfo; the message says what is wrong.
    """
    capabilities = _object_of_kind(decode(body), "SourceInfo").get("capabilities", [])
    if not isinstance(capabilities, list) or not all(isinstance(one, str) for one in capabilities):
        raise Malformed("SourceInfo.capabilities must be a list of strings")
    return SourceInfo(tuple(capabilities))


def split_names(names: Iterable[str]) -> tuple[tuple[str, ...], dict[str, str]]:
    """Valid names in their order, each once, and the others with what is wrong with them."""
    if isinstance(names, tuple) and _are_good(names):
        return names, {}
    good: dict[str, None] = {}
    bad: dict[str, str] = {}
    for name in names:
        if _is_plain(name):
            good[name] = None
        elif problem := name_problem(name):
            bad[name] = problem
        else:
            good[name] = None
    return tuple(good), bad


def _are_good(names: tuple[str, ...]) -> bool:
    """Whether all are allowed, and each is there once: known of a million without a table of another million."""
    before, is_ascending = "", True
    for name in names:
        if not _is_plain(name) and name_problem(name):
            return False
        is_ascending = is_ascending and before < name
        before = name
    if is_ascending:
        return True
    return all(name != after for name, after in itertools.pairwise(sorted(names)))


def _is_plain(name: str) -> bool:
    """Nearly every name is plain and short; only the others need a closer look."""
    return name.isascii() and len("..") < len(name) <= NAME_MAX_BYTES and "\0" not in name


def _object_of_kind(wire: Any, kind: str) -> dict[str, Any]:  # noqa: ANN401 - parsed JSON
    if not isinstance(wire, dict):
        raise Malformed(f"expected an object of kind {kind}, got {_type_name(wire)}")
    if wire.get("kind") != kind:
        raise Malformed(f"expected kind {kind!r}, got {wire.get('kind')!r}")
    if wire.get("apiVersion") != API_VERSION:
        raise Malformed(f"expected apiVersion {API_VERSION!r}, got {wire.get('apiVersion')!r}")
    return wire


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]  # None: never so
        raise ValueError(f"the key {twice!r} stands twice in one object")
    return found


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:40]} is too large a number")
    return number


def _refuse_constant(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _type_name(value: object) -> str:
    """What JSON calls the type of a parsed value."""
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null or missing"}
    return names.get(type(value), "a number")
