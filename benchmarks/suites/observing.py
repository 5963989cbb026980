"""What observers cost a check: with none, with the two that this package brings, by Redis and from memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from benchmarks.followers import near_store
from benchmarks.reports import Report, compared
from benchmarks.rounds import Case, interleave
from benchmarks.samples import sign_in
from jwt_redis import near_cache, observers, sessions
from jwt_redis.contrib.opentelemetry import tracing
from jwt_redis.contrib.prometheus import metrics
from jwt_redis.observers import Observer
from jwt_redis.tokens import AccessToken

__all__ = ["run"]

_CALLS = 2_000
_DIRECT_CALLS = 300
_OBSERVERS: dict[str, tuple[Observer, ...]] = {
    "nobody": (),
    "Prometheus": (metrics.observer,),
    # Without a provider: the API alone, as where no SDK is set up.
    "OpenTelemetry": (tracing.observer,),
    "both": (metrics.observer, tracing.observer),
}


def run(is_quick: bool) -> Report:
    """The token read out of its memo, then checked: what is on the way of each request."""
    with near_store(lease=1.0):
        try:
            token = str(sign_in(1).access_token)
            times = interleave(_cases(token), rounds=5 if is_quick else 100, seconds=10 if is_quick else 90)
        finally:
            _only(())
    lines = [
        compared(f"{how}: {name} ÷ nobody", times, f"{how} {name}", f"{how} nobody")
        for how in ("near", "direct")
        for name in _OBSERVERS
        if name != "nobody"
    ]
    note = (
        "Near: answered from memory, `AccessToken(raw)` from the memo and `sessions.check`. Direct: the same, and Redis"
        " is asked. Not a whole request, of which a check is a small part. OpenTelemetry without a provider."
    )
    return Report("What observers cost a check", lines, note)


def _cases(token: str) -> Sequence[Case]:
    def check(calls: int, *, directly: bool) -> None:
        for _ in range(calls):
            sessions.check(AccessToken(token), directly=directly)

    def prepare(some: tuple[Observer, ...]) -> None:
        _only(some)
        check(50, directly=False)
        assert near_cache.is_fresh()

    cases = []
    for name, some in _OBSERVERS.items():
        ready: Callable[[], None] = partial(prepare, some)
        near, direct = partial(check, _CALLS, directly=False), partial(check, _DIRECT_CALLS, directly=True)
        cases += [Case(f"near {name}", near, ready, _CALLS), Case(f"direct {name}", direct, ready, _DIRECT_CALLS)]
    return cases


def _only(some: tuple[Observer, ...]) -> None:
    for observer in observers.installed:
        observers.uninstall(observer)
    for observer in some:
        observers.install(observer)
