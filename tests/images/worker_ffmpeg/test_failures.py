"""What is no video, what can't be written, and what ends the worker in the middle."""

import os
import resource
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from images.worker_ffmpeg.command import COMMAND, TIMEOUT_SECONDS, Ended, Place
from support.videos import Videos


def assert_rejected(place: Place, ended: Ended, words: str) -> None:
    """Exit 65, the reason in the result, which is the same for the same fault, and nothing left."""
    assert (ended.code, words in ended.result, " @ 0x" in ended.result) == (65, True, False), ended
    assert "Traceback" not in ended.log
    assert place.visible() == []


@pytest.mark.parametrize("mode", ["exact", "fast"])
@pytest.mark.parametrize(
    ("name", "share"),
    [
        ("h264", 0.5),
        ("h264", 0.995),
        ("h264 with sound", 0.01),
        ("h264 with sound", 0.3),
        ("h264 with sound", 0.999),
        ("fragmented", 0.1),
        ("fragmented", 0.5),
        ("mkv", 0.02),
        ("mkv", 0.5),
        ("vp9", 0.9),
        ("mpegts", 0.50001),
    ],
)
def test_a_cut_video_is_rejected(place: Place, videos: Videos, name: str, share: float, mode: str) -> None:
    """Wherever it was cut: without its index, in its index, among its pictures."""
    ended = place.run(place.put(videos.cut(name, share)), MODE=mode)

    assert_rejected(place, ended, "it is truncated")


def test_a_matroska_cut_between_clusters_is_rejected(place: Place, videos: Videos) -> None:
    """No element is broken: only the length in the header says that there was more."""
    whole = videos.get("mkv").read_bytes()
    ended = place.run(place.put(whole[: whole.rindex(b"\x1f\x43\xb6\x75")]))

    assert_rejected(place, ended, "it is truncated")


def test_a_transport_stream_cut_between_packets_is_rejected(place: Place, videos: Videos) -> None:
    """The headers are silent; a frame that can't be decoded and a last packet that isn't filled up tell."""
    whole = videos.get("mpegts").read_bytes()
    packets = [whole[at : at + 188] for at in range(0, len(whole), 188)]
    # In the middle of a large frame: some full packets of the pictures' own stream before it, and behind.
    middle = next(
        at
        for at in range(len(packets) * 3 // 4, len(packets))
        if {p[3] & 0x30 for p in packets[at - 6 : at + 6]} == {16}
    )
    ended = place.run(place.put(b"".join(packets[:middle])))

    assert_rejected(place, ended, "it is truncated: the file ends before its video does")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "the file is empty"),
        (b"This is no video.\n" * 100, "it is "),
        (b"\0" * 100_000, "it is "),
        (b"\x89PNG\r\n\x1a\n" + b"x" * 1000, "it is "),
        (b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'/>", "it is "),
        (b"\0\0\0\x18ftypisom\0\0\0\0isommp42", "moov"),
    ],
)
def test_what_is_no_video_is_rejected(place: Place, content: bytes, words: str) -> None:
    """The reason is a sentence, and no attempt is worth a second one."""
    ended = place.run(place.put(content))

    assert_rejected(place, ended, words)


@pytest.mark.parametrize("suffix", ["m4a", "mp3"])
@pytest.mark.parametrize("with_cover", [False, True])
def test_sound_alone_is_rejected(place: Place, videos: Videos, suffix: str, *, with_cover: bool) -> None:
    """The picture of a cover is no video."""
    ended = place.run(place.put(videos.sound(suffix, with_cover=with_cover), f"sound.{suffix}"))

    assert_rejected(place, ended, "it has no video stream")


@pytest.mark.parametrize("path", ["../secret.mp4", "/etc/passwd", "a/../../b.mp4", "link.mp4", "none.mp4", "x" * 300])
def test_a_path_that_is_no_file_in_the_media_folder_is_rejected(place: Place, videos: Videos, path: str) -> None:
    """Nothing outside the media folder is read, whatever an item says."""
    place.put(videos.get("one frame"))
    (place.folder / "secret.mp4").write_bytes(videos.get("one frame").read_bytes())
    (place.media / "link.mp4").symlink_to("../secret.mp4")

    assert_rejected(place, place.run(path), "media folder")


