"""The objects of a bucket as a source of items: an item's name is its key.

Owns which objects are items. Keeps their names and nothing else. Refuses to take a list that broke off for a short one.
The contract: docs/source-contract.md.
"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC
from typing import TYPE_CHECKING, Final

from longshore_ambassador_s3.listing import Lister, pages
from longshore_ambassador_s3.settings import S3SourceSettings
from longshore_kit.contract import Item, ItemList
from longshore_kit.errors import ItemNotFound, SourceUnavailable
from longshore_kit.globs import Selection
from longshore_kit.keys import constant_prefix, fill_template
from longshore_kit.s3 import STORE_ERRORS, error_code, in_words

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

AT_ONCE: Final = 8
"""Prefixes that are listed side by side."""
_EVERYTHING: Final = ("**",)
_GONE: Final = frozenset({"404", "NoSuchKey", "NotFound"})
_VERSION: Final = "@"


class S3Source:
    """The objects that `settings` select, in the store's order, prefix after prefix."""

    def __init__(
        self,
        settings: S3SourceSettings,
        client: "S3Client",
        lister: Lister,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings: Final = settings
        self._client: Final = client
        self._lister: Final = lister
        self._monotonic: Final = monotonic
        # The longest first, so that a key is below the one that says most of it.
        self._prefixes: Final = sorted(dict.fromkeys(settings.s3_prefix or ("",)), key=len, reverse=True)
        takes_all = settings.s3_include == _EVERYTHING and not settings.s3_exclude
        self._selection: Final = None if takes_all else Selection(settings.s3_include, settings.s3_exclude)
        self._list = ItemList(())
        self._listed_at: float | None = None

    def list_items(self) -> ItemList:
        """As `Source.list_items`."""
        now = self._monotonic()
        if self._listed_at is not None and now - self._listed_at < self._settings.s3_poll_seconds:
            return self._list
        names = self._names()
        if names != self._list.names:
            self._list = ItemList(names)
        # From its end: who has given up waiting for a long one asks again, and finds it young.
        self._listed_at = self._monotonic()
        return self._list

    def get_item(self, name: str) -> Item:
        """As `Source.get_item`."""
        settings = self._settings
        key, _, etag = name.rpartition(_VERSION) if settings.s3_by_version else (name, "", "")
        if not self._takes(key):
            raise ItemNotFound(f"{name!r} is no item: neither prefix nor globs take it")
        try:
            found = self._client.head_object(Bucket=settings.s3_bucket, Key=key)
        except STORE_ERRORS as exc:
            if error_code(exc) not in _GONE:
                raise SourceUnavailable(f"{key!r} can't be looked at: {in_words(exc)}") from exc
            self._check_bucket()
            raise ItemNotFound(f"there is no object {key!r} in bucket {settings.s3_bucket!r}") from exc
        current = found["ETag"].strip('"')
        if settings.s3_by_version and current != etag:
            raise ItemNotFound(f"object {key!r} has changed: its ETag is {current}")
        return Item(
            name,
            {
                "bucket": settings.s3_bucket,
                "key": key,
                "size": found["ContentLength"],
                "etag": current,
                "modified": found["LastModified"].astimezone(UTC).isoformat().replace("+00:00", "Z"),
            },
        )

    def _names(self) -> tuple[str, ...]:
        done = self._outputs()
        # One that begins with another is listed with that.
        roots = [
            one for one in self._prefixes if not any(one != other and one.startswith(other) for other in self._prefixes)
        ]
        order = [one for one in self._settings.s3_prefix if one in roots] or roots
        with ThreadPoolExecutor(min(AT_ONCE, len(order))) as pool:
            parts = pool.map(lambda prefix: tuple(self._below(prefix, done)), dict.fromkeys(order))
            return tuple(name for part in parts for name in part) if len(order) > 1 else next(iter(parts))

    def _below(self, prefix: str, done: frozenset[str] | None) -> Iterator[str]:
        with_etags = self._settings.s3_by_version
        for page in pages(self._lister, self._settings.s3_bucket, prefix, with_etags=with_etags):
            if not with_etags and done is None and self._selection is None:
                # "a/" is how consoles make folders, and no object with anything in it.
                yield from (key for key in page.keys if key[-1:] != "/")
                continue
            names = map(_VERSION.join, zip(page.keys, page.etags, strict=True)) if with_etags else page.keys
            for key, name in zip(page.keys, names, strict=True):
                if self._takes(key) and (done is None or self._output_of(key) not in done):
                    yield name

    def _takes(self, key: str) -> bool:
        if not key or key.endswith("/"):
            return False
        prefix = self._prefix_of(key)
        if prefix is None or self._selection is None:
            return prefix is not None
        # A prefix that ends within a name, or before the slash, is no reason to take nothing.
        return self._selection.takes(key.removeprefix(prefix).removeprefix("/"))

    def _prefix_of(self, key: str) -> str | None:
        return next((prefix for prefix in self._prefixes if key.startswith(prefix)), None)

    def _output_of(self, key: str) -> str:
        return fill_template(self._settings.s3_unless_exists, key, self._prefix_of(key) or "")

    def _outputs(self) -> frozenset[str] | None:
        """The keys of what is there already, by one listing; None where it does not matter."""
        template = self._settings.s3_unless_exists
        if not template:
            return None
        bucket = self._settings.s3_output_bucket or self._settings.s3_bucket
        return frozenset(key for page in pages(self._lister, bucket, constant_prefix(template)) for key in page.keys)

    def _check_bucket(self) -> None:
        """A HEAD has no body to say what it is that is not there."""
        try:
            self._client.head_bucket(Bucket=self._settings.s3_bucket)
        except STORE_ERRORS as exc:
            why = "there is no such bucket" if error_code(exc) in {*_GONE, "NoSuchBucket"} else in_words(exc)
            raise SourceUnavailable(f"bucket {self._settings.s3_bucket!r}: {why}") from exc
