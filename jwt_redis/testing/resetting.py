"""What a process remembers from one test is not for the next one."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import Any, Final

from jwt_redis import near_cache, recovery, token_memo
from jwt_redis.store import client, gate, markers

__all__ = ["reset"]

# Each as a receiver of Django's ``setting_changed``: it forgets as if the setting had become another one.
_FORGETTERS: Final[tuple[Callable[..., None], ...]] = (
    markers.reset,
    client.reset,
    gate.reset,
    recovery.reset,
    token_memo.clear,
)
# Seconds; one that hangs for longer is not waited for.
_PATIENCE: Final = 5.0


class _Expected(logging.Filter):
    """Drops the warning that the store is a new one, once: in each test it is."""

    is_expected = False

    def filter(self, record: logging.LogRecord) -> bool:
        if not self.is_expected or getattr(record, "event", "") != "store_established":
            return True
        self.is_expected = False
        return False


_new_store: Final = _Expected()


def reset() -> None:
    """Forget connections, the trusted store, pending work, the near cache and the verified tokens of this process.

    The next store that it finds is expected to be a new one, and not worth a warning.
    """
    near_cache.stop()
    # A thread that the test before has left would mend the store of the next one, who is 503 meanwhile.
    recovery.reset(setting="JWT_REDIS")
    recovery.wait_for_keeper(_PATIENCE)
    for forget in _FORGETTERS:
        forget(setting="JWT_REDIS")
    # Only where a project has the admin.
    health: Any = sys.modules.get("jwt_redis.admin.health")
    if health is not None:
        health.forget(setting="JWT_REDIS")
    logging.getLogger(recovery.__name__).addFilter(_new_store)
    _new_store.is_expected = True
