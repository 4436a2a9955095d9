"""What a status page is told by the environment, wherever its manager runs. Loads no server."""

from longshore_kit.settings import Secret, Settings, TextList, setting


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
