"""A bucket of one test, and the ambassador over it."""

from contextlib import AbstractContextManager
from dataclasses import dataclass

from support.programs import Running, running
from support.servers.s3 import ADMIN, Keys, S3Server

PROGRAM = "longshore-ambassador-s3"


@dataclass(frozen=True)
class Bucket:
    """One bucket."""

    store: S3Server
    name: str

    def put(self, *keys: str, body: bytes = b"x") -> None:
        """Objects of these keys."""
        client = self.store.client()
        for key in keys:
            client.put_object(Bucket=self.name, Key=key, Body=body)

    def remove(self, key: str) -> None:
        """Take one away."""
        self.store.client().delete_object(Bucket=self.name, Key=key)

    def environ(self, keys: Keys = ADMIN, /, **settings: str) -> dict[str, str]:
        """The ambassador's settings for it; each list is asked for anew."""
        return {"S3_BUCKET": self.name, "S3_POLL_SECONDS": "0", **self.store.environ_of(keys), **settings}

    def ambassador(self, keys: Keys = ADMIN, /, **settings: str) -> AbstractContextManager[Running]:
        """The ambassador, serving it."""
        return running(PROGRAM, self.environ(keys, **settings))
