"""The kinds of places that items may be in: for each how its names are read, one is given, and one is taken out.

Owns which command says what. Each listing is one command, so that it is of one moment; a stream and the keys of a
database are walked through, in ways that lose nothing that was there all the time.
"""

import bisect
import heapq
import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from longshore_ambassador_redis.settings import RedisSettings
from longshore_ambassador_redis.stream import Digest, digest_of, elements
from longshore_ambassador_redis.values import data_of, fields_of, name_in
from longshore_ambassador_redis.wire import Redis
from longshore_kit.logs import get_logger

_CHUNK: Final = 200
"""Entries that are read at once, whole, though only their ids are wanted: there is no command for those alone."""
_IDS: Final = 10_000
"""Pending entries that are asked for at once: of those only ids come."""
_LOG: Final = get_logger("longshore.ambassador-redis")


class Kind(ABC):
    """One kind of place. Any method raises `SourceUnavailable` where the server does not answer."""

    def __init__(self, redis: Redis, settings: RedisSettings) -> None:
        self._redis: Final = redis
        self._key: Final = settings.redis_key
        self._left_out = 0

    @abstractmethod
    def names(self, before: Sequence[str]) -> Sequence[str] | None:
        """Every item; None: they are those of before."""

    @abstractmethod
    def data(self, name: str) -> Mapping[str, Any] | None:
        """One item's data; None: there is none."""

    @abstractmethod
    def remove(self, name: str) -> None:
        """Take an item out; one that is gone is no error."""

    def report_left_out(self, count: int) -> None:
        """Once, until there are more: names that are no text can't be told in JSON."""
        if count > self._left_out:
            _LOG.warning("names left out: they are not UTF-8; rename them", key=self._key, count=count)
        self._left_out = count


class _AtOnce(Kind):
    """What one command lists, as an array of names."""

    command: str
    is_sorted: bool
    """Where Redis knows no order, names are sorted: so one that is added moves no other."""

    def __init__(self, redis: Redis, settings: RedisSettings) -> None:
        super().__init__(redis, settings)
        self._digest: bytes | None = None

    def arguments(self) -> tuple[str, ...]:
        """What stands behind the key."""
        return ()

    def names(self, before: Sequence[str]) -> Sequence[str] | None:
        """As `Kind.names`. The same bytes are the same names, whoever made them: nothing is made of those."""
        if self._digest is not None and digest_of(self._pieces()) == self._digest:
            return None
        digest = Digest()
        found = self._read(digest, before)
        self._digest = digest.value
        return found

    def _pieces(self) -> Iterator[bytes]:
        return self._redis.stream(self._key, self.command, self._key, *self.arguments())

    def _read(self, digest: Digest, before: Sequence[str]) -> Sequence[str]:
        left_out = 0

        def names() -> Iterator[str]:
            nonlocal left_out
            for raw in elements(digest.of(self._pieces())):
                name = self.name_of(raw)
                if name is None:
                    left_out += 1
                else:
                    yield name

        found = merged(names(), before) if self.is_sorted else list(names())
        self.report_left_out(left_out)
        return found

    def name_of(self, raw: bytes) -> str | None:
        """The name of an element; None: it has none."""
        return _text(raw)


class HashKind(_AtOnce):
    """Fields of a hash."""

    command = "HKEYS"
    is_sorted = True

    def data(self, name: str) -> Mapping[str, Any] | None:
        """As `Kind.data`: the field's value."""
        value = self._redis.ask("HGET", self._key, name)
        return None if value is None else data_of(value)

    def remove(self, name: str) -> None:
        """As `Kind.remove`."""
        self._redis.ask("HDEL", self._key, name)


