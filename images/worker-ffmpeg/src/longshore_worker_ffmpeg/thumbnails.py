"""The work itself: one video becomes a folder of pictures, with an index that says which frames they are."""

import json
import math
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from longshore_kit.errors import ItemFailed, ItemRejected
from longshore_kit.worker import Work
from longshore_worker_ffmpeg import sprite
from longshore_worker_ffmpeg.ffmpeg import input_options, run_ffmpeg
from longshore_worker_ffmpeg.folders import appearing, video_in
from longshore_worker_ffmpeg.report import Video, is_cut_off, times_of, video_of
from longshore_worker_ffmpeg.settings import FfmpegSettings
from longshore_worker_ffmpeg.wholeness import ends_in_a_full_packet, missing_bytes

INDEX: Final = "index.json"
VTT: Final = "thumbs.vtt"
_TOLD: Final = "times.txt"
_PROGRESS_SECONDS: Final = 1.0
_PAGE_BYTES: Final = 4096
# When frames are discarded, ffmpeg's mp4 reader takes a keyframe's place among reordered frames from another frame:
# up to 3 off with x264's defaults; a guess for others.
_FRAMES_OFF: Final = 4

# Deterministic, and good enough to look at: 2 is the best that JPEG gives before files grow without a gain.
_QUALITY: Final = {
    "png": ["-c:v", "png"],
    "jpg": ["-c:v", "mjpeg", "-q:v", "2"],
    # Not libwebp_anim, the default: it makes one file that moves.
    "webp": ["-c:v", "libwebp", "-quality", "85"],
}


