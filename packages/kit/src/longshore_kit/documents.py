"""Files of settings in YAML: read into models, or refused with the line, the key, and what to write instead.

Owns how a mistake in a file is told. Needs the extra [files]. Refuses a key that stands twice, which YAML's own readers
take silently.
"""

import difflib
import re
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar, cast

import yaml
from pydantic import BaseModel, TypeAdapter, ValidationError

from longshore_kit.errors import SettingsError
from longshore_kit.expectations import expectation

Document = TypeVar("Document", bound=BaseModel)
_QUOTED: Final = re.compile(r"'([^']*)'")
_KEY: Final = "[key]"
"""What ends pydantic's location where a key itself is wrong."""


@dataclass(frozen=True)
class Misfit:
    """Parts of a file that don't fit together."""

    place: tuple[str | int, ...]
    message: str

    def __str__(self) -> str:
        return f"{key_of(self.place)}: {self.message}"


def parse(
    text: str, model: type[Document], misfits: Callable[[Document], Iterator[Misfit]], *, where: str, what: str
) -> Document:
    """
    The model of a file's text, which is YAML or JSON; `what` says in a word what such a file defines.

    `misfits` says what no part of the file shows by itself; the model's own validator must refuse on them too.

    Raises:
        SettingsError: it is wrong; a line for each thing that is, with its place.
    """
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        document = yaml.load(text, Loader=_UniqueKeys)  # noqa: S506 - _UniqueKeys is a SafeLoader
    except yaml.MarkedYAMLError as exc:
        raise SettingsError(f"{where}{_yaml_problem(exc, text, what)}") from exc
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as exc:
        # PyYAML lets through what its constructors raise: 2020-13-45 looks like a date, and is none.
        raise SettingsError(f"{where}: no valid YAML: {' '.join(str(exc).split())}") from exc
    needed = [f"{field.alias or name}:" for name, field in model.model_fields.items() if field.is_required()]
    keys = f"key{'s' if len(needed) > 1 else ''} {' and '.join(needed)}"
    if document is None:
        raise SettingsError(f"{where}: is empty: a {what} needs the {keys}")
    if node is None or not isinstance(document, dict):
        found = "list" if isinstance(document, list) else "text"
        raise SettingsError(f"{where}:{_line(node, ())}: a {what} file is a mapping with the {keys}; this is a {found}")
    try:
        return model.model_validate(document)
    except ValidationError as exc:
        told = _Teller(where, node, model).told(document, exc.errors(), misfits)
        raise SettingsError("\n".join(told)) from exc


def key_of(place: Sequence[str | int]) -> str:
    """A place as people write it: worker.command[1]."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).lstrip(".")


def near(word: str, known: Mapping[str, object] | Sequence[str]) -> str:
    """The known word that was probably meant; empty: none is like it."""
    return next(iter(difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)), "")


def nearest(word: str, known: Mapping[str, object] | Sequence[str]) -> str:
    """`; did you mean 'media'?`, or nothing."""
    found = near(word, known)
    return f"; did you mean {found!r}?" if found else ""


class _UniqueKeys(yaml.SafeLoader):
    """YAML that refuses a key that stands twice, which PyYAML takes silently: one of the two would be lost."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.MarkedYAMLError(problem=f"the key {key!r} stands twice", problem_mark=key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


def _yaml_problem(exc: yaml.MarkedYAMLError, text: str, what: str) -> str:
    """What keeps a text from being read at all, with its place."""
    mark = exc.problem_mark or exc.context_mark
    if mark is None:
        return f": no valid YAML: {exc.problem or exc.context}"
    line = text.splitlines()[mark.line] if mark.line < len(text.splitlines()) else ""
    if "\t" in line[: len(line) - len(line.lstrip())]:
        return f":{mark.line + 1}: begins with a tab: indent with spaces"
    if isinstance(exc, yaml.composer.ComposerError) and exc.problem == "but found another document":
        return f":{mark.line + 1}: one file is one {what}: put what follows this line into a file of its own"
    return f":{mark.line + 1}:{mark.column + 1}: no valid YAML: {exc.problem or exc.context}"


@dataclass(frozen=True)
class _Mistake:
    """One error of pydantic's, and the value in the file that it is about."""

    error: Any
    place: tuple[str | int, ...]
    union: tuple[str | int, ...] | None
    """Where the members of a union were tried, each with an error of its own; None: nowhere."""


