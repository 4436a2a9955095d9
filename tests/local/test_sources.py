"""Every kind of source on a laptop: the examples as their READMEs run them, on real servers, and written lists."""

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from confluent_kafka import Consumer, TopicPartition
from PIL import Image

from longshore_kit.conform import check_source
from longshore_worker_ffmpeg.ffmpeg import find_ffmpeg
from support.runs import EXAMPLES, LocalRun, example
from support.servers.kafka import KafkaServer
from support.servers.process import connects, free_port, program
from support.servers.redis import RedisServer
from support.servers.s3 import ADMIN, S3Server
from support.videos import real_videos
from support.waiting import until

pytestmark = pytest.mark.slow


def outputs(run: LocalRun) -> dict[str, str]:
    """What workers wrote."""
    return {path.name: path.read_text(encoding="utf-8") for path in run.out.iterdir()}


@pytest.fixture
def with_ffmpeg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An ffmpeg on the PATH, under its plain name."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/ffmpeg").symlink_to(find_ffmpeg())
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")


@pytest.mark.usefixtures("with_ffmpeg")
def test_a_script_for_every_object_of_a_bucket(local: LocalRun, monkeypatch: pytest.MonkeyPatch) -> None:
    """Real videos: a sheet and a checksum of each are in the bucket, and it is not listed any more."""
    with S3Server() as store:
        client = store.client()
        client.create_bucket(Bucket="videos")
        for video in real_videos():
            client.upload_file(str(video), "videos", f"incoming/{video.name}")
        client.put_object(Bucket="videos", Key="incoming/no video.mp4", Body=b"no video at all")
        for name, value in (store.environ_of(ADMIN) | {"HOME": str(local.folder)}).items():
            monkeypatch.setenv(name, value)
        run = example(local.folder, "02-s3-script", **{"http://127.0.0.1:8333": store.url})
        first, states = run.run(), run.states()
        second = run.run()
        sheet = client.get_object(Bucket="videos", Key="sheets/bikes.mp4/sheet.jpg")["Body"].read()
        marker = json.loads(client.get_object(Bucket="videos", Key="sheets/bikes.mp4/_SUCCESS")["Body"].read())

    (local.folder / "sheet.jpg").write_bytes(sheet)
    with Image.open(local.folder / "sheet.jpg") as picture:
        assert picture.size[0] == 640
    assert [one["name"] for one in marker["files"]] == ["sha256.txt", "sheet.jpg"]
    assert {item: state for item, state in states.items() if state != "done"} == {"incoming/no video.mp4": "failed"}
    assert len(states) == len(real_videos()) + 1
    assert (first.returncode, second.returncode) == (1, 1)
    assert ADMIN.secret not in everything_under(local.folder) + first.stdout + first.stderr + second.stderr


