"""The same scenarios with one guard taken out of the workers. One that does not turn red proves nothing."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.chaos.scenarios import find
from tests.chaos.world import BLACKLIST, SEED, WHITELIST, Result, run


@dataclasses.dataclass(frozen=True)
class Guard:
    """``sabotage``: what takes it out, from sabotage.py; or it is a setting."""

    name: str
    title: str
    scenario: str
    strategy: str
    sabotage: tuple[str, ...] = ()
    jwt_redis: Mapping[str, Any] = dataclasses.field(default_factory=dict)


GUARDS = [
    Guard("marker", "what the marker says of a lost store", "flushall", BLACKLIST, ("no_marker",)),
    Guard("journal", "the journal (`JOURNAL=False`)", "host-crash", WHITELIST, jwt_redis={"JOURNAL": False}),
    Guard(
        "gate",
        "servers are asked who they are, and stores are held against the journal",
        "host-crash",
        WHITELIST,
        ("no_gate",),
    ),
    Guard("primary", "only the primary is read", "lagging-replica", WHITELIST, ("read_from_replica",)),
]
# Without it nobody is let in who should not be: but every request waits for the dead address.
BREAKER = Guard("breaker", "the breaker", "black-hole", WHITELIST, ("no_breaker",))


def share(counts: Counter[str]) -> float:
    """Of the requests that were answered 503 meanwhile, how many have tried the dead address."""
    return counts["connections"] / max(1, counts["requests"])


def run_without(guard: Guard, database: Path, *, seed: int = SEED) -> Result:
    """Its scenario, without it."""
    scenario = dataclasses.replace(find(guard.scenario), jwt_redis=guard.jwt_redis)
    return run(scenario, guard.strategy, database, seed=seed, sabotage=guard.sabotage)
