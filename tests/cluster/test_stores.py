"""Real stores outside of the cluster, as most are: a bucket, a stream and a topic, worked off by releases of the chart.

The servers run on the node, and pods reach them by its address; credentials come from Secrets.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from confluent_kafka import Consumer, TopicPartition
from PIL import Image

from longshore.cluster_ledger import LEDGER_LABEL, SETTLE_SECONDS
from longshore_kit.quantities import quantity
from support.cluster import images
from support.cluster.node import ADDRESS
from support.cluster.release import Release, longshore, out, shell
from support.servers.kafka import USER, KafkaServer
from support.servers.redis import PASSWORD, RedisServer
from support.servers.s3 import ADMIN, S3Server
from support.videos import real_videos

pytestmark = pytest.mark.slow
SCRIPT: Final = """
set -e
sha256sum < "$INPUT_FILE" | cut -d ' ' -f 1 > "$OUTPUT_DIR/sha256.txt"
ffmpeg -v error -i "$INPUT_FILE" -vf "thumbnail=20,scale=160:-2,tile=4x4" -frames:v 1 "$OUTPUT_DIR/sheet.jpg"
"""
WITH_FFMPEG: Final = """\
FROM {image}
USER 0
RUN apt-get update --quiet=2 && apt-get install --yes --quiet=2 --no-install-recommends ffmpeg
USER 65532:65532
"""


@pytest.fixture
def host(release: Release) -> str:
    """The node's own address, which its pods reach."""
    if release.cluster.node is None:
        pytest.skip("pods of this cluster can't reach servers here: unset KUBECONFIG for a cluster of its own")
    return ADDRESS


def secret(release: Release, **values: str) -> str:
    """A Secret with these keys; its name."""
    literals = [f"--from-literal={name}={value}" for name, value in values.items()]
    release.kubectl("create", "secret", "generic", "store", *literals)
    return "store"


def use(release: Release, *images_of: str) -> None:
    """Have the node know images."""
    for image in images_of:
        release.cluster.project_image(image)


def told(release: Release) -> str:
    """All that anybody who may read everything but Secrets can see of a release."""
    objects = release.kubectl("get", "jobs,pods,configmaps,events,deployments", "-o", "yaml")
    return objects + release.kubectl("logs", "deployment/q-manager", "--all-containers", "--tail=-1")


def kill_managers(release: Release) -> None:
    """As a node that goes away takes its pods along."""
    selector = "app.kubernetes.io/component=manager"
    release.kubectl("delete", "pod", "-l", selector, "--wait=false", "--grace-period=0", "--force")


def test_a_bucket_of_videos_through_a_script_and_back(release: Release, host: str) -> None:
    """Fetched, worked on by a script in a derived image, and stored; what has its result is not listed any more."""
    use(release, "ambassador-s3")
    base = release.cluster.project_image("worker-script")
    image = images.image_of("script-ffmpeg", WITH_FFMPEG.format(image=base))
    release.cluster.use_image(image)
    with S3Server(host) as store:
        client = store.client()
        client.create_bucket(Bucket="videos")
        for video in real_videos():
            client.upload_file(str(video), "videos", f"in/{video.name}")
        keys = secret(release, AWS_ACCESS_KEY_ID=ADMIN.access, AWS_SECRET_ACCESS_KEY=ADMIN.secret)
        s3 = {"bucket": "videos", "prefix": "in/", "unlessExists": "out/{path}/_SUCCESS", "endpointUrl": store.url}
        env = {"OUTPUT": "s3://videos/out/{path}/", "INPUT_PREFIX": "in/", "S3_ENDPOINT_URL": store.url}
        release.helm(
            "install",
            {
                "source": {"kind": "s3", "existingSecret": keys, "s3": s3 | {"pollSeconds": 1}},
                "worker": {"image": image, "script": SCRIPT, "existingSecret": keys, "env": env},
                "images": release.images,
            },
        )
        items = [f"in/{video.name}" for video in real_videos()]
        release.until("all ended", lambda: all(release.outcome(item) for item in items))
        outcomes = {release.outcome(item) for item in items}
        made = {one["Key"] for one in client.list_objects_v2(Bucket="videos", Prefix="out/")["Contents"]}
        sheet = client.get_object(Bucket="videos", Key="out/bikes.mp4/sheet.jpg")["Body"].read()
        seen = told(release)

    assert outcomes == {"Complete"}
    assert made == {
        f"out/{video.name}/{name}" for video in real_videos() for name in ("_SUCCESS", "sha256.txt", "sheet.jpg")
    }
    (release.folder / "sheet.jpg").write_bytes(sheet)
    with Image.open(release.folder / "sheet.jpg") as picture:
        assert picture.size[0] == 640
    assert ADMIN.secret not in seen


