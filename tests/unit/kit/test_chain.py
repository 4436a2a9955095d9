"""A chain of stages: what each stage's item is made of, and how the adapter is told."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longshore_kit.chain import Chain, Link
from longshore_kit.contract import Item
from longshore_kit.errors import ItemRejected, SettingsError
from longshore_kit.references import fill_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
FOLDERS = {"work": "/work", "MEDIA_PATH": "/media"}


@given(value=VALUES)
def test_a_reference_alone_becomes_the_value_itself(value: object) -> None:
    """Of whatever type, at whatever depth, whatever stands in it."""
    assert fill_json({"a": ["${item.x}"]}, Item("i", {"x": value}), FOLDERS) == {"a": [value]}


@given(text=st.text())
def test_a_value_within_a_text_stays_a_value(text: str) -> None:
    """`${work}` in an item's value is these seven characters; nothing is filled twice."""
    assert fill_json("<${item.x}>", Item("i", {"x": text}), FOLDERS) == f"<{text}>"


@given(value=VALUES.filter(lambda value: not isinstance(value, str)))
def test_what_is_no_text_goes_into_a_text_as_json(value: object) -> None:
    """So that nothing is lost."""
    filled = fill_json("v=${item.x}", Item("i", {"x": value}), FOLDERS)

    assert json.loads(filled.removeprefix("v=")) == value


@given(template=VALUES)
def test_what_holds_no_reference_is_left_as_it_is(template: Any) -> None:
    """Numbers, nulls, keys, and texts without `${`."""
    if "${" not in json.dumps(template):
        assert fill_json(template, Item("i", {}), FOLDERS) == template


@pytest.mark.parametrize(
    ("template", "filled"),
    [
        ("${work}/faces.json", "/work/faces.json"),
        ("${MEDIA_PATH}/${item.path}", "/media/a b.jpg"),
        ("${name}", "the name"),
        ("$${work}", "${work}"),
        ("$${item.path} ${item.path}", "${item.path} a b.jpg"),
        ({"${work}": 1}, {"${work}": 1}),
        ("${item.meta.tags.1}", 2),
        ("${item.meta}", {"tags": [1, 2]}),
    ],
)
def test_what_a_template_becomes(template: object, filled: object) -> None:
    """Folders, the name, values at any depth; a key is never a reference, and an escaped one is its text."""
    item = Item("the name", {"path": "a b.jpg", "meta": {"tags": [1, 2]}})

    assert fill_json(template, item, FOLDERS) == filled


def test_a_reference_to_nothing_names_the_stage_and_itself() -> None:
    """The item can't be done; whoever reads why knows which line of the queue file asks for what."""
    chain = Chain("/work", "/stages", (Link("find", {}, {"photo": "${item.nope}"}),))

    with pytest.raises(ItemRejected) as caught:
        chain.item_of(chain.links[0], Item("i", {"path": "p"}))

    assert str(caught.value) == "the item of stage find: ${item.nope}: the item has no such value; its data has path"


def test_a_stage_without_a_template_gets_the_items_own_data() -> None:
    """What fits one worker fits a chain of one."""
    chain = Chain("/work", "/stages", (Link("find", {}, None),))

    assert chain.item_of(chain.links[0], Item("i", {"path": "p"})) == {"path": "p"}


@given(st.lists(st.builds(Link, st.text(), st.dictionaries(st.text(), st.text()), st.dictionaries(st.text(), VALUES))))
def test_a_chain_is_told_as_text_and_read_back(links: list[Link]) -> None:
    """What the manager says is what the adapter hears."""
    chain = Chain("/work", "/stages", tuple(links))

    assert Chain.from_text(chain.as_text()) == chain


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"links": [{}]}', '{"links": 1, "work_folder": "", "stages_folder": ""}']
)
def test_what_tells_of_no_chain_is_refused(text: str) -> None:
    """Whoever starts the adapter by hand is told what the variable is."""
    with pytest.raises(SettingsError, match=r"^STAGES holds no chain of stages .*: the manager sets it"):
        Chain.from_text(text)
