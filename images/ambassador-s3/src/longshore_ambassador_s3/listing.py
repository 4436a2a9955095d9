"""All keys below a prefix, page after page, in bounded memory.

Owns when a list is whole: at the page that says so. A page that is none, or a token that comes again, is an error.
"""

from collections.abc import Iterator
from typing import Protocol

from longshore_ambassador_s3.page import NoPage, Page, parse_page
from longshore_kit.errors import SourceUnavailable
from longshore_kit.s3 import STORE_ERRORS, in_words


class Lister(Protocol):
    """Where pages come from."""

    def page(self, bucket: str, prefix: str, token: str) -> bytes:
        """One page, as XML."""


def pages(lister: Lister, bucket: str, prefix: str, *, with_etags: bool = False) -> Iterator[Page]:
    """
    Every page.

    Raises:
        SourceUnavailable: the store did not give one of them; what came before is no list.
    """
    seen, token = set(), ""
    while True:
        try:
            page = parse_page(lister.page(bucket, prefix, token), with_etags=with_etags)
        except STORE_ERRORS as exc:
            raise SourceUnavailable(f"bucket {bucket!r} can't be listed: {in_words(exc)}") from exc
        except NoPage as exc:
            raise SourceUnavailable(f"bucket {bucket!r}: the store's answer is no whole page of a list: {exc}") from exc
        yield page
        if not page.token:
            return
        # A digest of each would do too; a million keys have a thousand tokens.
        if page.token in seen:
            raise SourceUnavailable(f"bucket {bucket!r}: the store gave the same page twice; asking again")
        seen.add(page.token)
        token = page.token