CHAIN_IMAGES: Final = ("ambassador-s3", "worker-script", "worker-ffmpeg", "multi-worker")
EXAMPLE: Final = Path(__file__).parents[2] / "examples/08-s3-thumbnails/queue.yaml"


def test_from_bucket_to_bucket_with_unchanged_images(release: Release, host: str) -> None:
    """The example, with a user id of its own for each stage, in a namespace that takes what is restricted alone."""
    use(release, *CHAIN_IMAGES)
    release.kubectl("label", "namespace", release.namespace, "pod-security.kubernetes.io/enforce=restricted")
    with S3Server(host) as store:
        client = store.client()
        client.create_bucket(Bucket="videos")
        for video in real_videos():
            client.upload_file(str(video), "videos", f"incoming/{video.name}")
        keys = secret(release, AWS_ACCESS_KEY_ID=ADMIN.access, AWS_SECRET_ACCESS_KEY=ADMIN.secret)
        values = yaml.safe_load(
            EXAMPLE.read_text(encoding="utf-8").replace("http://127.0.0.1:8333", store.url).replace("bucket-keys", keys)
        )
        users = {"multi-worker": 10001, "fetch": 10002, "thumbs": 10003, "store": 10004}
        *before, last = [{"name": name, "securityContext": {"runAsUser": user}} for name, user in users.items()]
        values["worker"]["podTemplate"] = {"spec": {"initContainers": before, "containers": [last]}}
        values["queue"] = {}
        release.helm("install", {**values, "images": release.images})
        items = [f"incoming/{video.name}" for video in real_videos()]
        release.until("a pod", lambda: bool(pods(release)))
        requests = asked_for(pods(release)[0])
        release.until("all ended", lambda: all(release.outcome(item) for item in items))
        outcomes = {item: release.outcome(item) for item in items}
        made = [one["Key"] for one in client.list_objects_v2(Bucket="videos", Prefix="thumbs/")["Contents"]]
        said = out(longshore(release, "explain", "-q", release.name, items[0]))
        seen = told(release)

    assert set(outcomes.values()) == {"Complete"}, seen
    assert {f"thumbs/{video.name}/_SUCCESS" for video in real_videos()} <= set(made)
    assert {f"thumbs/{video.name}/thumb0001.jpg" for video in real_videos()} <= set(made)
    assert requests == {"cpu": 1.0, "memory": 512.0 * 1024**2}
    assert all(f"{stage} " in said for stage in users), said
    assert ADMIN.secret not in seen


def pods(release: Release) -> list[dict[str, Any]]:
    """The workers' pods."""
    selector = "app.kubernetes.io/component=worker"
    found: list[dict[str, Any]] = json.loads(release.kubectl("get", "pods", "-l", selector, "-o", "json"))["items"]
    return found


def asked_for(pod: dict[str, Any]) -> dict[str, float]:
    """What a scheduler keeps free for a pod: the larger of its containers' sum and its largest init container."""

    def total(containers: list[dict[str, Any]], resource: str) -> list[float]:
        told = [container.get("resources", {}).get("requests", {}).get(resource, "0") for container in containers]
        return [quantity(one) for one in told]

    spec = pod["spec"]
    return {
        resource: max(sum(total(spec["containers"], resource)), *total(spec["initContainers"], resource))
        for resource in ("cpu", "memory")
    }


@contextmanager
def drained(release: Release, values: dict[str, Any], total: int, is_safe: Callable[[], bool]) -> Iterator[None]:
    """A release that is worked through while its manager is killed again and again; `is_safe` holds at every look."""
    script = 'echo "$1" > "$OUT_PATH/$(printf %s "$1" | tr / _)"'
    release.helm("install", release.values(**values, worker=worker(release, script), scaling={"max": 6}))

    def done() -> int:
        assert is_safe()
        return len(list(release.out.iterdir()))

    for reached in (3, 8, 14):
        release.until("more results", lambda reached=reached: done() >= reached)  # type: ignore[misc]  # bound at once
        kill_managers(release)
    release.until("all results", lambda: done() == total)
    yield


