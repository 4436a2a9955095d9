"""Names of buckets, and what is written in place of one."""

import pytest
from pydantic import TypeAdapter, ValidationError

from longshore_kit.buckets import Bucket, bucket_and_prefix

BUCKET = TypeAdapter[str](Bucket)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("videos", ("videos", "")),
        ("videos/", ("videos", "")),
        ("videos/2026/a", ("videos", "2026/a")),
        ("s3://videos/2026/", ("videos", "2026/")),
        ("arn:aws:s3:eu-west-1:1:accesspoint/a", ("arn:aws:s3:eu-west-1:1:accesspoint/a", "")),
    ],
)
def test_bucket_and_prefix_are_taken_apart(text: str, parts: tuple[str, str]) -> None:
    """As people write them together, with the scheme or without."""
    assert bucket_and_prefix(text) == parts


@pytest.mark.parametrize("name", ["videos", "my.Old_bucket-1", "arn:aws:s3:eu-west-1:1:accesspoint/a"])
def test_a_right_name_is_taken(name: str) -> None:
    """Stores other than AWS, and old buckets, have capitals and underscores in theirs."""
    assert BUCKET.validate_python(name) == name


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("videos/2026", "'videos/2026' is more than a bucket's name: give 'videos', and '2026' as the prefix"),
        ("s3://videos", "'s3://videos' is more than a bucket's name: give 'videos'"),
        ("my bucket", "'my bucket' is no bucket's name: use 3 to 255 letters, digits, dots, dashes and underscores"),
        ("ab", "'ab' is no bucket's name: use 3 to 255 letters, digits, dots, dashes and underscores"),
        ("/a", "'/a' is no bucket's name: use 3 to 255 letters, digits, dots, dashes and underscores"),
    ],
)
def test_what_is_no_name_is_told_in_words(name: str, words: str) -> None:
    """What is allowed is said, and what to give instead."""
    with pytest.raises(ValidationError) as caught:
        BUCKET.validate_python(name)

    assert [str(error["ctx"]["error"]) for error in caught.value.errors()] == [words]
