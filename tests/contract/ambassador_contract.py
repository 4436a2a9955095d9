"""What every shipped ambassador does over its real store: subclass it, and say how an item gets into that store.

The source contract itself is checked by the kit's own rules; here is what only a store that changes, dies and comes
back can show.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest
import requests
import schemathesis
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import allow_header_conformance, positive_data_acceptance

from longshore_kit.conform import check_source
from support.programs import Running, running

_FILE = Path(__file__).parents[2] / "docs" / "openapi" / "source.yaml"
_SCHEMA: Any = schemathesis.openapi.from_dict(
    yaml.safe_load(_FILE.read_text(encoding="utf-8")), config=SchemathesisConfig()
)
_CALLS = 5
"""For each operation; the kit's own test of the same file asks far more of them."""


class Backend(Protocol):
    """A real store with an ambassador's settings for it."""

    program: str
    """The ambassador's command."""
    environ: dict[str, str]
    """Its settings."""
    secrets: tuple[str, ...]
    """What must never be seen: passwords, secret keys."""

    def add(self) -> str:
        """Put one more item into the store; its name."""

    def remove(self, name: str) -> None:
        """Take it out again, so that it is not listed any more."""

    def kill(self) -> None:
        """SIGKILL the store's server."""

    def revive(self) -> None:
        """Start it again: same address, same data."""


class AmbassadorContract:
    """The rules. A subclass has a fixture `backend`, of any scope: what is there already does not matter."""

    @pytest.fixture
    def ambassador(self, backend: Backend) -> Iterator[Running]:
        """The ambassador, serving."""
        with running(backend.program, backend.environ) as one:
            yield one

    def test_items_come_and_go(self, backend: Backend, ambassador: Running) -> None:
        """An item is listed as long as the store has it, and given while it is."""
        before = set(ambassador.names())
        name = backend.add()
        listed = set(ambassador.names())
        given = ambassador.item(name)
        backend.remove(name)

        assert listed - before == {name}
        assert (given.status_code, given.json()["kind"]) == (200, "Item")
        assert set(ambassador.names()) == before

    def test_an_unknown_item_is_404(self, ambassador: Running) -> None:
        """What the store does not have is not found, and says so as a Status."""
        reply = ambassador.item("there is/no such item")

        assert (reply.status_code, reply.json()["reason"]) == (404, "NotFound")

    def test_an_unchanged_list_is_304(self, backend: Backend, ambassador: Running) -> None:
        """The list's ETag answers 304 until something changes."""
        backend.add()
        etag = ambassador.get("/api/v1/items").headers["ETag"]
        unchanged = ambassador.get("/api/v1/items", **{"If-None-Match": etag})
        name = backend.add()
        changed = ambassador.get("/api/v1/items", **{"If-None-Match": etag})

        assert (unchanged.status_code, unchanged.content) == (304, b"")
        assert changed.status_code == 200
        assert name in changed.json()["items"]

    def test_it_conforms(self, backend: Backend, ambassador: Running) -> None:
        """Every rule of `longshore conform source` holds; one is only about sources without `ack`."""
        for _ in range(3):
            backend.add()
        results = check_source(ambassador.url)

        assert [result for result in results if result.outcome == "failed"] == []
        assert {result.rule for result in results if result.outcome == "skipped"} <= {"test_done_is_absent_without_ack"}

    @pytest.mark.parametrize("operation", [one.ok() for one in _SCHEMA.get_all_operations()], ids=lambda one: one.label)
    def test_it_answers_as_documented(self, backend: Backend, ambassador: Running, operation: Any) -> None:
        """Whatever is asked, right or wrong, is answered as the OpenAPI file says."""
        backend.add()

        @settings(
            max_examples=_CALLS,
            deadline=None,
            derandomize=True,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        def ask(case: Any) -> None:
            with requests.Session() as session:
                session.trust_env = False
                case.call_and_validate(
                    base_url=ambassador.url, session=session, timeout=60, excluded_checks=_beyond_openapi(case)
                )

        for_each: Any = given(operation.as_strategy())
        for_each(ask)()

    def test_a_dead_store_is_503_until_it_lives(self, backend: Backend, ambassador: Running) -> None:
        """SIGKILL of the store: errors with a reason, never a shorter list; alive again, all is as before."""
        name = backend.add()
        before = ambassador.names()
        backend.kill()
        try:
            down = [ambassador.get("/api/v1/items"), ambassador.item(name), ambassador.get("/readyz")]
            alive = ambassador.get("/healthz")
        finally:
            backend.revive()
        after = until_listed(ambassador)

        assert [reply.status_code for reply in down] == [503, 503, 503]
        assert all(reply.json()["message"] for reply in down)
        assert alive.status_code == 200
        assert after == before
        assert ambassador.process.poll() is None

    def test_it_starts_without_its_store(self, backend: Backend) -> None:
        """A store that is not there yet is no reason to end: 503 until it is."""
        name = backend.add()
        backend.kill()
        with running(backend.program, backend.environ) as one:
            try:
                down = one.get("/api/v1/items").status_code
            finally:
                backend.revive()

            assert down == 503
            assert name in until_listed(one)

    def test_secrets_are_never_seen(self, backend: Backend, ambassador: Running) -> None:
        """Neither the log nor a reply, in good times or bad ones, holds a password."""
        name = backend.add()
        replies = [ambassador.get(path).text for path in ("/api/v1", "/api/v1/items", "/readyz")]
        replies.append(ambassador.item(name).text)
        backend.kill()
        try:
            replies += [ambassador.get(path).text for path in ("/api/v1/items", "/readyz")]
            replies.append(ambassador.item(name).text)
        finally:
            backend.revive()
        seen = ambassador.stop() + "".join(replies)

        assert [secret for secret in backend.secrets if secret in seen] == []


def _beyond_openapi(case: Any) -> list[Any]:
    """Checks of what OpenAPI has no words for: see test_openapi.py."""
    if case.path.endswith("/done"):
        return [allow_header_conformance, positive_data_acceptance]
    return [positive_data_acceptance] if "continue" in (case.query or {}) else []


def until_listed(ambassador: Running) -> list[str]:
    """The list, as soon as there is one: the store is back, but a client's own pause before it asks again may last."""
    end = time.monotonic() + 120
    while (reply := ambassador.get("/api/v1/items")).status_code != 200:
        assert time.monotonic() < end, reply.text
        time.sleep(0.1)  # nothing tells when a client tries again
    names: list[str] = reply.json()["items"]
    return names
