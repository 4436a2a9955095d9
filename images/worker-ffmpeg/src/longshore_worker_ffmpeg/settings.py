"""The settings of worker-ffmpeg, from the environment. In a queue file they stand under `worker.env`."""

from pathlib import Path
from typing import Literal

from longshore_kit.settings import Boolean, Settings, setting


class FfmpegSettings(Settings):
    """Which pictures are made of a video, and where."""

    media_path: Path = setting("The folder that items' paths count from; never left.", unit="folder")
    thumbs_path: Path = setting("Where each item gets a folder of its own, under the item's path.", unit="folder")
    every: int = setting(
        "One picture out of so many frames: frames 0, 100, 200, … (the book's own command takes the first hundred).",
        unit="number",
        default=100,
        ge=1,
    )
    format: Literal["png", "jpg", "webp"] = setting("What the pictures are.", unit="png, jpg or webp", default="png")
    width: int = setting(
        "Their width at most, in pixels; aspect and rotation are kept, nothing is enlarged. 0: as in the video.",
        unit="pixels",
        default=0,
        ge=0,
        le=16384,
    )
    mode: Literal["exact", "fast"] = setting(
        "exact decodes every frame; fast looks at keyframes only, takes at most one per `EVERY` frames' time, and says "
        "so in index.json.",
        unit="exact or fast",
        default="exact",
    )
    sprite: Boolean = setting(
        "Also make a sheet of small pictures and a WebVTT file, as video players use for their previews.",
        unit="true or false",
        default=False,
    )
    sprite_width: int = setting("The width of a picture on the sheet.", unit="pixels", default=160, ge=16, le=1024)
    allow_playlists: Boolean = setting(
        "Take playlists (HLS, concat, DASH, image sequences) for videos too. They make ffmpeg open files that they "
        "name: only for folders whose writers are trusted.",
        unit="true or false",
        default=False,
    )