def test_thumbnails_from_bucket_to_bucket(local: LocalRun, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fetch, thumbnails, store: three images unchanged; what is no video fails in the stage that finds it out."""
    with S3Server() as store:
        client = store.client()
        client.create_bucket(Bucket="videos")
        for video in real_videos():
            client.upload_file(str(video), "videos", f"incoming/a b/{video.name}")
        client.put_object(Bucket="videos", Key="incoming/no video.mp4", Body=b"no video at all")
        for name, value in (store.environ_of(ADMIN) | {"HOME": str(local.folder)}).items():
            monkeypatch.setenv(name, value)
        run = example(local.folder, "08-s3-thumbnails", **{"http://127.0.0.1:8333": store.url})
        ended, rows = run.run(), {row["item"]: row for row in run.rows()}
        said = run.longshore("explain", str(run.file), f"incoming/a b/{real_videos()[0].name}").stdout
        keys = [one["Key"] for one in client.list_objects_v2(Bucket="videos", Prefix="thumbs/")["Contents"]]
        base = f"thumbs/a b/{real_videos()[0].name}/"
        picture = client.get_object(Bucket="videos", Key=f"{base}thumb0001.jpg")["Body"].read()
        marker = json.loads(client.get_object(Bucket="videos", Key=f"{base}_SUCCESS")["Body"].read())

    (local.folder / "thumb.jpg").write_bytes(picture)
    with Image.open(local.folder / "thumb.jpg") as image:
        assert image.size[0] == 320
    assert {f"{base}{one['name']}" for one in marker["files"]} | {f"{base}_SUCCESS"} == {
        key for key in keys if key.startswith(base)
    }
    failed = rows.pop("incoming/no video.mp4")
    assert (failed["state"], failed["stage"], failed["exit_code"]) == ("failed", "thumbs", 65)
    assert {(row["state"], row["stage"]) for row in rows.values()} == {("done", "store")}
    assert len(rows) == len(real_videos())
    assert all(f"{stage} " in said for stage in ("multi-worker", "fetch", "thumbs", "store")), said
    assert ended.returncode == 1
    assert ADMIN.secret not in everything_under(local.folder) + ended.stdout + ended.stderr


def everything_under(folder: Path) -> str:
    """All that was written: Jobs, logs, results."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return "\n".join(path.read_text(encoding="utf-8", errors="replace") for path in files)


def test_a_stream_is_drained(local: LocalRun) -> None:
    """Each entry is gone when its bill is there; the one that failed stays, in the stream and in the queue."""
    with RedisServer() as server:
        client: Any = server.client()
        ids = [client.xadd("orders", {"customer": f"Ada {n}; $(touch x)", "amount": n}).decode() for n in range(6)]
        bad = client.xadd("orders", {"customer": "", "amount": "1"}).decode()
        run = example(local.folder, "03-redis", **{"redis://127.0.0.1:6379/0": server.url})
        ended = run.run()
        left = [entry[0].decode() for entry in client.xrange("orders")]

    assert ended.returncode == 1
    assert left == [bad]
    assert outputs(run) == {f"{ids[n]}.txt": f"bill for Ada {n}; $(touch x): {n}\n" for n in range(6)}
    assert run.states()[bad] == "failed"


def test_a_topic_is_drained_through_kills(local: LocalRun) -> None:
    """The manager is killed again and again: every record is worked on, and none is committed before it was done."""
    with KafkaServer() as server:
        server.make_topic("readings", partitions=2)
        for number in range(20):
            server.produce("readings", json.dumps({"n": number}).encode(), partition=number % 2)
        run = example(local.folder, "04-kafka", **{"127.0.0.1:9092": server.address})
        for _ in range(4):
            process = run.start("--until-done")
            wait_for_outputs(run, len(list_outputs(run)) + 2)
            process.send_signal(signal.SIGKILL)
            process.communicate()
            assert committed(server) <= len(list_outputs(run))
        ended = run.run()
        total = committed(server)

    assert (ended.returncode, total) == (0, 20)
    values = [json.loads(text)["value"]["n"] for text in outputs(run).values()]
    assert sorted(values) == list(range(20))


def list_outputs(run: LocalRun) -> list[Path]:
    """What there is so far."""
    return list(run.out.glob("*")) if run.out.exists() else []


def wait_for_outputs(run: LocalRun, count: int) -> None:
    """Until so many results are there, or all."""
    until(lambda: len(list_outputs(run)) >= min(count, 20))


def committed(server: KafkaServer) -> int:
    """How many records the example's group has committed, of both partitions."""
    consumer = Consumer({"bootstrap.servers": server.address, "group.id": "longshore", "log_level": 0})
    places = consumer.committed([TopicPartition("readings", partition) for partition in (0, 1)], timeout=60)
    return sum(max(0, place.offset) for place in places)


@pytest.fixture
def node() -> str:
    """Node."""
    return program("node", "apt install nodejs (make test-servers)")


@pytest.mark.usefixtures("node")
def test_a_source_of_ones_own(local: LocalRun) -> None:
    """Twenty lines of Node: started, asked, and ended with the run; what is added is seen."""
    run = example(local.folder, "05-your-own-source")
    first, names = run.run(), set(run.states())
    with (run.folder / "items.txt").open("a", encoding="utf-8") as items:
        items.write("one more\n")
    second = run.run()

    assert (first.returncode, first.stderr, second.returncode) == (0, "", 0)
    assert set(run.states()) - names == {"one more"}
    assert still_running("ambassador.mjs", local.folder) == []


def test_an_ambassador_of_ones_own_that_ends_is_told_with_its_last_words(local: LocalRun) -> None:
    """By who looks, and by who runs; what nobody has listed is not called an empty source."""
    source = {"kind": "custom", "custom": {"command": ["sh", "-c", "echo no such map >&2; exit 3"]}}
    local.define("true", source=source)
    checked = local.longshore("check", str(local.file))
    process = local.start("--until-done")
    assert process.stdout is not None
    told = next(line for line in process.stdout if "unavailable" in line)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)

    words = "its ambassador ended with exit code 3: no such map"
    assert (checked.returncode, words in checked.stdout) == (1, True), checked.stdout
    assert f"{words}; its log: {local.folder / '.longshore/local/ambassador.log'}" in told
    assert "lists nothing" not in out


