"""Job names: always valid, never colliding, the same for ever."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longshore.names import is_queue_name, item_digest, job_name, queue_name_from
from support.queues import NASTY_NAMES

LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
GOLDEN = json.loads((Path(__file__).parent / "names_golden.json").read_text(encoding="utf-8"))
ITEM_NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=1024)
QUEUE_NAMES = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,51}[a-z0-9])?", fullmatch=True)


@given(queue=QUEUE_NAMES, item=ITEM_NAMES)
def test_every_name_is_a_dns_label_of_at_most_57_characters(queue: str, item: str) -> None:
    """Whatever the item is called, its Job's name is one that the API server takes, with room for a pod's suffix."""
    name = job_name(queue, item)

    assert (LABEL.fullmatch(name) is not None, len(name) <= 57) == (True, True)


def test_a_hundred_thousand_nasty_names_give_as_many_job_names() -> None:
    """No two items share a Job: spelling, case, accents and path separators all count."""
    near = [f"{name}{number}" for name in NASTY_NAMES[:20] for number in range(5000)]
    items = {*near, *NASTY_NAMES}

    assert len(items) > 100_000
    assert len({job_name("q", item) for item in items}) == len(items)


@settings(max_examples=200)
@given(items=st.sets(ITEM_NAMES, min_size=2, max_size=50))
def test_different_items_have_different_jobs(items: set[str]) -> None:
    """Job names are injective on item names."""
    assert len({job_name("q", item) for item in items}) == len(items)


@given(item=ITEM_NAMES)
def test_the_hash_is_never_cut(item: str) -> None:
    """Queue and slug give way; the sixteen digits that tell items apart stay whole."""
    queue = "a-very-long-queue-name-of-fifty-three-characters-long"

    assert job_name(queue, item).endswith(item_digest(queue, item)[:16])


@pytest.mark.parametrize("vector", GOLDEN["vectors"], ids=lambda vector: repr(vector["item"][:20]))
def test_golden_vectors_never_change(vector: dict[str, str]) -> None:
    """An upgrade finds the Jobs that its predecessor made, under the same names."""
    assert job_name(vector["queue"], vector["item"]) == vector["job"]


def test_two_queues_share_no_job() -> None:
    """The queue is part of an item's identity, so two releases live in one namespace."""
    assert job_name("one", "a.mp4") != job_name("two", "a.mp4")


def test_the_slug_shows_the_end_of_the_name() -> None:
    """Files differ at the end of their paths: that is what a person sees in a list of Jobs."""
    name = job_name("thumbs", "archive/2024/november/camera-front/000123.mp4")

    assert name.rsplit("-", 1)[0] == "thumbs-november-camera-front-000123-mp4"


@given(text=st.text())
def test_any_text_leads_to_a_queue_name(text: str) -> None:
    """A folder may be called anything; the queue in it gets a valid name."""
    assert is_queue_name(queue_name_from(text))
