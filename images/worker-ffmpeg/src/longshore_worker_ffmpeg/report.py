"""Reading what ffmpeg says of a video: its streams before, its pictures while they are made. Pure.

There is no ffprobe beside every ffmpeg (the binary of imageio-ffmpeg comes alone), so its dump of an input is read.
Each picture is told of in a file by the filter `metadata`; not by `showinfo`, since on stderr the words of ffmpeg's
threads come one into the other at times.
https://ffmpeg.org/ffmpeg-filters.html#metadata_002c-ametadata
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

_DURATION: Final = re.compile(r"^\s*Duration: (\d+):(\d\d):(\d\d(?:\.\d+)?)")
_VIDEO: Final = re.compile(r"^\s*Stream #\d+:\d+.*?: Video: ")
_RATE: Final = re.compile(r"([\d.]+)(k?) (fps|tbr)\b")
_ROTATION: Final = re.compile(r"(?:displaymatrix|Display Matrix): rotation of (-?[\d.]+) degrees")
# Side data after which ffmpeg puts filters of its own before ours.
_OWN_FILTERS: Final = re.compile(r"displaymatrix|Display Matrix|[Cc]ropping")
_SIZE: Final = re.compile(r", (\d+)x(\d+)(?: \[SAR (\d+):(\d+))?")
_PICTURE: Final = re.compile(r"^frame: *\d+ +pts: *(-?\d+|NOPTS)\b")
_CUT_OFF: Final = re.compile(r"partial file|ended prematurely|[Tt]runcat|unexpected end of file|Unexpected EOF")
_ERROR: Final = re.compile(r"\[(error|fatal)\]|[Ee]rror while decoding|corrupt|PES packet size mismatch")


@dataclass(frozen=True)
class Video:
    """What the container says of a video."""

    duration_seconds: float | None
    frame_rate: float | None
    """Frames per second, on average."""
    width: int
    height: int
    """As stored, but turned as a player turns it."""
    pixel_aspect: float = 1.0
    """The width of a pixel by its height, turned too: video can be stored squeezed."""
    rotation: int = 0
    """Degrees clockwise that a player turns it by."""
    is_turned: bool = False
    """Whether ffmpeg turns, mirrors or crops every frame, before anything else."""

    @property
    def shown_width(self) -> int:
        """The width that players give it."""
        return max(1, round(self.width * self.pixel_aspect))


def video_of(lines: Iterable[str]) -> Video | None:
    """The first real video stream in ffmpeg's dump of an input; a cover picture is none. None without one."""
    duration: float | None = None
    stream = ""
    rotation = 0.0
    current = is_turned = False
    for line in lines:
        if match := _DURATION.match(line):
            duration = int(match[1]) * 3600 + int(match[2]) * 60 + float(match[3])
        if line.lstrip().startswith("Stream #"):
            current = not stream and _VIDEO.match(line) is not None and "(attached pic)" not in line
            stream = line if current else stream
        elif current:
            is_turned = is_turned or _OWN_FILTERS.search(line) is not None
            match = _ROTATION.search(line)
            rotation = -float(match[1]) if match else rotation
    return _video(stream, duration, round(rotation) % 360, is_turned=is_turned) if stream else None


def times_of(lines: Iterable[str]) -> list[float | None]:
    """When each picture is shown, in seconds, from what `metadata=print` wrote in microseconds; None: not said."""
    matches = (_PICTURE.match(line) for line in lines)
    return [None if match[1] == "NOPTS" else int(match[1]) / 1e6 for match in matches if match]


def is_cut_off(complaints: Iterable[str], *, reached_seconds: float, video: Video, looks_open: bool) -> bool:
    """
    Whether the file ends before its video does.

    Either ffmpeg says so, or there are errors and the end is suspect: the file `looks_open`, or decoding ended a tenth
    before the declared end. Alone neither says much: a sound track may be longer than the pictures.
    """
    complaints = list(complaints)
    if any(_CUT_OFF.search(line) for line in complaints):
        return True
    looks_short = video.duration_seconds is not None and reached_seconds < 0.9 * video.duration_seconds - 1
    return (looks_open or looks_short) and any(_ERROR.search(line) for line in complaints)


def _video(stream: str, duration: float | None, rotation: int, *, is_turned: bool) -> Video:
    match = _SIZE.search(stream)
    width, height, across, down = (int(part or 0) for part in match.groups()) if match else (0, 0, 0, 0)
    aspect = across / down if across and down else 1.0
    if rotation in {90, 270}:
        width, height, aspect = height, width, 1 / aspect
    return Video(duration, _rate(stream), width, height, aspect, rotation, is_turned)


def _rate(line: str) -> float | None:
    rates = {unit: float(number) * (1000 if kilo else 1) for number, kilo, unit in _RATE.findall(line)}
    return rates.get("fps") or rates.get("tbr")
