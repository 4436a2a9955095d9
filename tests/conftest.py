"""What holds for every test: where it may run beside others, and that a skip fails where everything is to be tested."""

import os
import re
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from xdist.scheduler import LoadScopeScheduling

# What tests share tells both sides of what it compares, too.
pytest.register_assert_rewrite("contract", "support")

from support.daemon import docker_or_skip  # noqa: E402 - after it is known that its asserts are rewritten

LANES: Final = {
    "cluster": ("tests/cluster/",),
    "docker": (
        "tests/contract/test_docker_engine.py",
        "tests/images/multi_worker/",
        "tests/images/test_containers.py",
        "tests/local/test_docker.py",
        "tests/local/test_docker_examples.py",
    ),
}
"""Fixtures of which a machine has one, and where they are used: tests there follow each other, whatever runs beside."""


def lane_of(nodeid: str) -> str:
    """Which tests stay together when several processes share them: those of a lane, of an image's folder, of a file."""
    for lane, places in LANES.items():
        if nodeid.startswith(places):
            return lane
    file = nodeid.partition("::")[0]
    return str(Path(file).parent) if re.match("tests/images/[^/]+/", file) else file


class LaneScheduling(LoadScopeScheduling):  # type: ignore[misc] # xdist has no types
    """A process takes a lane at a time, in the order of the files: the cluster's, the longest, is among the first."""

    def _split_scope(self, nodeid: str) -> str:
        return lane_of(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LaneScheduling:
    """Of `pytest --numprocesses`."""
    return LaneScheduling(config, log)


@pytest.fixture(scope="session")
def docker() -> Iterator[None]:
    """A Docker daemon, with an image that has a shell, and the adapter of chains."""
    with docker_or_skip():
        yield


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse a test that would share what a machine has one of with a test in another lane."""
    for item in items:
        used = getattr(item, "fixturenames", ())
        lane = next((one for one in LANES if one in used), None)
        if lane and lane_of(item.nodeid) != lane:
            raise pytest.UsageError(
                f"{item.nodeid} asks for {lane}: name its file there in LANES, in tests/conftest.py"
            )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Under CI=true a skipped test fails, with the words that say what to install."""
    report = yield
    if os.environ.get("CI") == "true" and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, which fails under CI=true: {item.nodeid}: {report.longrepr}"
    return report