class _Members(_AtOnce):
    """Members that are names, or JSON objects with a name in them."""

    has: str
    """The command that says whether a member is there."""
    drop: tuple[str, ...]
    """The command that removes one, and what stands between key and member."""

    def __init__(self, redis: Redis, settings: RedisSettings) -> None:
        super().__init__(redis, settings)
        self._field: Final = settings.redis_name_field
        self._members: Mapping[str, tuple[bytes, ...]] = {}
        """By name, where the name is in the member: nothing else finds it again. Exchanged whole, never changed."""

    def _read(self, digest: Digest, before: Sequence[str]) -> Sequence[str]:
        if not self._field:
            return super()._read(digest, before)
        self._members = self._by_name(digest)
        return sorted(self._members) if self.is_sorted else list(self._members)

    def _by_name(self, digest: Digest) -> Mapping[str, tuple[bytes, ...]]:
        found: dict[str, tuple[bytes, ...]] = {}
        unnamed = 0
        for raw in elements(digest.of(self._pieces())):
            name = name_in(raw, self._field)
            if name is None:
                unnamed += 1
            else:
                found[name] = (*found.get(name, ()), raw)
        self._report_unnamed(unnamed)
        return found

    def _report_unnamed(self, count: int) -> None:
        if count > self._left_out:
            _LOG.warning("members left out: no JSON object with a name", key=self._key, field=self._field, count=count)
        self._left_out = count

    def data(self, name: str) -> Mapping[str, Any] | None:
        """As `Kind.data`: the member."""
        there = next((one for one in self._known(name) if self._is_there(one)), None)
        if there is None and self._field:
            # It has come, or was written anew, since it was listed.
            there = next(iter(self._by_name(Digest()).get(name, ())), None)
        return None if there is None else data_of(there)

    def remove(self, name: str) -> None:
        """As `Kind.remove`: every member of this name."""
        if not self._drop(self._known(name)) and self._field:
            self._drop(self._by_name(Digest()).get(name, ()))

    def _known(self, name: str) -> tuple[bytes, ...]:
        return self._members.get(name, ()) if self._field else (name.encode(),)

    def _drop(self, members: tuple[bytes, ...]) -> int:
        """How many were there."""
        return sum(int(self._redis.ask(self.drop[0], self._key, *self.drop[1:], member)) for member in members)

    def _is_there(self, member: bytes) -> bool:
        return self._redis.ask(self.has, self._key, member) not in {None, 0}


class ListKind(_Members):
    """Elements of a list, from its head on."""

    command, is_sorted, has, drop = "LRANGE", False, "LPOS", ("LREM", "0")

    def arguments(self) -> tuple[str, ...]:
        """All of it."""
        return ("0", "-1")

    def _is_there(self, member: bytes) -> bool:
        # 0 is a place: the first.
        return self._redis.ask(self.has, self._key, member) is not None


class SetKind(_Members):
    """Members of a set."""

    command, is_sorted, has, drop = "SMEMBERS", True, "SISMEMBER", ("SREM",)


class SortedSetKind(_Members):
    """Members of a sorted set, the lowest score first."""

    command, is_sorted, has, drop = "ZRANGE", False, "ZSCORE", ("ZREM",)

    def arguments(self) -> tuple[str, ...]:
        """All of it."""
        return ("0", "-1")

    def _is_there(self, member: bytes) -> bool:
        # 0 is a score.
        return self._redis.ask(self.has, self._key, member) is not None


class KeysKind(Kind):
    """Keys of a database that a pattern matches."""

    def __init__(self, redis: Redis, settings: RedisSettings) -> None:
        super().__init__(redis, settings)
        self._pattern: Final = settings.redis_pattern

    def names(self, before: Sequence[str]) -> Sequence[str] | None:
        """As `Kind.names`: SCAN gives each key that was there all the time, some twice."""
        left_out = 0

        def names() -> Iterator[str]:
            nonlocal left_out
            for keys in self._redis.scan(self._pattern):
                for key in keys:
                    if (name := _text(key)) is None:
                        left_out += 1
                    else:
                        yield name

        found = merged(names(), before)
        self.report_left_out(left_out)
        return found

    def data(self, name: str) -> Mapping[str, Any] | None:
        """As `Kind.data`: by what the key holds."""
        match self._redis.ask("TYPE", name):
            case b"none":
                return None
            case b"string":
                value = self._redis.ask("GET", name)
                return None if value is None else data_of(value)
            case b"hash":
                pairs = self._redis.ask("HGETALL", name)
                return fields_of(_flat(pairs)) if pairs else None
            case other:
                return {"type": other.decode()}

    def remove(self, name: str) -> None:
        """As `Kind.remove`."""
        self._redis.ask("UNLINK", name)


class StreamKind(Kind):
    """Entries of a stream, the oldest first; an entry's id is its name."""

    def __init__(self, redis: Redis, settings: RedisSettings) -> None:
        super().__init__(redis, settings)
        self._seen: object = None

    def names(self, before: Sequence[str]) -> Sequence[str] | None:  # noqa: ARG002 - it has a mark of its state
        """As `Kind.names`; a stream says by itself whether anything was added to it or taken out."""
        state = self._state()
        if state == self._seen:
            return None
        names = list(self._walk("-"))
        self._seen = state
        return names

    def data(self, name: str) -> Mapping[str, Any] | None:
        """As `Kind.data`: the entry's fields."""
        if not is_entry_id(name):
            return None
        found = self._redis.ask("XRANGE", self._key, name, name)
        return fields_of(_flat(found[0][1])) if found and found[0][1] else None

    def remove(self, name: str) -> None:
        """As `Kind.remove`."""
        if is_entry_id(name):
            self._redis.ask("XDEL", self._key, name)

    def _state(self) -> object:
        if self._redis.ask("TYPE", self._key) == b"none":
            return ()
        facts = self._redis.ask("XINFO", "STREAM", self._key)
        facts = facts if isinstance(facts, dict) else dict(zip(facts[::2], facts[1::2], strict=True))
        told = {_name(fact): value for fact, value in facts.items()}
        return tuple(repr(told.get(fact)) for fact in _STATE)

    def _walk(self, start: str) -> Iterator[str]:
        """Entries are only added at the end, so that going on behind the last one loses none."""
        while found := self._redis.ask("XRANGE", self._key, start, "+", "COUNT", _CHUNK):
            ids = [entry[0].decode() for entry in found]
            yield from ids
            start = f"({ids[-1]}"


