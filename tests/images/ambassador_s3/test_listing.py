"""Which objects are items, and what is given of each."""

import json
import subprocess
from pathlib import Path

import pytest

from images.ambassador_s3.buckets import PROGRAM, Bucket
from support.programs import installed
from support.queues import NASTY_NAMES
from support.servers.s3 import DOMAIN, NOBODY, READER, Keys, S3Server

pytestmark = pytest.mark.slow

# SeaweedFS keeps keys as paths: it folds slashes of either kind, and takes 255 bytes between two; S3 does neither.
STORABLE = [
    name
    for name in NASTY_NAMES
    if "//" not in name
    and "\\" not in name
    and "/../" not in name
    and not name.startswith("/")
    and not name.endswith("/")
    and max(len(part.encode()) for part in name.split("/")) <= 255
]
LONGEST = "/".join(["é" * 100, "d" * 200, "e" * 200, "f" * 200, "g" * 220])


def test_every_key_is_an_item(bucket: Bucket) -> None:
    """Spaces, slashes, percent signs, newlines, whatever Unicode has, and 1024 bytes; each is given as it is listed."""
    keys = [*STORABLE, LONGEST]
    bucket.put(*keys)
    with bucket.ambassador() as ambassador:
        names = ambassador.names()
        given = [ambassador.item(name).json()["data"]["key"] for name in keys]

    assert len(LONGEST.encode()) == 1024
    assert (sorted(names), given) == (sorted(keys), keys)


def test_what_is_given_of_an_object(bucket: Bucket) -> None:
    """Bucket, key, size in bytes, ETag without quotes, and when it was modified, in UTC."""
    bucket.put("a b.txt", body=b"hello")
    head = bucket.store.client().head_object(Bucket=bucket.name, Key="a b.txt")
    with bucket.ambassador() as ambassador:
        data = ambassador.item("a b.txt").json()["data"]

    assert data == {
        "bucket": bucket.name,
        "key": "a b.txt",
        "size": 5,
        "etag": "5d41402abc4b2a76b9719d911017c592",
        "modified": head["LastModified"].strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, ["a.mp4", "v/a.mp4", "v/a.txt", "v/old/b.mp4", "w/c.mp4"]),
        ({"S3_PREFIX": "v/"}, ["v/a.mp4", "v/a.txt", "v/old/b.mp4"]),
        ({"S3_PREFIX": '["w/", "v/old/", "v/"]'}, ["w/c.mp4", "v/a.mp4", "v/a.txt", "v/old/b.mp4"]),
        ({"S3_INCLUDE": "**/*.mp4"}, ["a.mp4", "v/a.mp4", "v/old/b.mp4", "w/c.mp4"]),
        ({"S3_PREFIX": "v/", "S3_INCLUDE": "*.mp4"}, ["v/a.mp4"]),
        ({"S3_PREFIX": "v", "S3_INCLUDE": "*.mp4"}, ["v/a.mp4"]),
        ({"S3_EXCLUDE": '["v/old", "*.mp4"]'}, ["v/a.mp4", "v/a.txt", "w/c.mp4"]),
    ],
)
def test_prefixes_and_globs_select(bucket: Bucket, settings: dict[str, str], expected: list[str]) -> None:
    """A prefix is where a key begins, globs are of what follows; what is in two prefixes is one item."""
    bucket.put("a.mp4", "v/a.mp4", "v/a.txt", "v/old/b.mp4", "w/c.mp4")
    with bucket.ambassador(**settings) as ambassador:
        names = ambassador.names()
        others = [ambassador.item(name).status_code for name in ("a.mp4", "v/a.txt") if name not in expected]

    assert names == expected
    assert set(others) <= {404}


def test_what_has_its_output_is_hidden(bucket: Bucket) -> None:
    """One listing of the outputs says it; a bucket that never shrinks has a list that does."""
    bucket.put("videos/a.mp4", "videos/x/b.mp4", "videos/c.mp4", "thumbs/a.mp4/index.json", "thumbs/x/b.mp4/1.png")
    settings = {"S3_PREFIX": "videos/", "S3_UNLESS_EXISTS": "thumbs/{path}/index.json"}
    with bucket.ambassador(**settings) as ambassador:
        before = ambassador.names()
        bucket.put("thumbs/x/b.mp4/index.json")
        after = ambassador.names()
        hidden = ambassador.item("videos/a.mp4").status_code

    assert (before, after, hidden) == (["videos/c.mp4", "videos/x/b.mp4"], ["videos/c.mp4"], 200)


def test_outputs_may_be_in_another_bucket(bucket: Bucket, store: S3Server) -> None:
    """`S3_OUTPUT_BUCKET`."""
    other = Bucket(store, store.make_bucket())
    bucket.put("a.mp4", "b.mp4")
    other.put("a.mp4.done")
    with bucket.ambassador(S3_OUTPUT_BUCKET=other.name, S3_UNLESS_EXISTS="{key}.done") as ambassador:
        assert ambassador.names() == ["b.mp4"]


def test_by_version_a_changed_object_is_a_new_item(bucket: Bucket) -> None:
    """Its name has the ETag, and the one before is gone."""
    bucket.put("a@b.txt", body=b"1")
    with bucket.ambassador(S3_BY_VERSION="true") as ambassador:
        (first,) = ambassador.names()
        given = ambassador.item(first).json()["data"]["key"]
        bucket.put("a@b.txt", body=b"2")
        (second,) = ambassador.names()
        codes = [ambassador.item(name).status_code for name in (first, second)]

    assert (given, first.rpartition("@")[0], second.rpartition("@")[0]) == ("a@b.txt", "a@b.txt", "a@b.txt")
    assert (first != second, codes) == (True, [404, 200])


