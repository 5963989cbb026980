"""Each scenario once, and each guard taken out once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.guards import BREAKER, GUARDS, Guard, run_without, share
from tests.chaos.scenarios import RUNS, find
from tests.chaos.world import Scenario, prepare, run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare(tmp_path_factory.mktemp("chaos"))


@pytest.mark.parametrize(("scenario", "strategy"), RUNS, ids=[f"{s.name}-{strategy}" for s, strategy in RUNS])
def test_no_revoked_token_works_again(scenario: Scenario, strategy: str, database: Path) -> None:
    assert run(scenario, strategy, database).problems == []


@pytest.mark.parametrize("guard", GUARDS, ids=[guard.name for guard in GUARDS])
def test_without_a_guard_it_turns_red(guard: Guard, database: Path) -> None:
    assert run_without(guard, database).wrong


def test_without_the_breaker_requests_wait_for_a_dead_address(database: Path) -> None:
    with_it = run(find(BREAKER.scenario), BREAKER.strategy, database).counts
    without = run_without(BREAKER, database).counts
    assert share(without) > 5 * share(with_it)
