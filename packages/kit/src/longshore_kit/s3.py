"""S3 and what speaks like it: settings, a client, and its errors in words. The kit's extra `s3`, the home of boto3.

Owns how a store is reached: AWS by the standard chain (environment, files, web identity, instance), any other by an
endpoint of its own. Credentials are boto3's business alone: they are no setting here, and no error shows them.
https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html
"""

import random
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, cast
from xml.sax.saxutils import unescape

import boto3
from boto3.exceptions import S3UploadFailedError
from boto3.s3.transfer import TransferConfig
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,  # noqa: A004 - the library's own, which is none of Python's
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
    SSLError,
)
from botocore.httpsession import URLLib3Session
from botocore.utils import get_environ_proxies

from longshore_kit.settings import Boolean, Settings, setting

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

StoreError: TypeAlias = BotoCoreError | ClientError
"""Whatever a request to a store may raise, the client's own and ours alike: `in_words` says it to people."""
STORE_ERRORS: Final = (BotoCoreError, ClientError)
"""The same, for `except`."""

CONNECT_SECONDS: Final = 5
READ_SECONDS: Final = 30
ATTEMPTS: Final = 5
"""Of one request, with boto3's own growing pauses: SlowDown, 500 and broken connections pass."""

PART_BYTES: Final = 16 * 1024 * 1024
"""Of a large file so much at a time, twice: that is the memory it takes, whatever its size. 10,000 parts are 160 GB."""
PAGE_KEYS: Final = 1000
"""The most that a store gives at once."""
_URL_SECONDS: Final = 300
_RETRIED: Final = frozenset({408, 429, 500, 502, 503, 504})
_OK: Final = 200
_ERROR: Final = re.compile(rb"<Code>([^<]*)</Code>(?:.*?<Message>([^<]*)</Message>)?", re.DOTALL)

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
        unit="http:// or https:// URL without user and path",
        default="",
        is_shown=False,
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
    s3_checksums: Boolean = setting(
        "Send checksums with what is stored, and check those of what is fetched. False for stores that know none.",
        unit="true or false",
        default=True,
    )


def connect(settings: S3Settings, *, connections: int = 10) -> "S3Client":
    """A client, for many threads. Nothing is asked of the store yet."""
    session = boto3.session.Session()
    return session.client(
        "s3",
        endpoint_url=settings.s3_endpoint_url or None,
        region_name=settings.s3_region or session.region_name or "us-east-1",
        verify=_authorities(settings),
        config=Config(
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            max_pool_connections=connections,
            # For presigned URLs too, where boto3 would still take the version before for stores other than AWS.
            signature_version="s3v4",
            retries={"mode": "standard", "max_attempts": ATTEMPTS},
            s3={"addressing_style": settings.s3_addressing},
            request_checksum_calculation="when_supported" if settings.s3_checksums else "when_required",
            response_checksum_validation="when_supported" if settings.s3_checksums else "when_required",
        ),
    )


def _authorities(settings: S3Settings) -> str | None:
    """Who must have signed the store's certificate; None: whom AWS's own configuration or the system trusts."""
    configured = boto3.session.Session()._session.get_config_variable("ca_bundle")  # noqa: SLF001 - it has no other way
    return str(settings.s3_ca_file) if settings.s3_ca_file else configured


