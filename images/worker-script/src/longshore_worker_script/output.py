"""Where results go: one template, filled for an item. Pure.

A bucket or a folder. Refuses what would leave the folder, and keys that no store takes.
"""

from dataclasses import dataclass
from typing import Final

from longshore_kit.errors import ItemRejected
from longshore_kit.keys import constant_prefix, fill_template

_S3: Final = "s3://"
KEY_MAX_BYTES: Final = 1024


@dataclass(frozen=True)
class Target:
    """Where one item's results go."""

    bucket: str
    """Empty: a folder of this machine."""
    base: str
    """What every key begins with; or the folder. Ends in a slash."""

    def key(self, name: str) -> str:
        """
        The key of one file.

        Raises:
            ItemRejected: no store takes one that long.
        """
        key = self.base + name
        if len(key.encode()) > KEY_MAX_BYTES:
            raise ItemRejected(f"the key {key[:80]!r}… has {len(key.encode())} bytes, {KEY_MAX_BYTES} are allowed")
        return key


def check_output(text: str) -> None:
    """
    Whether a template says a place.

    Raises:
        ValueError: it does not; the text says why.
    """
    if not text:
        return
    if not text.endswith("/"):
        raise ValueError("it must end in a slash: files are put below it")
    if not text.startswith(_S3) and constant_prefix(text) == text:
        raise ValueError("it names one folder for all items: put {path} into it")
    if text.startswith(_S3) and len(text.removeprefix(_S3).split("/", 1)[0]) < 3:  # noqa: PLR2004 - as S3 has it
        raise ValueError("it names no bucket: s3://bucket/…/")
    if text.startswith(_S3) and "{" in text.removeprefix(_S3).split("/", 1)[0]:
        raise ValueError("its bucket can't depend on the item")


def target_for(template: str, key: str, prefix: str) -> Target:
    """
    Where the results of an item of this key go.

    Raises:
        ItemRejected: its key would lead out of the folder.
    """
    if template.startswith(_S3):
        bucket, _, rest = template.removeprefix(_S3).partition("/")
        return Target(bucket, fill_template(rest, key, prefix))
    fixed = constant_prefix(template).rpartition("/")
    root = fixed[0] + fixed[1]
    base = fill_template(template, key, prefix)
    parts = base.removeprefix(root).removesuffix("/").split("/")
    if not base.startswith(root) or any(part in {"", ".", ".."} or "\0" in part for part in parts):
        raise ItemRejected(f"the key {key!r} names no folder below {root or './'}: it would be {base!r}")
    return Target("", base)