class GroupKind(StreamKind):
    """Entries of a stream that a consumer group has not acknowledged: delivered to whomever, or to nobody yet."""

    def __init__(self, redis: Redis, settings: RedisSettings) -> None:
        super().__init__(redis, settings)
        self._group: Final = settings.redis_group
        self._delivers: Final = settings.redis_ack

    def names(self, before: Sequence[str]) -> Sequence[str] | None:  # noqa: ARG002 - a group has no mark of its state
        """As `Kind.names`."""
        if self._delivers:
            self._deliver()
            return list(self._pending())
        last = self._last_delivered()
        return [*self._pending(), *self._walk(f"({last}")]

    def remove(self, name: str) -> None:
        """As `Kind.remove`: acknowledged for the group; the entry itself stays."""
        if is_entry_id(name):
            self._redis.ask("XACK", self._key, self._group, name)

    def data(self, name: str) -> Mapping[str, Any] | None:
        """As `Kind.data`. An entry that was deleted while it was pending will never come again: it is acknowledged."""
        found = super().data(name)
        if found is None and self._delivers:
            self.remove(name)
        return found

    def _deliver(self) -> None:
        """Only what was delivered can be acknowledged: it is, to a consumer of ours, and listed as pending."""
        while self._redis.ask(
            *("XREADGROUP", "GROUP", self._group, CONSUMER, "COUNT", _CHUNK, "STREAMS", self._key, ">")
        ):
            pass

    def _pending(self) -> Iterator[str]:
        start = "-"
        while found := self._redis.ask(
            *("XPENDING", self._key, self._group, start, "+", _IDS),
            parse_detail=True,
        ):
            ids = [entry["message_id"].decode() for entry in found]
            yield from ids
            start = f"({ids[-1]}"

    def _last_delivered(self) -> str:
        for facts in self._redis.ask("XINFO", "GROUPS", self._key):
            pairs = facts.items() if isinstance(facts, dict) else zip(facts[::2], facts[1::2], strict=True)
            told = {_name(fact): value for fact, value in pairs}
            if told["name"] == self._group.encode():
                last: bytes = told["last-delivered-id"]
                return last.decode()
        # In the server's own words, which the wire explains.
        self._redis.ask("XPENDING", self._key, self._group)
        return "0"


CONSUMER: Final = "longshore"
"""Who the entries of a group are delivered to."""
_STATE: Final = ("length", "last-generated-id", "entries-added", "max-deleted-entry-id", "first-entry")
_KINDS: Final[Mapping[str, type[Kind]]] = {
    "hash": HashKind,
    "list": ListKind,
    "set": SetKind,
    "zset": SortedSetKind,
    "keys": KeysKind,
    "stream": StreamKind,
}


def kind_of(redis: Redis, settings: RedisSettings) -> Kind:
    """The kind that the settings name."""
    kind = GroupKind if settings.redis_group else _KINDS[settings.redis_kind]
    return kind(redis, settings)


def is_entry_id(name: str) -> bool:
    """Whether a name is that of an entry, whole: Redis takes halves, and signs, for more."""
    time, dash, number = name.partition("-")
    return dash == "-" and all(part.isascii() and part.isdecimal() and len(part) <= 20 for part in (time, number))  # noqa: PLR2004 - digits of 2^64


def merged(names: Iterator[str], before: Sequence[str]) -> Sequence[str]:
    """
    Names sorted, each once, made of the texts of `before`, which is sorted: a million are not kept twice meanwhile.
    """
    if not before:
        first = sorted(names)
        # SCAN may give one twice; all else does not, and is not copied for it.
        has_twins = any(name == after for name, after in itertools.pairwise(first))
        return list(dict.fromkeys(first)) if has_twins else first
    seen, fresh = bytearray(len(before)), set()
    for name in names:
        at = bisect.bisect_left(before, name)
        if at < len(before) and before[at] == name:
            seen[at] = 1
        else:
            fresh.add(name)
    return tuple(heapq.merge(itertools.compress(before, seen), sorted(fresh)))


def _text(raw: bytes) -> str | None:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return None


def _name(fact: object) -> str:
    return fact.decode() if isinstance(fact, bytes) else str(fact)


def _flat(pairs: Any) -> list[bytes]:  # noqa: ANN401 - a mapping or a list, by the client's version
    return [part for pair in pairs.items() for part in pair] if isinstance(pairs, dict) else list(pairs)
