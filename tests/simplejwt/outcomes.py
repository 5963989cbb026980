"""A pytest plugin that says what became of each case, in a JSON file. A subtest counts for its case."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

_outcomes: dict[str, str] = {}


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.failed or report.nodeid not in _outcomes:
        _outcomes[report.nodeid] = "failed" if report.failed else "passed"


def pytest_sessionfinish() -> None:
    Path(os.environ["JWT_REDIS_TEST_OUTCOMES"]).write_text(json.dumps(_outcomes))
