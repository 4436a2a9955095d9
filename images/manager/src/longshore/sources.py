"""Where a queue's items come from: the settings of each kind of source, and the variables that they become.

Owns one rule for all kinds: `source.s3.endpointUrl` is S3_ENDPOINT_URL, lists and objects are JSON, what is empty is
left out; the chart keeps to the same. What the settings mean is said by the ambassadors' own settings classes. Refuses
secrets: they come from `existingSecret`, from files, or from the environment of `longshore run`.
"""

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Self, TypeAlias
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from longshore_kit.buckets import Bucket
from longshore_kit.programs import Model, Scalar, upper_snake, variable_text, volume_variable

Texts: TypeAlias = str | tuple[str, ...]
"""One, or a list of them."""

LIST_FOLDER: Final = "/etc/longshore-list"
"""Where a cluster shows the ConfigMap of `source.list`."""
_VOLUME_FOLDER: Final = re.compile(r"^\$\{([A-Z0-9_]+_PATH)\}(?=/)")
_HTTP_URL: Final = r"^(http://.*)?$"
_REDIS_URL: Final = r"^rediss?(\+(sentinel|cluster))?://"
_REDIS_WORDS: Final = (
    "a URL such as redis://redis:6379/0, which begins with redis:// or rediss://, or with redis+sentinel:// or "
    "redis+cluster://"
)
_SECRET_CONFIG: Final = re.compile(r"(?i)password|secret|\.pem$|jaas|oauthbearer\.config")


def _matching(pattern: str, expected: str) -> Any:  # noqa: ANN401 - as pydantic's validators
    """A check of a text: what a schema says by a pattern is told in words."""

    def check(text: str) -> str:
        if re.match(pattern, text) is None:
            raise ValueError(f"expected {expected}")
        return text

    return AfterValidator(check)


def _without_password(url: str) -> str:
    try:
        password = urlsplit(url).password
    except ValueError as exc:
        raise ValueError(f"is no URL: {exc}") from exc
    if password:
        raise ValueError("has a password in it: leave it out; give REDIS_PASSWORD by source.existingSecret, or a file")
    return url


class NfsSource(Model):
    """Files under the first of `source.volumes`: the settings of ambassador-nfs."""

    pattern: Texts = Field(default="**/*.mp4", description="Which files are items; one glob or several.")
    exclude: Texts = Field(default=(), description="Which of them are not.")
    settle_seconds: float = Field(
        default=30, ge=0, description="A file is listed when it has not been written to for so long."
    )
    marker_file: str = Field(default="", description="A file that must exist, as a proof that the volume is mounted.")


class S3Source(Model):
    """Objects in a bucket: the settings of ambassador-s3."""

    bucket: Bucket = Field(min_length=1, description="The bucket.")
    prefix: Texts = Field(default=(), description="Keys begin with it, or with one of several; default: every key.")
    include: Texts = Field(default="**", description="Which keys are items, below their prefix; one glob or several.")
    exclude: Texts = Field(default=(), description="Which of them are not.")
    unless_exists: str = Field(
        default="", description="Leave out a key while this one exists: thumbs/{path}/index.json of videos/a.mp4."
    )
    output_bucket: Bucket = Field(default="", description="Where unlessExists is looked for; default: the same bucket.")
    by_version: bool = Field(default=False, description="Whether an object that has changed is a new item.")
    poll_seconds: float = Field(default=10, ge=0, le=50, description="How often the bucket is listed at most.")
    endpoint_url: str = Field(default="", description="Where a store other than AWS answers.")
    region: str = Field(default="", description="The region to sign for.")
    addressing: Literal["auto", "path", "virtual"] = Field(
        default="auto", description="Whether the bucket stands in the path or in the host name."
    )
    ca_file: str = Field(default="", description="The authorities that have signed the store's certificate.")

    @model_validator(mode="after")
    def _one_or_the_other(self) -> Self:
        if self.by_version and self.unless_exists:
            raise ValueError("byVersion and unlessExists: the output of an older version would hide the new one")
        return self