def test_more_than_a_page(bucket: Bucket) -> None:
    """A store gives a thousand keys at a time: all are listed, each once."""
    keys = [f"{number:05}" for number in range(2345)]
    bucket.put(*keys)
    with bucket.ambassador() as ambassador:
        assert ambassador.names() == keys


def test_a_young_list_is_not_asked_for_again(bucket: Bucket) -> None:
    """Each thousand keys listed cost money."""
    bucket.put("a")
    with bucket.ambassador(S3_POLL_SECONDS="50") as ambassador:
        first = ambassador.names()
        bucket.put("b")
        second = ambassador.names()

    assert (first, second) == (["a"], ["a"])


@pytest.mark.parametrize(
    ("keys", "settings", "words"),
    [
        (NOBODY, {}, "access denied: the credentials have no right to it"),
        (Keys("unknown", "canary-7"), {}, "the access key is not known there"),
        (Keys("reader-key", "wrong-canary-9"), {}, "the secret key is wrong, or something on the way changes requests"),
        (READER, {"S3_BUCKET": "no-such-bucket"}, "there is no such bucket"),
        (READER, {"S3_ENDPOINT_URL": "http://127.0.0.1:9"}, "http://127.0.0.1:9 can't be reached: Connection refused"),
        (READER, {"AWS_ACCESS_KEY_ID": ""}, "there are no credentials: set AWS_ACCESS_KEY_ID"),
    ],
)
def test_why_there_is_no_list_is_said_in_words(
    bucket: Bucket, keys: Keys, settings: dict[str, str], words: str
) -> None:
    """503 with a reason, without anything secret in reply or log."""
    bucket.put("a")
    with bucket.ambassador(keys, **settings) as ambassador:
        replies = [ambassador.get("/api/v1/items"), ambassador.item("a")]
        log = ambassador.stop()

    assert [reply.status_code for reply in replies] == [503, 503]
    assert words in replies[0].json()["message"]
    assert [
        text for text in (keys.secret, "X-Amz", "Signature=") if text in log + replies[0].text + replies[1].text
    ] == []


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        (
            {"S3_BY_VERSION": "true", "S3_UNLESS_EXISTS": "out/{path}"},
            "S3_BY_VERSION and S3_UNLESS_EXISTS are both set: the output of an older version would hide the new one",
        ),
        ({"S3_ENDPOINT_URL": "store.example/canary"}, "S3_ENDPOINT_URL: expected "),
        ({"S3_INCLUDE": "{a/b,c}"}, "S3_INCLUDE='{a/b,c}': expected glob"),
    ],
)
def test_a_wrong_setting_stops_the_start(bucket: Bucket, settings: dict[str, str], line: str) -> None:
    """64, and why in a line; an address is not repeated, as people put passwords into those."""
    ended = subprocess.run(
        [installed(PROGRAM)], env=bucket.environ(**settings), capture_output=True, text=True, check=False
    )

    assert (ended.returncode, ended.stderr.startswith(line), "canary" in ended.stderr) == (64, True, False), (
        ended.stderr
    )


def test_a_reader_is_enough(bucket: Bucket) -> None:
    """Listing and reading is all that it asks for."""
    bucket.put("a")
    with bucket.ambassador(READER) as ambassador:
        assert (ambassador.names(), ambassador.item("a").status_code) == (["a"], 200)


@pytest.mark.parametrize("addressing", ["path", "virtual"])
def test_buckets_in_the_path_and_in_the_host_name(bucket: Bucket, addressing: str) -> None:
    """Both styles. A proxy is what knows the buckets' names here: the store itself, which takes any host name."""
    bucket.put("a b")
    settings = {"S3_ENDPOINT_URL": f"http://{DOMAIN}", "S3_ADDRESSING": addressing, "HTTP_PROXY": bucket.store.url}
    with bucket.ambassador(**settings) as ambassador:
        assert (ambassador.names(), ambassador.item("a b").status_code) == (["a b"], 200)


def test_tls_with_an_authority_of_ones_own(tmp_path: Path) -> None:
    """`S3_CA_FILE` says whom to trust; without it the certificate is refused, in words."""
    ca, key = tmp_path / "ca.pem", tmp_path / "key.pem"
    make_certificate(ca, key)
    with S3Server(certificate=ca, key=key) as store:
        bucket = Bucket(store, store.make_bucket())
        bucket.put("a")
        with bucket.ambassador(S3_CA_FILE=str(ca)) as ambassador:
            trusted = ambassador.names(), ambassador.item("a").status_code
        with bucket.ambassador() as ambassador:
            refused = ambassador.get("/api/v1/items")

    assert (trusted, refused.status_code) == ((["a"], 200), 503)
    assert "set S3_CA_FILE" in refused.json()["message"]


def make_certificate(certificate: Path, key: Path) -> None:
    """One that has signed itself, for 127.0.0.1."""
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test"),
            *("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )


def test_credentials_of_a_file_are_found(bucket: Bucket, tmp_path: Path) -> None:
    """The standard chain: variables, files, web identity."""
    bucket.put("a")
    file = tmp_path / "credentials"
    file.write_text(f"[default]\naws_access_key_id={READER.access}\naws_secret_access_key={READER.secret}\n")
    environ = bucket.environ(AWS_SHARED_CREDENTIALS_FILE=str(file))
    without = {name: value for name, value in environ.items() if not name.startswith("AWS_") or "FILE" in name}
    with bucket.ambassador(**without, AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="") as ambassador:
        names = ambassador.names()
        log = ambassador.stop()

    assert (names, [line for line in map(json.loads, log.splitlines()) if line["level"] == "warning"]) == (["a"], [])
