"""The settings of ambassador-s3, from the environment. In a queue file they stand under `source.s3`."""

from typing import Self

from pydantic import model_validator

from longshore_kit.ambassador import AmbassadorSettings
from longshore_kit.buckets import Bucket
from longshore_kit.globs import Globs
from longshore_kit.keys import KeyTemplate
from longshore_kit.s3 import S3Settings
from longshore_kit.settings import Boolean, TextList, setting


class S3SourceSettings(AmbassadorSettings, S3Settings):
    """Which objects are items, and how the store is reached."""

    s3_bucket: Bucket = setting("The bucket with the objects.", unit="name")
    s3_prefix: TextList = setting(
        "Keys of items begin with it, or with one of several, which are listed side by side; empty: every key.",
        unit="text, or a JSON list of them",
        default=(),
    )
    s3_include: Globs = setting(
        "Which keys are items, by what follows the prefix: `**` is any number of folders, `*`, `?` and `[…]` stay "
        "within one, `{mp4,mov}` is either; case counts. `**` alone takes every key.",
        unit="glob, or a JSON list of them",
        default=("**",),
        min_length=1,
    )
    s3_exclude: Globs = setting("Which are not, by the same rules.", unit="glob, or a JSON list of them", default=())
    s3_unless_exists: KeyTemplate = setting(
        "A key is left out while the one that this template makes of it exists: `thumbs/{path}/index.json`. `{key}` "
        "is the whole key, `{path}` what follows the prefix, `{folder}`, `{name}`, `{stem}` and `{extension}` are "
        "parts of that. What stands before the first brace is listed once per look.",
        unit="template",
        default="",
    )
    s3_output_bucket: Bucket = setting(
        "The bucket in which that other key is looked for; empty: the same one.", unit="name", default=""
    )
    s3_by_version: Boolean = setting(
        "An object that has changed is a new item: its name is the key, `@` and the ETag.",
        unit="true or false",
        default=False,
    )
    s3_poll_seconds: float = setting(
        "A list that is this young is not asked for again: a store takes money for each thousand keys it lists.",
        unit="seconds",
        default=10,
        ge=0,
        le=50,
        allow_inf_nan=False,
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.s3_by_version and self.s3_unless_exists:
            raise ValueError(
                "S3_BY_VERSION and S3_UNLESS_EXISTS are both set: the output of an older version would hide the new one"
            )
        return self