class RedisSource(Model):
    """Items in Redis or what speaks like it: the settings of ambassador-redis."""

    url: Annotated[str, _matching(_REDIS_URL, _REDIS_WORDS), AfterValidator(_without_password)] = Field(
        json_schema_extra={"pattern": _REDIS_URL},
        description="The server, without a password: redis://redis:6379/0.",
    )
    kind: Literal["hash", "stream", "list", "set", "zset", "keys"] = Field(
        default="hash", description="What holds the items."
    )
    key: str = Field(default="", description="The key that holds them; for kind keys see pattern.")
    pattern: str = Field(default="", description="For kind keys: which keys are items, as SCAN's MATCH.")
    name_field: str = Field(default="", description="For members that are JSON: the field with the item's name.")
    group: str = Field(default="", description="For kind stream: acknowledge for this consumer group.")
    ack: bool = Field(default=False, description="Whether done items are removed.")
    username: str = Field(default="", description="The ACL user.")
    password_file: str = Field(default="", description="A file with the password.")
    sentinel_password_file: str = Field(default="", description="A file with the password of the sentinels.")
    ca_file: str = Field(default="", description="The authorities that have signed the server's certificate.")
    cert_file: str = Field(default="", description="A client certificate.")
    key_file: str = Field(default="", description="The client certificate's key.")

    @model_validator(mode="after")
    def _somewhere_to_look(self) -> Self:
        if self.kind == "keys" and not self.pattern:
            raise ValueError("kind is keys: set pattern to which keys are items, such as job:*")
        if self.kind != "keys" and not self.key:
            raise ValueError(f"kind is {self.kind}: set key to the key that holds the items")
        return self


class KafkaSource(Model):
    """Records of topics, from a group's committed offsets on: the settings of ambassador-kafka."""

    bootstrap_servers: Texts = Field(description="Where the cluster is found: host:9092; one or several.")
    topics: Texts = Field(description="The topics; one or several.")
    group: str = Field(min_length=1, description="The consumer group whose offsets say what is done.")
    max_items: int = Field(default=10_000, ge=1, le=1_000_000, description="Records listed at most, oldest first.")
    ack: bool = Field(default=True, description="Whether the offsets of done records are committed.")
    sasl_username: str = Field(default="", description="The SASL user.")
    sasl_password_file: str = Field(default="", description="A file with the password.")
    config: dict[str, Scalar] = Field(default={}, description="Further settings of librdkafka, by their own names.")

    @model_validator(mode="after")
    def _no_secrets(self) -> Self:
        for name in self.config:
            if _SECRET_CONFIG.search(name):
                raise ValueError(
                    f"config.{name} would be a secret in this file: give KAFKA_SASL_PASSWORD by source.existingSecret, "
                    "or name a file (saslPasswordFile, ssl.key.location)"
                )
        return self


class ListSource(Model):
    """Items that are written down: in this file, or in one of text, CSV, JSON Lines or YAML."""

    items: tuple[str | dict[str, Any], ...] = Field(default=(), description="The items themselves: names, or objects.")
    file: str = Field(
        default="",
        description="A file of them, beside this one or in configMap; or ${MEDIA_PATH}/… of a volume.",
    )
    config_map: str = Field(default="", description="In a cluster: the ConfigMap that holds the file as a key.")
    format: Literal["auto", "lines", "csv", "jsonl", "yaml"] = Field(
        default="auto", description="How the file is written; auto: by its ending, else one item a line."
    )
    name: str = Field(default="", description="The column or field with the item's name; default: name.")

    @model_validator(mode="after")
    def _either(self) -> Self:
        if bool(self.items) == bool(self.file):
            raise ValueError("give either items or file")
        if self.config_map and "/" in self.file:
            raise ValueError(f"file is a key of configMap, and {self.file!r} can be none: it has a slash")
        return self


class CustomSource(Model):
    """An ambassador of your own: one that already runs at a URL, or an image or a command that is started."""

    url: Annotated[str, _matching(_HTTP_URL, "a URL such as http://127.0.0.1:8080")] = Field(
        default="",
        json_schema_extra={"pattern": _HTTP_URL},
        description="Where it answers; `/api/v1/items` is added.",
    )
    image: str = Field(default="", description="In a cluster: its image. It listens on LISTEN_PORT of loopback.")
    command: tuple[str, ...] = Field(default=(), description="Instead of its entry point; on a laptop the program.")
    args: tuple[str, ...] = Field(default=(), description="Its arguments.")
    env: dict[str, Scalar] = Field(default={}, description="Its variables.")

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if bool(self.url) == bool(self.image or self.command):
            raise ValueError("give either url, or image and command")
        return self


