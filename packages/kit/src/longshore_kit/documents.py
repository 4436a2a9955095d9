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

Document = TypeVar("Document", bound=BaseModel)
_QUOTED: Final = re.compile(r"'([^']*)'")


@dataclass(frozen=True)
class Misfit:
    """Parts of a file that don't fit together."""

    place: tuple[str | int, ...]
    message: str

    def __str__(self) -> str:
        return f"{key_of(self.place)}: {self.message}"


def parse(
    text: str, model: type[Document], misfits: Callable[[Document], Iterator[Misfit]], *, where: str, needs: str
) -> Document:
    """
    The model of a file's text, which is YAML or JSON; `needs` says in words what an empty one lacks.

    `misfits` says what no part of the file shows by itself; the model's own validator must refuse on them too.

    Raises:
        SettingsError: it is wrong; a line for each thing that is, with its place.
    """
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        document = yaml.load(text, Loader=_UniqueKeys)  # noqa: S506 - _UniqueKeys is a SafeLoader
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        place = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise SettingsError(f"{where}{place}: no valid YAML: {exc.problem or exc.context}") from exc
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as exc:
        # PyYAML lets through what its constructors raise: 2020-13-45 looks like a date, and is none.
        raise SettingsError(f"{where}: no valid YAML: {' '.join(str(exc).split())}") from exc
    if document is None:
        raise SettingsError(f"{where}: is empty: {needs}")
    if not isinstance(document, dict):
        raise SettingsError(f"{where}: {needs}; found a {type(document).__name__}")
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


class _Teller:
    """Says what is wrong with one file."""

    def __init__(self, where: str, node: yaml.Node | None, model: type[BaseModel]) -> None:
        self._where: Final = where
        self._node: Final = node
        self._model: Final = model

    def told(
        self, document: Mapping[str, Any], errors: Sequence[Any], misfits: Callable[[Any], Iterator[Misfit]]
    ) -> list[str]:
        """A line for each mistake, in the file's order."""
        found = [(_line(self._node, error["loc"]), self._problem(error)) for error in errors if error["loc"]]
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

    def _problem(self, error: Any) -> str:  # noqa: ANN401 - pydantic_core.ErrorDetails
        key = key_of([part for part in error["loc"] if not _is_type_name(part)])
        reason = str(error["msg"])
        # Our own reasons stand as they are written; pydantic's begin with a capital.
        reason = str(error["ctx"]["error"]) if error["type"] == "value_error" else f"{reason[0].lower()}{reason[1:]}"
        if error["type"] == "extra_forbidden":
            keys = self._keys_at(error["loc"][:-1])
            return f"{key}: no such key" + (nearest(str(error["loc"][-1]), keys) or f"; there are {', '.join(keys)}")
        if error["type"] in {"tuple_type", "list_type"}:
            return f"{key}: expected a list, such as [a, b]"
        if error["type"] == "literal_error":
            expected = str(error["ctx"]["expected"])
            return f"{key}: expected {expected}{nearest(str(error['input']), _QUOTED.findall(expected))}"
        if error["type"] == "missing":
            return f"{key}: is missing"
        return f"{key}: {reason}" if key else reason

    def _keys_at(self, place: Sequence[str | int]) -> list[str]:
        schema: Any = self._model.model_json_schema(by_alias=True)
        here = schema
        for part in place:
            at = here.get("items") if isinstance(part, int) else here.get("properties", {}).get(part)
            here = at or here.get("additionalProperties") or {}
            for option in [here, *here.get("anyOf", ()), *here.get("allOf", ())]:
                if "$ref" in option:
                    here = schema["$defs"][option["$ref"].rsplit("/", 1)[1]]
        return list(here.get("properties", {}))


def _is_type_name(part: object) -> bool:
    """Whether a part of pydantic's location names a member of a union, and no key of the file."""
    return part in {"str", "bool", "int", "float"} or (isinstance(part, str) and part.startswith("tuple["))


def _line(node: yaml.Node | None, place: Sequence[str | int]) -> int:
    """The line of the innermost node on the way to `place`, from 1."""
    line = 1
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