class RawLister:
    """
    Pages of a bucket's list as the store sends them, for many threads.

    boto3's own paginator makes objects of every field of every key, which is most of what a long list costs.
    """

    def __init__(self, settings: S3Settings, client: "S3Client", *, connections: int = 10) -> None:
        self._client: Final = client
        self._http: Final = URLLib3Session(
            verify=cast(bool, _authorities(settings) or True),  # its types know no path
            proxies=get_environ_proxies(client.meta.endpoint_url),
            timeout=READ_SECONDS,
            max_pool_connections=connections,
        )

    def page(self, bucket: str, prefix: str, token: str) -> bytes:
        """
        One page of the keys below `prefix`, as XML, with keys encoded as in URLs where the store does so.

        Raises:
            StoreError: the store said no, or did not answer; attempts with growing pauses are behind it.
        """
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self._page(bucket, prefix, token)
            except STORE_ERRORS as exc:
                if attempt == ATTEMPTS or not _is_passing(exc):
                    raise
                time.sleep(min(5.0, 0.2 * 2**attempt) * random.uniform(0.5, 1))  # noqa: S311 - spreads load
        raise AssertionError  # pragma: no cover

    def _page(self, bucket: str, prefix: str, token: str) -> bytes:
        parameters: dict[str, Any] = {"Bucket": bucket, "Prefix": prefix, "EncodingType": "url", "MaxKeys": PAGE_KEYS}
        if token:
            parameters["ContinuationToken"] = token
        # The signature is in the URL, so no error may show it: below it is never told.
        url = self._client.generate_presigned_url("list_objects_v2", Params=parameters, ExpiresIn=_URL_SECONDS)
        try:
            response = self._http.send(AWSRequest(method="GET", url=url).prepare())
            body: bytes = response.content
        except SSLError:
            raise
        except BotoCoreError as exc:
            raise _without_url(exc, self._client.meta.endpoint_url) from None
        if response.status_code != _OK:
            raise _refusal(response.status_code, body)
        return body


def _is_passing(exc: StoreError) -> bool:
    if isinstance(exc, ClientError):
        return exc.response["ResponseMetadata"]["HTTPStatusCode"] in _RETRIED
    return isinstance(exc, HTTPClientError)


def _without_url(exc: BotoCoreError, endpoint: str) -> HTTPClientError:
    """The same error, of the endpoint alone."""
    return HTTPClientError(error=_unreachable(exc, endpoint))


def _unreachable(exc: BotoCoreError, endpoint: str) -> str:
    """Where nobody answered, and the innermost reason: the library's own words have the whole URL."""
    cause: BaseException = exc.kwargs.get("error", exc)
    while (inner := cause.__cause__ or cause.__context__) is not None:
        cause = inner
    return f"{endpoint} can't be reached: {getattr(cause, 'strerror', None) or type(cause).__name__}"


def _refusal(status: int, body: bytes) -> ClientError:
    found = _ERROR.search(body)
    code, message = (
        unescape((part or b"").decode(errors="replace")) for part in (found.groups() if found else (b"", b""))
    )
    error: Any = {
        "Error": {"Code": code or str(status), "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return ClientError(error, "ListObjectsV2")


def put_file(client: "S3Client", path: Path, bucket: str, key: str, *, content_type: str) -> None:
    """
    Store a file, a large one in parts, which are given up when it ends early, however that comes.

    Raises:
        StoreError: it was not stored.
    """
    config = TransferConfig(multipart_threshold=PART_BYTES, multipart_chunksize=PART_BYTES, max_concurrency=2)
    try:
        client.upload_file(str(path), bucket, key, ExtraArgs={"ContentType": content_type}, Config=config)
    except S3UploadFailedError as exc:
        # What it wraps says more, and is what all else raises.
        cause = exc.__cause__ or exc.__context__
        raise cause if isinstance(cause, STORE_ERRORS) else HTTPClientError(error=exc) from exc


def error_code(exc: Exception) -> str:
    """The store's own code of an error, such as NoSuchKey; empty where it gave none."""
    return str(exc.response.get("Error", {}).get("Code", "")) if isinstance(exc, ClientError) else ""


def in_words(exc: StoreError) -> str:
    """Why a request failed: a sentence that says what to do, without anything secret."""
    code = error_code(exc)
    if isinstance(exc, ClientError):
        said = str(exc.response.get("Error", {}).get("Message", ""))
        return _REASONS.get(code) or f"{code}: {said}"[:300]
    if isinstance(exc, NoCredentialsError | PartialCredentialsError):
        return "there are no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the pod a role"
    if isinstance(exc, SSLError):
        return "the store's certificate is not trusted: set S3_CA_FILE to the authorities that have signed it"
    if isinstance(exc, ConnectionError | HTTPClientError) and (url := exc.kwargs.get("endpoint_url")):
        return _unreachable(exc, str(url).partition("?")[0])
    return str(exc).removeprefix("An HTTP Client raised an unhandled exception: ").partition("?")[0][:300]
