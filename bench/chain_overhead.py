"""What a chain of three stages costs beside the same work in one container, on a real cluster: seconds per item.

    .venv/bin/python bench/chain_overhead.py                  # 10 items of each, one at a time
    .venv/bin/python bench/chain_overhead.py --items 30

Both queues take turns, item by item, in the same image, so that a slow moment of the machine is one of both.
The work is nothing: what is measured is starting containers, and the adapter's part of it. Of the second that each one
more takes, starting it is a twentieth: the kubelet looks once a second whether the one before has ended.
"""

import argparse
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from longshore.engines.kubernetes import KubernetesEngine
from longshore.manifests import bundle_for
from longshore.queuefile import Queue
from longshore.state import State
from support.cluster.cluster import Cluster, own_cluster
from support.queues import item_named, queue_with, shell_stage

WORK = "true"


def queues(cluster: Cluster) -> Iterator[tuple[str, Queue]]:
    """One container, and a chain of three, in the same image."""
    image = cluster.shell_image
    yield "one container", queue_with(name="one", worker={"image": image, "command": ["sh", "-c", WORK]})
    stages = [{**shell_stage(name, WORK), "image": image} for name in ("first", "second", "third")]
    adapter = cluster.project_image("multi-worker")
    yield "three stages", queue_with(name="chain", worker={"stages": stages, "adapterImage": adapter})


class Watching:
    """An engine of one queue, and a way to wait for its Jobs."""

    def __init__(self, cluster: Cluster, namespace: str, queue: Queue) -> None:
        self.changed = threading.Event()
        self.engine = KubernetesEngine(cluster.api(namespace), queue.name, mounts={})
        self.engine.watch(self.changed.set)

    def finish(self, queue: Queue, item: str) -> float:
        """Seconds from the making of one item's Job to its end; by a clock here, as a Job tells whole seconds alone."""
        began = time.monotonic()
        self.engine.create(bundle_for(queue, item_named(item), self.engine.layout("")))
        while True:
            self.changed.clear()
            job = self.engine.jobs().get(item)
            if job and job.state in {State.DONE, State.FAILED}:
                assert job.state is State.DONE, job
                return time.monotonic() - began
            self.changed.wait(1.0)

    def close(self) -> None:
        """Stop watching."""
        self.engine.close()


def main() -> None:
    """Print the seconds from a Job's making to its end."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=10)
    items = parser.parse_args().items
    with own_cluster() as cluster, cluster.namespace() as namespace:
        pairs = [(label, queue, Watching(cluster, namespace, queue)) for label, queue in queues(cluster)]
        took: dict[str, list[float]] = {label: [] for label, _, _ in pairs}
        for number in range(items + 1):
            for label, queue, watching in pairs:
                seconds = watching.finish(queue, f"item-{number}")
                # The first of each warms the node up.
                if number:
                    took[label].append(seconds)
        for _, _, watching in pairs:
            watching.close()
    for label, times in took.items():
        print(
            f"{label}: {statistics.median(times):.1f} s per item in the middle, {min(times):.1f} to {max(times):.1f} s"
        )
    plain, chain = (statistics.median(times) for times in took.values())
    print(
        f"{chain - plain:.1f} s more, {(chain - plain) / 3:.1f} s for each container more (two stages and the adapter)"
    )


if __name__ == "__main__":
    main()
