"""What a status page is told by the environment, wherever its manager runs. Loads no server."""

from collections.abc import Mapping
from typing import Final

from longshore_kit.settings import Secret, Settings, TextList, setting

TOKEN_VARIABLES: Final = ("STATUS_TOKEN", "STATUS_TOKEN_FILE")
"""Variables for us alone: whoever has the token may retry, pause and resume."""


def without_token(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of what we start: workers and ambassadors are anybody's programs."""
    return {name: value for name, value in environ.items() if name not in TOKEN_VARIABLES}


class StatusSettings(Settings):
    """A status page's settings."""

    status_token: Secret = setting(
        "Who sends this token may retry, pause and resume from the status page; without one it only shows.",
        unit="text, or `STATUS_TOKEN_FILE` with the path of a file",
        default=None,
    )
    status_hosts: TextList = setting(
        "Names under which the status page is asked for, beside localhost and addresses: a Service's, an Ingress's. "
        "Others are refused, against DNS rebinding.",
        unit="name, or JSON list of names",
        default=(),
    )

    @property
    def token(self) -> str:
        """The token; empty: none."""
        return self.status_token.get_secret_value() if self.status_token else ""
