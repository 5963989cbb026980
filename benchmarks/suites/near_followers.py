"""What following costs when nothing happens, and how many revocations a second many followers keep up with."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import redis

from benchmarks.followers import Crowd, child, cpu_of, follow, load, near_store, percentile, saturate, words
from benchmarks.reports import Line, Report, duration
from benchmarks.stores import connect
from jwt_redis.near_cache.follower import PAGE
from jwt_redis.store import client, commands
from jwt_redis.store.commands import Command, new_id
from jwt_redis.testing.servers import RedisServer
from jwt_redis.verdicts import Claims

__all__ = ["run"]

_LEASE, _POLL = 1.0, 0.25
# All have heard of everything so soon after the last acknowledgement: they keep up.
_KEPT_UP = 0.1
_KEPT_UP_POLLING = _KEPT_UP + _POLL
# Of the rate that was meant, how much was acknowledged at least.
_ACHIEVED = 0.9
_TICK = 0.005
_CONNECTIONS = 50


class _Rate(NamedTuple):
    """Revocations a second for a while: how it went."""

    asked: int
    acknowledged: float
    acks: list[float]
    behind: float
    cpu: float


def run(is_quick: bool) -> Report:
    """Each number of followers has a server of its own; each rate runs for a while, the next is twice as high."""
    sizes = (1, 10) if is_quick else (1, 10, 100)
    seconds = 0.4 if is_quick else 1.5
    rates = (100, 400) if is_quick else (250, 500, 1000, 2000, 4000, 8000)
    lines: list[Line] = []
    for waits in (True, False):
        how = "waiting" if waits else "polling"
        # By the number of followers: of Redis' time, how much goes into the lowest rate.
        busy: dict[int, float] = {}
        for size in sizes:
            with _following(size, waits) as (server, real, crowd):
                if size == sizes[-1]:
                    lines += _idle(server, real, crowd, size, how, seconds=0.8 if is_quick else 5.0)
                line, busy[size] = _keeping_up(server, real, crowd, size, how, rates, seconds)
                lines.append(line)
        each = (busy[sizes[-1]] - busy[1]) / (sizes[-1] - 1)
        lines.append(
            Line(
                f"Redis for a {how} process at {rates[0]} revocations/s",
                each * 1e6,
                "µs/s",
                beside=f"{duration(each / rates[0])} a revocation and process; {sizes[-1]} processes less one",
            )
        )
    lines += _commands(*(0.1, 500) if is_quick else (1.5, 10_000))
    return Report(
        "Following the revocation log",
        lines,
        f"lease {_LEASE:g} s, poll {_POLL:g} s. Of the followers one is a real process, the others are connections that"
        " send the same commands and remember nothing. Kept up with: all that was acknowledged was heard by all within"
        f" {_KEPT_UP * 1e3:.0f} ms of the last acknowledgement ({_KEPT_UP_POLLING * 1e3:.0f} ms where they poll);"
        f" {rates[-1]:,}/s is the most that was tried. It is this machine's processors that end it, of which Redis has"
        " but one: all followers share the rest.",
    )


@contextlib.contextmanager
def _following(size: int, waits: bool) -> Iterator[tuple[RedisServer, Connection, Connection | None]]:
    with (
        near_store(lease=_LEASE, poll=_POLL, max_waiting=200 if waits else 0) as server,
        contextlib.ExitStack() as stack,
    ):
        real = stack.enter_context(child(follow))
        real.recv()
        crowd = stack.enter_context(child(Crowd.run, server.port, size - 1, waits)) if size > 1 else None
        if crowd is not None:
            crowd.recv()
        yield server, real, crowd


def _idle(
    server: RedisServer, real: Connection, crowd: Connection | None, size: int, how: str, *, seconds: float
) -> Iterator[Line]:
    with connect(server) as store:
        # What they begin with is over.
        time.sleep(0.5)
        before, spent, sent = _asked(real, "cpu"), cpu_of(store), _commands_of(store)
        began = time.monotonic()
        time.sleep(seconds)
        took = time.monotonic() - began
        process = (_asked(real, "cpu") - before) / took
        spent, sent = (cpu_of(store) - spent) / took / size, (_commands_of(store) - sent) / took / size
    yield Line(
        f"a {how} process when nothing happens",
        process * 1e6,
        "µs/s",
        beside=f"{process:.2%} of a core",
    )
    yield Line(
        f"Redis for it, {how}",
        spent * 1e6,
        "µs/s",
        beside=f"{sent:.1f} commands/s, those within scripts among them; {size} followers",
    )


def _commands_of(store: redis.Redis) -> int:
    """All that have run, those that scripts have called too."""
    stats = store.info("commandstats")
    return sum(one["calls"] for name, one in stats.items() if name.removeprefix("cmdstat_") != "info")


def _asked(pipe: Connection, *question: Any) -> Any:
    pipe.send(question)
    return pipe.recv()


# Keeping up -----------------------------------------------------------------------------------------------------


def _keeping_up(
    server: RedisServer,
    real: Connection,
    crowd: Connection | None,
    size: int,
    how: str,
    rates: Sequence[int],
    seconds: float,
) -> tuple[Line, float]:
    """The highest of the rates that they keep up with; and how busy the lowest keeps Redis."""
    allowed = _KEPT_UP if how == "waiting" else _KEPT_UP_POLLING
    best: _Rate | None = None
    lowest: list[float] = []
    total = 0
    with connect(server) as store:
        for rate in rates:
            # Twice: another program may have had the processor.
            for _ in range(2):
                count = int(rate * seconds)
                total += count
                tried = _revoke(store, real, crowd, rate, count, total)
                if rate == rates[0]:
                    lowest.append(tried.cpu)
                if has_kept_up := tried.acknowledged >= _ACHIEVED * rate and tried.behind <= allowed:
                    best = tried
                    break
            if not has_kept_up:
                break
    what = f"revocations that {size} {how} keep up with"
    if best is None:
        return Line(what, 0, "/s", beside="not even the lowest rate"), min(lowest)
    beside = (
        f"acknowledged in {duration(percentile(best.acks, 0.5))}, p99 {duration(percentile(best.acks, 0.99))};"
        f" all heard {duration(max(best.behind, 0.0))} after the last; Redis {best.cpu:.0%} busy"
    )
    return Line(what, best.asked, "/s", beside=beside), min(lowest)


def _revoke(store: redis.Redis, real: Connection, crowd: Connection | None, rate: int, count: int, total: int) -> _Rate:
    """So many a second, in a pipeline each few milliseconds: a fleet's, not one process' own."""
    spent, began, sent, acks = cpu_of(store), time.monotonic(), 0, []
    while sent < count:
        due = min(count, int((time.monotonic() - began) * rate) + 1) - sent
        if due > 0:
            pipeline: Any = store.pipeline(transaction=False)
            for number in range(sent, sent + due):
                pipeline.execute_command(*_revocation(total + number))
            at = time.monotonic()
            pipeline.execute()
            acks.append(time.monotonic() - at)
            sent += due
        time.sleep(_TICK)
    last = time.monotonic()
    for pipe in (real, crowd):
        if pipe is not None:
            pipe.send(("reach", total))
    heard = max(pipe.recv() for pipe in (real, crowd) if pipe is not None)
    took = time.monotonic() - began
    return _Rate(rate, count / (last - began), acks, heard - last, (cpu_of(store) - spent) / took)


def _revocation(user: int) -> tuple[str | int | float, ...]:
    return words(commands.end_sessions(str(user), (new_id() + "xxxxxx",), reason="logout", unknown_too=True))


# One command of each kind ---------------------------------------------------------------------------------------


def _commands(seconds: float, count: int) -> Iterator[Line]:
    """What a core of Redis can do: of connections that all ask at once, which is cheaper than one by one."""
    sids = [(str(user), new_id() + "xxxxxx") for user in range(1, count + 1)]
    opened = [
        commands.open_session(user, sid, lifetime=86_400, nonce="nonce1", fingerprint="print123", device="")
        for user, sid in sids
    ]
    ended = [commands.end_sessions(user, (sid,), reason="logout") for user, sid in sids]
    page = 100
    with near_store(lease=_LEASE) as server, connect(server) as store:
        marker = client.execute(commands.prove_marker())
        assert marker is not None
        refreshed = [
            commands.rotate(
                Claims(user, f"{sid}.0", sid, 0, 0, 0, 0),
                lifetime=86_400,
                nonce="nonce2",
                fingerprints=("print123",),
                device="",
                marker=marker,
                rotating=True,
            )
            for user, sid in sids
        ]
        checks = [commands.read_state(Claims(user, f"{sid}.0", sid, 0, 0, 0, None)) for user, sid in sids]
        moment = commands.read_moment(proves_primary=False)
        kinds: dict[str, Sequence[tuple[Command[Any], ...]]] = {
            "a sign-in": [(one,) for one in opened],
            "a check": [(one,) for one in checks],
            "a refresh": [(one,) for one in refreshed],
            "a look at the log": [(moment, commands.read_log("0", PAGE))],
            "a revocation": [(one,) for one in ended],
        }
        costs: dict[str, float] = {}
        for what, sent in kinds.items():
            if sent[0][0].script is not None:
                load(store, sent[0][0])
            costs[what] = saturate(server, sent, connections=_CONNECTIONS, seconds=seconds)
            yield Line(f"Redis for {what}", costs[what] * 1e9, "ns", beside=f"{1 / costs[what]:,.0f}/s of one core")
        # Revocations are in the log now.
        whole = saturate(server, [(moment, commands.read_log("0", page))], connections=_CONNECTIONS, seconds=seconds)
        each = (whole - costs["a look at the log"]) / page
        yield Line(
            "Redis for an entry that a look brings", each * 1e9, "ns", beside=f"{page} in a look; {1 / each:,.0f}/s"
        )
