"""The circuit breaker."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from jwt_redis.store.breaker import Breaker


def test_closed_until_something_fails_and_again_when_it_works() -> None:
    breaker = Breaker()
    assert breaker.allows() and breaker.allows()
    breaker.failed()
    assert not breaker.allows()
    breaker.succeeded()
    assert breaker.allows()


def test_after_the_pause_one_may_probe_and_the_others_wait() -> None:
    breaker = Breaker()
    breaker.failed()
    time.sleep(breaker.pause + 0.05)
    with ThreadPoolExecutor(32) as pool:
        allowed = list(pool.map(lambda _: breaker.allows(), range(200)))
    assert allowed.count(True) == 1
    breaker.succeeded()
    assert breaker.allows()
