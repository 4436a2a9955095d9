"""What a validator expected of a value in a file, in the words of whoever writes the file. Pure.

Owns the way from pydantic's errors to those words; several errors about one value, one for each member of a union,
are one expectation. https://docs.pydantic.dev/latest/errors/validation_errors/
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import yaml

_TEXT: Final = "a text"
_WHOLE: Final = "a whole number"
_NUMBER: Final = "a number"
_MAPPING: Final = "a mapping"
_LIST: Final = "a list"
_BOOLEAN: Final = "true or false"
_KINDS: Final[Mapping[str, str]] = {
    "string_type": _TEXT,
    "int_type": _WHOLE,
    "int_parsing": _WHOLE,
    "int_from_float": _WHOLE,
    "float_type": _NUMBER,
    "float_parsing": _NUMBER,
    "list_type": _LIST,
    "tuple_type": _LIST,
    "dict_type": _MAPPING,
    "model_type": _MAPPING,
    "bool_type": _BOOLEAN,
    "bool_parsing": _BOOLEAN,
}
_ORDER: Final = (_TEXT, _NUMBER, _WHOLE, _LIST, _MAPPING, _BOOLEAN)
_BOUNDS: Final[Mapping[str, Callable[[Any], str]]] = {
    "greater_than_equal": lambda ctx: f"{ctx['ge']} or more",
    "greater_than": lambda ctx: f"more than {ctx['gt']}",
    "less_than_equal": lambda ctx: f"{ctx['le']} or less",
    "less_than": lambda ctx: f"less than {ctx['lt']}",
    "string_too_short": lambda ctx: f"a text of {_count(ctx['min_length'], 'character')} or more",
    "too_short": lambda ctx: f"a list of {_count(ctx['min_length'], 'entry', 'entries')} or more",
}


def expectation(errors: Sequence[Any], key: str, schema: Mapping[str, Any], written: str) -> str:
    """
    What was expected of one value, and how to write it; empty: no words for it here.

    `errors` are all that there are about it, `schema` is its own JSON schema, and `written` is how it stands in the
    file where it is a single word or number.
    """
    error = errors[0]
    if error["type"] in _BOUNDS:
        return f"expected {_BOUNDS[error['type']](error['ctx'])}"
    if error["type"] == "invalid-json-value":
        return f"expected what JSON can hold{_in_quotes(written)}"
    kinds = [_KINDS[one["type"]] for one in errors if one["type"] in _KINDS]
    if len(kinds) != len(errors):
        return ""
    if len(kinds) == 1:
        return f"expected {_one_kind(kinds[0], key, schema, written)}"
    if _NUMBER in kinds:
        kinds = [kind for kind in kinds if kind != _WHOLE]
    words = sorted(set(kinds), key=_ORDER.index)
    return f"expected {_either(words)}{_in_quotes(written) if _TEXT in kinds else ''}"


def _one_kind(kind: str, key: str, schema: Mapping[str, Any], written: str) -> str:
    if kind == _TEXT:
        return f"{kind}{_in_quotes(written)}"
    if kind in {_WHOLE, _NUMBER}:
        unit = "seconds, " if key.endswith("Seconds") else ""
        return f"{unit}{kind}, such as {schema['default']}" if "default" in schema else f"{unit}{kind}"
    if kind == _LIST:
        return f"{kind}, such as [a, b]"
    if kind == _MAPPING:
        if examples := schema.get("examples"):
            return f"{kind}, such as {_flow(examples[0])}"
        if keys := schema.get("properties"):
            return f"{kind} with the keys {', '.join(keys)}"
    return kind


def _in_quotes(written: str) -> str:
    return f': write "{written}" in quotes' if written else ""


def _either(words: Sequence[str]) -> str:
    return " or ".join(words) if len(words) < 3 else f"{', '.join(words[:-1])}, or {words[-1]}"  # noqa: PLR2004 - a and b, or more


def _count(number: int, one: str, more: str = "") -> str:
    return f"{number} {one if number == 1 else more or f'{one}s'}"


def _flow(value: Any) -> str:  # noqa: ANN401 - any value of JSON
    return yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=1 << 30).strip()
