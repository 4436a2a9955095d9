"""The text of a first queue file, with comments that say what may be changed. Pure; docs/queue-file.md has all keys."""

import enum
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import yaml

from longshore_kit.buckets import bucket_and_prefix
from longshore_kit.errors import SettingsError


class SourceKind(enum.StrEnum):
    """The kinds of sources, as a queue file names them."""

    NFS = "nfs"
    S3 = "s3"
    REDIS = "redis"
    KAFKA = "kafka"
    LIST = "list"
    CUSTOM = "custom"


ITEMS_AT: Final[Mapping[SourceKind, tuple[str, str]]] = {
    SourceKind.NFS: ("the folder with the files", "./items"),
    SourceKind.S3: ("the bucket, with a prefix if you like: videos/2026/", "my-bucket"),
    SourceKind.REDIS: ("the server, without a password", "redis://127.0.0.1:6379/0"),
    SourceKind.KAFKA: ("the cluster's address", "127.0.0.1:9092"),
    SourceKind.LIST: ("the file of items, or nothing to write them into this one", ""),
    SourceKind.CUSTOM: (
        "the URL at which your ambassador answers, or the command that starts it",
        "http://127.0.0.1:8080",
    ),
}
"""What `at` is for each kind of source, in words, and what stands there until somebody says it."""


@dataclass(frozen=True)
class Draft:
    """What is asked of who begins a queue."""

    source: SourceKind
    at: str = ""
    """Where the items are; empty: as ITEMS_AT has it."""
    image: str = ""
    command: Sequence[str] = ()
    name: str = ""


def text_of(draft: Draft) -> str:
    """The queue file; whether it is one that can be taken is for its parser to say."""
    is_nfs = draft.source is SourceKind.NFS
    at = draft.at or ITEMS_AT[draft.source][1]
    return "\n".join(
        [
            "# A queue: one worker for each item of a source. docs/queue-file.md says what else can stand here, and",
            "# `longshore schema` prints it for an editor. Try it: longshore check FILE; start it: longshore run FILE",
            *(["queue:", f"  name: {_flow(draft.name)}"] if draft.name else []),
            "",
            "# Folders that the source and the workers see. In a cluster: nfs or persistentVolumeClaim for hostPath.",
            "volumes:",
            *(["  items:", f"    hostPath: {{path: {_flow(at)}}}", "    readOnly: true"] if is_nfs else []),
            "  results:",
            "    hostPath: {path: ./results, type: DirectoryOrCreate}",
            "",
            "# Where the items come from; an item's name is for ever, and one that is done is not done again.",
            "source:",
            f"  kind: {draft.source}",
            *(f"  {line}" for line in _source(draft.source, at)),
            "",
            "# What works on one item. ${name} is its name, ${item.…} a value of its data, ${RESULTS_PATH} a folder.",
            "worker:",
            *([f"  image: {_flow(draft.image)}"] if draft.image else []),
            *([f"  command: {_flow(list(draft.command))}"] if draft.command else ["  # command: [program, '${name}']"]),
            f"  volumes: [{'items, ' if is_nfs else ''}results]",
            "",
            "# How many at once, at most.",
            "scaling:",
            "  max: 10",
            "",
            "# How often an item is tried, and how long an attempt may take. Exit code 65 says: never again.",
            "retry:",
            "  attempts: 3",
            "  deadlineSeconds: 3600",
            "",
        ]
    )


def _source(kind: SourceKind, at: str) -> list[str]:
    match kind:
        case SourceKind.NFS:
            return [
                "volumes: [items]",
                "nfs:",
                '  pattern: "**/*"  # which files: "**/*.mp4" those that end so, in every folder',
                "  settleSeconds: 30  # a file is an item when nobody has written to it for so long",
            ]
        case SourceKind.S3:
            bucket, prefix = bucket_and_prefix(at)
            return [
                "# existingSecret: s3-credentials  # its keys are AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
                "s3:",
                f"  bucket: {_flow(bucket)}",
                f"  prefix: {_flow(prefix)}" if prefix else "  # prefix: videos/  # keys that begin with it",
                '  include: "**"  # which keys',
                "  # endpointUrl: https://minio.example:9000  # a store other than AWS",
            ]
        case SourceKind.REDIS:
            return [
                "# existingSecret: redis  # its key is REDIS_PASSWORD",
                "redis:",
                f"  url: {_flow(at)}",
                "  kind: hash  # what holds the items: hash, stream, list, set, zset or keys",
                "  key: jobs",
            ]
        case SourceKind.KAFKA:
            return [
                "kafka:",
                f"  bootstrapServers: {_flow(at)}",
                "  topics: jobs",
                "  group: longshore  # its offsets say what is done; nobody else may consume with it",
            ]
        case SourceKind.LIST:
            here = [f"file: {_flow(at)}"] if at else ["items: [first, second]  # or file: tasks.csv"]
            return ["list:", *(f"  {line}" for line in here)]
        case SourceKind.CUSTOM:
            return ["custom:", *(f"  {line}" for line in _custom(at))]


def _custom(at: str) -> list[str]:
    if at.startswith("http://"):
        return [f"url: {_flow(at)}", "# or command: [node, ambassador.mjs]  # it listens on LISTEN_PORT of loopback"]
    return [f"command: {_flow(words_of(at, 'the command of the source'))}  # it listens on LISTEN_PORT of loopback"]


def words_of(command: str, what: str) -> list[str]:
    """
    A command line as words, by a shell's rules of quoting; nothing in it is expanded.

    Raises:
        SettingsError: a quote is not closed.
    """
    try:
        return shlex.split(command)
    except ValueError as exc:
        raise SettingsError(f"{what} {command!r}: {exc}") from exc


def _flow(value: str | list[str]) -> str:
    """A value as YAML writes it within a line."""
    texts = [value] if isinstance(value, str) else value
    # In double quotes whatever is in it stays on one line, and whatever it looks like it is a text.
    style = None if all(text.isprintable() for text in texts) else '"'
    written = yaml.safe_dump(
        texts, default_flow_style=True, default_style=style, allow_unicode=True, width=_ONE_LINE
    ).strip()
    return written[1:-1] if isinstance(value, str) else written


_ONE_LINE: Final = 1 << 30
