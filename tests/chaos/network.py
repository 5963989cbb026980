"""The way to Redis: cut, mute, or leading to another server."""

from __future__ import annotations

import json
import time
from collections import Counter
from typing import Any

from tests.chaos.proxy import Behind, behind_proxy
from tests.chaos.world import BOTH, Scenario, World
from tests.support.topology import ask
from tests.support.waiting import wait_for


def _settings(place: Behind) -> dict[str, Any]:
    return place.settings()


def _misbehave(world: World, mode: str, seconds: float = 2.0) -> float:
    proxy, statuses = world.place.proxy, world.load.oracle.statuses
    refused = statuses[503]
    proxy.mode = mode
    time.sleep(seconds)
    if mode != "hole":
        wait_for(lambda: proxy.faults > 5, "replies are broken")
    proxy.mode = "pass"
    if mode == "hole":
        proxy.cut_all()
        world.counts += Counter(connections=proxy.swallowed, requests=statuses[503] - refused)
        world.notes.append(f"{world.counts['connections']} connections for {world.counts['requests']} requests")
    else:
        world.notes.append(f"{proxy.faults} replies broken")
    return time.monotonic()


def _directly(place: Behind) -> dict[str, str]:
    return {"WORKERS": "1", "CHAOS_ALIAS": json.dumps(place.settings_past_proxy()["CACHES"]["sessions"])}


def _cut_half_way(world: World) -> float:
    return _misbehave(world, "half")


def _drop_replies(world: World) -> float:
    return _misbehave(world, "drop")


def black_hole(world: World) -> float:
    """The address takes connections and says nothing."""
    world.place.proxy.cut_all()
    return _misbehave(world, "hole")


def move_the_address(world: World) -> float:
    """A failover behind one address: whoever reconnects is with a replica that lagged."""
    place: Behind = world.place
    assert place.replica is not None
    place.stall()
    time.sleep(1.2)
    ask(place.replica, "REPLICAOF", "NO", "ONE")
    place.proxy.switch(place.replica.port)
    return time.monotonic()


def move_the_address_too_early(world: World) -> float:
    """The replica has the address before it is promoted."""
    place: Behind = world.place
    assert place.replica is not None
    place.stall()
    time.sleep(0.8)
    place.proxy.switch(place.replica.port)
    time.sleep(1)
    ask(place.replica, "REPLICAOF", "NO", "ONE")
    return time.monotonic()


def lagging_replica(world: World) -> float:
    """A replica that the settings name hears nothing of its primary."""
    world.place.stall()
    time.sleep(2)
    world.place.release()
    return time.monotonic()


SCENARIOS = [
    Scenario(
        "half-replies",
        "the link breaks half-way through replies",
        _cut_half_way,
        BOTH,
        behind_proxy,
        _settings,
        keeps=True,
    ),
    Scenario(
        "no-replies",
        "replies are lost after the command was carried out",
        _drop_replies,
        BOTH,
        behind_proxy,
        _settings,
        keeps=True,
    ),
    Scenario(
        "black-hole",
        "the address accepts connections and answers nothing, 2 s",
        black_hole,
        place=behind_proxy,
        point=_settings,
        keeps=True,
    ),
    Scenario(
        "one-cut-off",
        "one worker's link is dead for 2 s, the other's is not",
        black_hole,
        BOTH,
        behind_proxy,
        _settings,
        keeps=True,
        sets=({"WORKERS": "1"}, _directly),
    ),
    Scenario(
        "moved-address",
        "failover behind one address, to a replica that lagged",
        move_the_address,
        BOTH,
        lambda: behind_proxy(replica=True),
        _settings,
    ),
    Scenario(
        "moved-early",
        "the same, and the address leads to the replica before it is promoted",
        move_the_address_too_early,
        BOTH,
        lambda: behind_proxy(replica=True),
        _settings,
    ),
    Scenario(
        "lagging-replica",
        "the alias names a replica too, and that lags",
        lagging_replica,
        BOTH,
        lambda: behind_proxy(replica=True),
        lambda place: place.settings_with_replica(),
        keeps=True,
    ),
]