class _Teller:
    """Says what is wrong with one file."""

    def __init__(self, where: str, node: yaml.Node, model: type[BaseModel]) -> None:
        self._where: Final = where
        self._node: Final = node
        self._model: Final = model

    def told(
        self, document: Mapping[str, Any], errors: Sequence[Any], misfits: Callable[[Any], Iterator[Misfit]]
    ) -> list[str]:
        """A line for each mistake, in the file's order."""
        mistakes = [_mistake(error, document, self._node) for error in errors if error["loc"]]
        found = [(_line(self._node, group[0].place), self._problem(group)) for group in _by_value(mistakes)]
        if not found:
            # All parts are well-formed, so that what does not fit together can be told with its places.
            spec = self._model.model_construct(**dict(self._parts(document)))
            found = [(_line(self._node, one.place), str(one)) for one in misfits(spec)]
        return list(dict.fromkeys(f"{self._where}:{line}: {message}" for line, message in sorted(found)))

    def _parts(self, document: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        """The fields of a file whose parts are well-formed, each validated by itself."""
        for name, field in self._model.model_fields.items():
            if name in document:
                yield name, TypeAdapter[Any](cast(Any, field.annotation)).validate_python(document[name])
            else:
                yield name, field.get_default()

    def _problem(self, group: Sequence[_Mistake]) -> str:
        """What is wrong with one value."""
        error, place = group[0].error, group[0].place
        kind, key, last = error["type"], key_of(place), str(place[-1])
        if kind == "extra_forbidden":
            return f"{key}: no such key{_instead(last, list(self._schema_at(place[:-1]).get('properties', {})))}"
        if kind == "literal_error":
            expected = str(error["ctx"]["expected"])
            known = _QUOTED.findall(expected)
            if _KEY in error["loc"]:
                return f"{key}: no such key{_instead(last, known)}"
            return f"{key}: expected {expected}{nearest(str(error['input']), known)}"
        if kind == "invalid_key" or _KEY in error["loc"]:
            return f'{key}: a key is a text: write "{last}" in quotes'
        if kind == "missing":
            return f"{key}: is missing"
        if kind == "value_error":
            return f"{key}: {error['ctx']['error']}"
        written = _written(_node_at(self._node, place))
        words = expectation([one.error for one in group], last, self._schema_at(place), written)
        return f"{key}: {words or _uncapitalised(error['msg'])}"

    def _schema_at(self, place: Sequence[str | int]) -> Mapping[str, Any]:
        """The JSON schema of what stands there; empty: anything may."""
        schema: Any = self._model.model_json_schema(by_alias=True)
        here = schema
        for part in place:
            at = here.get("items") if isinstance(part, int) else here.get("properties", {}).get(part)
            here = at or here.get("additionalProperties")
            if not isinstance(here, dict):
                return {}
            for option in [here, *here.get("anyOf", ()), *here.get("allOf", ())]:
                if "$ref" in option:
                    here = schema["$defs"][option["$ref"].rsplit("/", 1)[1]] | here
        return cast(Mapping[str, Any], here)


def _mistake(error: Any, document: Any, node: yaml.Node) -> _Mistake:  # noqa: ANN401 - pydantic_core.ErrorDetails
    """
    An error, and the value that it is about.

    Pydantic's locations name members of unions too, which are no keys: only the document tells the two apart.
    """
    place: list[str | int] = []
    union = None
    for part in error["loc"]:
        is_key = isinstance(document, dict) and part in document
        if is_key or (isinstance(document, list) and isinstance(part, int) and part < len(document)):
            place.append(_key_as_written(node, place, document, part) if is_key else part)
            document = document[part]
        elif isinstance(document, dict) and error["type"] == "missing":
            place.append(part)
        elif part != _KEY:
            union = tuple(place) if union is None else union
    return _Mistake(error, tuple(place), union)


def _by_value(mistakes: Sequence[_Mistake]) -> Iterator[list[_Mistake]]:
    """
    The mistakes that are about one value together.

    Of a union the member counts that got the furthest into the value: it is the one that was meant.
    """
    depths: dict[tuple[str | int, ...], int] = {}
    groups: dict[tuple[object, ...], list[_Mistake]] = {}
    for one in mistakes:
        if one.union is not None:
            depths[one.union] = max(len(one.place), depths.get(one.union, 0))
    for index, one in enumerate(mistakes):
        if one.union is None:
            groups[(index,)] = [one]
        elif len(one.place) == depths[one.union]:
            groups.setdefault(one.place, []).append(one)
    yield from groups.values()


def _instead(word: str, known: Sequence[str]) -> str:
    return nearest(word, known) or f"; there are {', '.join(known)}"


def _uncapitalised(reason: str) -> str:
    return f"{reason[0].lower()}{reason[1:]}"


def _key_as_written(node: yaml.Node, place: Sequence[str | int], mapping: Mapping[Any, Any], key: object) -> str:
    """A key as it stands in the file, where YAML may have made something else of it: `on` is true."""
    here = _node_at(node, place)
    keys = list(mapping)
    if not isinstance(key, str) and isinstance(here, yaml.MappingNode) and len(here.value) == len(keys):
        return str(here.value[keys.index(key)][0].value)
    return str(key)


def _written(node: yaml.Node | None) -> str:
    """A single value as it stands in the file; empty: it is none, or nothing."""
    is_something = isinstance(node, yaml.ScalarNode) and not node.tag.endswith(":null")
    return str(node.value) if is_something and node else ""


def _node_at(node: yaml.Node | None, place: Sequence[str | int]) -> yaml.Node | None:
    for part in place:
        if isinstance(node, yaml.MappingNode):
            node = next((value for key, value in node.value if key.value == str(part)), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
        else:
            return None
    return node


def _line(node: yaml.Node | None, place: Sequence[str | int]) -> int:
    """The line of the innermost node on the way to `place`, from 1."""
    line = node.start_mark.line + 1 if node and not place else 1
    for part in place:
        if node is None:
            break
        line = node.start_mark.line + 1
        if isinstance(node, yaml.MappingNode):
            pairs = [(key, value) for key, value in node.value if key.value == str(part)]
            line = pairs[0][0].start_mark.line + 1 if pairs else line
            node = pairs[0][1] if pairs else None
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
    return line
