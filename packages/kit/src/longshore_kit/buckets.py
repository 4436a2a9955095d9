"""Names of buckets, and what people write in place of one. Pure.

Takes what S3 and its like take, and the ARNs of access points. Refuses a prefix behind the name, which is a setting of
its own. https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
"""

import re
from typing import Annotated, Final

from pydantic import AfterValidator, Field

SCHEME: Final = "s3://"
_PATTERN: Final = r"^(|[A-Za-z0-9._-]{3,255}|arn:.*)$"
_NAME: Final = re.compile(_PATTERN)


def bucket_and_prefix(text: str) -> tuple[str, str]:
    """`videos/2026/` and `s3://videos/2026/` as the bucket `videos` and the prefix `2026/`."""
    name, _, prefix = text.removeprefix(SCHEME).partition("/")
    return (text, "") if text.startswith("arn:") else (name, prefix)


def _checked(name: str) -> str:
    if _NAME.fullmatch(name):
        return name
    bucket, prefix = bucket_and_prefix(name)
    if bucket in {"", name} or not _NAME.fullmatch(bucket):
        raise ValueError(f"{name!r} is no bucket's name: use 3 to 255 letters, digits, dots, dashes and underscores")
    also = f", and {prefix!r} as the prefix" if prefix else ""
    raise ValueError(f"{name!r} is more than a bucket's name: give {bucket!r}{also}")


Bucket = Annotated[str, AfterValidator(_checked), Field(json_schema_extra={"pattern": _PATTERN})]
"""A setting: a bucket's name, checked; or nothing."""