def test_a_stream_is_drained_while_managers_are_killed(release: Release, host: str) -> None:
    """Every entry is worked on, and none is gone from the stream before its result was there."""
    use(release, "ambassador-redis")
    with RedisServer(password=PASSWORD, host=host) as server:
        client: Any = server.client()
        ids = [client.xadd("orders", {"n": str(number)}).decode() for number in range(20)]
        redis = {"url": server.url, "kind": "stream", "key": "orders", "ack": True}
        name = secret(release, REDIS_PASSWORD=PASSWORD)

        def is_safe() -> bool:
            left = {entry[0].decode() for entry in client.xrange("orders")}
            return set(ids) - left <= {path.name for path in release.out.iterdir()}

        source = {"kind": "redis", "existingSecret": name, "redis": redis}
        with drained(release, {"source": source, "volumes": volumes(release)}, 20, is_safe):
            release.until("the stream is empty", lambda: is_safe() and client.xlen("orders") == 0)
        seen = told(release)

    assert sorted(path.name for path in release.out.iterdir()) == sorted(ids)
    assert PASSWORD not in seen


def test_a_topic_is_drained_while_managers_are_killed(release: Release, host: str) -> None:
    """Every record is worked on, and the group's offset never passes one that has no result."""
    use(release, "ambassador-kafka")
    with KafkaServer(host) as server:
        server.make_topic("orders")
        server.produce("orders", *[b'{"n": 1}'] * 20)
        kafka = {
            "bootstrapServers": server.sasl_address,
            "topics": "orders",
            "group": "longshore",
            "saslUsername": USER,
            "config": {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN"},
        }
        name = secret(release, KAFKA_SASL_PASSWORD=server.password)
        consumer = Consumer({"bootstrap.servers": server.address, "group.id": "longshore", "log_level": 0})

        def committed() -> int:
            (place,) = consumer.committed([TopicPartition("orders", 0)], timeout=60)
            return max(0, int(place.offset))

        def is_safe() -> bool:
            upto = committed()
            return {f"orders_0_{offset}" for offset in range(upto)} <= {path.name for path in release.out.iterdir()}

        source = {"kind": "kafka", "existingSecret": name, "kafka": kafka}
        with drained(release, {"source": source, "volumes": volumes(release)}, 20, is_safe):
            release.until("all is committed", lambda: is_safe() and committed() == 20)
        seen = told(release)

    assert sorted(path.name for path in release.out.iterdir()) == sorted(f"orders_0_{offset}" for offset in range(20))
    assert server.password not in seen


def worker(release: Release, script: str) -> dict[str, Any]:
    """A worker that is a shell script, with the item's name as `$1`, and sees that folder alone."""
    return shell(script, argument="${name}", image=release.cluster.shell_image) | {"volumes": ["out"]}


def volumes(release: Release) -> dict[str, Any]:
    """The folder that workers write to."""
    return {"out": {"hostPath": {"path": str(release.out)}}}


def test_jobs_beyond_what_is_kept_become_records(release: Release) -> None:
    """Items of a ConfigMap, which never shrinks: few Jobs are kept, the ledger has the rest, and nothing runs twice."""
    names = [f"item {number}" for number in range(12)]
    (release.folder / "all.txt").write_text("\n".join(names), encoding="utf-8")
    release.kubectl("create", "configmap", "todo", f"--from-file={release.folder / 'all.txt'}")
    source = {"kind": "list", "list": {"configMap": "todo", "file": "all.txt"}}
    values = {"source": source, "volumes": volumes(release), "worker": worker(release, 'echo run >> "$OUT_PATH/$1"')}
    release.helm("install", release.values(**values, keep={"finished": 2}))
    release.until("all done", lambda: len(list(release.out.iterdir())) == 12)
    release.until("few Jobs are left", lambda: len(release.jobs()) <= 2, seconds=SETTLE_SECONDS + 180)
    kill_managers(release)
    release.kubectl("rollout", "status", "deployment/q-manager", "--timeout=120s")
    ledger = json.loads(release.kubectl("get", "configmaps", "-l", f"{LEDGER_LABEL}=q", "-o", "json"))["items"]
    release.until("the new manager has looked", lambda: "manager started" in release.log())

    assert len(ledger) == 1
    assert {path.name: path.read_text() for path in release.out.iterdir()} == dict.fromkeys(names, "run\n")
