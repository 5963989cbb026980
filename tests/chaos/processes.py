"""The application's own side: its database, its worker processes, its clocks, its versions."""

from __future__ import annotations

import contextlib
import random
import sqlite3
import time

from jwt_redis.testing.servers import RedisServer
from tests.chaos.single import crash, roll_back
from tests.chaos.world import BOTH, Scenario, World


def _lock_database(world: World) -> float:
    """Somebody else has it for himself: it can be read, and nothing can be committed. Then Redis loses, too."""
    with world.store() as store:
        store.save()
    with contextlib.closing(sqlite3.connect(world.folder / "db.sqlite3", isolation_level=None)) as database:
        database.execute("PRAGMA busy_timeout = 5000")
        database.execute("BEGIN EXCLUSIVE")
        time.sleep(1.5)
        database.execute("ROLLBACK")
    return crash(world)


def _break_commits(world: World) -> float:
    """Password changes whose transactions fail at their very end."""
    rng = random.Random(world.load.rng.random())
    for _ in range(20):
        if (session := world.load.oracle.some_live(rng)) is not None:
            answer = world.load.change_password(session, atomic=True, wish="break-commit")
            assert answer.status == 503
    return time.monotonic()


def _die_before_redis(world: World) -> float:
    """A worker is killed when the journal has its row and Redis does not know; ten times."""
    load, rng = world.load, random.Random(world.load.rng.random())
    victims = []
    for number in range(10):
        if (session := load.oracle.some_live(rng)) is None:
            continue
        if number % 2:
            load.logout(session, wish="die-before-redis")
        else:
            load.change_password(session, atomic=number % 4 == 0, wish="die-after-commit")
        victims.append(session)
        time.sleep(0.15)
    over_at = time.monotonic()
    while time.monotonic() < over_at + 8:
        alive = [s for s in victims if load.send("GET", "stateless/", token=s.access).is_ok]
        if not alive:
            break
        time.sleep(0.1)
    world.notes.append(f"unacknowledged, yet journalled: refused after {time.monotonic() - over_at:.1f} s")
    return time.monotonic()


def _mix_versions(world: World) -> float:
    """Fields that this version does not know, scripts that the server forgets, and a crash."""
    for _ in range(5):
        with world.store() as store:
            store.hset("jwt:{log}:marker", "unknown", "1")
            for key in store.scan_iter("jwt:{[0-9]*}"):
                store.hset(key, "unknown:field", "1")
            store.script_flush()
        time.sleep(0.3)
    return crash(world)


def _aof() -> RedisServer:
    return RedisServer(options={"appendonly": "yes", "appendfsync": "always"})


def _next_to(sabotage: str, **more: str) -> tuple[dict[str, str], dict[str, str]]:
    return {"WORKERS": "1", **more}, {"WORKERS": "1", "CHAOS_SABOTAGE": sabotage, **more}


_LEEWAY = {"CHAOS_LEEWAY": "360"}

SCENARIOS = [
    Scenario(
        "database-locked",
        "the database takes no commits for 1.5 s, then Redis is set back",
        _lock_database,
        BOTH,
        sets=({"CHAOS_DB_TIMEOUT": "0.3"},),
    ),
    Scenario(
        "broken-commits", "transactions that change a password fail at their commit", _break_commits, BOTH, keeps=True
    ),
    Scenario(
        "worker-killed",
        "workers killed between the journal's commit and Redis",
        _die_before_redis,
        BOTH,
        sets=({"CHAOS_SABOTAGE": "accidents"},),
        keeps=True,
        drops=True,
    ),
    Scenario(
        "clock-ahead",
        "one worker's clock 5 min ahead (`LEEWAY` 6 min), Redis set back",
        roll_back,
        BOTH,
        sets=_next_to("clock_ahead", **_LEEWAY),
    ),
    Scenario(
        "clock-behind",
        "one worker's clock 5 min behind (`LEEWAY` 6 min), Redis set back",
        roll_back,
        BOTH,
        sets=_next_to("clock_behind", **_LEEWAY),
    ),
    Scenario(
        "two-versions",
        "two versions of the scripts, unknown fields, `SCRIPT FLUSH`, `kill -9` with AOF",
        _mix_versions,
        BOTH,
        _aof,
        sets=_next_to("next_version"),
        keeps=True,
    ),
]
