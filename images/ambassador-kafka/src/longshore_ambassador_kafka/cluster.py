"""The wire to a Kafka cluster. The only module that imports confluent-kafka.

Owns its settings, timeouts, threads and what an error means. Joins no group: offsets are read and committed as a tool
does, and partitions are assigned by hand, so that nobody loses any. Refuses to take silence for "nothing there": each
question is answered by the brokers, or is an error.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    TIMESTAMP_NOT_AVAILABLE,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from longshore_ambassador_kafka.records import Partition, Record
from longshore_ambassador_kafka.settings import KafkaSettings
from longshore_kit.errors import SettingsError, SourceUnavailable

REQUEST_SECONDS: Final = 5.0
"""A broker answers in milliseconds; one that does not is asked again by whoever asks for the list again."""
READ_SECONDS: Final = 60.0
"""For reading on: 100,000 records take a second or two on a quiet broker."""
_QUEUE_KIB: Final = 8 * 1024
"""What the library may have read ahead: values as they are, of which only places are wanted."""
_POLL_SECONDS: Final = 0.5
_RETRY_SECONDS: Final = 0.2
_QUIET: Final = logging.getLogger("longshore_ambassador_kafka.librdkafka")
"""librdkafka repeats each refused connection every second; why a question had no answer is told with the answer."""


@dataclass(frozen=True)
class Committed:
    """What a group has committed of one partition."""

    offset: int | None
    """None: nothing yet."""
    mark: str
    """What was written beside it."""


@dataclass(frozen=True)
class Ends:
    """Which offsets of a partition there are."""

    earliest: int
    latest: int
    """One after the last."""


class Cluster:
    """One cluster and one group. For several threads."""

    def __init__(self, settings: KafkaSettings) -> None:
        _QUIET.setLevel(logging.CRITICAL)
        self._config: Final = _config(settings, self._note)
        self._group: Final = settings.kafka_group
        self._lock: Final = threading.Lock()
        self._trouble = ""
        self._reading: Final = threading.Lock()
        self._fetching: Final = threading.Lock()
        # Not by an AdminClient: in librdkafka 2.16 its questions about groups end the whole process when a broker that
        # starts or stops answers them (Assertion `eonce->refcnt > 0' failed).
        self._teller: Final = _consumer(self._config)
        self._reader: Final = _consumer(self._config)
        self._fetcher: Final = _consumer(self._config)

    def partitions(self, topics: Sequence[str]) -> list[Partition]:
        """
        Every partition of the topics.

        Raises:
            SourceUnavailable: as of every method: the cluster did not answer, or said no; safe to retry.
        """
        known = self._asked(lambda: self._teller.list_topics(timeout=REQUEST_SECONDS)).topics
        for topic in topics:
            if topic not in known:
                raise SourceUnavailable(
                    f"there is no topic {topic!r}, or it may not be seen: create it, or correct its name"
                )
            if (error := known[topic].error) is not None:
                raise SourceUnavailable(f"topic {topic!r}: {_words(error)}")
        return [Partition(topic, number) for topic in topics for number in sorted(known[topic].partitions)]

    def committed(self, partitions: Sequence[Partition]) -> dict[Partition, Committed]:
        """What the group has committed, with what is written beside it."""
        asked = [_place(one) for one in partitions]
        found = self._asked(lambda: self._teller.committed(asked, timeout=REQUEST_SECONDS))
        return {_partition(place): _committed(place) for place in found}

    def ends(self, partitions: Sequence[Partition]) -> dict[Partition, Ends]:
        """Where each begins and ends now; of transactions only what is committed."""
        earliest, latest = self._offsets(partitions, OFFSET_BEGINNING), self._offsets(partitions, OFFSET_END)
        return {one: Ends(earliest[one], latest[one]) for one in partitions}

    def read(
        self, spans: Mapping[Partition, tuple[int, int]], take: Callable[[Partition, int, int], bool]
    ) -> dict[Partition, int]:
        """
        Read records from one offset up to another; `take` gets partition, offset and time in milliseconds of each, and
        says whether more of its partition is wanted. How far each was read.
        """
        with self._reading:
            reached = {partition: start for partition, (start, _) in spans.items()}
            open_ends = {partition: end for partition, (start, end) in spans.items() if start < end}
            self._asked(lambda: self._reader.assign([_place(one, reached[one]) for one in open_ends]))
            try:
                self._read(open_ends, reached, take)
            finally:
                self._asked(self._reader.unassign)
            return reached

    def fetch(self, partition: Partition, offset: int) -> Record | None:
        """One record; None where there is none at this offset."""
        with self._fetching:
            self._asked(lambda: self._fetcher.assign([_place(partition, offset)]))
            try:
                return self._fetched(partition, offset)
            finally:
                self._asked(self._fetcher.unassign)

    def commit(self, partition: Partition, offset: int, mark: str) -> None:
        """Commit an offset for the group, with a mark beside it, though we are none of its members."""
        place = TopicPartition(partition.topic, partition.number, offset, mark)
        try:
            found = self._asked(lambda: self._teller.commit(offsets=[place], asynchronous=False))
        except SourceUnavailable as exc:
            raise SourceUnavailable(
                f"offset {offset} of {partition} could not be committed for group {self._group!r}: {exc}"
            ) from exc
        for one in found:
            if one.error is not None:
                raise SourceUnavailable(f"offset {offset} of {partition} could not be committed: {_words(one.error)}")

    # --- one answer

    def _read(
        self,
        open_ends: dict[Partition, int],
        reached: dict[Partition, int],
        take: Callable[[Partition, int, int], bool],
    ) -> None:
        until = time.monotonic() + READ_SECONDS
        while open_ends:
            # One by one, out of the library's own queue, which is bounded in bytes: of many only their places are kept.
            message = self._asked(lambda: self._reader.poll(_POLL_SECONDS))
            if message is not None and (partition := Partition(message.topic(), message.partition())) in open_ends:
                end = open_ends[partition]
                reached[partition], is_wanted = self._read_one(message, partition, end, take)
                if not is_wanted:
                    del open_ends[partition]
                    self._asked(partial(self._reader.incremental_unassign, [_place(partition)]))
            if time.monotonic() > until:
                left = ", ".join(map(str, sorted(open_ends)))
                raise SourceUnavailable(f"{left} could not be read to the end within {READ_SECONDS:g} s: {self._why()}")

    def _read_one(
        self, message: Message, partition: Partition, end: int, take: Callable[[Partition, int, int], bool]
    ) -> tuple[int, bool]:
        """How far the partition is read with this message, and whether more of it is wanted."""
        offset = int(message.offset() or 0)
        if (error := message.error()) is None:
            return offset + 1, take(partition, offset, _milliseconds(message)) and offset + 1 < end
        if error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001 - its public name, odd as it is
            raise SourceUnavailable(f"{partition}: {_words(error)}")
        return max(end, offset), False

    def _fetched(self, partition: Partition, offset: int) -> Record | None:
        until = time.monotonic() + REQUEST_SECONDS
        while time.monotonic() < until:
            message = self._asked(lambda: self._fetcher.poll(_POLL_SECONDS))
            if message is None:
                continue
            if (error := message.error()) is not None:
                if error.code() in {KafkaError._PARTITION_EOF, KafkaError._AUTO_OFFSET_RESET}:  # noqa: SLF001 - as above
                    return None
                raise SourceUnavailable(f"{partition}: {_words(error)}")
            # The next one there is: what was asked for has been compacted away, or is a transaction's own mark.
            return _record(partition, message) if message.offset() == offset else None
        raise SourceUnavailable(f"{partition}/{offset} could not be read within {REQUEST_SECONDS:g} s: {self._why()}")

    def _offsets(self, partitions: Sequence[Partition], where: int) -> dict[Partition, int]:
        """Of all partitions at once: Kafka's own numbers for either end stand in the place of a time."""
        asked = [_place(one, where) for one in partitions]
        found = self._asked(lambda: self._teller.offsets_for_times(asked, timeout=REQUEST_SECONDS))
        for place in found:
            if place.error is not None:
                raise SourceUnavailable(f"where {_partition(place)} ends: {_words(place.error)}")
        return {_partition(place): int(place.offset) for place in found}

    def _asked(self, ask: Callable[[], Any]) -> Any:  # noqa: ANN401 - whatever the library answers
        until = time.monotonic() + REQUEST_SECONDS
        while True:
            try:
                return ask()
            except KafkaException as exc:
                error = exc.args[0]
                # A topic that was just made has no leader yet, a broker that just started has not loaded its groups.
                if error.code() in _PASSING and time.monotonic() < until:
                    time.sleep(_RETRY_SECONDS)
                    continue
                why = self._why() if error.code() in _SILENCE else ""
                raise SourceUnavailable(f"{_words(error)}{f' ({why})' if why else ''}") from exc

    def _note(self, error: KafkaError) -> None:
        """In a thread of the library's: what went wrong beside the questions, such as a login that failed."""
        with self._lock:
            self._trouble = _words(error)

    def _why(self) -> str:
        with self._lock:
            return self._trouble or "no broker answered"


