"""What holds for every test: where it may run beside others, and that a skip fails where everything is to be tested."""

import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Final

import pytest

# What tests share tells both sides of what it compares, too.
pytest.register_assert_rewrite("contract", "support")

from support.daemon import docker_or_skip  # noqa: E402 - after it is known that its asserts are rewritten

LANES: Final = ("cluster", "docker")
"""Fixtures of which a machine has one: tests that need it follow each other, whatever runs beside them."""
IMAGES: Final = Path(__file__).parent / "images"


@pytest.fixture(scope="session")
def docker() -> Iterator[None]:
    """A Docker daemon, with an image that has a shell, and the adapter of chains."""
    with docker_or_skip():
        yield


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Say which tests stay together when several processes share them: those of a lane, of an image, of a file."""
    for item in items:
        lane = next((one for one in LANES if one in getattr(item, "fixturenames", ())), "")
        folder = item.path.parent
        item.add_marker(pytest.mark.xdist_group(lane or str(folder if folder.parent == IMAGES else item.path)))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Under CI=true a skipped test fails, with the words that say what to install."""
    report = yield
    if os.environ.get("CI") == "true" and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, which fails under CI=true: {item.nodeid}: {report.longrepr}"
    return report
