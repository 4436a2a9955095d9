"""SeaweedFS, whose S3 gateway is a real S3 server: with users who may and may not, and TLS where it is asked for."""

import contextlib
import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import boto3
from botocore.config import Config

from support.servers.process import Server, free_port, program

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

DOMAIN: Final = "s3.localhost"
"""Below it each bucket has a host name."""


@dataclass(frozen=True)
class Keys:
    """A user's credentials."""

    access: str
    secret: str

    def environ(self) -> dict[str, str]:
        """As the standard chain finds them."""
        return {"AWS_ACCESS_KEY_ID": self.access, "AWS_SECRET_ACCESS_KEY": self.secret}


ADMIN: Final = Keys("admin-key", "admin-canary-8tr2")
READER: Final = Keys("reader-key", "reader-canary-1wq9")
NOBODY: Final = Keys("nobody-key", "nobody-canary-4zx7")


class S3Server(Server):
    """Master, volume, filer and gateway in one process."""

    def __init__(self, host: str = "127.0.0.1", *, certificate: Path | None = None, key: Path | None = None) -> None:
        super().__init__(host)
        self._tls: Final = (certificate, key) if certificate and key else None
        self._ports: Final = {name: free_port(host) for name in _PORTS}
        self._weed: Final = program("weed", "uv sync")
        identities = [
            {"name": "admin", "actions": ["Admin", "Read", "List", "Tagging", "Write"], **_credentials(ADMIN)},
            {"name": "reader", "actions": ["Read", "List"], **_credentials(READER)},
            {"name": "nobody", "actions": ["Read:nothing-at-all"], **_credentials(NOBODY)},
        ]
        (self.folder / "identities.json").write_text(json.dumps({"identities": identities}), encoding="utf-8")
        (self.folder / "data").mkdir()

    @property
    def url(self) -> str:
        """Where it answers."""
        scheme, port = ("https", "s3.port.https") if self._tls else ("http", "s3.port")
        return f"{scheme}://{self.host}:{self._ports[port]}"

    def command(self) -> Sequence[str]:
        tls = [f"-s3.cert.file={self._tls[0]}", f"-s3.key.file={self._tls[1]}"] if self._tls else []
        return [
            *(self._weed, "-logtostderr=true", "-v=-1", "server", "-s3", f"-ip={self.host}", f"-ip.bind={self.host}"),
            *(f"-dir={self.folder / 'data'}", f"-s3.config={self.folder / 'identities.json'}"),
            *(f"-s3.domainName={DOMAIN}", "-volume.max=1000", "-master.volumeSizeLimitMB=64", "-s3.iam=false"),
            # Each bucket takes seven volumes; and what else listens by itself is of no use here.
            *("-master.telemetry=false", "-s3.port.iceberg=0", "-s3.port.lance=0"),
            *tls,
            *(f"-{name}={port}" for name, port in self._ports.items() if self._tls or name != "s3.port.https"),
        ]

    def is_up(self) -> bool:
        client = self.client()
        bucket = "longshore-is-it-up"
        with contextlib.suppress(client.exceptions.BucketAlreadyOwnedByYou, client.exceptions.BucketAlreadyExists):
            client.create_bucket(Bucket=bucket)
        client.put_object(Bucket=bucket, Key="yes", Body=b"yes")
        return client.get_object(Bucket=bucket, Key="yes")["Body"].read() == b"yes"

    def client(self, keys: Keys = ADMIN) -> "S3Client":
        """A client of its own."""
        return boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id=keys.access,
            aws_secret_access_key=keys.secret,
            verify=str(self._tls[0]) if self._tls else None,
            config=Config(retries={"max_attempts": 1}, connect_timeout=5, read_timeout=60, max_pool_connections=32),
        )

    def make_bucket(self) -> str:
        """An empty bucket."""
        bucket = f"bucket-{secrets.token_hex(4)}"
        self.client().create_bucket(Bucket=bucket)
        return bucket

    def environ_of(self, keys: Keys = ADMIN) -> dict[str, str]:
        """What a program of ours needs to reach it."""
        return {"S3_ENDPOINT_URL": self.url, "AWS_EC2_METADATA_DISABLED": "true", "HOME": "/nowhere", **keys.environ()}


_PORTS: Final = (
    *("master.port", "master.port.grpc", "volume.port", "volume.port.grpc"),
    *("filer.port", "filer.port.grpc", "s3.port", "s3.port.grpc", "s3.port.https"),
)


def _credentials(keys: Keys) -> dict[str, object]:
    return {"credentials": [{"accessKey": keys.access, "secretKey": keys.secret}]}
