"""From the acknowledgement of a revocation until several processes refuse the token."""

from __future__ import annotations

import contextlib
import random
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, Final, NamedTuple

from benchmarks.followers import child, near_store, percentile
from benchmarks.reports import TIMES, Line, Report, duration
from benchmarks.samples import sign_in
from jwt_redis import sessions
from jwt_redis.exceptions import RevocationUnavailable
from jwt_redis.tokens import AccessToken

__all__ = ["run"]

_LEASE: Final = 1.0
_POLL: Final = 0.25
_USER: Final = 1
# Seconds after which a process that is starved need not have been refused by Redis: it has no time to read that.
_ENOUGH: Final = 4 * _LEASE
# Seconds for a process to answer: then something is wrong.
_PATIENCE: Final = 30.0


def run(is_quick: bool) -> Report:
    """Each load has processes of its own, which bear it all the time."""
    processes, rounds, seconds = (2, 3, 0.7) if is_quick else (8, 100, 12.0)
    lines = [
        _measure(f"{name}, {'waiting' if waits else 'polling'}", load, processes, rounds, seconds, waits=waits)
        for name, load in _LOADS.items()
        for waits in (True, False)
    ]
    return Report(
        f"How late {processes} processes refuse a revoked token, in parts of the lease",
        lines,
        f"lease {_LEASE:g} s, poll {_POLL:g} s. Measured: the beginning of the last check that accepted the token,"
        " after the acknowledgement; the worst of all processes and revocations. Beside it: the end of a process' first"
        f" check that refused, after the acknowledgement. Busy: {_LOADS['busy'].threads} threads that compute"
        f" for about a millisecond between two checks. Starved: {_LOADS['starved'].threads} threads that let go of the"
        " interpreter before each check, and want it back at once. Unanswered: Redis was asked, and its answer read too"
        f" late: 503. Switch interval {sys.getswitchinterval() * 1e3:g} ms.",
    )


# What a thread does between two checks --------------------------------------------------------------------------


def _idle() -> None:
    time.sleep(0.001)


def _busy() -> None:
    sum(range(50_000))


def _starved() -> None:
    # Who has just let go of the interpreter often has it back before another thread is awake.
    time.sleep(0)


class _Load(NamedTuple):
    work: Callable[[], None]
    threads: int


_LOADS: Final = {"idle": _Load(_idle, 2), "busy": _Load(_busy, 2), "starved": _Load(_starved, 4)}


# Processes ------------------------------------------------------------------------------------------------------


class _Seen(NamedTuple):
    """What one process saw of one token. Moments are of the machine's monotonic clock, which processes share."""

    accepted: float
    refused: float
    checks: int
    from_memory: int
    # Redis was asked, and the process had no time to read its answer: 503.
    unanswered: int


class _Watch:
    """One token, checked by all threads of a process until each of them was refused."""

    def __init__(self, token: str, threads: int) -> None:
        self._token = AccessToken(token)  # type: ignore[arg-type]
        self._lock = threading.Lock()
        self._waiting = threads
        self._seen = _Seen(0.0, float("inf"), 0, 0, 0)
        self.is_vouched_for = threading.Event()
        self.is_over = threading.Event()

    def check(self) -> bool:
        """Has this thread been refused?"""
        began = time.monotonic()
        try:
            verdict = sessions.check(self._token)
        except RevocationUnavailable:
            with self._lock:
                seen = self._seen
                self._seen = seen._replace(checks=seen.checks + 1, unanswered=seen.unanswered + 1)
            return False
        ended = time.monotonic()
        with self._lock:
            seen = self._seen
            if verdict.allowed:
                seen = seen._replace(accepted=max(seen.accepted, began))
            else:
                seen = seen._replace(refused=min(seen.refused, ended))
                self._waiting -= 1
            self._seen = seen._replace(checks=seen.checks + 1, from_memory=seen.from_memory + verdict.from_memory)
            if verdict.from_memory:
                self.is_vouched_for.set()
            if not self._waiting:
                self.is_over.set()
        return not verdict.allowed

    @property
    def seen(self) -> _Seen:
        return self._seen


class _Process:
    """For :func:`child`: told a token, it says when it answers for it from memory, and then what it saw of its end."""

    @classmethod
    def run(cls, pipe: Connection, load: _Load) -> None:
        cls(load)._serve(pipe)

    def __init__(self, load: _Load) -> None:
        self._load = load
        self._watch: _Watch | None = None

    def _serve(self, pipe: Connection) -> None:
        for _ in range(self._load.threads):
            threading.Thread(target=self._work, daemon=True).start()
        with contextlib.suppress(EOFError):
            while True:
                watch = self._watch = _Watch(pipe.recv(), self._load.threads)
                watch.is_vouched_for.wait(_ENOUGH)
                pipe.send("watching")
                watch.is_over.wait(_ENOUGH)
                pipe.send(tuple(watch.seen))

    def _work(self) -> None:
        done: _Watch | None = None
        while True:
            self._load.work()
            watch = self._watch
            if watch is not None and watch is not done and watch.check():
                done = watch


# The measurement ------------------------------------------------------------------------------------------------


def _measure(what: str, load: _Load, processes: int, rounds: int, seconds: float, *, waits: bool) -> Line:
    late: list[float] = []
    refused: list[float] = []
    checks = from_memory = unanswered = 0
    with near_store(lease=_LEASE, poll=_POLL, max_waiting=200 if waits else 0), contextlib.ExitStack() as stack:
        pipes = [stack.enter_context(child(_Process.run, load)) for _ in range(processes)]
        until = time.monotonic() + seconds
        for number in range(rounds):
            if number and time.monotonic() > until:
                break
            acknowledged, seen = _revoke(pipes)
            for one in seen:
                late.append(one.accepted - acknowledged)
                if one.refused != float("inf"):
                    refused.append(one.refused - acknowledged)
                checks += one.checks
                from_memory += one.from_memory
                unanswered += one.unanswered
    return Line(
        what,
        max(0.0, *late) / _LEASE,
        TIMES,
        # Of the lease; a check that begins within it may be answered by it.
        1.0,
        beside=f"refused after {_after(refused, 0.5)}, p99 {_after(refused, 0.99)}, at most {_after(refused, 1.0)};"
        f" {len(refused):,} refusals, {from_memory / checks:.1%} of the checks from memory"
        + (f", {unanswered / checks:.1%} unanswered" if unanswered else ""),
    )


def _revoke(pipes: list[Connection]) -> tuple[float, list[_Seen]]:
    """A session that all processes accept is ended: when that was acknowledged, and what they saw."""
    refresh = _insist(lambda: sign_in(_USER))
    access = str(refresh.access_token)
    for pipe in pipes:
        pipe.send(access)
    for pipe in pipes:
        assert _answer(pipe) == "watching"
    # At any point between two looks.
    time.sleep(random.uniform(0.0, _POLL))
    _insist(lambda: sessions.end_session(_USER, refresh["sid"]))
    acknowledged = time.monotonic()
    return acknowledged, [_Seen(*_answer(pipe)) for pipe in pipes]


def _insist(work: Callable[[], Any]) -> Any:
    """Nothing is acknowledged while a busy machine lets no answer through."""
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            return work()
        except RevocationUnavailable:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)


def _answer(pipe: Connection) -> Any:
    assert pipe.poll(_PATIENCE), "a process does not answer"
    return pipe.recv()


def _after(values: list[float], share: float) -> str:
    # A process may have heard of it before the acknowledgement had arrived.
    return duration(max(0.0, percentile(values, share))) if values else "?"
