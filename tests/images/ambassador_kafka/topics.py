"""A topic and a group of one test, and the ambassador over both."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Consumer, TopicPartition

from support.programs import Running, running
from support.servers.kafka import KafkaServer

PROGRAM = "longshore-ambassador-kafka"


@dataclass(frozen=True)
class Topic:
    """One topic, with the group of its name."""

    server: KafkaServer
    name: str

    def put(self, *values: bytes | None, partition: int = 0, **record: Any) -> None:
        """Records at its end."""
        self.server.produce(self.name, *values, partition=partition, **record)

    def environ(self, **settings: str) -> dict[str, str]:
        """The ambassador's settings for it."""
        return {
            "KAFKA_BOOTSTRAP_SERVERS": self.server.address,
            "KAFKA_TOPICS": self.name,
            "KAFKA_GROUP": self.name,
            **settings,
        }

    def ambassador(self, **settings: str) -> AbstractContextManager[Running]:
        """The ambassador, serving it."""
        return running(PROGRAM, self.environ(**settings))

    def committed(self, partition: int = 0) -> int:
        """What its group has committed, as Kafka says it itself; -1001: nothing."""
        (place,) = self._consumer().committed([TopicPartition(self.name, partition)], timeout=60)
        return int(place.offset)

    def commit(self, offset: int) -> None:
        """Set its group to an offset, as the Kafka tools do."""
        self._consumer().commit(offsets=[TopicPartition(self.name, 0, offset)], asynchronous=False)

    def _consumer(self) -> Consumer:
        return Consumer({"bootstrap.servers": self.server.address, "group.id": self.name, "log_level": 0})

    def names(self, *offsets: int, partition: int = 0) -> list[str]:
        """The names of records."""
        return [f"{self.name}/{partition}/{offset}" for offset in offsets]