def still_running(words: str, folder: Path) -> list[str]:
    """Processes with these words in their command that work somewhere below a folder."""
    found = []
    for one in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            command = " ".join(one.cmdline())
            if words in command and Path(one.cwd()).is_relative_to(folder.resolve()):
                found.append(command)
    return found


def test_the_ambassador_of_the_example_conforms(node: str) -> None:
    """No rule of the kit is broken; what is additive is skipped."""
    port = free_port()
    process = subprocess.Popen(
        [node, EXAMPLES / "05-your-own-source/ambassador.mjs"], env={"LISTEN_PORT": str(port)}, stderr=subprocess.PIPE
    )
    try:
        until(lambda: connects(port))
        results = check_source(f"http://127.0.0.1:{port}")
    finally:
        process.kill()
        process.communicate()

    assert [result for result in results if result.outcome == "failed"] == []
    assert sum(result.outcome == "passed" for result in results) > 5


@pytest.mark.usefixtures("node")
def test_an_ambassador_of_ones_own_ends_with_a_killed_run(local: LocalRun) -> None:
    """It knows nothing of Longshore; when `longshore run` is killed it goes all the same."""
    run = example(local.folder, "05-your-own-source", **{"echo, ": 'sh, -c, "sleep 1000", '})
    process = run.start()
    until(lambda: len(still_running("ambassador.mjs", local.folder)) > 0)
    process.kill()
    process.communicate()

    until(lambda: still_running("ambassador.mjs", local.folder) == [])
    for leftover in psutil.process_iter(["cmdline"]):
        if "sleep 1000" in " ".join(leftover.info["cmdline"] or ()):
            leftover.kill()