_PASSING: Final = frozenset(
    {
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.NOT_COORDINATOR,
        KafkaError._WAIT_COORD,  # noqa: SLF001 - the library's public names
    }
)
_SILENCE: Final = frozenset({KafkaError._TIMED_OUT, KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN})  # noqa: SLF001 - as above


def _config(settings: KafkaSettings, note: Callable[[KafkaError], None]) -> dict[str, Any]:
    config: dict[str, Any] = {
        "client.id": "longshore-ambassador-kafka",
        "log.connection.close": False,
        "socket.timeout.ms": int(REQUEST_SECONDS * 1000),
        # Back at once when the brokers are: it is asked again in seconds anyway.
        "reconnect.backoff.max.ms": 2000,
        # A question that is over holds its connection for so long; nothing is assigned for longer than it is read.
        "fetch.wait.max.ms": 10,
        "queued.max.messages.kbytes": _QUEUE_KIB,
        "fetch.max.bytes": _QUEUE_KIB * 1024,
        **settings.kafka_config,
        "bootstrap.servers": ",".join(settings.kafka_bootstrap_servers),
        "group.id": settings.kafka_group,
        "enable.auto.commit": False,
        "enable.partition.eof": True,
        # A record that is gone is an error to be told, never another one in its place.
        "auto.offset.reset": "error",
        "error_cb": note,
    }
    if settings.kafka_sasl_username:
        config["sasl.username"] = settings.kafka_sasl_username
    if settings.kafka_sasl_password:
        config["sasl.password"] = settings.kafka_sasl_password.get_secret_value()
    return config


