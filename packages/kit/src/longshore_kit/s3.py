"""S3 and what speaks like it: settings, a client, and its errors in words. The kit's extra `s3`, the home of boto3.

Owns how a store is reached: AWS by the standard chain (environment, files, web identity, instance), any other by an
endpoint of its own. Credentials are boto3's business alone: they are no setting here, and no error shows them.
https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html
"""

from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from longshore_kit.settings import Settings, setting

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

CONNECT_SECONDS: Final = 5
READ_SECONDS: Final = 30
ATTEMPTS: Final = 5
"""Of one request, with boto3's own growing pauses: SlowDown, 500 and broken connections pass."""

_REASONS: Final = {
    "AccessDenied": "access denied: the credentials have no right to it",
    "403": "access denied: the credentials have no right to it",
    "NoSuchBucket": "there is no such bucket",
    "InvalidAccessKeyId": "the access key is not known there",
    "SignatureDoesNotMatch": "the secret key is wrong, or something on the way changes requests",
    "ExpiredToken": "the session's credentials have expired",
    "RequestTimeTooSkewed": "this machine's clock and the store's are too far apart: set the clock",
    "SlowDown": "the store asks to slow down; it is asked again later",
    "PermanentRedirect": "the bucket is in another region: set S3_REGION",
    "AuthorizationHeaderMalformed": "the region is wrong: set S3_REGION",
}


class S3Settings(Settings):
    """How a store is reached; each program's own class adds to them."""

    s3_endpoint_url: str = setting(
        "Where a store other than AWS answers; empty: AWS itself.",
        unit="http:// or https:// URL",
        default="",
        pattern=r"^(https?://[^\s/@]+/?)?$",
    )
    s3_region: str = setting(
        "The region to sign for; empty: as AWS's own configuration says, else us-east-1.", unit="name", default=""
    )
    s3_addressing: Literal["auto", "path", "virtual"] = setting(
        "Whether the bucket stands in the path or in the host name; auto: as boto3 decides.",
        unit="auto, path or virtual",
        default="auto",
    )
    s3_ca_file: Path | None = setting(
        "The authorities that have signed the store's certificate; empty: the system's.", unit="path", default=None
    )


def connect(settings: S3Settings, *, connections: int = 10) -> "S3Client":
    """A client, for many threads. Nothing is asked of the store yet."""
    session = boto3.session.Session()
    return session.client(
        "s3",
        endpoint_url=settings.s3_endpoint_url or None,
        region_name=settings.s3_region or session.region_name or "us-east-1",
        verify=str(settings.s3_ca_file) if settings.s3_ca_file else None,
        config=Config(
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            max_pool_connections=connections,
            retries={"mode": "standard", "max_attempts": ATTEMPTS},
            s3={"addressing_style": settings.s3_addressing},
        ),
    )


def error_code(exc: Exception) -> str:
    """The store's own code of an error, such as NoSuchKey; empty where it gave none."""
    return str(exc.response.get("Error", {}).get("Code", "")) if isinstance(exc, ClientError) else ""


def in_words(exc: BotoCoreError | ClientError) -> str:
    """Why a request failed: a sentence that says what to do, without anything secret."""
    code = error_code(exc)
    if isinstance(exc, ClientError):
        said = str(exc.response.get("Error", {}).get("Message", ""))
        return _REASONS.get(code) or f"{code}: {said}"[:300]
    return f"{type(exc).__name__}: {exc}"[:300]
