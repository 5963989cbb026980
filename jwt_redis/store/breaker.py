"""A circuit breaker of a few lines: a server known to be dead is not asked again by every request."""

from __future__ import annotations

import threading
import time
from typing import Final

from jwt_redis import observers
from jwt_redis.observers import Observer

__all__ = ["Breaker"]


class Breaker:
    """Closed: everybody may ask. Open for ``pause`` seconds after a failure: nobody. Then one may probe.

    Half a second keeps the promise to be back within one of the server's recovery.
    """

    pause: Final = 0.5

    def __init__(self, node: str = "") -> None:
        """``node``: the server's name in a cluster, for observers."""
        self._node = node
        self._open_until = 0.0
        self._lock = threading.Lock()

    def allows(self) -> bool:
        """May this caller ask? At the end of the pause the first one may, and the others wait for what it finds."""
        if not self._open_until:
            return True
        with self._lock:
            now = time.monotonic()
            if now < self._open_until:
                return False
            if self._open_until:
                self._open_until = now + self.pause
            return True

    def is_open(self) -> bool:
        """Would everybody be sent away right now?"""
        return time.monotonic() < self._open_until

    def failed(self) -> None:
        """The server did not answer."""
        self._open_until = time.monotonic() + self.pause
        observers.tell(Observer.breaker, self._node, True)

    def succeeded(self) -> None:
        """The server answered."""
        if self._open_until:
            self._open_until = 0.0
            observers.tell(Observer.breaker, self._node, False)
