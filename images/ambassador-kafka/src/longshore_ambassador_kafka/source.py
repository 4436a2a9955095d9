"""The records of topics that a group has not committed yet, as a source of items.

Owns which records are listed, and when an offset is committed. Refuses to hide what is lost: records that retention has
deleted before they were done are told, and counted, when that is seen. The contract: docs/source-contract.md.
"""

import heapq
import threading
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Final

from longshore_ambassador_kafka.cluster import Cluster, Committed, Ends
from longshore_ambassador_kafka.progress import Progress, decode_done, encode_done
from longshore_ambassador_kafka.records import Partition, data_of, name_of, place_of
from longshore_kit.contract import Item, ItemList
from longshore_kit.errors import ItemNotFound, SourceUnavailable
from longshore_kit.logs import get_logger


class KafkaSource:
    """Records from the group's committed offsets on, `max_items` at most, the oldest first."""

    def __init__(self, cluster: Cluster, topics: Sequence[str], *, max_items: int) -> None:
        self._cluster: Final = cluster
        self._topics: Final = tuple(dict.fromkeys(topics))
        self._max_items: Final = max_items
        self._log: Final = get_logger("longshore.ambassador-kafka")
        self._lock: Final = threading.Lock()
        """Of what is known of the partitions; never held while the cluster is asked."""
        self._progress: dict[Partition, Progress] = {}
        self._committing: Final = threading.Lock()
        self._list = ItemList(())

    def list_items(self) -> ItemList:
        """As `Source.list_items`, by the time of each record, and then by its place."""
        partitions = self._cluster.partitions(self._topics)
        # Nothing is committed meanwhile: an answer from before would look as if somebody had set the group back.
        with self._committing:
            committed, ends = self._cluster.committed(partitions), self._cluster.ends(partitions)
            self._check(committed, ends)
            with self._lock:
                self._progress = {one: self._known(one, committed[one], ends[one]) for one in partitions}
        with self._lock:
            spans = {
                one: (progress.position, ends[one].latest)
                for one, progress in self._progress.items()
                if progress.waiting_count < self._max_items
            }
        reached = self._cluster.read(spans, self._take)
        with self._lock:
            for one, offset in reached.items():
                self._progress[one].skip_to(offset)
            names = tuple(islice(self._oldest_first(), self._max_items))
        if names != self._list.names:
            self._list = ItemList(names)
        return self._list

    def get_item(self, name: str) -> Item:
        """As `Source.get_item`."""
        place = place_of(name)
        if place is None or place[0].topic not in self._topics:
            raise ItemNotFound(f"{name!r} is no record of {', '.join(self._topics)}: expected topic/partition/offset")
        record = self._cluster.fetch(*place) if place[0] in self._partitions() else None
        if record is None:
            raise ItemNotFound(f"there is no record {name}: retention or compaction has deleted it, or it never was")
        return Item(name, data_of(record))

    def _partitions(self) -> frozenset[Partition]:
        with self._lock:
            known = frozenset(self._progress)
        return known or frozenset(self._cluster.partitions(self._topics))

    def _check(self, committed: Mapping[Partition, Committed], ends: Mapping[Partition, Ends]) -> None:
        """Whether the group is where it can be: what it is ahead of would be passed over as done, in silence."""
        for partition, one in committed.items():
            if one.offset is not None and one.offset > ends[partition].latest:
                raise SourceUnavailable(
                    f"the group has committed offset {one.offset} of {partition}, "
                    f"which ends at {ends[partition].latest}: the topic was made anew, or "
                    "restored; set the group to where it should go on"
                )

    def _known(self, partition: Partition, committed: Committed, ends: Ends) -> Progress:
        """What is known of a partition, brought to what is committed now."""
        start = ends.earliest if committed.offset is None else committed.offset
        progress = self._progress.get(partition)
        if start < ends.earliest:
            if progress is None or progress.start < ends.earliest:
                self._log.warning(
                    "records lost: retention deleted them before they were done",
                    partition=str(partition),
                    count=ends.earliest - start,
                    first=start,
                )
            start = ends.earliest
        if progress is None or start < progress.start or progress.position > ends.latest:
            # New here, or somebody has set the group back, or the topic was made anew.
            progress = Progress(start)
        progress.move_to(start)
        progress.end = ends.latest
        if committed.offset is not None:
            progress.done |= decode_done(committed.offset, committed.mark)
        return progress

    def _take(self, partition: Partition, offset: int, timestamp_ms: int) -> bool:
        with self._lock:
            progress = self._progress[partition]
            progress.add(offset, timestamp_ms)
            return len(progress.offsets) - len(progress.done) < self._max_items

    def _oldest_first(self) -> Iterator[str]:
        waiting = (_placed(partition, progress) for partition, progress in sorted(self._progress.items()))
        return (name_of(partition, offset) for _, partition, offset in heapq.merge(*waiting))


def _placed(partition: Partition, progress: Progress) -> Iterator[tuple[int, Partition, int]]:
    return ((time, partition, offset) for time, offset in progress.waiting())


class AcknowledgingKafkaSource(KafkaSource):
    """The same, with the capability `ack`: what is done is committed."""

    def acknowledge(self, name: str) -> None:
        """As `AcknowledgingSource.acknowledge`: marked beside the committed offset until all below is done."""
        place = place_of(name)
        if place is None or place[0].topic not in self._topics:
            return
        partition, offset = place
        with self._committing:
            with self._lock:
                progress = self._progress.get(partition)
                if progress is None:
                    raise SourceUnavailable(f"{partition} was not listed yet: what is committed of it is not known")
                if not progress.start <= offset < progress.end or offset in progress.done:
                    return  # done already, or no record that there is
                progress.finish(offset)
                start = progress.committable()
                mark = encode_done(start, progress.done)
            try:
                self._cluster.commit(partition, start, mark)
            except SourceUnavailable:
                with self._lock:
                    progress.done.discard(offset)
                raise
            with self._lock:
                progress.move_to(start)
