"""docs/openapi/source.yaml: a right OpenAPI document, and what the kit's ambassador really answers."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import requests
import schemathesis
import yaml
from hypothesis import HealthCheck, Phase, settings
from openapi_spec_validator import OpenAPIV31SpecValidator
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import allow_header_conformance, positive_data_acceptance

from longshore_kit.ambassador import create_app
from longshore_kit.ambassador.app import Waiting
from support.ambassadors import AckSource, MemorySource, serving
from support.queues import NASTY_NAMES

FILE = Path(__file__).parents[2] / "docs" / "openapi" / "source.yaml"
DOCUMENT: Any = yaml.safe_load(FILE.read_text(encoding="utf-8"))
EXAMPLES = 40
"""For each request: many enough to meet every parameter right and wrong, few enough for seconds."""

Case: TypeAlias = schemathesis.Case[Any]

# Without looking for a configuration file or reports: the same on every machine.
schema = schemathesis.openapi.from_dict(DOCUMENT, config=SchemathesisConfig())


@pytest.fixture(scope="module", params=[MemorySource, AckSource])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """An ambassador over every nasty name, with and without `ack`."""
    # `Prefer: wait=20` is asked for too, by chance: whoever waits is answered at once, as when a server stops.
    stopping = threading.Event()
    stopping.set()
    with serving(create_app(request.param(NASTY_NAMES), waiting=Waiting(stopping=stopping))) as url:
        yield url


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    """Requests that go to loopback only, whatever proxy the environment has."""
    with requests.Session() as session:
        session.trust_env = False
        yield session


def test_document_is_valid() -> None:
    """The file is an OpenAPI 3.1 document."""
    assert [error.message for error in OpenAPIV31SpecValidator(DOCUMENT).iter_errors()] == []


def test_document_has_every_path() -> None:
    """The paths are those of the contract: its own, the book's, and health."""
    assert sorted(DOCUMENT["paths"]) == [
        "/api/v1",
        "/api/v1/items",
        "/api/v1/items/{name}",
        "/api/v1/items/{name}/done",
        "/healthz",
        "/items",
        "/items/{name}",
        "/readyz",
    ]


def beyond_openapi(case: Case) -> list[Any]:
    """Checks of what OpenAPI has no words for."""
    if case.path.endswith("/done"):
        # A source without ack refuses it, and the path is also that of an item whose name ends so.
        return [allow_header_conformance, positive_data_acceptance]
    # A token is any text to the document, and right only if it was given out.
    return [positive_data_acceptance] if "continue" in (case.query or {}) else []


@schema.parametrize()
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_ambassador_answers_as_documented(case: Case, url: str, session: requests.Session) -> None:
    """Whatever is asked, right or wrong, is answered with a status, headers and a body that the document has."""
    case.call_and_validate(base_url=url, session=session, timeout=10, excluded_checks=beyond_openapi(case))
