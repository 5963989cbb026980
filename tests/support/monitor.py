"""What clients send to Redis."""

from __future__ import annotations

import threading

import redis


class Monitor:
    """What Redis is asked, as MONITOR shows it."""

    def __init__(self, port: int) -> None:
        self._client = redis.Redis(port=port, decode_responses=True)
        self._seen: list[str] = []
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()
        assert self._ready.wait(5)

    def _follow(self) -> None:
        with self._client.monitor() as monitor:
            self._ready.set()
            for entry in monitor.listen():
                if entry["command"] == "ECHO the-end":
                    return
                # A script's own commands are marked as such; a new connection introduces itself, and asks whom it met.
                greetings = ("HELLO", "CLIENT", "SELECT", "INFO")
                if entry["client_type"] != "lua" and not entry["command"].startswith(greetings):
                    self._seen.append(entry["command"])

    def commands(self) -> list[str]:
        with redis.Redis(connection_pool=self._client.connection_pool) as client:
            client.echo("the-end")
        self._thread.join(5)
        self._client.close()
        return self._seen
