"""What holds for every test: on a machine that is to test everything, a skip is a failure."""

import os
from collections.abc import Generator

import pytest

# What tests share tells both sides of what it compares, too.
pytest.register_assert_rewrite("contract", "support")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Under CI=true a skipped test fails, with the words that say what to install."""
    report = yield
    if os.environ.get("CI") == "true" and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, which fails under CI=true: {item.nodeid}: {report.longrepr}"
    return report
