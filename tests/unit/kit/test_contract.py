"""The wire forms: names, encoding, and a parser that believes nothing."""

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longshore_kit import contract
from longshore_kit.contract import Item, ItemList, Malformed, SourceInfo, Status
from support.queues import NASTY_NAMES

# Surrogates are no UTF-8; what is left is filtered by the rule itself.
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=300).filter(
    lambda name: contract.name_problem(name) is None
)


class TestNames:
    """What may be an item's name."""

    @pytest.mark.parametrize("name", [*NASTY_NAMES, "a", "..a", " "], ids=ascii)
    def test_allowed(self, name: str) -> None:
        """Any UTF-8 of 1 to 1024 bytes is a name."""
        assert contract.name_problem(name) is None

    @pytest.mark.parametrize(
        ("name", "problem"),
        [
            ("", "it is empty"),
            (".", "clients remove it from URLs"),
            ("..", "clients remove it from URLs"),
            ("a\0", "it contains a NUL"),
            ("\ud800", "it is not valid UTF-8"),
            ("x" * 1025, "it has 1025 bytes, 1024 are allowed"),
            ("é" * 513, "it has 1026 bytes, 1024 are allowed"),
        ],
    )
    def test_refused(self, name: str, problem: str) -> None:
        """What can't be a name is refused with a reason."""
        assert contract.name_problem(name) == problem

    @given(NAMES)
    def test_round_trip(self, name: str) -> None:
        """A name comes out of a URL as it went in, and is one part of its path."""
        part = contract.quote_name(name)

        assert (contract.unquote_name(part), "/" in part, part.isascii()) == (name, False, True)

    @given(st.lists(st.text(max_size=4)))
    def test_split(self, names: list[str]) -> None:
        """Split names are each once, in order, and good or bad as `name_problem` says of each."""
        good, bad = contract.split_names(names)

        assert good == tuple(dict.fromkeys(name for name in names if contract.name_problem(name) is None))
        assert bad == {name: problem for name in names if (problem := contract.name_problem(name))}

    @pytest.mark.parametrize(
        ("part", "message"),
        [
            ("%ff", "the name in the path is not valid UTF-8"),
            ("", "'' is no item name: it is empty"),
            ("%2e%2e", "'..' is no item name: clients remove it from URLs"),
            ("%00", "'\\x00' is no item name: it contains a NUL"),
        ],
    )
    def test_part_that_is_no_name(self, part: str, message: str) -> None:
        """A part of a path that is no name is malformed, in words."""
        with pytest.raises(Malformed) as raised:
            contract.unquote_name(part)

        assert str(raised.value) == message


class TestWire:
    """What is sent."""

    def test_forms(self) -> None:
        """Each message has its kind, its version, and its own fields."""
        messages: list[Item | ItemList | SourceInfo | Status] = [
            Item("a", {"x": 1}),
            ItemList(("a",)),
            ItemList(("a",), "more"),
            SourceInfo(("ack",)),
            Status(404, "NotFound", "no a"),
        ]

        assert [message.to_wire() for message in messages] == [
            {"kind": "Item", "apiVersion": "v1", "data": {"x": 1}},
            {"kind": "ItemList", "apiVersion": "v1", "items": ["a"]},
            {"kind": "ItemList", "apiVersion": "v1", "items": ["a"], "metadata": {"continue": "more"}},
            {"kind": "SourceInfo", "apiVersion": "v1", "capabilities": ["ack"]},
            {
                "kind": "Status",
                "apiVersion": "v1",
                "status": "Failure",
                "reason": "NotFound",
                "message": "no a",
                "code": 404,
            },
        ]

    def test_encoding(self) -> None:
        """JSON is compact, in UTF-8, and without NaN."""
        assert contract.encode({"é": [1, None]}) == '{"é":[1,null]}'.encode()
        with pytest.raises(ValueError, match="not JSON compliant"):
            contract.encode({"a": float("nan")})

    @pytest.mark.parametrize(
        ("one", "other"), [(("a", "b"), ("b", "a")), ((), ("",)), (("a", "b"), ("ab",)), (("a",), ("a", "a"))]
    )
    def test_versions_differ(self, one: tuple[str, ...], other: tuple[str, ...]) -> None:
        """Lists that differ in names or order have different versions."""
        assert ItemList(one).version != ItemList(other).version

    def test_version_is_for_ever(self) -> None:
        """A list has the same version in every process and release: ETags outlive a restart."""
        assert ItemList(("a.mp4", "動画")).version == "51efcb954889cc1c832f22b4931c3880"


