"""What `longshore init` writes is a queue file, whatever was answered."""

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longshore.draft import ITEMS_AT, Draft, SourceKind, text_of, words_of
from longshore.queuefile import parse
from longshore.sources import Source
from longshore_kit.errors import SettingsError

# What a command line can hold: no NUL, and nothing that is no text. A reference to nothing is refused by the parser.
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0$"), min_size=1, max_size=40)
NAMES = st.from_regex(r"[a-z]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)


@pytest.mark.parametrize("kind", SourceKind)
@given(
    image=st.one_of(st.just(""), TEXTS),
    command=st.lists(TEXTS, max_size=4),
    name=st.one_of(st.just(""), NAMES),
)
def test_every_combination_is_a_queue_file(kind: SourceKind, image: str, command: list[str], name: str) -> None:
    """Texts arrive as they were given, whatever YAML would make of them."""
    command = command if image or command else ["true"]
    spec = parse(text_of(Draft(kind, image=image, command=command, name=name)))

    assert (spec.source.kind, spec.worker.image, spec.worker.command) == (kind, image, tuple(command))
    assert spec.queue.name == name


@given(at=TEXTS)
def test_where_items_are_is_taken_as_it_is(at: str) -> None:
    """A folder may be called anything."""
    spec = parse(text_of(Draft(SourceKind.NFS, at=at, command=["true"])))

    assert spec.volumes["items"].host_path is not None
    assert spec.volumes["items"].host_path.path == at


@pytest.mark.parametrize("at", ["videos/2026/", "s3://videos/2026/"])
def test_a_bucket_may_have_a_prefix_behind_it(at: str) -> None:
    """As people write the two together; in the file they are two keys."""
    spec = parse(text_of(Draft(SourceKind.S3, at=at, command=["true"])))

    assert spec.source.s3 is not None
    assert (spec.source.s3.bucket, spec.source.s3.prefix) == ("videos", "2026/")


@pytest.mark.parametrize("kind", SourceKind)
def test_every_kind_says_where_its_items_are(kind: SourceKind) -> None:
    """In words, for a question."""
    assert ITEMS_AT[kind][0]


def test_there_is_a_draft_for_every_kind_of_source() -> None:
    """A kind that the queue file has is one to begin with."""
    assert [str(kind) for kind in SourceKind] == list(get_args(Source.model_fields["kind"].annotation))


def test_a_source_of_ones_own_may_be_a_command() -> None:
    """As words, quoted as in a shell; a quote that is left open is told."""
    spec = parse(text_of(Draft(SourceKind.CUSTOM, at="node 'my ambassador.mjs'", command=["true"])))

    assert spec.source.custom is not None
    assert spec.source.custom.command == ("node", "my ambassador.mjs")
    with pytest.raises(SettingsError, match="No closing quotation"):
        words_of("echo 'x", "--command")
