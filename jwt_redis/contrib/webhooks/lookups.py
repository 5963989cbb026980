"""Which addresses has a name? Asked in threads that nobody waits for: no resolver can be told to make haste."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from typing import Any

__all__ = ["Lookups"]

_Found = list[str] | OSError | UnicodeError


class Lookups:
    """Those of one event loop, where each name is looked up once.

    The loop's own executor would do, were its threads not waited for when the loop ends: a resolver may take half a
    minute to say that there is no answer.
    """

    def __init__(self) -> None:
        self._under_way: dict[tuple[str, int], asyncio.Future[_Found]] = {}

    async def addresses(self, host: str, port: int) -> list[str]:
        """All that the system knows, the one that it prefers first (getaddrinfo).

        :raises OSError: when there is none, or nobody knows.
        :raises UnicodeError: when it can be no name.
        """
        future = self._under_way.get((host, port))
        if future is None:
            loop = asyncio.get_running_loop()
            future = loop.create_future()
            arguments = (loop, future, host, port)
            threading.Thread(target=_look_up, args=arguments, name="jwt_redis-lookup", daemon=True).start()
            self._under_way[host, port] = future
        # Whoever has no more time leaves the others their answer.
        found = await asyncio.shield(future)
        if isinstance(found, Exception):
            raise found
        return found


def _look_up(loop: asyncio.AbstractEventLoop, future: asyncio.Future[_Found], host: str, port: int) -> None:
    found: _Found
    try:
        # One that has several protocols is there once for each.
        rows: list[Any] = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        found = list(dict.fromkeys(str(address[0]) for *_rest, address in rows))
    except (OSError, UnicodeError) as error:
        found = error
    # The loop may be closed: then nobody wants to know any more.
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(_tell, future, found)


def _tell(future: asyncio.Future[_Found], found: _Found) -> None:
    if not future.done():
        future.set_result(found)