class TestParsing:
    """What is read."""

    @given(st.lists(NAMES, max_size=5), st.text(st.characters(exclude_categories=["Cs"])))
    def test_list_round_trip(self, names: list[str], token: str) -> None:
        """A list is read as it was sent."""
        sent = ItemList(tuple(names), token)

        assert contract.parse_item_list(contract.encode(sent.to_wire())) == sent

    def test_item_round_trip(self) -> None:
        """An item is read as it was sent."""
        sent = Item("a", {"a": [1, 2.5, None, True, {"b": "é"}]})

        assert contract.parse_item(contract.encode(sent.to_wire()), "a") == sent

    def test_unknown_fields_are_ignored(self) -> None:
        """What a later version adds is no error."""
        wire = {"kind": "ItemList", "apiVersion": "v1", "items": ["a"], "metadata": {"x": 1}, "more": 2}

        assert contract.parse_item_list(json.dumps(wire).encode()) == ItemList(("a",))

    @pytest.mark.parametrize(
        ("wire", "message"),
        [
            ([], "expected an object of kind ItemList, got a list"),
            ({"apiVersion": "v1", "items": []}, "expected kind 'ItemList', got None"),
            ({"kind": "Status", "apiVersion": "v1"}, "expected kind 'ItemList', got 'Status'"),
            ({"kind": "ItemList", "items": []}, "expected apiVersion 'v1', got None"),
            ({"kind": "ItemList", "apiVersion": "v1"}, "ItemList.items must be a list, it is null or missing"),
            ({"kind": "ItemList", "apiVersion": "v1", "items": {}}, "ItemList.items must be a list, it is an object"),
            (
                {"kind": "ItemList", "apiVersion": "v1", "items": ["a", 1]},
                "ItemList.items[1] must be a string, it is a number",
            ),
            (
                {"kind": "ItemList", "apiVersion": "v1", "items": [True]},
                "ItemList.items[0] must be a string, it is a boolean",
            ),
            (
                {"kind": "ItemList", "apiVersion": "v1", "items": [], "metadata": {"continue": 1}},
                "ItemList.metadata.continue must be a string",
            ),
            (
                {"kind": "ItemList", "apiVersion": "v1", "items": [], "metadata": "x"},
                "ItemList.metadata.continue must be a string",
            ),
        ],
    )
    def test_malformed_list(self, wire: object, message: str) -> None:
        """A list that is not in the contract's words is malformed, and says where: never an empty list."""
        with pytest.raises(Malformed) as raised:
            contract.parse_item_list(json.dumps(wire).encode())

        assert str(raised.value) == message

    @pytest.mark.parametrize(("data", "is_a"), [([], "a list"), (None, "null or missing"), ("x", "a string")])
    def test_malformed_item(self, data: object, is_a: str) -> None:
        """An item's data is an object, or the item is malformed."""
        with pytest.raises(Malformed) as raised:
            contract.parse_item(json.dumps({"kind": "Item", "apiVersion": "v1", "data": data}).encode(), "a")

        assert str(raised.value) == f"Item.data must be an object, it is {is_a}"

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"{",
            b"\xff",
            b"{} {}",
            b'{"a": NaN}',
            b"[-Infinity]",
            b'{"a": 1, "a": 2}',
            b"[" * 100_000,
            b"\xef\xbb\xbf{}",
        ],
        ids=ascii,
    )
    def test_no_json(self, body: bytes) -> None:
        """What is no JSON, by the letter, is malformed, and nothing else is raised."""
        with pytest.raises(Malformed):
            contract.decode(body)

    @given(st.binary(max_size=200))
    def test_any_bytes(self, body: bytes) -> None:
        """Whatever bytes come, they are read or malformed."""
        try:
            decoded: Any = contract.decode(body)
        except Malformed:
            return
        assert json.loads(body) == decoded


@pytest.mark.parametrize("data", [r'{"x": "\ud800"}', r'{"\udfff": 1}', '{"x": 1e400}', '{"x": -1e999}'])
def test_an_item_that_could_not_be_written_again_is_refused(data: str) -> None:
    """Half of a character, or a number beyond all numbers: it would break whoever passes it on."""
    with pytest.raises(Malformed):
        contract.parse_item(f'{{"kind": "Item", "apiVersion": "v1", "data": {data}}}'.encode(), "a")


@given(st.recursive(st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(), st.lists))
def test_what_was_read_can_be_written(value: object) -> None:
    """Everything that is JSON in UTF-8 goes through."""
    data = {"x": value}
    body = json.dumps({"kind": "Item", "apiVersion": "v1", "data": data}).encode()

    assert contract.decode(contract.encode(contract.parse_item(body, "a").data)) == data


@pytest.mark.parametrize("count", [0, 1, 10_000, 10_001, 25_000])
def test_a_long_list_made_in_parts_is_the_same(count: int) -> None:
    """Bytes and version are those of the whole, whatever it was cut into."""
    names = tuple(f"é {number}" for number in range(count))
    whole = ItemList(names, pending_count=3)
    digest = hashlib.blake2b("\0".join(names).encode() + f"{count} 3".encode(), digest_size=16)

    assert contract.encode_list(whole) == contract.encode(whole.to_wire())
    assert whole.version == digest.hexdigest()


def test_names_that_ascend_are_taken_as_they_are() -> None:
    """Each is there once and allowed: nothing is made of them."""
    names = ("abc", "abd", "b/c")

    assert contract.split_names(names)[0] is names
    assert contract.split_names(("abd", "abc", "abd", "..")) == (("abd", "abc"), {"..": "clients remove it from URLs"})


@given(st.lists(st.text(max_size=3)))
def test_names_are_split_alike_whatever_they_come_in(names: list[str]) -> None:
    """A tuple that is good as it is stays the very same; what is found wrong, and what stands twice, is the same."""
    found, left_out = contract.split_names(tuple(names))

    assert (found, left_out) == contract.split_names(iter(names))
    assert sorted(set(names)) == sorted([*found, *left_out])
