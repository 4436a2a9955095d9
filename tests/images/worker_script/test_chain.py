"""Fetch, run, store: what the script gets, what becomes of what it makes, and what its end means."""

import hashlib
import http.client
import http.server
import json
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from images.worker_script.command import COMMAND, Place
from longshore_kit.conform import check_worker
from support.servers.s3 import ADMIN, READER
from support.waiting import until

pytestmark = pytest.mark.slow
SUM = """
sha256sum < "$INPUT_FILE" > "$OUTPUT_DIR/sum.txt"
mkdir "$OUTPUT_DIR/a"
echo x > "$OUTPUT_DIR/a/b c.txt"
echo made 2
"""
ODD = ("a b/c d.mp4", "動画/🎬.mp4", "-rf", "100%.txt", "new\nline.txt", "it's $(touch /tmp/hacked) `x` ${IFS}.txt")


class _WithoutDeletion(http.server.BaseHTTPRequestHandler):
    """A store whose deletions find it busy; anything else reaches it as it was signed."""

    protocol_version = "HTTP/1.1"
    url = ""

    def do_GET(self) -> None:
        wire = http.client.HTTPConnection(urlsplit(self.url).netloc)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        wire.request(self.command, self.path, body, dict(self.headers))
        reply = wire.getresponse()
        self._answer(reply.status, dict(reply.getheaders()), reply.read())
        wire.close()

    do_PUT = do_POST = do_GET  # noqa: N815 - as http.server has it

    def do_DELETE(self) -> None:
        self._answer(503, {}, b"<Error><Code>SlowDown</Code><Message>busy</Message></Error>")

    def _answer(self, code: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(code)
        for name, value in headers.items():
            if name.lower() not in {"content-length", "transfer-encoding"}:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@contextmanager
def without_deletion(url: str) -> Iterator[str]:
    """The store at `url`, as one that is asked too much to delete anything; its address."""
    handler = type("Handler", (_WithoutDeletion,), {"url": url})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def marker_of(place: Place, base: str) -> dict[str, object]:
    """What the marker says."""
    found: dict[str, object] = json.loads(place.results()[f"{base}_SUCCESS"])
    return found


def test_what_the_script_makes_is_stored_and_listed(place: Place) -> None:
    """Every file under the output's key, and last a marker with each one's size and checksum."""
    ended = place.run(place.put("v/a.txt"), SUM, INPUT_PREFIX="v/")
    results = place.results()

    assert (ended.code, ended.result) == (0, "made 2")
    assert results["out/a.txt/sum.txt"].split() == [hashlib.sha256(b"hello").hexdigest().encode(), b"-"]
    assert sorted(results) == ["out/a.txt/_SUCCESS", "out/a.txt/a/b c.txt", "out/a.txt/sum.txt"]
    assert marker_of(place, "out/a.txt/") == {
        "item": "v/a.txt",
        "key": "v/a.txt",
        "etag": hashlib.md5(b"hello").hexdigest(),  # noqa: S324 - what an ETag is
        "files": [
            {"name": name, "size": len(body), "sha256": hashlib.sha256(body).hexdigest()}
            for name, body in (("a/b c.txt", b"x\n"), ("sum.txt", results["out/a.txt/sum.txt"]))
        ],
    }


@pytest.mark.parametrize("key", ODD)
def test_odd_keys_stay_values(place: Place, key: str) -> None:
    """Whatever an item is called, no shell ever reads it: it is in a file and in variables."""
    script = '(printf %s "$LONGSHORE_ITEM"; cat "$INPUT_FILE") > "$OUTPUT_DIR/name"; cat "$WORK_ITEM_FILE"'
    ended = place.run(place.put(key), script)

    assert (ended.code, place.results()[f"out/{key}/name"].decode()) == (0, f"{key}hello"), ended.log
    assert json.loads(ended.out)["key"] == key
    assert not Path("/tmp/hacked").exists()


def test_the_input_keeps_its_name_where_that_is_plain(place: Place) -> None:
    """Tools look at a file's ending."""
    plain = place.run(place.put("x/clip-1.mp4"), 'basename "$INPUT_FILE"').result
    odd = place.run(place.put("x/clip 1é.mp4"), 'basename "$INPUT_FILE"').result

    assert (plain, odd) == ("clip-1.mp4", "input.mp4")


@pytest.mark.parametrize(
    ("script", "code", "reason"),
    [
        ("echo working; echo 'disk full' >&2; exit 3", 1, "the script ended with exit code 3: disk full"),
        ("echo only this; exit 1", 1, "the script ended with exit code 1: only this"),
        ("exit 7", 1, "the script ended with exit code 7: it said nothing"),
        ("echo 'no audio' >&2; exit 65", 65, "no audio"),
        ("echo 'no such flag' >&2; exit 64", 64, "no such flag"),
        ('echo because > "$LONGSHORE_RESULT_FILE"; exit 2', 1, "the script ended with exit code 2: because"),
        ("kill -9 $$", 1, "the script was killed by SIGKILL: it said nothing"),
        ("#!/usr/bin/env python3\nraise SystemExit('bad')", 1, "the script ended with exit code 1: bad"),
        ("#!/no/such/thing\n", 64, "the script can't be started: No such file or directory: /no/such/thing"),
        ('ln -s /etc/passwd "$OUTPUT_DIR/x"', 1, "the script made a link that leads out of OUTPUT_DIR: 'x'"),
        ('mkfifo "$OUTPUT_DIR/x"', 1, "the script made 'x', which is no file"),
        ('touch "$OUTPUT_DIR/_SUCCESS"', 1, "the script made a file '_SUCCESS', which is the marker's name"),
    ],
)
def test_how_the_script_ends_is_the_items_outcome(place: Place, script: str, code: int, reason: str) -> None:
    """Its exit code says whether to try again, its last lines why; nothing is stored of what failed."""
    ended = place.run(place.put("a.txt"), script)

    assert (ended.code, ended.result.startswith(reason)) == (code, True), ended
    assert place.results() == {}


def test_what_the_script_says_passes_through(place: Place) -> None:
    """Its lines are the container's log, and the end of them its result."""
    ended = place.run(place.put("a.txt"), "seq 1 3000; echo problem >&2")

    assert ended.out.splitlines() == [str(number) for number in range(1, 3001)]
    assert ended.log.startswith("problem")
    assert (ended.result.splitlines()[-1], len(ended.result) <= 4096) == ("3000", True)


def test_running_it_again_replaces_the_result(place: Place) -> None:
    """The same keys, and a marker of the latest run."""
    item = place.put("a.txt")
    place.run(item, 'echo 1 > "$OUTPUT_DIR/n"')
    place.run(item, 'echo 22 > "$OUTPUT_DIR/n"')
    files = marker_of(place, "out/a.txt/")["files"]

    assert place.results()["out/a.txt/n"] == b"22\n"
    assert [one["size"] for one in files] == [3]  # type: ignore[attr-defined]  # JSON


def test_nothing_made_is_a_result_too(place: Place) -> None:
    """Only the marker: the item is done."""
    ended = place.run(place.put("a.txt"), "true")

    assert (ended.code, ended.result) == (0, f"stored 0 files in s3://{place.outputs}/out/a.txt/")
    assert marker_of(place, "out/a.txt/")["files"] == []


@pytest.mark.parametrize(
    ("item", "settings", "code", "words"),
    [
        ({"key": "x"}, {}, 65, "the item names nothing to fetch: it needs bucket and key, or url; it has key"),
        ({"bucket": "{inputs}", "key": "gone"}, {}, 65, "there is no object 'gone' in bucket"),
        ({"bucket": "no-such-bucket", "key": "x"}, {}, 1, "there is no such bucket"),
        ({"bucket": "{inputs}", "key": "x"}, {"AWS_SECRET_ACCESS_KEY": "wrong"}, 1, "the secret key is wrong"),
        ({"bucket": "{inputs}", "key": "x"}, {"OUTPUT": ""}, 64, "OUTPUT is not set"),
        (
            {"bucket": "{inputs}", "key": "x"},
            {"OUTPUT": "s3://b/{pth}/"},
            64,
            "did you mean {path}?",
        ),
        ({"bucket": "{inputs}", "key": "x"}, {"SCRIPT": ""}, 64, "neither SCRIPT nor SCRIPT_FILE is set"),
        ({"bucket": "{inputs}", "key": "x"}, {"SCRIPT_FILE": "/x"}, 64, "SCRIPT and SCRIPT_FILE are both set"),
        ({"bucket": "{inputs}", "key": "x"}, {"MAX_INPUT_BYTES": "4"}, 65, "has 5 bytes, MAX_INPUT_BYTES allows 4"),
        ({"bucket": "{inputs}", "key": "x"}, READER.environ(), 1, "could not be stored in bucket"),
        (
            {"bucket": "{inputs}", "key": "x"},
            {"WORK_DIR": "/no/such"},
            64,
            "WORK_DIR: no folder can be made",
        ),
    ],
)
def test_what_can_not_be_done_is_said(
    place: Place, item: dict[str, str], settings: dict[str, str], code: int, words: str
) -> None:
    """The item's fault is 65, a wrong setting 64, and what may pass is tried again."""
    place.put("x")
    named = {name: value.replace("{inputs}", place.inputs) for name, value in item.items()}
    ended = place.run(named, "true", **settings)

    assert (ended.code, words in ended.result) == (code, True), ended
    assert ADMIN.secret not in ended.log + ended.result


def test_the_script_sees_no_credentials(place: Place) -> None:
    """It needs none; asked to, the worker passes them on."""
    item, script = place.put("a.txt"), 'echo "[$AWS_SECRET_ACCESS_KEY]"'

    assert place.run(item, script).result == "[]"
    assert place.run(item, script, PASS_CREDENTIALS="true").result == f"[{ADMIN.secret}]"


def test_a_folder_of_results_appears_at_once(place: Place, tmp_path: Path) -> None:
    """On a laptop, or a volume: written aside, then renamed."""
    out = tmp_path / "results"
    ended = place.run(place.put("v/a b.txt"), 'echo 1 > "$OUTPUT_DIR/n"', OUTPUT=f"{out}/{{path}}/", INPUT_PREFIX="v/")

    assert ended.code == 0, ended
    assert sorted(path.relative_to(out).as_posix() for path in out.rglob("*")) == [
        "a b.txt",
        "a b.txt/_SUCCESS",
        "a b.txt/n",
    ]


def test_folders_of_results_lie_inside_one_another(place: Place, tmp_path: Path) -> None:
    """The results of `a` are not in the way of those of `a/b`, whichever comes first."""
    out = tmp_path / "results"
    for key in ("a", "a/b", "a"):
        ended = place.run(place.put(key), 'echo "$LONGSHORE_ITEM" > "$OUTPUT_DIR/name"', OUTPUT=f"{out}/{{path}}/")
        assert ended.code == 0, ended
    found = {path.relative_to(out).as_posix(): path.read_text() for path in out.rglob("name")}

    assert found == {"a/name": "a\n", "a/b/name": "a/b\n"}
    assert [path for path in out.rglob("*") if path.name.startswith(".")] == []


@pytest.mark.parametrize(
    ("made", "words"),
    [
        ('"$OUTPUT_DIR/_SUCCESS"', "the script made a file '_SUCCESS', which is the marker's name"),
        ('"$OUTPUT_DIR/.longshore/x"', "the script made '.longshore/x': below .longshore results lie"),
    ],
)
def test_a_script_that_makes_what_is_the_workers_own_is_told(
    place: Place, tmp_path: Path, made: str, words: str
) -> None:
    """Else its file would be lost, or stand for the whole result."""
    script = f'mkdir "$OUTPUT_DIR/.longshore"; echo 1 > {made}'
    ended = place.run(place.put("a"), script, OUTPUT=f"{tmp_path}/results/{{path}}/")

    assert (ended.code, words in ended.result) == (1, True), ended
    assert not (tmp_path / "results/a/_SUCCESS").exists()


def test_a_key_that_leads_out_of_the_folder_is_refused(place: Place, tmp_path: Path) -> None:
    """`..` in a key is a name to a store, and a way out to a file system."""
    ended = place.run({"url": "http://h/a/%2E%2E/%2E%2E/x"}, "true", OUTPUT=f"{tmp_path}/{{key}}/", ALLOWED_HOSTS="h")

    assert ended.code in {1, 65}
    assert not (tmp_path.parent / "x").exists()


def test_the_steps_one_by_one_share_a_folder(place: Place, tmp_path: Path) -> None:
    """Any worker fits between fetch and store: it reads from input, and writes to output."""
    item = place.put("v/clip.txt")
    work = tmp_path / "work"
    work.mkdir()
    shared = {"WORK_DIR": str(work), "INPUT_PREFIX": "v/"}
    fetched = place.run(item, "", "fetch", **shared)
    shutil.copy(work / "input/clip.txt", work / "output/copy.txt")
    stored = place.run(item, "", "store", **shared)

    assert [fetched.code, stored.code] == [0, 0], (fetched, stored)
    assert place.results()["out/clip.txt/copy.txt"] == b"hello"


def test_a_step_without_the_one_before_says_so(place: Place, tmp_path: Path) -> None:
    """Nothing was fetched."""
    ended = place.run(place.put("a.txt"), "true", "run", WORK_DIR=str(tmp_path / "new"))

    assert (ended.code, "run the step `fetch` first" in ended.result) == (1, True)


@pytest.mark.parametrize("words", [("fetsch",), ("run", "run")])
def test_a_word_that_is_no_step_is_misuse(words: tuple[str, ...]) -> None:
    """64, and the steps that there are."""
    ended = subprocess.run([*COMMAND, *words], capture_output=True, text=True, env={}, check=False)

    assert (ended.returncode, "expected nothing, or one of fetch, run, store" in ended.stderr) == (64, True)


def test_sigterm_ends_the_script_and_never_with_0(place: Place, tmp_path: Path) -> None:
    """The script may clean up; then all of it is gone, with 143, and nothing is stored."""
    begun, told = tmp_path / "begun", tmp_path / "told"
    script = f"trap 'echo told > {told}; exit 0' TERM; sleep 1000 & touch {begun}; wait"
    process = place.start(place.environ(place.put("a.txt"), script))
    until(begun.exists)
    process.send_signal(signal.SIGTERM)
    ended = place.end(process)

    assert (ended.code, told.exists(), place.results()) == (143, True, {})
    running = (" ".join(one.info["cmdline"] or ()) for one in psutil.process_iter(["cmdline"]))
    assert [line for line in running if str(begun) in line] == []


def test_it_keeps_the_worker_contract(place: Place) -> None:
    """Every rule that `longshore conform worker` tries, on a script that can be stopped in its midst."""
    item = place.put("a.txt")
    environ = place.environ(item, 'sleep 1; cp "$INPUT_FILE" "$OUTPUT_DIR/copy"; echo copied')
    own = {name: value for name, value in environ.items() if not name.startswith(("WORK_ITEM", "LONGSHORE_"))}
    results = check_worker(COMMAND, item="a.txt", data=item, environ=own)

    assert [result for result in results if result.outcome == "failed"] == []
    assert {"passed"} <= {result.outcome for result in results}
    assert place.results()["out/a.txt/copy"] == b"hello"


@pytest.mark.parametrize("step", ["fetch", "run", "store"])
def test_a_step_that_is_killed_is_done_by_the_next_start(place: Place, tmp_path: Path, step: str) -> None:
    """kill -9 at any moment leaves nothing that a second start of the same step trips over."""
    item, work, begun = place.put("a.txt"), tmp_path / "work", tmp_path / "begun"
    work.mkdir()
    script = f"""
        echo half >> "$OUTPUT_DIR/copy"; touch {begun}
        [ -e {tmp_path}/again ] || sleep 1000
        cp "$INPUT_FILE" "$OUTPUT_DIR/copy"
    """
    for word in ("fetch", "run", "store"):
        environ = place.environ(item, script, WORK_DIR=str(work))
        if word == step:
            process = place.start(environ, word)
            if word == "run":
                until(begun.exists)
            process.kill()
            process.communicate()
        (tmp_path / "again").touch()
        ended = place.end(place.start(environ, word))
        assert ended.code == 0, ended

    assert place.results()["out/a.txt/copy"] == b"hello"
    assert marker_of(place, "out/a.txt/")["files"] == [
        {"name": "copy", "size": 5, "sha256": hashlib.sha256(b"hello").hexdigest()}
    ]


def test_an_old_marker_that_can_not_be_removed_fails_the_attempt(place: Place) -> None:
    """A store that is away for a moment must not leave it over content that is being exchanged."""
    item = place.put("a.txt")
    place.run(item, 'echo 1 > "$OUTPUT_DIR/n"')
    with without_deletion(place.store.url) as url:
        failed = place.run(item, 'echo 2 > "$OUTPUT_DIR/n"', S3_ENDPOINT_URL=url)

    assert (failed.code, "the old marker 'out/a.txt/_SUCCESS' could not be removed" in failed.result) == (1, True), (
        failed
    )
    assert place.results()["out/a.txt/n"] == b"1\n"


def test_a_large_file_takes_little_memory(place: Place, tmp_path: Path) -> None:
    """200 MB through a worker that never holds more than a few parts of it."""
    big = tmp_path / "big"
    big.write_bytes(b"0123456789abcdef" * (200 * 1024 * 1024 // 16))
    place.store.client().upload_file(str(big), place.inputs, "big.bin")
    environ = place.environ({"bucket": place.inputs, "key": "big.bin"}, 'cp "$INPUT_FILE" "$OUTPUT_DIR/copy.bin"')
    code = "import resource, subprocess, sys; c = subprocess.call(sys.argv[1:]); "
    code += "print(c, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)"
    ended = subprocess.run([COMMAND[0], "-c", code, *COMMAND], env=environ, capture_output=True, text=True, check=True)
    exit_code, peak_mib = map(int, ended.stdout.split())

    assert exit_code == 0, ended.stderr
    assert peak_mib < 180
    assert marker_of(place, "out/big.bin/")["files"][0]["size"] == big.stat().st_size  # type: ignore[index]  # JSON


def test_a_store_that_dies_while_results_are_stored_has_no_marker(place: Place, tmp_path: Path) -> None:
    """Half a result is none: the attempt fails, and the next one makes it whole."""
    go, item = tmp_path / "go", place.put("a.txt")
    script = f'for n in 1 2 3; do echo $n > "$OUTPUT_DIR/$n"; done; touch {go}; while [ -e {go} ]; do sleep 0.05; done'
    process = place.start(place.environ(item, script))
    until(go.exists)
    place.store.kill()
    go.unlink()
    failed = place.end(process)
    place.store.revive()
    markers = [key for key in place.results() if key.endswith("_SUCCESS")]
    again = place.run(item, script.partition("; touch")[0])

    assert (failed.code, markers) == (1, [])
    assert "can't be reached" in failed.result
    assert (again.code, sorted(place.results())) == (0, [f"out/a.txt/{name}" for name in ("1", "2", "3", "_SUCCESS")])
