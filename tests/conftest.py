"""What all tests share: hypothesis takes its time, and where services are required nothing is skipped."""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest
from hypothesis import settings

REQUIRED = pytest.StashKey[bool]()
"""Whether FIELDBEAT_REQUIRE_SERVICES=1: what is not installed is then a failure."""

settings.register_profile("fieldbeat", deadline=None, print_blob=True, max_examples=30)
settings.load_profile("fieldbeat")


def pytest_configure(config: pytest.Config) -> None:
    """Take the word to the tests out of the environment, where Fieldbeat would wonder about a setting that it does not know."""
    config.stash[REQUIRED] = os.environ.pop("FIELDBEAT_REQUIRE_SERVICES", "") == "1"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn the skip of a test into a failure where services are required."""
    report = yield
    if item.config.stash[REQUIRED] and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, though services are required: {report.longrepr}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Turn the skip of a whole module into a failure where services are required."""
    report = yield
    if collector.config.stash[REQUIRED] and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"skipped, though services are required: {report.longrepr}"
    return report
