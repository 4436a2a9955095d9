"""`${…}` references: filled on parsed values, one argument staying one argument."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longshore_kit.contract import Item
from longshore_kit.errors import ItemRejected
from longshore_kit.expansion import expand
from longshore_kit.references import fill, references, unknown_references
from support.queues import NASTY_NAMES, item_named

FOLDERS = {"MEDIA_PATH": "/media"}
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


def test_a_volume_and_a_value_fill_one_argument() -> None:
    """References stand within a text, and the whole stays one argument."""
    assert fill("${MEDIA_PATH}/${item.path}", item_named("a b.mp4"), FOLDERS) == "/media/a b.mp4"


@pytest.mark.parametrize("name", NASTY_NAMES, ids=repr)
def test_a_value_arrives_as_it_is(name: str) -> None:
    """Whatever stands in an item, `$(HOME)` and `$$` included, the worker gets it after Kubernetes' own expansion."""
    assert expand(fill("<${item.path}>", item_named(name), {}), {"HOME": "/root"}) == f"<{name}>"


@given(value=JSON_VALUES.filter(lambda value: not isinstance(value, str)))
def test_a_value_that_is_no_string_goes_in_as_json(value: object) -> None:
    """Numbers, lists and objects are told as JSON, so that nothing is lost."""
    assert json.loads(expand(fill("${item.x}", Item("i", {"x": value}), {}), {})) == value


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("${name}", "i"),
        ("${item.meta.tags.1}", "b"),
        ("${item.size}", "12"),
        ("${item.ok}", "true"),
        ("${item.none}", "null"),
        ("${item.meta}", '{"tags":["a","b"]}'),
        ("$${item.size}", "${item.size}"),
        ("$(HOME) stays", "$(HOME) stays"),
        ("no references", "no references"),
    ],
)
def test_what_a_reference_stands_for(text: str, filled: str) -> None:
    """Values at any depth, the name, the text itself; what is not a reference stays."""
    item = Item("i", {"meta": {"tags": ["a", "b"]}, "size": 12, "ok": True, "none": None})

    assert fill(text, item, {}) == filled


def test_a_value_is_never_filled_again() -> None:
    """A value that looks like a reference stays a value."""
    item = Item("i", {"path": "${name} ${MEDIA_PATH}"})

    assert expand(fill("${item.path}", item, FOLDERS), {}) == "${name} ${MEDIA_PATH}"


@pytest.mark.parametrize("path", ["item.nothing", "item.path.deeper", "item.list.7", "item.list.x", "item."])
def test_a_reference_to_nothing_rejects_the_item_and_is_named(path: str) -> None:
    """An item without the value can't be done; its reason names the reference and what there is."""
    item = Item("i", {"path": "p", "list": [1]})

    with pytest.raises(ItemRejected) as caught:
        fill(f"${{{path}}}", item, {})

    assert str(caught.value) == f"${{{path}}}: the item has no such value; its data has path, list"


def test_a_nul_rejects_the_item() -> None:
    """No argument can hold a NUL."""
    with pytest.raises(ItemRejected, match=r"\$\{item\.path\} has a NUL"):
        fill("${item.path}", Item("i", {"path": "a\0b"}), {})


def test_references_that_no_item_can_fill_are_found_before_there_is_one() -> None:
    """A typing error in the queue file is told at once, not once per item."""
    assert unknown_references("${MEDIA_PAHT} ${item.x} ${name} $${HOME} ${f%.*}", FOLDERS) == ["MEDIA_PAHT", "f%.*"]


def test_an_escaped_reference_is_none() -> None:
    """`$${x}` is text."""
    assert list(references("$${x}${y}")) == ["y"]


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("$(A)", "1"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$$$$", "$$"),
        ("$(B)", "$(B)"),
        ("$A ${A} $(A", "$A ${A} $(A"),
        ("a$", "a$"),
    ],
)
def test_variables_expand_as_in_kubernetes(text: str, expanded: str) -> None:
    """The process engine reads `$(VAR)` and `$$` as the kubelet does."""
    assert expand(text, {"A": "1"}) == expanded
