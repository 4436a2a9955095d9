"""A Kafka broker in KRaft mode, from Maven's artifacts, which are kept in the cache: plain, and with SASL."""

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from support.cluster.tools import kept
from support.servers.process import Server, free_port, program

VERSION: Final = "4.1.0"
USER: Final = "worker"
_POM: Final = f"""
<project><modelVersion>4.0.0</modelVersion><groupId>test</groupId><artifactId>kafka</artifactId><version>1</version>
<packaging>pom</packaging><dependencies><dependency><groupId>org.apache.kafka</groupId>
<artifactId>kafka_2.13</artifactId><version>{VERSION}</version></dependency></dependencies></project>
"""
_INSTALL: Final = "apt install openjdk-17-jre-headless maven (make test-servers)"


def jars() -> Path:
    """The folder with the broker's jars, fetched where they are not there yet."""
    return kept("kafka", _POM.encode(), _fetch)


def _fetch(folder: Path) -> None:
    (folder / "pom.xml").write_text(_POM, encoding="utf-8")
    command = [program("mvn", _INSTALL), "-q", "-B", "dependency:copy-dependencies", f"-DoutputDirectory={folder}"]
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)


class KafkaServer(Server):
    """One broker, which is its own controller."""

    password = "sasl-canary-5yq"

    def __init__(self, host: str = "127.0.0.1") -> None:
        super().__init__(host)
        self._admin: AdminClient | None = None
        self._ports = {name: free_port(host) for name in ("PLAINTEXT", "SASL", "CONTROLLER")}
        self._java: Final = program("java", _INSTALL)
        self._jars: Final = jars()
        self._write_configuration()

    @property
    def address(self) -> str:
        """Where it answers without authentication."""
        return f"{self.host}:{self._ports['PLAINTEXT']}"

    @property
    def sasl_address(self) -> str:
        """Where it asks for `USER` and the password, by the mechanism PLAIN."""
        return f"{self.host}:{self._ports['SASL']}"

    def command(self) -> Sequence[str]:
        return [*self._run("kafka.Kafka"), "server.properties"]

    def is_up(self) -> bool:
        """A new broker loads what groups have committed last of all."""
        nobody = Consumer({"bootstrap.servers": self.address, "group.id": "nobody", "log_level": 0})
        try:
            return bool(nobody.committed([TopicPartition("nothing", 0)], timeout=2))
        finally:
            nobody.close()

    def admin(self) -> AdminClient:
        """Somebody who may do anything there; the same one each time, as its answers end with it."""
        if self._admin is None:
            self._admin = AdminClient({"bootstrap.servers": self.address, "log_level": 0})
        return self._admin

    def make_topic(self, name: str, partitions: int = 1, **config: str) -> str:
        """A topic, there when this returns."""
        (made,) = self.admin().create_topics([NewTopic(name, partitions, 1, config=config)]).values()
        made.result(60)
        return name

    def produce(self, topic: str, *values: bytes | None, partition: int = 0, **record: Any) -> None:
        """Records, written when this returns."""
        producer = Producer({"bootstrap.servers": self.address, "linger.ms": 20, "log_level": 0})
        for index, value in enumerate(values):
            producer.produce(topic, value=value, partition=partition, **record)
            if index % 10_000 == 0:
                producer.poll(0)
        assert producer.flush(60) == 0

    def _run(self, main: str) -> list[str]:
        return [self._java, "-Xmx512m", "-Dkafka.logs.dir=.", "-cp", f"{self._jars}/*", main]

    def _write_configuration(self) -> None:
        jaas = (
            "org.apache.kafka.common.security.plain.PlainLoginModule required "
            f'username="{USER}" password="{self.password}" user_{USER}="{self.password}";'
        )
        names = ("PLAINTEXT", "SASL", "CONTROLLER")
        settings = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@{self.host}:{self._ports['CONTROLLER']}",
            "listeners": ",".join(f"{name}://{self.host}:{self._ports[name]}" for name in names),
            "advertised.listeners": ",".join(f"{name}://{self.host}:{self._ports[name]}" for name in names[:2]),
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,SASL:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT",
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "PLAINTEXT",
            "listener.name.sasl.sasl.enabled.mechanisms": "PLAIN",
            "listener.name.sasl.plain.sasl.jaas.config": jaas,
            "log.dirs": str(self.folder / "data"),
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "1",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "group.initial.rebalance.delay.ms": "0",
            "auto.create.topics.enable": "false",
            # Tests write records of other years.
            "log.retention.ms": "-1",
        }
        text = "".join(f"{name}={value}\n" for name, value in settings.items())
        (self.folder / "server.properties").write_text(text, encoding="utf-8")
        command = self._run("kafka.tools.StorageTool")
        command += ["format", "-t", "4L6g3nShT-eMCtK--X86sw", "-c", "server.properties"]
        subprocess.run(command, cwd=self.folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