class Source(Model):
    """Where the items come from."""

    kind: Literal["nfs", "s3", "redis", "kafka", "list", "custom"]
    volumes: tuple[str, ...] = Field(default=(), description="The volumes that the ambassador sees.")
    existing_secret: str = Field(
        default="",
        description="A Secret whose keys become its variables; on a laptop they are those of `longshore run`.",
    )
    nfs: NfsSource = NfsSource()
    s3: S3Source | None = None
    redis: RedisSource | None = None
    kafka: KafkaSource | None = None
    list: ListSource | None = None
    custom: CustomSource | None = None

    @model_validator(mode="after")
    def _settings_of_its_kind(self) -> Self:
        if getattr(self, self.kind) is None:
            raise ValueError(f"kind is {self.kind}: set {self.kind}.{_FIRST[self.kind]}")
        if self.kind == "nfs" and not self.volumes:
            raise ValueError("kind is nfs: name the volume with the files in source.volumes")
        return self


_FIRST: Final = {
    "s3": "bucket to the bucket with the objects",
    "redis": "url to where the server is, and redis.key to what holds the items",
    "kafka": "bootstrapServers, kafka.topics and kafka.group",
    "list": "items, or list.file to a file of them",
    "custom": "url to where your ambassador answers, or custom.command to start it",
}
_OWN_WAY: Final = frozenset({"list", "custom"})
"""Kinds whose settings become no variables: the one reads the queue file itself, the other has variables of its own."""


def list_file(file: str, folders: Mapping[str, str]) -> str:
    """`source.list.file` with the folder of the volume that it begins with; `folders` by their variables."""
    return _VOLUME_FOLDER.sub(lambda match: folders[match[1]], file)


def list_volume(file: str) -> str:
    """The variable of the volume that a list's file begins with; empty: none."""
    match = _VOLUME_FOLDER.match(file)
    return match[1] if match else ""


def looked_for(source: Source) -> str:
    """What a source takes for its items, in words, with the key that says so: for whom it lists nothing."""
    match source.kind:
        case "nfs":
            return f"files in volume {source.volumes[0]} that match {_shown(source.nfs.pattern)} (source.nfs.pattern)"
        case "s3" if source.s3:
            under = f" under {_shown(source.s3.prefix)}" if source.s3.prefix else ""
            return f"objects in bucket {source.s3.bucket}{under} that match {_shown(source.s3.include)} (source.s3)"
        case "redis" if source.redis:
            return f"the {source.redis.kind} {source.redis.key or source.redis.pattern} (source.redis)"
        case "kafka" if source.kafka:
            return (
                f"records of {_shown(source.kafka.topics)} that group {source.kafka.group} has not done (source.kafka)"
            )
        case "list" if source.list and source.list.file:
            return f"lines of {source.list.file} (source.list.file)"
        case _:
            return f"what source.{source.kind} says"


def _shown(texts: Texts) -> str:
    return texts if isinstance(texts, str) else " or ".join(texts)


def source_variables(source: Source, mounts: Mapping[str, str]) -> dict[str, str]:
    """
    The environment of the queue's ambassador: its settings and its volumes' folders.

    ambassador-nfs looks under MEDIA_PATH, the book's variable, which is its first volume whatever that is called.
    """
    variables = {volume_variable(name): mounts[name] for name in source.volumes}
    if source.kind == "nfs":
        variables["MEDIA_PATH"] = mounts[source.volumes[0]]
    if source.kind == "custom" and source.custom:
        return variables | {name: variable_text(value) for name, value in source.custom.env.items()}
    settings: Model | None = None if source.kind in _OWN_WAY else getattr(source, source.kind)
    for key, value in (settings.model_dump(by_alias=True) if settings else {}).items():
        is_json = isinstance(value, tuple | list | dict)
        text = json.dumps(value, ensure_ascii=False) if is_json else variable_text(value)
        if text not in {"", "[]", "{}"}:
            variables[f"{upper_snake(source.kind)}_{upper_snake(key)}"] = text
    return variables
