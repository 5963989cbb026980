"""One Redis, and what can happen to it."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable

from jwt_redis.testing.servers import RedisServer
from tests.chaos.world import BLACKLIST, BOTH, WHITELIST, Scenario, World
from tests.support.waiting import wait_for


def _server(password: str = "", **options: str) -> Callable[[], RedisServer]:
    named = {name.replace("_", "-"): value for name, value in options.items()}
    if password:
        named["requirepass"] = password
    return lambda: RedisServer(options=named, reach={"password": password} if password else None)


# It crashes -----------------------------------------------------------------------------------------------------------


def crash(world: World) -> float:
    """``kill -9``, and it comes back with what its files say."""
    world.server.kill()
    time.sleep(0.3)
    world.server.start()
    return time.monotonic()


def roll_back(world: World) -> float:
    """It comes back with a snapshot from before the latest revocations."""
    with world.store() as store:
        store.save()
    revoked = world.revoked()
    time.sleep(0.9)
    world.until_more_is_revoked(5, revoked)
    return crash(world)


def _crash_of_the_host(world: World) -> float:
    """The workers lose their memory together with Redis: nobody is left who has seen a higher number."""
    workers = world.workers()
    with world.store() as store:
        store.save()
    revoked = world.revoked()
    time.sleep(0.9)
    world.until_more_is_revoked(5, revoked)
    world.server.kill()
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    world.server.start()
    return time.monotonic()


def _stop_and_start(world: World) -> float:
    server = world.server
    process = server.process
    assert process is not None
    process.terminate()
    process.wait(10)
    time.sleep(0.3)
    server.start()
    return time.monotonic()


def _revoke_everything_and_roll_back(world: World) -> float:
    with world.store() as store:
        store.save()
    # The copies of the marker may be a second old; under the blacklist strategy none is used.
    world.load.revoke_everything(within=1.0 if world.strategy == WHITELIST else 0.0)
    time.sleep(0.3)
    return crash(world)


# It is emptied --------------------------------------------------------------------------------------------------------


def _flush(world: World) -> float:
    with world.store() as store:
        store.flushall()
    return time.monotonic()


def _clear_neighbour(world: World) -> float:
    answer = world.load.send("POST", "chaos/clear-neighbour/")
    assert answer.is_ok
    return time.monotonic()


# It is full -----------------------------------------------------------------------------------------------------------


def _fill_memory(world: World) -> float:
    """Somebody else's cache takes all that there is."""
    junk = "x" * 1000
    with world.store() as store:
        policy = store.config_get("maxmemory-policy")["maxmemory-policy"]
        began, number = time.monotonic(), 0
        store.config_set("maxmemory", store.info("memory")["used_memory"] + 100_000)
        while time.monotonic() < began + 1.5:
            with store.pipeline(transaction=False) as pipeline:
                for number in range(number, number + 200):  # noqa: B020
                    pipeline.set(f"junk:{number}", junk, ex=1000 if number % 2 else None)
                pipeline.execute(raise_on_error=False)
            time.sleep(0.05)
        evicted = store.info("stats")["evicted_keys"]
        world.notes.append(f"{policy}: {evicted} keys evicted")
        assert (evicted == 0) == (policy == "noeviction")
        store.config_set("maxmemory", 0)
    return time.monotonic()


def _fail_to_save(world: World) -> float:
    """The place for snapshots is gone, and Redis refuses writes (MISCONF)."""
    shutil.rmtree(world.server.folder)
    with world.store() as store:
        store.bgsave()
        wait_for(lambda: store.info("persistence")["rdb_last_bgsave_status"] == "err", "a snapshot fails", 5)
        time.sleep(1.5)
        store.config_set("stop-writes-on-bgsave-error", "no")
    return time.monotonic()


# It does not answer, or not us ----------------------------------------------------------------------------------------


def _hang(world: World) -> float:
    world.server.pause()
    try:
        time.sleep(2)
    finally:
        world.server.resume()
    return time.monotonic()


def _change_password(world: World) -> float:
    with world.store() as store:
        store.config_set("requirepass", "another")
        store.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        time.sleep(1.5)
        store.config_set("requirepass", world.server.reach["password"])
    return time.monotonic()


_EVICTING = ("allkeys-lru", "volatile-lru", "allkeys-random", "volatile-ttl")

SCENARIOS = [
    Scenario(
        "kill-aof-always",
        "`kill -9`, AOF, `appendfsync always`",
        crash,
        BOTH,
        _server(appendonly="yes", appendfsync="always"),
        keeps=True,
    ),
    Scenario(
        "kill-aof-everysec",
        "`kill -9`, AOF, `appendfsync everysec`",
        crash,
        BOTH,
        # It does not keep all: while a sync is under way, what is written is in Redis' memory alone.
        _server(appendonly="yes", appendfsync="everysec"),
    ),
    Scenario("kill-rdb", "`kill -9`, back with a snapshot from before the revocations", roll_back, BOTH),
    Scenario("kill-nothing", "`kill -9`, no persistence", crash, BOTH),
    Scenario(
        "host-crash",
        "`kill -9` of Redis and of all workers, back with a snapshot",
        _crash_of_the_host,
        BOTH,
        drops=True,
    ),
    Scenario("restart-empty", "stopped in good order, no persistence", _stop_and_start),
    Scenario(
        "everything-rdb",
        "everything revoked, `kill -9`, back with a snapshot from before",
        _revoke_everything_and_roll_back,
        BOTH,
    ),
    Scenario("flushall", "`FLUSHALL`", _flush, BOTH),
    Scenario("clear-neighbour", "`cache.clear()` of another alias on the same database", _clear_neighbour, BOTH),
    *(
        Scenario(
            f"memory-{policy}",
            f"memory full, `{policy}`",
            _fill_memory,
            (WHITELIST,),
            _server(maxmemory_policy=policy),
        )
        for policy in _EVICTING
    ),
    Scenario(
        "memory-noeviction",
        "memory full, `noeviction`",
        _fill_memory,
        BOTH,
        _server(maxmemory_policy="noeviction"),
        keeps=True,
    ),
    *(
        Scenario(
            f"refused-{policy}",
            f"a server with `{policy}`",
            lambda world: time.monotonic(),
            (BLACKLIST,),
            _server(maxmemory_policy=policy),
            refuses=(BLACKLIST,),
        )
        for policy in _EVICTING
    ),
    Scenario("hang", "`SIGSTOP` for 2 s", _hang, BOTH, keeps=True),
    Scenario(
        "misconf", "snapshots fail: writes refused (`MISCONF`)", _fail_to_save, place=_server(save="3600 1"), keeps=True
    ),
    Scenario(
        "password", "Redis' password is another one for 1.5 s", _change_password, place=_server("secret"), keeps=True
    ),
]
