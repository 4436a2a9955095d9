"""ambassador-kafka keeps what every shipped ambassador keeps, over a real broker."""

import itertools
from collections.abc import Iterator

import pytest
import requests

from contract.ambassador_contract import AmbassadorContract
from images.ambassador_kafka.topics import PROGRAM, Topic
from support.programs import running
from support.servers.kafka import USER, KafkaServer

pytestmark = pytest.mark.slow


class KafkaBackend:
    """A topic of one partition per item, so that each can leave by itself, behind SASL."""

    program = PROGRAM

    def __init__(self, server: KafkaServer) -> None:
        self._server = server
        self._numbers = itertools.count()
        self._topic = Topic(server, server.make_topic("contract", partitions=100))
        self.secrets = (server.password,)
        self.environ = self._topic.environ(
            KAFKA_BOOTSTRAP_SERVERS=server.sasl_address,
            KAFKA_SASL_USERNAME=USER,
            KAFKA_SASL_PASSWORD=server.password,
            KAFKA_CONFIG='{"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN"}',
        )

    def add(self) -> str:
        number = next(self._numbers)
        self._topic.put(b'{"n": 1}', partition=number)
        return f"contract/{number}/0"

    def remove(self, name: str) -> None:
        with running(PROGRAM, self.environ) as ambassador:
            assert name in ambassador.names()
            assert ambassador.done(name).status_code == requests.codes.no_content

    def kill(self) -> None:
        self._server.kill()

    def revive(self) -> None:
        self._server.revive()


@pytest.fixture(scope="module")
def backend() -> Iterator[KafkaBackend]:
    """A broker of its own, as it is killed."""
    with KafkaServer() as server:
        yield KafkaBackend(server)


class TestKafkaAmbassador(AmbassadorContract):
    """Every rule."""
