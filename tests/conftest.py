"""For all tests: lanes that must run fail when they are skipped, random tests say how to repeat them, and what came of
the conformance suite is printed."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path

import hypothesis
import pytest

from tests.backends.matrix import Matrix, as_markdown, as_text
from tests.backends.slow_link import IS_SLOW

MUST_RUN = frozenset(filter(None, os.environ.get("HOTSHOE_MUST_RUN", "").split(",")))
"""Markers whose tests may not be skipped: HOTSHOE_MUST_RUN=stranger,server,system."""

hypothesis.settings.register_profile("hotshoe", deadline=None, print_blob=True)
hypothesis.settings.load_profile("hotshoe")


LINK = (
    "camera",
    "simcam",
    "cli",
    "test_spool_crash.py",
    "ledger/test_model.py",
    "ledger/test_sql.py",
    "uploader/test_lanes.py",
    "uploader/test_pace.py",
    "backends/test_s3_faults.py",
    "backends/test_azure_faults.py",
    "collector/test_learning.py",
    "collector/test_deletion.py",
)
"""Tests that talk over sockets, start processes or wait for deadlines: the lane `link`, not the quick one."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    elsewhere = [item for item in items if (item.get_closest_marker("slow_link") is not None) != IS_SLOW]
    config.hook.pytest_deselected(items=elsewhere)
    items[:] = [item for item in items if item not in set(elsewhere)]
    for item in items:
        if any(item.path.is_relative_to(here / place) for place in LINK):
            item.add_marker(pytest.mark.link)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    lanes = MUST_RUN & {marker.name for marker in item.iter_markers()}
    if lanes and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{'/'.join(lanes)} must run here, but was skipped: {_reason(report.longrepr)}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if MUST_RUN and report.skipped:  # a whole module, so its lanes are not known
        report.outcome = "failed"
        report.longrepr = f"nothing may be skipped as a whole here, but was: {_reason(report.longrepr)}"
    return report


def _reason(longrepr: object) -> object:
    return longrepr[2] if isinstance(longrepr, tuple) else longrepr


_matrix = Matrix()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _matrix.add(report)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    rows = _matrix.rows()
    if len(rows) > 1:
        terminalreporter.section("conformance")
        terminalreporter.write_line(as_text(rows))
    if file := os.environ.get("HOTSHOE_MATRIX"):
        Path(file).write_text(as_markdown(rows))
