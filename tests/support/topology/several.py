"""What Sentinels and Cluster share."""

from __future__ import annotations

import abc
import contextlib
from types import TracebackType
from typing import Any

from jwt_redis.testing.servers import RedisServer

__all__ = ["Several", "replicate"]


class Several(abc.ABC):
    """Servers that are started one after another and stopped together."""

    def __init__(self) -> None:
        self._servers: list[RedisServer] = []

    @abc.abstractmethod
    def _start_all(self) -> None:
        """One after another, and until they have found one another."""

    def start(self) -> Any:
        """Start all of them and wait until they have found one another. One that fails takes the others along."""
        try:
            self._start_all()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End all of them, those that hang too, and remove their folders."""
        for server in self._servers:
            # First all of them at once: none shall take over from another meanwhile.
            if server.process is not None:
                server.process.kill()
        for server in self._servers:
            server.stop()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def replicate(primary: RedisServer, copies: int, seconds: float) -> None:
    # WAIT is about what was written before its own connection's last command, by whomever.
    with contextlib.closing(primary.client(socket_timeout=seconds + 1)) as client:
        client.ping()
        if copies and client.wait(copies, int(seconds * 1000)) < copies:
            raise TimeoutError(f"After {seconds} s still not: {copies} replicas have it all.")
