"""The command `longshore-ambassador-list`: items that are written down, in the queue file itself or in a file of them.

Owns how a line, a row or an object becomes an item: its name is the line, or one column or field; its data is the
whole. Refuses to guess: a row without a name, or two different ones of one name, make the source unavailable, with the
line, as leaving one out would lose it; and a file that is just being written is no shorter list. docs/queue-file.md
says it to writers of such files.
"""

import csv
import io
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import yaml

from longshore.queuefile import load
from longshore.sources import ListSource, list_file
from longshore_kit.ambassador import AmbassadorSettings, serve
from longshore_kit.contract import Item, ItemList, Malformed, decode, encode
from longshore_kit.errors import ItemNotFound, SettingsError, SourceUnavailable
from longshore_kit.logs import get_logger
from longshore_kit.settings import setting

PROGRAM: Final = "longshore-ambassador-list"
LINE: Final = "line"
"""The one field of an item that is a plain line."""
NAME: Final = "name"
"""The column or field with the name, where the queue file names no other."""
SETTLE_SECONDS: Final = 2.0
"""A file that was written to more recently may be half written: the least that tells one write from the next."""
_FIRST_LOOKS: Final = 3
"""How often the first look waits for a file to settle; later ones have the last list, and wait for nothing."""
_RESTLESS_SECONDS: Final = 10.0
"""A list that was kept for so long, as the file never settled, is told: it may be one that never will."""
_USAGE: Final = 64
_NO_JSON: Final = (TypeError, ValueError, RecursionError)
_BY_LINES: Final = frozenset({"lines", "jsonl"})
_FORMATS: Final = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".yaml": "yaml", ".yml": "yaml"}

Entry: TypeAlias = tuple[str, object]
"""Where it stands, in words, and what stands there: a text or an object."""
Stamp: TypeAlias = tuple[int, int, int]


class ListSettings(AmbassadorSettings):
    """The ambassador's settings: all else is in the queue file."""

    queue_file: Path = setting("The queue file, whose `source.list` says what the items are.", unit="path")
    list_folder: Path | None = setting(
        "Where a relative `source.list.file` counts from; empty: the queue file's folder.", unit="folder", default=None
    )


@dataclass(frozen=True)
class Parsed:
    """What is written down, as items."""

    items: ItemList
    data: Mapping[str, Mapping[str, Any]]


