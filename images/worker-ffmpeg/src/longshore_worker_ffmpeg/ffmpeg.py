"""Finding ffmpeg, running it, and telling whose fault it was when it failed. The only home of subprocesses here.

Owns the guards against hostile input: no stdin, no protocol but local files, no format that names other files. Knows
ffmpeg's words, since its exit codes say little.
"""

import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from longshore_kit.errors import ItemFailed, ItemRejected, SettingsError

_CONTAINERS: Final = (
    "3g2,3gp,aiff,amr,apng,asf,av1,avi,dv,flac,flv,gif,gxf,h261,h263,h264,hevc,ivf,m4a,m4v,matroska,mj2,mjpeg,mov,mp3,"
    "mp4,mpeg,mpegts,mpegvideo,mxf,nsv,nut,obu,ogg,rm,swf,vc1,vvc,wav,webm,wtv,y4m,yuv4mpegpipe"
)
"""Formats that hold pictures or sound themselves. Left out are those that name other files: hls, concat, dash, sdp …"""

_TERM_SECONDS: Final = 5.0

# ffmpeg 5 writes these for each frame after a change of size: without them the log stays as long as the pictures.
_CHATTER: Final = (b"Changing video frame properties on the fly", b"filter context - w:")

# Who speaks, with an address of this very run: without it equal failures are told alike.
_PLACE: Final = re.compile(r"^\[([^\]]+?) @ 0x[0-9a-f]+\]")

_ENVIRONMENT_WORDS: Final = (
    "No space left on device",
    "Disk quota exceeded",
    "File too large",
    "Read-only file system",
    "Permission denied",
    "Cannot allocate memory",
    "Too many open files",
    "Stale file handle",
    "Input/output error",
)
_ITEM_WORDS: Final = (
    ("not on whitelist", "it is a playlist or another format that names other files, which are not followed"),
    ("moov atom not found", "it is truncated, or no video: its index (moov) is missing"),
    ("End of file", "it is truncated: it ends before its pictures begin"),
    ("does not contain any stream", "it has no stream"),
    ("matches no streams", "it has no video stream"),
    ("Invalid data found when processing input", "it is no video that ffmpeg knows"),
    ("Invalid argument", "it is no video that ffmpeg can read"),
)


@dataclass(frozen=True)
class Ended:
    """How one run of ffmpeg ended."""

    code: int
    lines: tuple[str, ...]
    """What it wrote on stderr."""

    def fault(self) -> Exception:
        """Whose fault a failure was: the item's, or that of the moment."""
        text = "\n".join(self.lines)
        if self.code < 0:
            return ItemFailed(f"ffmpeg was ended by signal {-self.code}; too little memory?")
        for words in _ENVIRONMENT_WORDS:
            # At a line's end: ffmpeg also prints names and titles, which can hold any words.
            if line := next((line for line in self.lines if line.endswith(f": {words}")), None):
                return ItemFailed(f"ffmpeg: {line.strip()}")
        for words, reason in _ITEM_WORDS:
            if words in text:
                return ItemRejected(f"{reason} (ffmpeg: {_line_with(words, self.lines)})")
        last = next((line for line in reversed(self.lines) if line.strip()), "")
        return ItemFailed(f"ffmpeg ended with exit code {self.code}: {last}")


def find_ffmpeg() -> str:
    """
    The ffmpeg on the PATH, else the one that the package imageio-ffmpeg carries.

    Raises:
        SettingsError: there is neither.
    """
    if found := shutil.which("ffmpeg"):
        return found
    try:
        import imageio_ffmpeg  # noqa: PLC0415 - optional, and 170 MB: only where there is no other
    except ImportError as exc:
        raise SettingsError(
            "no ffmpeg on the PATH: install it (apt install ffmpeg), or pip install longshore-worker-ffmpeg[binary]"
        ) from exc
    return str(imageio_ffmpeg.get_ffmpeg_exe())


def input_options(video: Path, *, allow_playlists: bool) -> list[str]:
    """Options that make ffmpeg read `video` and nothing else; `file:` keeps a colon or dash in a name from meaning."""
    formats = [] if allow_playlists else ["-format_whitelist", _CONTAINERS]
    return ["-protocol_whitelist", "file,pipe", *formats, "-i", f"file:{video}"]


def run_ffmpeg(arguments: Sequence[str], folder: Path, on_progress: Callable[[str], None] | None = None) -> Ended:
    """
    Run ffmpeg in `folder`; `on_progress` gets each `key=value` that `-progress pipe:1` writes. Stops it if we stop.
    """
    command = [find_ffmpeg(), "-nostdin", "-hide_banner", "-y", *arguments]
    process = subprocess.Popen(
        command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    lines: list[str] = []
    with process:
        reader = threading.Thread(target=_collect, args=(process, lines), daemon=True)
        reader.start()
        try:
            assert process.stdout is not None  # noqa: S101 - it is a pipe
            for line in process.stdout:
                if on_progress:
                    on_progress(line.decode(errors="replace").strip())
            code = process.wait()
        except BaseException:
            _end(process)
            raise
        finally:
            reader.join()
    return Ended(code, tuple(lines))


def _collect(process: subprocess.Popen[bytes], lines: list[str]) -> None:
    assert process.stderr is not None  # noqa: S101 - it is a pipe
    lines.extend(
        _PLACE.sub(r"[\1]", line.decode(errors="replace").rstrip())
        for line in process.stderr
        if not any(words in line for words in _CHATTER)
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_TERM_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()


def _line_with(words: str, lines: Sequence[str]) -> str:
    return next((line for line in lines if words in line), words).strip()
