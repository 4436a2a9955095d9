"""A page of a list from its XML: every store's form of it, and nothing that is less."""

from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longshore_ambassador_s3.page import NoPage, Page, parse_page
from longshore_kit.contract import quote_name

KEYS = st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1), max_size=5)


def xml_of(keys: list[str], *, encoded: bool = True, token: str = "", inside: str = "") -> bytes:
    """A page as AWS sends it."""
    written = [quote_name(key) if encoded else escape(key) for key in keys]
    contents = "".join(
        f"<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
        f"<ETag>&quot;{index}&quot;</ETag><Size>1</Size><StorageClass>STANDARD</StorageClass></Contents>"
        for index, key in enumerate(written)
    )
    more = f"<NextContinuationToken>{escape(token)}</NextContinuationToken>" if token else ""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<Name>b</Name><Prefix></Prefix>{more}<KeyCount>{len(keys)}</KeyCount><MaxKeys>1000</MaxKeys>"
        f"<IsTruncated>{'true' if token else 'false'}</IsTruncated>{contents}{inside}"
        f"{'<EncodingType>url</EncodingType>' if encoded else ''}</ListBucketResult>"
    ).encode()


@given(KEYS)
def test_every_key_comes_out_as_it_went_in(keys: list[str]) -> None:
    """Whatever is in it, encoded as in a URL."""
    assert parse_page(xml_of(keys), with_etags=True) == Page(keys, [str(index) for index in range(len(keys))], "")


@given(KEYS.map(lambda keys: [key.replace("\n", "").replace("\r", "") or "x" for key in keys]))
def test_stores_that_do_not_encode_are_read_too(keys: list[str]) -> None:
    """Then a key is XML's own text."""
    assert parse_page(xml_of(keys, encoded=False)).keys == keys


def test_a_plus_is_a_space_and_an_encoded_plus_is_one() -> None:
    """As forms are encoded, which is what stores do."""
    body = xml_of([]).replace(b"<EncodingType>", b"<Contents><Key>a+b%2Bc</Key></Contents><EncodingType>")

    assert parse_page(body).keys == ["a b+c"]


def test_a_token_asks_for_the_next_page() -> None:
    """As it was given, whatever is in it."""
    assert parse_page(xml_of(["a"], token="1/a&b=+")).token == "1/a&b=+"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "no list of a bucket"),
        (b"<html>Sign in</html>", "no list of a bucket"),
        (xml_of(["a", "b"])[:-40], "no list of a bucket"),
        (xml_of(["a"]).replace(b"<Key>a</Key>", b""), "1 entries and 0 keys"),
        (xml_of(["a"]).replace(b"<IsTruncated>false</IsTruncated>", b""), "does not say whether it is truncated"),
        (xml_of(["a"]).replace(b"false</Is", b"true</Is"), "has no token to go on with"),
    ],
)
def test_what_is_no_whole_page_is_none(body: bytes, words: str) -> None:
    """It would look like objects that are gone."""
    with pytest.raises(NoPage, match=words):
        parse_page(body)


def test_keys_without_etags_are_no_page_by_version() -> None:
    """Each must have one."""
    with pytest.raises(NoPage, match="1 keys and 0 ETags"):
        parse_page(xml_of(["a"]).replace(b"ETag", b"Etag"), with_etags=True)
