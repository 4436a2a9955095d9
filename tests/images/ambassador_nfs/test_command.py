"""The command as it runs in the image: over HTTP, with signals and exit codes."""

import os
import shutil
import socket
import subprocess
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from images.ambassador_nfs.media import Media
from longshore_kit.contract import quote_name
from support.programs import Running, installed
from support.programs import running as run_program

PROGRAM = "longshore-ambassador-nfs"
COMMAND = installed(PROGRAM)


def running(root: Path, **environ: str) -> AbstractContextManager[Running]:
    """The command over `root`."""
    return run_program(PROGRAM, {"MEDIA_PATH": str(root), **environ})


def test_items_are_served(media: Media) -> None:
    """The list and each item come over HTTP as they are on the disk, and nothing is worth a warning."""
    names = [
        "a b.mp4",
        "a-b.mp4",
        "a/b.mp4",
        "line\nbreak.mp4",
        "100%2F.mp4",
        "-rf.mp4",
        "動画/🎬.mp4",
        "cafe\u0301.mp4",
    ]
    for name in names:
        media.write(name)
    with running(media.root) as command:
        listed = command.get("/api/v1/items")
        items = [command.get(f"/api/v1/items/{quote_name(name)}").json()["data"] for name in names]
        log = command.stop()

    assert listed.json() == {"kind": "ItemList", "apiVersion": "v1", "items": sorted(names)}
    assert [item["path"] for item in items] == names
    assert command.process.returncode == 0
    assert "warning" not in log


def test_an_unchanged_list_is_not_sent_again(media: Media) -> None:
    """The list's ETag answers 304 until a file comes."""
    media.write("a.mp4")
    with running(media.root) as command:
        etag = command.get("/api/v1/items").headers["ETag"]
        unchanged = command.get("/api/v1/items", **{"If-None-Match": etag})
        media.write("b.mp4")
        changed = command.get("/api/v1/items", **{"If-None-Match": etag})

    assert (unchanged.status_code, unchanged.content) == (304, b"")
    assert changed.json()["items"] == ["a.mp4", "b.mp4"]


def test_a_missing_folder_is_503_until_it_is_there(media: Media) -> None:
    """The command starts without its folder, says so, isn't ready, and needs no restart when the folder comes."""
    shutil.rmtree(media.root)
    with running(media.root) as command:
        down = [command.get(path) for path in ["/api/v1/items", "/api/v1/items/a.mp4", "/readyz", "/healthz"]]
        media.write("a.mp4")
        up = [command.get(path) for path in ["/api/v1/items", "/readyz"]]

    assert [reply.status_code for reply in down] == [503, 503, 503, 200]
    assert "mount or create it, or say where it is" in down[0].json()["message"]
    assert [reply.status_code for reply in up] == [200, 200]
    assert up[0].json()["items"] == ["a.mp4"]


def test_what_is_outside_the_folder_is_404(media: Media, tmp_path: Path) -> None:
    """No spelling of a path leads out of the folder."""
    (tmp_path / "secret.mp4").write_bytes(b"secret")
    (media.root / "link.mp4").symlink_to("../secret.mp4")
    with running(media.root) as command:
        replies = [
            command.get(f"/api/v1/items/{part}")
            for part in ["..%2Fsecret.mp4", "%2E%2E%2Fsecret.mp4", "link.mp4", quote_name(f"{tmp_path}/secret.mp4")]
        ]

    assert [reply.status_code for reply in replies] == [404] * 4


def test_the_environment_is_what_configures_it(media: Media) -> None:
    """Every variable reaches the source."""
    for name in ["a.mov", "b.mov", "old/c.mov", "d.mp4", "mounted"]:
        media.write(name)
    media.write("new.mov", age=0)
    lists = {"NFS_PATTERN": '["**/*.mov", "none"]', "NFS_EXCLUDE": "old", "NFS_MARKER_FILE": "mounted"}
    with running(media.root, **lists) as command:
        settled = command.get("/api/v1/items").json()["items"]
        (media.root / "mounted").unlink()
        unmarked = command.get("/api/v1/items").status_code
    with running(media.root, NFS_PATTERN="*.mov", NFS_SETTLE_SECONDS="0") as command:
        at_once = command.get("/api/v1/items").json()["items"]

    assert settled == ["a.mov", "b.mov"]
    assert unmarked == 503
    assert at_once == ["a.mov", "b.mov", "new.mov"]


@pytest.mark.parametrize("locale", ["C", "POSIX", "en_US.ISO-8859-1"])
def test_the_locale_does_not_matter(media: Media, locale: str) -> None:
    """A name is UTF-8 on the disk and in the reply, whatever the container's locale says."""
    media.write("動画.mp4")
    with running(media.root, LC_ALL=locale, PYTHONUTF8="0", PYTHONCOERCECLOCALE="0") as command:
        reply = command.get("/api/v1/items")

    assert reply.json()["items"] == ["動画.mp4"]


def test_wrong_settings_end_it_with_64_and_a_line_for_each() -> None:
    """EX_USAGE: starting again does not help, so every wrong variable is named at once."""
    environ = {"NFS_PATTERN": "/media/*.mp4", "NFS_SETTLE_SECONDS": "soon", "LISTEN_PORT": "http"}
    ended = subprocess.run([COMMAND], env=environ, capture_output=True, text=True, timeout=30, check=False)

    assert ended.returncode == os.EX_USAGE
    assert sorted(line.partition("=")[0].partition(" ")[0] for line in ended.stderr.splitlines()) == [
        "LISTEN_PORT",
        "MEDIA_PATH",
        "NFS_PATTERN",
        "NFS_SETTLE_SECONDS",
    ]


def test_a_port_that_is_taken_ends_it_with_64(media: Media) -> None:
    """The message names the variable to change."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        environ = {"MEDIA_PATH": str(media.root), "LISTEN_PORT": str(taken.getsockname()[1]), "HEALTH_PORT": "0"}
        ended = subprocess.run([COMMAND], env=environ, capture_output=True, text=True, timeout=30, check=False)

    assert ended.returncode == os.EX_USAGE
    assert ended.stderr.startswith("LISTEN_PORT=")
