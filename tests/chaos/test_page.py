"""The page that the suite writes is about the suite that there is."""

from __future__ import annotations

from tests.chaos.report import PAGE
from tests.chaos.scenarios import RUNS


def test_the_page_has_a_line_for_each_scenario_and_no_other() -> None:
    table = PAGE.read_text().split("| --- |", 1)[1].split("\n## ")[0]
    lines = [tuple(cell.strip() for cell in line.split("|")[1:3]) for line in table.splitlines()[1:] if line]
    assert lines == [(scenario.title, strategy) for scenario, strategy in RUNS]
