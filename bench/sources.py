"""What ambassadors cost over a real store with very many items: first list, unchanged list, one item added.

    .venv/bin/python bench/sources.py redis                   # 1,000,000 fields of a hash, beside redis-py's own hkeys
    .venv/bin/python bench/sources.py s3 --items 20000        # 100,000 keys by default, beside boto3's paginator
    .venv/bin/python bench/sources.py kafka                   # 100,000 records

Each ambassador runs as its image's program, and is asked over HTTP; CPU seconds and the greatest memory are its own,
not the store's. Figures, not a test.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support.programs import Running, running
from support.servers.kafka import KafkaServer
from support.servers.redis import RedisServer
from support.servers.s3 import S3Server

OF_THE_IMAGE = {"MALLOC_MMAP_THRESHOLD_": "262144", "MALLOC_ARENA_MAX": "2"}
"""What the images set."""


@dataclass(frozen=True)
class Case:
    """A store that is filled, an ambassador's settings for it, and how one more item gets in."""

    program: str
    environ: dict[str, str]
    add: Callable[[], object]
    naive: Callable[[], int] | None = None
    """What the store's own library does for the same list: how many it found."""


@contextmanager
def redis_case(items: int) -> Iterator[Case]:
    """A hash."""
    with RedisServer(appendonly="no", save="") as server:
        client: Any = server.client()
        fill = "for i = ARGV[1], ARGV[2] do redis.call('hset', 'items', string.format('item-%08d', i), i) end"
        for start in range(0, items, 100_000):
            client.eval(fill, 0, start, min(items, start + 100_000) - 1)
        environ = {"REDIS_URL": server.url, "REDIS_KEY": "items"}

        def naive() -> int:
            return len(sorted(name.decode() for name in client.hkeys("items")))

        yield Case("longshore-ambassador-redis", environ, lambda: client.hset("items", "zz", 1), naive)


@contextmanager
def s3_case(items: int) -> Iterator[Case]:
    """A bucket."""
    with S3Server() as server:
        client, bucket = server.client(), server.make_bucket()

        def put(number: int) -> None:
            client.put_object(Bucket=bucket, Key=f"videos/{number // 1000:04}/clip {number:08}.mp4", Body=b"")

        with ThreadPoolExecutor(16) as pool:
            list(pool.map(put, range(items)))

        def naive() -> int:
            pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
            return sum(1 for page in pages for _ in page.get("Contents", []))

        environ = {"S3_BUCKET": bucket, "S3_POLL_SECONDS": "0", **server.environ_of()}
        yield Case("longshore-ambassador-s3", environ, lambda: put(items), naive)


@contextmanager
def kafka_case(items: int) -> Iterator[Case]:
    """A topic of four partitions."""
    with KafkaServer() as server:
        server.make_topic("records", partitions=4)
        for partition in range(4):
            server.produce("records", *[b'{"n": 1}'] * (items // 4), partition=partition)
        environ = {
            "KAFKA_BOOTSTRAP_SERVERS": server.address,
            "KAFKA_TOPICS": "records",
            "KAFKA_GROUP": "bench",
            "KAFKA_MAX_ITEMS": str(min(1_000_000, items + 1)),
        }
        yield Case("longshore-ambassador-kafka", environ, lambda: server.produce("records", b"{}"))


def measured(ambassador: Running, work: Callable[[], object]) -> str:
    """What some work costs the ambassador."""
    process = psutil.Process(ambassador.process.pid)
    began, cpu = time.monotonic(), sum(process.cpu_times()[:2])
    work()
    wall, spent = time.monotonic() - began, sum(process.cpu_times()[:2]) - cpu
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
    peak = int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 1024
    return f"{spent:8.2f} s CPU  {wall:8.2f} s  peak {peak:6.0f} MiB"


def bench(case: Case) -> None:
    """Measure one, and print its block."""
    with running(case.program, case.environ | OF_THE_IMAGE) as ambassador:
        ambassador.get("/healthz")
        etag = ""

        def ask() -> None:
            nonlocal etag
            reply = ambassador.get("/api/v1/items", **({"If-None-Match": etag} if etag else {}))
            assert reply.status_code in {200, 304}, reply.text[:300]
            etag = reply.headers["ETag"]

        print(f"{case.program}")
        first_cpu = cpu_of(ambassador)
        print(f"  first list      {measured(ambassador, ask)}")
        first_cpu = cpu_of(ambassador) - first_cpu
        print(f"  unchanged list  {measured(ambassador, ask)}")
        case.add()
        print(f"  one item added  {measured(ambassador, ask)}")
    if case.naive:
        began = time.process_time()
        found = case.naive()
        spent = time.process_time() - began
        times = spent / max(first_cpu, 0.01)
        print(f"  the naive way   {spent:8.2f} s CPU, {times:.1f} times the first list's ({found:,} items)")


def cpu_of(ambassador: Running) -> float:
    """CPU seconds that it has taken so far."""
    return float(sum(psutil.Process(ambassador.process.pid).cpu_times()[:2]))


CASES = {"redis": (redis_case, 1_000_000), "s3": (s3_case, 100_000), "kafka": (kafka_case, 100_000)}


def main() -> None:
    """The chosen store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", choices=CASES)
    parser.add_argument("--items", type=int, default=None)
    arguments = parser.parse_args()
    make, items = CASES[arguments.store]
    with make(arguments.items or items) as case:
        bench(case)


if __name__ == "__main__":
    main()
