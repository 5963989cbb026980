"""A question to one server, past every client that is tested."""

from __future__ import annotations

import contextlib
from typing import Any

from jwt_redis.testing.servers import RedisServer

__all__ = ["ask"]


def ask(server: RedisServer, *command: Any) -> Any:
    """What a server answers to one command, on a connection of its own."""
    with contextlib.closing(server.client(socket_timeout=5)) as client:
        return client.execute_command(*command)
