"""``JWT_REDIS["WAIT_REPLICAS"]``."""

from __future__ import annotations

from typing import NamedTuple

from jwt_redis.conf import values


class WaitReplicas(NamedTuple):
    """How many replicas have to confirm a revocation, and for how long to wait for them."""

    replicas: int
    seconds: float


# Seconds that WAIT may take where the setting is a bare number.
_WAIT_SECONDS = 0.1


def parse_wait_replicas(value: object) -> WaitReplicas | None:
    count, seconds = value if isinstance(value, (list, tuple)) and len(value) == 2 else (value, _WAIT_SECONDS)
    if isinstance(count, bool) or not isinstance(count, int) or count < 0:
        raise ValueError("a number of replicas, or a pair of it and the seconds to wait, is needed")
    waiting = values.seconds(seconds)
    if count and waiting < 0.001:
        # WAIT takes milliseconds, and 0 as "for ever".
        raise ValueError("at least a millisecond to wait is needed")
    return WaitReplicas(count, waiting) if count else None
