"""One page of a bucket's list, from its XML. Pure, and fast: keys are cut out of the bytes, and nothing else is made.

Refuses whatever is not a whole page of the form that S3 gives, since a page with fewer keys than it should have would
look like objects that are gone. https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote_plus

_KEYS: Final = re.compile(rb"<Key>([^<]*)</Key>")
_ETAGS: Final = re.compile(rb"<ETag>([^<]*)</ETag>")
_TOKEN: Final = re.compile(rb"<NextContinuationToken>([^<]*)</NextContinuationToken>")
_REFERENCE: Final = re.compile(r"&([^;]*);")
_NAMED: Final = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}
_CONTENTS: Final = b"<Contents>"
_END: Final = b"</ListBucketResult>"
_ENCODED: Final = b"<EncodingType>url</EncodingType>"
_TRUNCATED: Final = b"<IsTruncated>true</IsTruncated>"
_WHOLE: Final = b"<IsTruncated>false</IsTruncated>"


class NoPage(ValueError):
    """These bytes are no page of a list; the text says why."""


@dataclass(frozen=True)
class Page:
    """Some keys, in the store's order."""

    keys: Sequence[str]
    etags: Sequence[str]
    """Of each key, without quotes; empty where they were not asked for."""
    token: str
    """Asks for the next page; empty: this is the last."""


def parse_page(body: bytes, *, with_etags: bool = False) -> Page:
    """
    The page in a store's reply.

    Raises:
        NoPage: it is anything but a whole one.
    """
    if not body.rstrip().endswith(_END):
        raise NoPage(f"no list of a bucket; it begins with {body[:60]!r}")
    raw = _KEYS.findall(body)
    if len(raw) != body.count(_CONTENTS):
        raise NoPage(f"{body.count(_CONTENTS)} entries and {len(raw)} keys")
    return Page(
        _texts(raw, is_encoded=_ENCODED in body),
        _etags(body, len(raw)) if with_etags else (),
        _token(body),
    )


def _texts(raw: list[bytes], *, is_encoded: bool) -> list[str]:
    try:
        # All at once: a key holds no newline that is not encoded, in either way.
        texts = b"\n".join(raw).decode().split("\n") if raw else []
    except UnicodeDecodeError as exc:
        raise NoPage(f"a key is not UTF-8: {exc.reason}") from exc
    if len(texts) != len(raw):
        raise NoPage("a key has a line break that is not encoded")
    if is_encoded:
        # What is not UTF-8 stays what it is, so that the kit reports it; replaced, it would be the name of nothing.
        return [unquote_plus(text, errors="surrogateescape") if "%" in text or "+" in text else text for text in texts]
    return [_unescape(text) if "&" in text else text for text in texts]


def _unescape(text: str) -> str:
    """XML's references resolved; by HTML's rules some control characters would become others."""
    return _REFERENCE.sub(_character, text)


def _character(reference: re.Match[str]) -> str:
    name = reference[1]
    try:
        return chr(int(name[1:].replace("x", "0x", 1), 0)) if name.startswith("#") else _NAMED[name]
    except (KeyError, ValueError, OverflowError) as exc:
        raise NoPage(f"&{name[:20]}; is no character") from exc


def _etags(body: bytes, count: int) -> list[str]:
    etags = [_unescape(etag.decode(errors="replace")).strip('"') for etag in _ETAGS.findall(body)]
    if len(etags) != count:
        raise NoPage(f"{count} keys and {len(etags)} ETags")
    return etags


def _token(body: bytes) -> str:
    tokens = _TOKEN.findall(body)
    is_truncated = _TRUNCATED in body
    if is_truncated == (_WHOLE in body):
        raise NoPage("it does not say whether it is truncated")
    if is_truncated and (len(tokens) != 1 or not tokens[0]):
        raise NoPage("it is truncated, and has no token to go on with")
    return _unescape(tokens[0].decode(errors="replace")) if is_truncated else ""
