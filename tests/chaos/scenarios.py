"""All of them."""

from __future__ import annotations

from tests.chaos import network, processes, several, single
from tests.chaos.world import Scenario

SCENARIOS: list[Scenario] = [*single.SCENARIOS, *network.SCENARIOS, *several.SCENARIOS, *processes.SCENARIOS]
RUNS = [(scenario, strategy) for scenario in SCENARIOS for strategy in scenario.strategies]


def find(name: str) -> Scenario:
    """By its name."""
    return next(scenario for scenario in SCENARIOS if scenario.name == name)