class ListSourceOfItems:
    """
    The items of `spec`. A file is read again when it has changed.

    Raises:
        SettingsError: the items in the queue file itself are none.
    """

    def __init__(
        self,
        spec: ListSource,
        path: Path | None,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._spec: Final = spec
        self._path: Final = path
        self._clock: Final = clock
        self._sleep: Final = sleep
        self._stamp: Stamp | None = None
        self._has_list = path is None
        self._kept_since: float | None = None
        self._is_told = False
        self._log: Final = get_logger("longshore.ambassador-list")
        self._parsed = Parsed(ItemList(()), {})
        if path is None:
            entries = ((f"source.list.items[{index}]", entry) for index, entry in enumerate(spec.items))
            try:
                self._parsed = parse(entries, spec.name)
            except Malformed as exc:
                raise SettingsError(str(exc)) from exc

    def list_items(self) -> ItemList:
        """As `Source.list_items`, in the order in which they are written down."""
        return self._look().items

    def get_item(self, name: str) -> Item:
        """As `Source.get_item`."""
        # What was listed is handed out, whatever has become of the file.
        data = self._parsed.data.get(name) or self._look().data.get(name)
        if data is None:
            raise ItemNotFound(f"{name!r} is not in the list")
        return Item(name, data)

    def _look(self) -> Parsed:
        if self._path is None:
            return self._parsed
        try:
            stamp = self._settled_stamp(self._path)
            if stamp == self._stamp:
                self._rest()
            elif self._unsettled_seconds(stamp) <= 0:
                self._read_whole(self._path, stamp)
            else:
                self._read_along(self._path)
        except OSError as exc:
            raise SourceUnavailable(f"{self._path} can't be read: {exc.strerror}") from exc
        except (Malformed, UnicodeDecodeError) as exc:
            raise SourceUnavailable(f"{exc if isinstance(exc, Malformed) else f'{self._path} is not UTF-8'}") from exc
        return self._parsed

    def _settled_stamp(self, path: Path) -> Stamp:
        """The file's stamp; the first one when nobody writes to it any more, if that comes soon."""
        stamp = _stamp(path)
        for _ in range(0 if self._has_list else _FIRST_LOOKS):
            if (left := self._unsettled_seconds(stamp)) <= 0:
                break
            self._sleep(left)
            stamp = _stamp(path)
        return stamp

    def _unsettled_seconds(self, stamp: Stamp) -> float:
        """How long until a file counts as written; one from the future does, since clocks are wrong at times."""
        age = self._clock() - stamp[1] / 1e9
        return SETTLE_SECONDS - age if 0 <= age < SETTLE_SECONDS else 0.0

    def _read_whole(self, path: Path, stamp: Stamp) -> None:
        written = path.read_bytes()
        # Written while it was read: half of it would look like a shorter list.
        if _stamp(path) != stamp:
            self._keep(path, "changed while it was read; trying again")
            return
        self._parsed, self._has_list = self._kept(self._parse(written, path)), True
        self._stamp = stamp
        self._rest()

    def _read_along(self, path: Path) -> None:
        """Where lines are being added, those that are whole are items already; all else waits."""
        if (grown := self._grown(path)) is None:
            self._keep(path, "is just being written; it is read when that has ended")
            return
        self._parsed, self._has_list = self._kept(grown), True
        self._rest()

    def _grown(self, path: Path) -> Parsed | None:
        """The whole lines of a file that is being written; None where they are not the last list and more."""
        if _format(self._spec, path) not in _BY_LINES:
            return None
        written = path.read_bytes()
        # Of the bytes, before they are text: the last line may end within a character.
        whole = written[: written.rfind(b"\n") + 1]
        if not whole:
            return None
        try:
            parsed = self._parse(whole, path)
        except (Malformed, UnicodeDecodeError):
            if not self._has_list:
                raise
            return None
        return parsed if parsed.data.keys() >= self._parsed.data.keys() else None

    def _parse(self, written: bytes, path: Path) -> Parsed:
        text = written.decode("utf-8-sig")
        return parse(entries_of(text, _format(self._spec, path), str(path)), self._spec.name)

    def _keep(self, path: Path, why: str) -> None:
        """Go on with the last list, and say so once when that lasts."""
        if not self._has_list:
            raise SourceUnavailable(f"{path} {why}")
        now = self._clock()
        since = self._kept_since = now if self._kept_since is None else self._kept_since
        if not self._is_told and now - since >= _RESTLESS_SECONDS:
            self._is_told = True
            self._log.warning(
                "list kept as it was: its file never rests, write it aside and rename it",
                path=str(path),
                rest_seconds=SETTLE_SECONDS,
            )

    def _rest(self) -> None:
        self._kept_since, self._is_told = None, False

    def _kept(self, parsed: Parsed) -> Parsed:
        """The list that was there before where the names are the same: that costs nobody anything."""
        same = parsed.items.names == self._parsed.items.names
        return Parsed(self._parsed.items, parsed.data) if same else parsed


def entries_of(text: str, form: str, where: str) -> Iterator[Entry]:
    """
    What stands in a file, and where; empty lines are nothing.

    Raises:
        Malformed: it is not written in this form.
    """
    lines = text.split("\n")
    match form:
        case "csv":
            yield from _rows(text, where)
        case "jsonl":
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield f"{where}:{number}", _decoded(line, f"{where}:{number}")
        case "yaml":
            yield from _documents(text, where)
        case _:
            for number, line in enumerate(lines, 1):
                if plain := line.removesuffix("\r"):
                    yield f"{where}:{number}", plain


def parse(entries: Iterable[Entry], column: str) -> Parsed:
    """
    Entries as items; the same one twice is one.

    Raises:
        Malformed: one has no name, or two different ones have the same.
    """
    data: dict[str, Mapping[str, Any]] = {}
    places: dict[str, str] = {}
    for where, entry in entries:
        name, fields = _item(where, entry, column)
        _expect_json(where, fields)
        if name in data and data[name] != fields:
            raise Malformed(f"{where}: {name!r} is at {places[name]} already, with other values: a name is one item")
        if name not in data:
            data[name], places[name] = fields, where
    return Parsed(ItemList(tuple(data)), data)


def _item(where: str, entry: object, column: str) -> tuple[str, Mapping[str, Any]]:
    if isinstance(entry, str):
        return entry, {LINE: entry}
    if not isinstance(entry, Mapping):
        raise Malformed(f"{where}: expected a text or an object, found {entry!r:.60}")
    value = entry.get(column or NAME)
    if isinstance(value, bool) or not isinstance(value, str | int | float) or value == "":
        asked = f"no {column or NAME!r}" if value is None or value == "" else f"{value!r:.60} as its {column or NAME!r}"
        has = ", ".join(map(str, entry))
        raise Malformed(f"{where}: has {asked}: it has {has}; set source.list.name to the one with the item's name")
    return str(value), entry


def _expect_json(where: str, fields: Mapping[str, Any]) -> None:
    """YAML has dates, and numbers that are none, as values and as keys."""
    try:
        encode(fields)
    except _NO_JSON as exc:
        for key, value in fields.items():
            if not _has_form({key: None}):
                raise Malformed(f"{where}: the key {key!r:.60} has no form in JSON: put it in quotes") from exc
            if not _has_form({str(key): value}):
                raise Malformed(
                    f"{where}: {key!r} is {value!r:.60}, for which JSON has no form: put it in quotes"
                ) from exc
        raise Malformed(f"{where}: JSON has no form for it: {exc}") from exc


def _has_form(fields: Mapping[Any, Any]) -> bool:
    try:
        encode(fields)
    except _NO_JSON:
        return False
    return True


def _rows(text: str, where: str) -> Iterator[Entry]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        heading = next(reader, [])
        if len(set(heading)) != len(heading):
            raise Malformed(f"{where}:1: a column stands twice in {', '.join(heading)}")
        for row in reader:
            if len(row) not in {0, len(heading)}:
                raise Malformed(f"{where}:{reader.line_num}: has {len(row)} columns, its heading {len(heading)}")
            if row:
                yield f"{where}:{reader.line_num}", dict(zip(heading, row, strict=True))
    except csv.Error as exc:
        raise Malformed(f"{where}:{reader.line_num}: no valid CSV: {exc}") from exc


def _documents(text: str, where: str) -> Iterator[Entry]:
    try:
        document = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as exc:
        raise Malformed(f"{where}: no valid YAML: {' '.join(str(exc).split())}") from exc
    if document is not None and not isinstance(document, list):
        raise Malformed(f"{where}: expected a list of texts or objects, found a {type(document).__name__}")
    for index, entry in enumerate(document or ()):
        yield f"{where}[{index}]", entry


def _decoded(line: str, where: str) -> object:
    try:
        return decode(line.encode(errors="surrogatepass"))
    except Malformed as exc:
        raise Malformed(f"{where}: {exc}") from exc


def _format(spec: ListSource, path: Path) -> str:
    return _FORMATS.get(path.suffix.lower(), "lines") if spec.format == "auto" else spec.format


def _stamp(path: Path) -> Stamp:
    # The inode too: a cluster changes a ConfigMap's file by exchanging the folder that it is in.
    status = path.stat()
    return status.st_ino, status.st_mtime_ns, status.st_size


def source_of(settings: ListSettings, environ: Mapping[str, str]) -> ListSourceOfItems:
    """
    The source that a queue file describes.

    Raises:
        SettingsError: it is wrong, or of another kind.
    """
    queue = load(settings.queue_file)
    spec = queue.spec.source.list
    if spec is None:
        raise SettingsError(f"{settings.queue_file}: source.list is not set")
    folder = settings.list_folder or queue.folder
    return ListSourceOfItems(spec, folder / list_file(spec.file, environ) if spec.file else None)


def main() -> None:
    """Serve until SIGTERM; a wrong setting ends with exit code 64 and a line for each."""
    if "--help" in sys.argv[1:]:
        print(ListSettings.help(PROGRAM))  # noqa: T201 - what was asked for
        return
    try:
        settings = ListSettings.from_environment(os.environ)
        serve(source_of(settings, os.environ), settings)
    except SettingsError as exc:
        print(exc, file=sys.stderr)  # noqa: T201 - logging is set up from the settings that may be wrong
        sys.exit(_USAGE)


if __name__ == "__main__":
    main()
