"""Job names from item names: always valid, never colliding, the same for ever.

The name is the lock: two managers that see one item make one Job, because they make it under one name. Item names
are arbitrary UTF-8; Job names are kept to RFC 1123 labels of at most 57 characters, so that the controller's suffix
for pods (6 more) fits in 63 too. tests/unit/manager/names_golden.json freezes this function.
https://kubernetes.io/docs/concepts/overview/working-with-objects/names/
"""

import hashlib
import re
from typing import Final

JOB_NAME_MAX: Final = 57
_HASH_DIGITS: Final = 16
_QUEUE_MAX: Final = 30
_NOT_LABEL: Final = re.compile(r"[^a-z0-9]+")
_QUEUE: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,51}[a-z0-9])?")


def item_digest(queue: str, item: str) -> str:
    """The item's identity in its queue: 64 hex digits of SHA-256 over queue, NUL, item."""
    return hashlib.sha256(f"{queue}\0{item}".encode()).hexdigest()


def job_name(queue: str, item: str) -> str:
    """
    The one name that the Job of `item` has in `queue`: `<queue>-<slug>-<16 hex>`, an RFC 1123 label.

    The slug is for people: the end of the item's name, since that is where files differ. Queue and slug are cut to
    fit, the hash never; a name without a letter or digit of ASCII has no slug.
    """
    digest = item_digest(queue, item)[:_HASH_DIGITS]
    head = queue[:_QUEUE_MAX].rstrip("-")
    room = JOB_NAME_MAX - len(head) - _HASH_DIGITS - len("--")
    slug = _NOT_LABEL.sub("-", item.lower()).strip("-")[-room:].strip("-")
    return "-".join(part for part in (head, slug, digest) if part)


def is_queue_name(name: str) -> bool:
    """Whether `name` can name a queue: an RFC 1123 label of at most 53 characters, as a Helm release's name."""
    return _QUEUE.fullmatch(name) is not None


def queue_name_from(text: str) -> str:
    """The nearest queue name to any text, a folder's name for instance; `queue` where nothing is left of it."""
    return _NOT_LABEL.sub("-", text.lower()).strip("-")[:53].strip("-") or "queue"
