"""Sentinel and Cluster: another server takes over."""

from __future__ import annotations

import time
from typing import Any

from tests.chaos.world import BOTH, Scenario, World
from tests.support.topology import Cluster, Sentinels, ask
from tests.support.waiting import wait_for


def _fail_over(world: World) -> float:
    place: Sentinels = world.place
    place.stall_replica()
    time.sleep(1)
    former = place.kill_primary()
    place.wait_for_failover(former)
    return time.monotonic()


def _kill_one_primary(world: World) -> float:
    """Its replica heard nothing of the last second, and takes over."""
    place: Cluster = world.place
    slot = Cluster.slot_of("jwt:{3}")
    primary = place.owner_of(slot)
    (replica,) = place.replicas_of(primary)
    ask(replica, "CONFIG SET", "masterauth", "wrong")
    ask(replica, "CLIENT KILL", "TYPE", "master")
    wait_for(lambda: ask(replica, "INFO", "replication")["master_link_status"] == "down", "the link is down")
    time.sleep(1)
    former = place.kill_primary_of(slot)
    place.wait_for_failover(slot, former)
    return time.monotonic()


def _move_slots(world: World) -> float:
    """Those of some users, and the marker's."""
    place: Cluster = world.place
    for name in ("log", *range(1, 11)):
        place.move_slot(f"jwt:{{{name}}}")
    return time.monotonic()


def _sentinels() -> Any:
    return Sentinels(replicas=1, down_after_ms=500, failover_timeout_ms=1000)


SCENARIOS = [
    Scenario("sentinel", "Sentinel: failover to a replica that lagged", _fail_over, BOTH, _sentinels),
    Scenario("cluster-kill", "Cluster: a primary killed, its replica lagged", _kill_one_primary, BOTH, Cluster),
    Scenario("cluster-move", "Cluster: slots moved under load", _move_slots, BOTH, Cluster, keeps=True),
]
