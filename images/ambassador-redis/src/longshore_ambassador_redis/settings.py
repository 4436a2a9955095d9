"""The settings of ambassador-redis, from the environment. In a queue file they stand under `source.redis`."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, model_validator

from longshore_ambassador_redis.address import Address, parse_address
from longshore_kit.ambassador import AmbassadorSettings
from longshore_kit.settings import Boolean, Secret, setting


def _address(url: str) -> str:
    parse_address(url)
    return url


class RedisSettings(AmbassadorSettings):
    """What holds the items, and how the server is reached."""

    redis_url: Annotated[str, AfterValidator(_address)] = setting(
        "The server, without a password: redis://host:6379/0; rediss:// with TLS; redis+sentinel://host:26379,host:26379"
        "/mymaster/0; redis+cluster://host:6379,host:6379; rediss+sentinel:// and rediss+cluster:// too.",
        unit="URL",
        is_shown=False,
    )
    redis_kind: Literal["hash", "stream", "list", "set", "zset", "keys"] = setting(
        "What holds the items.", unit="hash, stream, list, set, zset or keys", default="hash"
    )
    redis_key: str = setting("The key that holds them; not for kind keys.", unit="text", default="")
    redis_pattern: str = setting(
        "For kind keys: which keys are items, by SCAN's rules: `job:*`.", unit="pattern", default=""
    )
    redis_name_field: str = setting(
        "For members of a list, set or zset that are JSON objects: the field with the item's name. Empty: the member "
        "itself is the name.",
        unit="field",
        default="",
    )
    redis_group: str = setting(
        "For kind stream: list what this consumer group has not acknowledged, and acknowledge there (XACK) instead of "
        "deleting the entry (XDEL).",
        unit="name",
        default="",
    )
    redis_ack: Boolean = setting(
        "Offer the capability `ack`: done items are removed. Off, so that a user that may only read will do.",
        unit="true or false",
        default=False,
    )
    redis_username: str = setting("The ACL user; empty: the default one.", unit="name", default="")
    redis_password: Secret = setting(
        "The password; REDIS_PASSWORD_FILE names a file with it.", unit="text", default=None
    )
    redis_sentinel_password: Secret = setting(
        "The sentinels' own password, where they have one; or REDIS_SENTINEL_PASSWORD_FILE.", unit="text", default=None
    )
    redis_ca_file: Path | None = setting(
        "The authorities that have signed the server's certificate; empty: the system's.", unit="path", default=None
    )
    redis_cert_file: Path | None = setting("A client certificate.", unit="path", default=None)
    redis_key_file: Path | None = setting("The client certificate's key.", unit="path", default=None)

    @property
    def address(self) -> Address:
        """Where the server is."""
        return parse_address(self.redis_url)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.redis_kind == "keys" and not self.redis_pattern:
            raise ValueError("REDIS_PATTERN is not set: with REDIS_KIND=keys it says which keys are items")
        if self.redis_kind != "keys" and not self.redis_key:
            raise ValueError(f"REDIS_KEY is not set: with REDIS_KIND={self.redis_kind} it is the key with the items")
        if self.redis_name_field and self.redis_kind not in {"list", "set", "zset"}:
            raise ValueError("REDIS_NAME_FIELD is for members of a list, set or zset: leave it out")
        if self.redis_group and self.redis_kind != "stream":
            raise ValueError("REDIS_GROUP is for REDIS_KIND=stream: leave it out")
        return self
