"""Waits for something new in the revocation log, on a connection of its own. What it says is but a hint."""

from __future__ import annotations

from typing import Any, Final

from jwt_redis import keys
from jwt_redis.store.connections import aconnect, connect, heeding

__all__ = ["AsyncWaker", "Waker"]

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
        return bool(self._server.execute_command(*_wait(self._milliseconds, after)))

    def waiting(self) -> int:
        """How many clients of the server are waiting for something (INFO clients)."""
        return int(self._server.info("clients")["blocked_clients"])

    def close(self) -> None:
        """Give up the connection."""
        self._server.connection_pool.disconnect()
        self._server.close()


class AsyncWaker:
    """:class:`Waker` over ``redis.asyncio``, of the running event loop."""

    def __init__(self, seconds: float) -> None:
        self._milliseconds = max(1, int(seconds * 1000))
        self._server: Any = aconnect(gated=False)
        self._server.connection_pool.connection_kwargs["socket_timeout"] = seconds + _REPLY

    async def wait(self, after: str) -> bool:
        """As :meth:`Waker.wait`."""
        return bool(await heeding(self._server.execute_command(*_wait(self._milliseconds, after))))

    async def waiting(self) -> int:
        """As :meth:`Waker.waiting`."""
        return int((await self._server.info("clients"))["blocked_clients"])

    async def aclose(self) -> None:
        """Give up the connection. Nothing of it has to be waited for."""
        await self._server.connection_pool.disconnect(inuse_connections=True)
        await self._server.aclose(close_connection_pool=False)


def _wait(milliseconds: int, after: str) -> tuple[str | int, ...]:
    return ("XREAD", "COUNT", 1, "BLOCK", milliseconds, "STREAMS", keys.log_key(), after)
