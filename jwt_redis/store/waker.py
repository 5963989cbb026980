"""Waits for something new in the revocation log, on a connection of its own. What it says is but a hint."""

from __future__ import annotations

from typing import Any, Final

from jwt_redis import keys
from jwt_redis.store.connections import connect

__all__ = ["Waker"]

# Seconds for a reply to come, behind the time that Redis may take.
_REPLY: Final = 0.25


class Waker:
    """``seconds``: how long Redis may wait.

    :raises redis.RedisError: from each method but the last; then it is of no more use.
    """

    def __init__(self, seconds: float) -> None:
        self._milliseconds = max(1, int(seconds * 1000))
        # Any server will do, trusted or not: it is only asked whether it is time to ask.
        self._server: Any = connect(gated=False)
        pool = self._server.connection_pool
        pool.connection_kwargs["socket_timeout"] = seconds + _REPLY

    def wait(self, after: str) -> bool:
        """Until the log has an entry behind ``after`` (true), or the time is over (XREAD BLOCK)."""
        key = keys.log_key()
        return bool(
            self._server.execute_command("XREAD", "COUNT", 1, "BLOCK", self._milliseconds, "STREAMS", key, after)
        )

    def waiting(self) -> int:
        """How many clients of the server are waiting for something (INFO clients)."""
        return int(self._server.info("clients")["blocked_clients"])

    def close(self) -> None:
        """Give up the connection."""
        self._server.connection_pool.disconnect()
        self._server.close()