def make_thumbnails(work: Work) -> dict[str, Any]:
    """
    Make the pictures of one video.

    Returns what is worth keeping of it: how many, of which mode, and where.

    Raises:
        ItemRejected: it is no video, or not a whole one.
        ItemFailed: something around it failed; another attempt may succeed.
    """
    settings = FfmpegSettings.from_environment(work.environ)
    path, file = video_in(settings.media_path, work.data)
    if not settings.thumbs_path.is_dir():
        raise ItemFailed(f"THUMBS_PATH={settings.thumbs_path} is missing: is the volume mounted?")
    if missing := missing_bytes(file):
        raise ItemRejected(f"it is truncated: by its own headers {missing} bytes are missing at its end")
    video = _probe(file, settings)
    with appearing(settings.thumbs_path / path) as folder:
        times = _extract(file, video, settings, folder)
        index = _index(path, video, times, settings)
        if settings.sprite:
            index["sprite"] = _make_sprite(times, video, settings, folder)
        (folder / INDEX).write_text(json.dumps(index, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    return {"images": len(times), "mode": settings.mode, "folder": path}


def picture_name(number: int, settings: FfmpegSettings) -> str:
    """The file of a picture, counted from 1."""
    return f"thumb{number:04d}.{settings.format}"


def filters(settings: FfmpegSettings, video: Video) -> str:
    """What happens to the decoded frames: chosen first, then told, then scaled, so that little is ever scaled."""
    chain = [
        f"select='{_choice(settings, video)}'",
        # Only frames with metadata are told of; in microseconds, as ffmpeg 5 rounds seconds to six digits.
        "settb=1/1000000,metadata=add:key=longshore:value=1",
        f"metadata=print:file={_TOLD},metadata=delete:key=longshore",
    ]
    if settings.width:
        # Anamorphic video has pixels that are not square: what is kept is the shape that a player shows.
        chain += [f"scale=w='max(1,round(min({settings.width},iw*sar)))':h='max(1,round(ow/dar))'", "setsar=1"]
    else:
        # A video may change its size on the way; its pictures keep that of the first.
        chain.append("scale=w=iw:h=ih")
    return ",".join(chain)


def _choice(settings: FfmpegSettings, video: Video) -> str:
    if settings.mode == "exact":
        return rf"not(mod(n\,{settings.every}))"
    step = settings.every / (video.frame_rate or 25.0)
    # The first keyframe in each stretch of time in which exact mode would take one frame. Stretches begin a little
    # early, since keyframes often lie where they begin, and their times may be some frames off.
    early = min(_FRAMES_OFF / settings.every, 0.25)
    t, prev = (f"floor({time}/{step:.6f}+{early:.6f})" for time in ("t", "prev_selected_t"))
    return rf"isnan(prev_selected_t)+gt({t}\,{prev})"


def _probe(file: Path, settings: FfmpegSettings) -> Video:
    """What the container says. ffmpeg without an output ends with an error that means nothing."""
    options = input_options(file, allow_playlists=settings.allow_playlists)
    ended = run_ffmpeg(options, Path("/"))
    if not any(line.startswith("Input #0") for line in ended.lines):
        raise ended.fault()
    video = video_of(ended.lines)
    if video is None:
        raise ItemRejected("it has no video stream")
    if not video.width:
        raise ItemRejected("its video stream has no frame that can be decoded: its size is unknown")
    return video


def _extract(file: Path, video: Video, settings: FfmpegSettings, folder: Path) -> list[float | None]:
    keyframes_only = ["-skip_frame", "nokey", "-discard:v", "nokey"] if settings.mode == "fast" else []
    progress = _Progress(video)
    # When a video changes its size ffmpeg makes its filters anew, and they count from 0 again. Ours take any size;
    # those that turn and crop read beyond a smaller frame.
    as_one = [] if video.is_turned else ["-reinit_filter", "0", "-noautorotate"]
    arguments = [
        *("-loglevel", "level+warning", "-nostats", "-progress", "pipe:1", "-stats_period", "0.5"),
        *keyframes_only,
        *as_one,
        *input_options(file, allow_playlists=settings.allow_playlists),
        *("-map", "0:V:0", "-vf", filters(settings, video), "-fps_mode", "passthrough"),
        *_QUALITY[settings.format],
        *("-f", "image2", f"thumb%04d.{settings.format}"),
        # All frames go nowhere as well: so that the progress, and a file's early end, are those of the decoder.
        *("-map", "0:V:0", "-fps_mode", "passthrough", "-f", "null", "-"),
    ]
    ended = run_ffmpeg(arguments, folder, progress.take)
    fault = ended.fault() if ended.code != 0 else None
    if isinstance(fault, ItemFailed):
        raise fault
    looks_open = ends_in_a_full_packet(file)
    # Names can hold any words.
    complaints = [line.replace(str(file), "") for line in ended.lines]
    if is_cut_off(complaints, reached_seconds=progress.reached_seconds, video=video, looks_open=looks_open):
        raise ItemRejected("it is truncated: the file ends before its video does") from fault
    if fault:
        raise fault
    return _told(video, settings, folder)


def _told(video: Video, settings: FfmpegSettings, folder: Path) -> list[float | None]:
    """When each picture is shown, if what ffmpeg told agrees with what it made."""
    times = times_of((folder / _TOLD).read_text(encoding="utf-8").splitlines()) if (folder / _TOLD).exists() else []
    (folder / _TOLD).unlink(missing_ok=True)
    made = {path.name for path in folder.iterdir()}
    if not made:
        raise ItemRejected("it has a video stream without a single frame that can be decoded")
    if made == {picture_name(number + 1, settings) for number in range(len(times))}:
        return times
    if video.is_turned:  # the filters were made anew, and counted from 0 again
        raise ItemRejected("it is rotated or cropped, and changes its size on the way: its frames can't be counted")
    # ffmpeg ends well when what it tells finds no room.
    no_room = ": No space left on device" if shutil.disk_usage(folder).free < _PAGE_BYTES else ""
    raise ItemFailed(f"ffmpeg told of {len(times)} pictures, but made {len(made)}{no_room}")


def _index(path: str, video: Video, times: list[float | None], settings: FfmpegSettings) -> dict[str, Any]:
    is_exact = settings.mode == "exact"
    return {
        "version": 1,
        "mode": settings.mode,
        "every": settings.every,
        "times": "exact" if is_exact else "approximate",
        "source": {
            "path": path,
            "width": video.width,
            "height": video.height,
            "pixel_aspect": round(video.pixel_aspect, 6),
            "rotation": video.rotation,
            "duration_seconds": video.duration_seconds,
        },
        "images": [
            {
                "file": picture_name(number + 1, settings),
                # A keyframe's number is not known without counting all frames before it, which fast mode does not.
                "frame": number * settings.every if is_exact else None,
                "time_seconds": time_seconds,
            }
            for number, time_seconds in enumerate(times)
        ],
    }


def _make_sprite(times: list[float | None], video: Video, settings: FfmpegSettings, folder: Path) -> dict[str, Any]:
    grid = sprite.grid_for(len(times), video.shown_width, video.height, settings.sprite_width)
    ended = run_ffmpeg(
        [
            *("-loglevel", "error", "-start_number", "1", "-i", f"thumb%04d.{settings.format}"),
            *("-vf", f"scale={grid.width}:{grid.height},tile={grid.columns}x{grid.rows}", "-q:v", "3"),
            *("-fps_mode", "passthrough", "sprite%02d.jpg"),
        ],
        folder,
    )
    if ended.code != 0:
        raise ended.fault()
    starts = [time_seconds or 0.0 for time_seconds in times]
    (folder / VTT).write_text(sprite.web_vtt(starts, video.duration_seconds or starts[-1], grid), encoding="utf-8")
    sheets = [sprite.sheet_name(number + 1) for number in range(grid.sheets)]
    return {"sheets": sheets, "vtt": VTT, "columns": grid.columns, "width": grid.width, "height": grid.height}


@dataclass
class _Progress:
    """Follows `-progress` and says on stderr, about once a second, how far it is."""

    video: Video
    reached_seconds: float = 0.0
    pictures: int = 0
    said_at: float = -math.inf

    def take(self, line: str) -> None:
        """One `key=value` of ffmpeg's progress."""
        key, _, value = line.partition("=")
        if key == "out_time_us" and value.lstrip("-").isdigit():
            self.reached_seconds = max(self.reached_seconds, int(value) / 1e6)
        elif key == "frame" and value.strip().isdigit():
            self.pictures = int(value)
        elif key == "progress" and (value == "end" or time.monotonic() - self.said_at >= _PROGRESS_SECONDS):
            self.said_at = time.monotonic()
            noun = "picture" if self.pictures == 1 else "pictures"
            sys.stderr.write(f"{self._share()}, {self.pictures} {noun}\n")
            sys.stderr.flush()

    def _share(self) -> str:
        if not self.video.duration_seconds:
            return f"{self.reached_seconds:.0f} s"
        return f"{min(100, round(100 * self.reached_seconds / self.video.duration_seconds))} %"