def _consumer(config: Mapping[str, Any]) -> Consumer:
    try:
        return Consumer(dict(config), logger=_QUIET)
    except KafkaException as exc:
        raise SettingsError(f"KAFKA_CONFIG: {_words(exc.args[0])}") from exc


def _place(partition: Partition, offset: int | None = None) -> TopicPartition:
    if offset is None:
        return TopicPartition(partition.topic, partition.number)
    return TopicPartition(partition.topic, partition.number, offset)


def _partition(place: TopicPartition) -> Partition:
    return Partition(place.topic, place.partition)


def _committed(place: TopicPartition) -> Committed:
    if place.error is not None:
        raise SourceUnavailable(f"what is committed of {place.topic}/{place.partition}: {_words(place.error)}")
    return Committed(place.offset if place.offset >= 0 else None, place.metadata or "")


def _milliseconds(message: Message) -> int:
    kind, milliseconds = message.timestamp()
    return int(milliseconds) if kind != TIMESTAMP_NOT_AVAILABLE else 0


def _record(partition: Partition, message: Message) -> Record:
    kind, milliseconds = message.timestamp()
    headers: Any = message.headers() or ()
    return Record(
        partition,
        int(message.offset() or 0),
        int(milliseconds) if kind != TIMESTAMP_NOT_AVAILABLE else None,
        message.key(),
        tuple(headers),
        message.value(),
    )


def _words(error: KafkaError) -> str:
    """An error in words, without the library's own name for it before."""
    return str(error.str())