LISTS = {
    "a.txt": "one\ntwo words\n\n-rf\none\n",
    "a.csv": 'id,colour\r\none,red\r\n"two, words",blue\r\n',
    "a.jsonl": '{"id": "one", "colour": "red"}\n{"id": 2, "colour": "blue"}\n',
    "a.yaml": "- {id: one, colour: red}\n- plain\n",
}


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("a.txt", {"one": {"line": "one"}, "two words": {"line": "two words"}, "-rf": {"line": "-rf"}}),
        ("a.csv", {"one": {"id": "one", "colour": "red"}, "two, words": {"id": "two, words", "colour": "blue"}}),
        ("a.jsonl", {"one": {"id": "one", "colour": "red"}, "2": {"id": 2, "colour": "blue"}}),
        ("a.yaml", {"one": {"id": "one", "colour": "red"}, "plain": {"line": "plain"}}),
    ],
)
def test_a_file_of_items(local: LocalRun, file: str, expected: dict[str, Any]) -> None:
    """A line, a row or an object is an item: its name is the line or the chosen column, its data the whole."""
    (local.folder / file).write_text(LISTS[file], encoding="utf-8")
    source = {"kind": "list", "list": {"file": file, "name": "id"}}
    local.define('cp "$WORK_ITEM_FILE" "$OUT_PATH/$(printf %s "$LONGSHORE_ITEM" | base64).json"', source=source)
    local.file.write_text(local.file.read_text().replace("${item.path}", "x"))
    ended = local.run()

    assert (ended.returncode, set(local.states())) == (0, set(expected)), ended.stderr
    given = [json.loads(path.read_text()) for path in local.out.glob("*.json")]
    assert sorted(given, key=str) == sorted(expected.values(), key=str)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("id,colour\na,red\na,blue\n", "a.csv:3: 'a' is at <folder>/a.csv:2 already, with other values"),
        ("id,colour\na\n", "a.csv:2: has 1 columns, its heading 2"),
        ("name,colour\na,red\n", "a.csv:2: has no 'id': it has name, colour; set source.list.name"),
        ('id\n"a\n', "no valid CSV"),
    ],
)
def test_a_row_that_can_be_no_item_is_told_with_its_line(local: LocalRun, text: str, words: str) -> None:
    """Nothing is left out by guessing: the whole list waits until it is mended."""
    (local.folder / "a.csv").write_text(text, encoding="utf-8")
    local.define("true", source={"kind": "list", "list": {"file": "a.csv", "name": "id"}})
    ended = local.longshore("ls", str(local.file))

    assert words in ended.stderr.replace(str(local.folder.resolve()), "<folder>")


def test_items_in_the_queue_file_itself(local: LocalRun) -> None:
    """Names, or objects with a name."""
    items = ["a", {"name": "b", "n": 1}]
    local.define('echo x > "$OUT_PATH/$LONGSHORE_ITEM"', source={"kind": "list", "list": {"items": items}})
    local.file.write_text(local.file.read_text().replace("${item.path}", "x"))

    assert (local.run().returncode, local.states()) == (0, {"a": "done", "b": "done"})


def test_a_source_that_never_shrinks_costs_records_and_not_jobs(local: LocalRun) -> None:
    """Many more items than Jobs kept, through kills: never more than those and the live ones, and each runs once."""
    names = [f"item {number:05}" for number in range(NEVER_SHRINKING)]
    (local.folder / "all.txt").write_text("\n".join(names), encoding="utf-8")
    source = {"kind": "list", "list": {"file": "all.txt"}}
    local.define('echo run >> "$OUT_PATH/ran"', source=source, keep={"finished": 100}, scaling={"max": 8})
    local.file.write_text(local.file.read_text().replace("${item.path}", "x"))
    most = 0
    for _ in range(5):
        process = local.start("--until-done")
        begun = count_lines(local.out / "ran")
        while process.poll() is None and count_lines(local.out / "ran") < begun + NEVER_SHRINKING // 8:
            most = max(most, kept_jobs(local))
        process.kill()
        process.communicate()
    ended = local.run()

    assert ended.returncode == 0
    assert count_lines(local.out / "ran") == NEVER_SHRINKING
    assert most <= 100 + 8 + 8  # those that end between a look and the entry, and those that live
    assert kept_jobs(local) <= 100


NEVER_SHRINKING = 480


def count_lines(path: Path) -> int:
    """How many runs were told."""
    return path.read_text().count("\n") if path.exists() else 0


def kept_jobs(local: LocalRun) -> int:
    """Jobs on disk, live ones included."""
    return sum(1 for _ in (local.folder / ".longshore/local/jobs").glob("*/*/manifest.json"))


@pytest.fixture(autouse=True)
def _nothing_left(local: LocalRun) -> Iterator[None]:
    """Ambassadors end with their runs: none is left that was started in this test's folders."""
    yield
    assert still_running("ambassador", local.folder) == []
