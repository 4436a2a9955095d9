"""Which records are listed, and what is given of each."""

import json

import pytest
from confluent_kafka import Producer, TopicPartition

from images.ambassador_kafka.topics import Topic

pytestmark = pytest.mark.slow


def test_an_empty_topic_is_an_empty_list(topic: Topic) -> None:
    """Nothing written, nothing listed."""
    with topic.ambassador() as ambassador:
        assert ambassador.names() == []


def test_records_are_listed_from_the_first_on_where_nothing_is_committed(topic: Topic) -> None:
    """A new group begins at the beginning: nothing that is there is passed over."""
    topic.put(b"1", b"2")
    with topic.ambassador() as ambassador:
        first = ambassador.names()
        topic.put(b"3")
        second = ambassador.names()

    assert (first, second) == (topic.names(0, 1), topic.names(0, 1, 2))


def test_records_are_listed_from_the_committed_offset_on(topic: Topic) -> None:
    """What the group has committed is done; set back, it is listed again."""
    topic.put(b"1", b"2", b"3")
    topic.commit(2)
    with topic.ambassador() as ambassador:
        before = ambassador.names()
        topic.commit(1)
        after = ambassador.names()
        topic.commit(3)
        at_the_end = ambassador.names()

    assert (before, after, at_the_end) == (topic.names(2), topic.names(1, 2), [])


def test_the_oldest_come_first_and_no_more_than_are_asked_for(wide: Topic) -> None:
    """Across partitions by time; the rest comes as these are done."""
    for number, partition in enumerate([2, 0, 1, 2, 0]):
        wide.put(b"x", partition=partition, timestamp=1_700_000_000_000 + number)
    expected = [f"{wide.name}/{place}" for place in ("2/0", "0/0", "1/0", "2/1", "0/1")]
    with wide.ambassador(KAFKA_MAX_ITEMS="3") as ambassador:
        first = ambassador.names()
        ambassador.done(first[0])
        second = ambassador.names()

    assert (first, second) == (expected[:3], expected[1:4])


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b'{"a": [1, "\xc3\xa9"]}', {"value": {"a": [1, "é"]}}),
        (b'"text"', {"value": "text"}),
        (b"7", {"value": 7}),
        (b"null", {"value": None}),
        (None, {"value": None}),
        (b"plain text", {"value": "cGxhaW4gdGV4dA==", "valueEncoding": "base64"}),
        (b"\xff\x00", {"value": "/wA=", "valueEncoding": "base64"}),
        (b"", {"value": "", "valueEncoding": "base64"}),
        (b'{"a": NaN}', {"value": "eyJhIjogTmFOfQ==", "valueEncoding": "base64"}),
    ],
)
def test_a_value_is_json_or_base64(topic: Topic, value: bytes | None, expected: dict[str, object]) -> None:
    """What is JSON is handed on as what it says, anything else untouched, with its encoding named."""
    topic.put(value, key=b"k\xc3\xa9y", headers=[("h", b"1"), ("h", b"\xff")], timestamp=1_700_000_000_123)
    with topic.ambassador() as ambassador:
        data = ambassador.item(topic.names(0)[0]).json()["data"]

    assert data == {
        "topic": topic.name,
        "partition": 0,
        "offset": 0,
        "timestamp": "2023-11-14T22:13:20.123Z",
        "key": "kéy",
        "headers": [
            {"name": "h", "value": "1"},
            {"name": "h", "value": "/w==", "valueEncoding": "base64"},
        ],
        **expected,
    }


def test_offsets_without_a_record_are_no_items(topic: Topic) -> None:
    """A transaction leaves marks among the records, and what was aborted was never there."""
    producer = Producer({"bootstrap.servers": topic.server.address, "transactional.id": topic.name, "log_level": 0})
    producer.init_transactions(60)
    for commits in (True, False, True):
        producer.begin_transaction()
        producer.produce(topic.name, value=str(commits).encode(), partition=0)
        producer.flush(60)
        producer.commit_transaction(60) if commits else producer.abort_transaction(60)
    with topic.ambassador() as ambassador:
        names = ambassador.names()
        values = [ambassador.item(name).json()["data"]["value"] for name in names]
        mark = ambassador.item(topic.names(1)[0]).status_code
        for name in names:
            ambassador.done(name)
        left = ambassador.names()

    assert (names, values, mark, left) == (topic.names(0, 4), ["VHJ1ZQ==", "VHJ1ZQ=="], 404, [])
    assert topic.committed() == 6


@pytest.mark.parametrize("name", ["a/b/c", "{topic}/0", "{topic}/0/7", "{topic}/9/0", "{topic}/0/-1", "{topic}/00/0"])
def test_what_is_no_record_is_404(topic: Topic, name: str) -> None:
    """A name that no record has, by its form or by its place."""
    topic.put(b"1")
    with topic.ambassador() as ambassador:
        reply = ambassador.item(name.format(topic=topic.name))

    assert (reply.status_code, reply.json()["reason"]) == (404, "NotFound")


def test_records_that_retention_has_deleted_are_told(topic: Topic) -> None:
    """Lost before they were done: shown with their number, once, and the rest is listed."""
    topic.put(b"1", b"2", b"3")
    topic.commit(0)
    (deleted,) = topic.server.admin().delete_records([TopicPartition(topic.name, 0, 2)]).values()
    deleted.result(60)
    with topic.ambassador() as ambassador:
        names = [ambassador.names(), ambassador.names()]
        gone = ambassador.item(topic.names(0)[0])
        log = [json.loads(line) for line in ambassador.stop().splitlines()]

    assert (names, gone.status_code) == ([topic.names(2)] * 2, 404)
    assert [(line["partition"], line["count"]) for line in log if line["level"] == "warning"] == [
        (f"{topic.name}/0", 2)
    ]


def test_a_topic_that_is_not_there_is_503(topic: Topic) -> None:
    """With its name; it may come yet."""
    with topic.ambassador(KAFKA_TOPICS=f'["{topic.name}", "nowhere"]') as ambassador:
        reply = ambassador.get("/api/v1/items")

    assert (reply.status_code, reply.json()["message"]) == (
        503,
        "there is no topic 'nowhere', or it may not be seen: create it, or correct its name",
    )
