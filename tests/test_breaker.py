"""The circuit breaker."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from jwt_redis.store import breaker as module
from jwt_redis.store.breaker import Breaker


class Clock:
    """Goes on when it is told to."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(module, "time", made)
    return made


def test_closed_until_something_fails_and_again_when_it_works() -> None:
    breaker = Breaker()
    assert breaker.allows() and breaker.allows()
    breaker.failed()
    assert not breaker.allows()
    breaker.succeeded()
    assert breaker.allows()


def test_after_the_pause_one_may_probe_and_the_others_wait(clock: Clock) -> None:
    breaker = Breaker()
    breaker.failed()
    clock.now += breaker.pause - 0.001
    assert not breaker.allows()
    clock.now += 0.002
    with ThreadPoolExecutor(32) as pool:
        allowed = list(pool.map(lambda _: breaker.allows(), range(200)))
    assert allowed.count(True) == 1
    breaker.succeeded()
    assert breaker.allows()
