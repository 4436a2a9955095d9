"""Fixtures of ambassador-kafka: one broker for all tests, and a topic and a group for each."""

import itertools
from collections.abc import Iterator

import pytest

from images.ambassador_kafka.topics import Topic
from support.servers.kafka import KafkaServer

_NUMBERS = itertools.count()


@pytest.fixture(scope="session")
def kafka() -> Iterator[KafkaServer]:
    """A broker."""
    with KafkaServer() as server:
        yield server


@pytest.fixture
def topic(kafka: KafkaServer) -> Topic:
    """An empty topic of one partition, and a group that has committed nothing."""
    return Topic(kafka, kafka.make_topic(f"topic-{next(_NUMBERS)}"))


@pytest.fixture
def wide(kafka: KafkaServer) -> Topic:
    """The same with three partitions."""
    return Topic(kafka, kafka.make_topic(f"topic-{next(_NUMBERS)}", partitions=3))