def playlists(target: str) -> dict[str, str]:
    """A playlist of each kind that names `target`."""
    return {
        "hls": f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{target}\n#EXT-X-ENDLIST\n",
        "hls with a key": f'#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI="{target}"\n#EXTINF:10,\nvideo.ts\n#EXT-X-ENDLIST\n',
        "concat": f"ffconcat version 1.0\nfile '{target}'\n",
        "dash": (
            '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period><AdaptationSet>'
            f'<Representation mimeType="video/mp4" bandwidth="1"><BaseURL>{target}</BaseURL><SegmentBase/>'
            "</Representation></AdaptationSet></Period></MPD>"
        ),
        "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n",
    }


@contextmanager
def listening() -> Iterator[tuple[int, socket.socket]]:
    """A port whose listener can be asked whether anybody came."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        yield listener.getsockname()[1], listener


@pytest.mark.parametrize("kind", list(playlists("")))
def test_a_playlist_that_names_a_url_opens_no_connection(place: Place, kind: str) -> None:
    """A playlist that calls itself a video makes the worker call nobody."""
    with listening() as (port, listener):
        ended = place.run(place.put(playlists(f"http://127.0.0.1:{port}/a.mp4")[kind].encode()))
        with pytest.raises(BlockingIOError):
            listener.accept()

    assert_rejected(place, ended, "it is ")


@pytest.mark.parametrize("kind", ["hls", "concat", "dash"])
def test_a_playlist_that_names_a_file_is_not_followed(place: Place, videos: Videos, kind: str) -> None:
    """Other files of the machine stay unread, although they are videos."""
    other = videos.get("mpegts")
    ended = place.run(place.put(playlists(str(other))[kind].encode()))

    assert_rejected(place, ended, "it is ")


def test_a_playlist_is_followed_when_that_is_asked_for_but_no_url(place: Place, videos: Videos) -> None:
    """ALLOW_PLAYLISTS takes local files, and still makes no connection."""
    place.put(videos.get("mpegts"), "part.ts")
    playlist = place.put(playlists("part.ts")["hls"].encode(), "list.m3u8")
    followed = place.run(playlist, ALLOW_PLAYLISTS="true")
    with listening() as (port, listener):
        url = place.put(playlists(f"http://127.0.0.1:{port}/a.ts")["hls"].encode(), "url.m3u8")
        refused = place.run(url, ALLOW_PLAYLISTS="true")
        with pytest.raises(BlockingIOError):
            listener.accept()

    assert (followed.code, followed.result) == (0, '{"images":3,"mode":"exact","folder":"list.m3u8"}')
    assert refused.code == 65


def test_missing_folders_are_retried(place: Place, videos: Videos) -> None:
    """A volume that isn't mounted is no item's fault."""
    path = place.put(videos.get("one frame"))

    assert [place.run(path, **{name: str(place.folder / "none")}).code for name in ("MEDIA_PATH", "THUMBS_PATH")] == [
        1,
        1,
    ]


def test_wrong_settings_are_64_and_all_named() -> None:
    """Starting it again does not help."""
    environ = {"WORK_ITEM_FILE": "/dev/stdin", "EVERY": "0", "MODE": "quick", "SPRITE": "1"}
    ended = subprocess.run(COMMAND, env=environ, input='{"path": "a"}', capture_output=True, text=True, check=False)

    assert ended.returncode == 64
    assert all(name in ended.stderr for name in ("MEDIA_PATH", "THUMBS_PATH", "EVERY", "MODE", "SPRITE"))


@pytest.mark.skipif(os.geteuid() != 0, reason="run as root to mount a small tmpfs")
@pytest.mark.parametrize(("name", "kilobytes"), [("png", 8), ("png", 32), ("jpg", 40), ("webp", 8)])
def test_a_full_disk_is_retried_and_leaves_nothing(place: Place, videos: Videos, name: str, kilobytes: int) -> None:
    """Whether ffmpeg or the index fills it: another attempt may find room, and finds no leftovers."""
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(place.thumbs)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this container may not mount: run it with CAP_SYS_ADMIN")
    try:
        ended = place.run(place.put(videos.get("h264")), EVERY="50", FORMAT=name)
        left = place.visible()
    finally:
        subprocess.run(["umount", str(place.thumbs)], check=True)  # noqa: S607 - a tool of the system

    assert (ended.code, "No space left on device" in ended.result) == (1, True), ended
    assert left == []


def test_a_file_that_must_not_grow_is_retried(place: Place, videos: Videos) -> None:
    """The same without root: a limit on the size of files ends ffmpeg, and it is no item's fault."""
    path = place.put(videos.get("h264"))
    limit = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (4096, 4096))
    ended = subprocess.run(
        COMMAND,
        env=place.environ(path),
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=limit,
    )

    assert ended.returncode == 1, ended.stderr
    assert place.visible() == []


