"""What a near cache takes of its process, and what beginning to follow costs it and Redis."""

from __future__ import annotations

import contextlib
import gc
import os
import time
import tracemalloc
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

import redis

from benchmarks.followers import child, cpu_of, fill_log, near_store, percentile
from benchmarks.reports import BYTES, TIMES, Line, Report, duration
from benchmarks.stores import connect
from jwt_redis.conf import config
from jwt_redis.near_cache.follower import Follower, clock
from jwt_redis.testing.servers import RedisServer

__all__ = ["run"]

_PING_SECONDS = 0.001
# Revocations, up to which memory is also traced.
_TRACED = 100_000


class _Begun(NamedTuple):
    """Of one process: how long until it answered from memory, what it spent, how it grew, what it remembers."""

    seconds: float
    cpu: float
    resident: int
    traced: int
    remembered: int


def run(is_quick: bool) -> Report:
    """Each figure is of a process that was just forked, the traced one is another than the timed one."""
    sizes = (5_000, 20_000) if is_quick else (100_000, 1_000_000)
    lines: list[Line] = []
    for size in sizes:
        # The log keeps what is younger than an access token lives: the filling is quicker than that.
        with near_store(lease=1.0) as server:
            fill_log(server, size)
            lines += _measure(server, size)
    return Report(
        "The near cache's memory, and its beginning",
        lines,
        "A revocation is an entry of the log with a random session id. Beginning: from the start of the thread until it"
        f" answers. In use: by tracemalloc. PING: by another process, {1 / _PING_SECONDS:,.0f} times a second.",
    )


def _measure(server: RedisServer, size: int) -> Iterator[Line]:
    # Traced, it takes some times as long. Before the one that is timed: it also warms the server.
    traced = _begin(server, is_traced=True).traced if size <= _TRACED else 0
    with connect(server) as store:
        alone = _pings(store, seconds=0.5)
        before = cpu_of(store)
        with child(_follower, False) as pipe:
            pipe.recv()
            pipe.send("begin")
            beside = _pings(store, until=pipe)
            begun = _Begun(*pipe.recv())
        spent = cpu_of(store) - before
        log = store.memory_usage("jwt:{log}", samples=0) or 0
    assert begun.remembered == size, f"{begun.remembered} of {size} are remembered"
    what = f"{size:,} revocations"
    yield Line(
        f"a process's memory a revocation, {what}",
        begun.resident / size,
        BYTES,
        beside=f"the process grew by {begun.resident / 1e6:.1f} MB"
        + (f", of which {traced / 1e6:.1f} MB are in use: {traced / size:,.0f} B a revocation" if traced else ""),
    )
    yield Line(f"Redis' memory an entry of the log, {what}", log / size, BYTES, beside=f"{log / 1e6:.1f} MB")
    yield Line(
        f"beginning to follow, {what}",
        begun.seconds * 1e3,
        "ms",
        beside=f"a revocation takes {duration(begun.cpu / size)} of the process, {duration(spent / size)} of Redis",
    )
    yield Line(
        f"p99 of a PING meanwhile ÷ alone, {what}",
        percentile(beside, 0.99) / percentile(alone, 0.99),
        TIMES,
        beside=f"{duration(percentile(beside, 0.99))} ÷ {duration(percentile(alone, 0.99))};"
        f" longest {duration(max(beside))}",
    )


def _begin(server: RedisServer, *, is_traced: bool) -> _Begun:
    with child(_follower, is_traced) as pipe:
        pipe.recv()
        pipe.send("begin")
        return _Begun(*pipe.recv())


def _follower(pipe: Connection, is_traced: bool) -> None:
    now = config()
    assert now.near_cache is not None
    # What the parent has left in the allocator is not to hide what is taken.
    gc.collect()
    if is_traced:
        tracemalloc.start()
    pipe.send("ready")
    pipe.recv()
    before, allocated = _resident(), tracemalloc.get_traced_memory()[0]
    began, spent = time.perf_counter(), time.process_time()
    follower = Follower(now, now.near_cache)
    follower.start()
    while clock() >= follower.believed_until:
        time.sleep(0.002)
    seconds, spent = time.perf_counter() - began, time.process_time() - spent
    gc.collect()
    traced = tracemalloc.get_traced_memory()[0] - allocated
    pipe.send(tuple(_Begun(seconds, spent, _resident() - before, traced, len(follower.memory))))
    with contextlib.suppress(EOFError):
        pipe.recv()


def _resident() -> int:
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0  # no Linux


def _pings(store: redis.Redis, *, seconds: float = 0.0, until: Connection | None = None) -> list[float]:
    taken: list[float] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end if until is None else not until.poll():
        began = time.perf_counter()
        store.ping()
        taken.append(time.perf_counter() - began)
        time.sleep(_PING_SECONDS)
    return taken
