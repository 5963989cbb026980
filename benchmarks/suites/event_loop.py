"""What a check costs an event loop: natively, through a thread, and beside one GET. Sync rows stand beside."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import redis
import redis.asyncio
from asgiref.sync import sync_to_async

from benchmarks.followers import near_store
from benchmarks.reports import Report, compared
from benchmarks.rounds import Case, interleave
from benchmarks.samples import sign_in
from jwt_redis import near_cache, sessions
from jwt_redis.tokens import AccessToken

__all__ = ["run"]

_CALLS = 200
# Requests under way at a time, where they are not one after another.
_AT_ONCE = 50

Question = Callable[[], Awaitable[object]]


def run(is_quick: bool) -> Report:
    """One after another, and fifty at a time."""
    with near_store(lease=1.0) as server, asyncio.Runner() as runner:
        access = AccessToken(str(sign_in(1).access_token))  # type: ignore[arg-type]
        sync_get = redis.Redis(port=server.port)
        async_get = redis.asyncio.Redis(port=server.port)
        hop = sync_to_async(sessions.check, thread_sensitive=False)
        questions: dict[str, Question] = {
            "native": partial(sessions.acheck, access, directly=True),
            "hop": partial(hop, access, directly=True),
            "GET": partial(async_get.get, "jwt:nothing"),
            "native, near": partial(sessions.acheck, access),
            "hop, near": partial(hop, access),
        }
        cases = [
            *(
                Case(name, partial(_run, runner, _in_turn, ask), partial(_warm_up, runner, access, ask), calls=_CALLS)
                for name, ask in questions.items()
            ),
            *(
                Case(
                    f"{name}, many",
                    partial(_run, runner, _at_once, ask),
                    partial(_warm_up, runner, access, ask),
                    calls=_CALLS,
                )
                for name, ask in questions.items()
                if "near" not in name
            ),
            Case("sync", lambda: [sessions.check(access, directly=True) for _ in range(_CALLS)], calls=_CALLS),
            Case("sync GET", lambda: [sync_get.get("jwt:nothing") for _ in range(_CALLS)], calls=_CALLS),
        ]
        times = interleave(cases, rounds=3 if is_quick else 60, seconds=6 if is_quick else 60)
        runner.run(async_get.aclose())
    return Report(
        "Checks in an event loop",
        [
            compared("native check ÷ the same through a thread", times, "native", "hop"),
            compared("native check ÷ one GET by `redis.asyncio`", times, "native", "GET"),
            compared("native check from memory ÷ the same through a thread", times, "native, near", "hop, near"),
            compared("fifty at a time: native ÷ through threads", times, "native, many", "hop, many"),
            compared("fifty at a time: native ÷ GET", times, "native, many", "GET, many"),
            compared("sync: check ÷ one GET by `redis.Redis`", times, "sync", "sync GET"),
            compared("native check ÷ sync check", times, "native", "sync"),
        ],
        "One token, one process, one connection at a time where requests come one after another. A thread is asgiref's"
        " `sync_to_async`, which is what Django does with whatever is not async.",
    )


def _run(runner: asyncio.Runner, how: Callable[[Question], Any], ask: Question) -> None:
    runner.run(how(ask))


async def _in_turn(ask: Question) -> None:
    for _ in range(_CALLS):
        await ask()


async def _at_once(ask: Question) -> None:
    for _ in range(_CALLS // _AT_ONCE):
        await asyncio.gather(*(ask() for _ in range(_AT_ONCE)))


def _warm_up(runner: asyncio.Runner, access: Any, ask: Question) -> None:
    _run(runner, _at_once, ask)
    deadline = time.monotonic() + 5
    while not near_cache.is_fresh() and time.monotonic() < deadline:
        sessions.check(access)
        time.sleep(0.01)
    assert near_cache.is_fresh()