@contextmanager
def in_the_middle(place: Place, videos: Videos, **settings: str) -> Iterator[subprocess.Popen[bytes]]:
    """The worker on a long video, after it said that it has begun."""
    path = place.put(videos.get("large"))
    process = subprocess.Popen(COMMAND, env=place.environ(path, EVERY="1", **settings), stderr=subprocess.PIPE)
    try:
        assert process.stderr is not None
        assert b" %, " in process.stderr.readline()
        yield process
    finally:
        process.kill()
        process.communicate()


def children(pid: int) -> list[int]:
    """The processes that this one started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_running(pid: int) -> bool:
    """Whether a process still does something; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_143_and_nothing_left(place: Place, videos: Videos, number: signal.Signals) -> None:
    """No success that isn't one, no folder half full, no ffmpeg without a worker."""
    with in_the_middle(place, videos) as process:
        started = children(process.pid)
        process.send_signal(number)
        process.communicate(timeout=TIMEOUT_SECONDS)

    assert process.returncode == 143
    assert len(started) == 1
    assert not any(map(is_running, started))
    assert place.visible() == []


def test_pictures_are_hidden_until_all_are_there(place: Place, videos: Videos) -> None:
    """While it works only a hidden folder is there; an older result stays until it is replaced."""
    old = place.make(videos.get("one frame"), "video.mp4").contents()
    with in_the_middle(place, videos):
        names = sorted(path.name for path in place.thumbs.iterdir())
        visible = {path.name: path.read_bytes() for path in (place.thumbs / "video.mp4").iterdir()}

    assert [name.startswith(".longshore-") for name in names] == [True, False]
    assert visible == old


def test_a_run_after_a_killed_one_succeeds(place: Place, videos: Videos) -> None:
    """kill -9 leaves a hidden folder and perhaps an ffmpeg that still writes; the next attempt doesn't mind."""
    with in_the_middle(place, videos) as process:
        orphans = children(process.pid)
        process.kill()
        process.wait()
        leftovers = [path.name for path in place.thumbs.iterdir()]
        made = place.make(videos.get("h264"))
        for orphan in filter(is_running, orphans):
            os.kill(orphan, signal.SIGKILL)

    assert [name.startswith(".longshore-") for name in leftovers] == [True]
    assert len(made.images) == 3
    assert place.visible() == ["video.mp4", *(f"video.mp4/{name}" for name in sorted(made.contents()))]


def test_progress_is_told_on_stderr(place: Place, videos: Videos) -> None:
    """Lines that a person understands, the last of them complete."""
    made = place.make(videos.get("large"), EVERY="10")

    lines = made.ended.log.splitlines()
    shares = [int(line.partition(" %")[0]) for line in lines]
    assert lines[-1] == "100 %, 50 pictures"
    assert shares == sorted(shares)
