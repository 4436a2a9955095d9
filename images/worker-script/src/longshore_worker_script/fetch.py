"""The step `fetch`: an object or a web page as a file, whole or not at all.

Owns that what lies there at the end is one version of it, with every byte: a break is gone on from where it was, and an
object that has changed meanwhile is an error. Memory does not grow with size.
"""

import hashlib
import random
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from longshore_kit.errors import ItemFailed, ItemRejected
from longshore_kit.s3 import ATTEMPTS, STORE_ERRORS, error_code, in_words
from longshore_worker_script.origin import S3Object, WebPage
from longshore_worker_script.web import Web
from longshore_worker_script.workplace import Fetched, Workplace

if TYPE_CHECKING:
    from collections.abc import Callable

    from types_boto3_s3 import S3Client

CHUNK_BYTES: Final = 1024 * 1024
_GONE: Final = frozenset({"NoSuchKey", "404", "NotFound"})
_MD5: Final = re.compile(r"[0-9a-f]{32}")


def fetch(
    origin: S3Object | WebPage, place: Workplace, *, client: "Callable[[], S3Client]", web: Web, limit: int, name: str
) -> Fetched:
    """
    Fetch the item's input into its workplace, which is emptied first.

    Raises:
        ItemRejected: it is not there any more, or is larger than it may be.
        ItemFailed: it could not be fetched this time.
    """
    place.clear()
    target = place.input_for(origin.key, name)
    if isinstance(origin, WebPage):
        etag = web.fetch(origin.url, target, limit)
    else:
        etag = _Download(client(), origin, target, limit).run()
    fetched = Fetched(target.name, target.stat().st_size, etag)
    place.tell(fetched)
    return fetched


class _Download:
    def __init__(self, client: "S3Client", origin: S3Object, target: Path, limit: int) -> None:
        self.client: Any = client
        self.origin = origin
        self.target = target
        self.limit = limit
        self.etag = ""
        self.size = 0

    def run(self) -> str:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                head = self._part()
            except STORE_ERRORS as exc:
                self._refuse(exc)
                if attempt == ATTEMPTS:
                    raise ItemFailed(f"{self._shown} could not be fetched: {in_words(exc)}") from exc
                time.sleep(min(10.0, 0.2 * 2**attempt) * random.uniform(0.5, 1))  # noqa: S311 - spreads load
            else:
                self._check(head)
                break
        return self.etag

    def _part(self) -> Any:  # noqa: ANN401 - the client's reply
        done = self.target.stat().st_size if self.target.exists() else 0
        if done >= self.size:
            # All was there, and something was wrong with it: from the beginning.
            self.target.unlink(missing_ok=True)
            done = 0
        # From where it broke off, and of that very version.
        more = {"Range": f"bytes={done}-", "IfMatch": f'"{self.etag}"'} if done else {}
        reply = self.client.get_object(Bucket=self.origin.bucket, Key=self.origin.key, **more)
        if done and "ContentRange" not in reply:
            # A store that knows no ranges sends all of it.
            self.target.unlink()
            done = 0
        self.etag = reply["ETag"].strip('"')
        self.size = done + reply["ContentLength"]
        if self.limit and self.size > self.limit:
            raise ItemRejected(f"{self._shown} has {self.size} bytes, MAX_INPUT_BYTES allows {self.limit}")
        with self.target.open("ab") as file:
            for chunk in reply["Body"].iter_chunks(CHUNK_BYTES):
                file.write(chunk)
        return reply

    def _refuse(self, exc: Exception) -> None:
        code = error_code(exc)
        if code in _GONE:
            raise ItemRejected(f"there is no object {self._shown}, or not any more") from exc
        if code in {"PreconditionFailed", "412"}:
            raise ItemFailed(f"{self._shown} was changed while it was fetched") from exc

    def _check(self, reply: Any) -> None:  # noqa: ANN401 - the same
        size = self.target.stat().st_size
        if size != self.size:
            raise ItemFailed(f"{self._shown} has {self.size} bytes, {size} arrived")
        # An ETag is the MD5 only of what was stored in one piece, and not encrypted with a key of KMS.
        is_md5 = _MD5.fullmatch(self.etag) and "kms" not in str(reply.get("ServerSideEncryption", ""))
        if is_md5 and not reply.get("SSECustomerAlgorithm") and _digest(self.target) != self.etag:
            raise ItemFailed(f"{self._shown} arrived damaged: its MD5 is not its ETag {self.etag}")

    @property
    def _shown(self) -> str:
        return f"{self.origin.key!r} in bucket {self.origin.bucket!r}"


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
