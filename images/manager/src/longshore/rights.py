"""Who needs which rights in a queue's namespace: tables only. A test holds the chart's Role to them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Right:
    """One thing that one may do in a namespace, as the API has it."""

    verb: str
    resource: str
    group: str = ""
    subresource: str = ""

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}{f'/{self.subresource}' if self.subresource else ''}"


PERSONS_RIGHTS: Final[Mapping[str, tuple[Right, ...]]] = {
    "status, ls, dead, explain": (
        *(Right(verb, "jobs", "batch") for verb in ("list", "watch")),
        *(Right(verb, "pods") for verb in ("list", "watch")),
        Right("list", "events"),
        # The release's queue file, and the ledger.
        *(Right(verb, "configmaps") for verb in ("list", "watch")),
        # get for the web socket that it comes by; newer servers ask for create as well, as kubectl needs it.
        *(Right(verb, "pods", subresource="portforward") for verb in ("get", "create")),
    ),
    "logs, top": (Right("get", "pods", subresource="log"),),
    "pause, resume, drain": tuple(Right(verb, "configmaps") for verb in ("get", "create", "patch")),
    "retry, rerun": (
        Right("delete", "jobs", "batch"),
        *(Right(verb, "configmaps") for verb in ("get", "create", "patch", "delete")),
    ),
}
"""What each of our commands needs of who types it."""


def managers_rights(payload: str, *, has_page: bool = False) -> tuple[Right, ...]:
    """What the chart's Role gives the manager, by the queue's `worker.payload` and whether there is a status page."""
    return (
        *(Right(verb, "jobs", "batch") for verb in ("get", "list", "watch", "create", "patch", "delete")),
        *(Right(verb, "pods") for verb in ("list", "watch", "delete")),
        *([Right("get", "pods", subresource="log")] if has_page else []),
        *(Right(verb, "events") for verb in ("list", "create", "patch")),
        *(Right(verb, "configmaps") for verb in ("get", "list", "watch", "create", "patch", "delete")),
        *(Right(verb, "secrets") for verb in ("get", "create", "delete") if payload == "secret"),
    )
