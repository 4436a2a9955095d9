"""ambassador-s3 keeps what every shipped ambassador keeps, over a real store."""

import itertools
from collections.abc import Iterator

import pytest

from contract.ambassador_contract import AmbassadorContract
from images.ambassador_s3.buckets import PROGRAM, Bucket
from support.servers.s3 import ADMIN, S3Server

pytestmark = pytest.mark.slow


class S3Backend:
    """One bucket."""

    program = PROGRAM
    secrets = (ADMIN.secret,)

    def __init__(self, store: S3Server) -> None:
        self._store = store
        self._bucket = Bucket(store, store.make_bucket())
        self._numbers = itertools.count()
        self.environ = self._bucket.environ()

    def add(self) -> str:
        key = f"videos/{next(self._numbers)} é%+.mp4"
        self._bucket.put(key)
        return key

    def remove(self, name: str) -> None:
        self._bucket.remove(name)

    def kill(self) -> None:
        self._store.kill()

    def revive(self) -> None:
        self._store.revive()


@pytest.fixture(scope="module")
def backend() -> Iterator[S3Backend]:
    """A store of its own, as it is killed."""
    with S3Server() as store:
        yield S3Backend(store)


class TestS3Ambassador(AmbassadorContract):
    """Every rule."""
