"""A TCP proxy in front of Redis that can be told to misbehave; and places that are reached through one."""

from __future__ import annotations

import contextlib
import random
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from jwt_redis.testing.servers import RedisServer
from tests.support.topology import ask
from tests.support.waiting import wait_for

_CHUNK = 65536


class Proxy:
    """Forwards to ``target``. ``odds``: of all replies, the part that meets the fault in ``mode``.

    Modes: "pass"; "half": a reply breaks off in its middle, and the connection with it; "drop": the command is
    carried out, but its reply never comes; "hole": connections are taken, and nothing is ever answered.
    """

    def __init__(self, target: int, seed: int = 1) -> None:
        self.target = target
        self.mode = "pass"
        self.odds = 0.2
        #: Connections that were made while it was a hole.
        self.swallowed = 0
        #: Replies that met the fault.
        self.faults = 0
        self._rng = random.Random(seed)
        self._pairs: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.mode == "hole":
                self.swallowed += 1
                with self._lock:
                    self._pairs.add(client)
                continue
            try:
                server = socket.create_connection(("127.0.0.1", self.target), timeout=2)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            with self._lock:
                self._pairs |= {client, server}
            threading.Thread(target=self._pump, args=(client, server, False), daemon=True).start()
            threading.Thread(target=self._pump, args=(server, client, True), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, is_reply: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(_CHUNK):
                if self.mode == "hole":
                    continue
                if is_reply and self.mode in ("half", "drop") and self._rng.random() < self.odds:
                    self.faults += 1
                    if self.mode == "half":
                        sink.sendall(data[: len(data) // 2])
                    break
                sink.sendall(data)
        self._close(source, sink)

    def _close(self, *sockets: socket.socket) -> None:
        for one in sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        with self._lock:
            self._pairs -= set(sockets)

    def cut_all(self) -> None:
        """Every connection that there is."""
        with self._lock:
            all_of_them = list(self._pairs)
        self._close(*all_of_them)

    def switch(self, target: int) -> None:
        """Lead to another server from now on, as an address that moves does."""
        self.target = target
        self.cut_all()

    def close(self) -> None:
        """No more."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut_all()


@dataclass
class Behind:
    """A server that is reached through a proxy, and a replica of it."""

    server: RedisServer
    replica: RedisServer | None
    proxy: Proxy

    def client(self, **options: Any) -> Any:
        """Past the proxy."""
        return self.server.client(**options)

    def stall(self) -> None:
        """The replica hears no more of its primary."""
        assert self.replica is not None
        # A password that the primary does not ask for is an error to it.
        ask(self.replica, "CONFIG SET", "masterauth", "wrong")
        ask(self.replica, "CLIENT KILL", "TYPE", "master")
        wait_for(lambda: self._link() == "down", "the link is down")

    def release(self) -> None:
        """It hears of it again."""
        assert self.replica is not None
        ask(self.replica, "CONFIG SET", "masterauth", "")
        wait_for(lambda: self._link() == "up", "the link is up")

    def _link(self) -> str:
        assert self.replica is not None
        return str(ask(self.replica, "INFO", "replication")["master_link_status"])

    def settings(self) -> dict[str, Any]:
        """They lead to the proxy."""
        return _settings(f"redis://127.0.0.1:{self.proxy.port}/0")

    def settings_past_proxy(self) -> dict[str, Any]:
        """They lead to the server itself."""
        return _settings(self.server.url)

    def settings_with_replica(self) -> dict[str, Any]:
        """They name the replica too, as django-redis has it: the primary comes first."""
        assert self.replica is not None
        return _settings([self.server.url, self.replica.url])


def _settings(location: str | list[str]) -> dict[str, Any]:
    alias = {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": location, "OPTIONS": {}}
    return {"CACHES": {"sessions": alias}, "JWT_REDIS": {"ALIAS": "sessions"}}


@contextlib.contextmanager
def behind_proxy(*, replica: bool = False) -> Iterator[Behind]:
    """A server behind a proxy. ``replica``: and a copy of it, which has caught up."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(RedisServer(options={"repl-diskless-sync-delay": "0"}))
        copy = None
        if replica:
            following = {"replicaof": f"127.0.0.1 {server.port}", "repl-diskless-sync-delay": "0"}
            copy = stack.enter_context(RedisServer(options=following))
        proxy = Proxy(server.port)
        stack.callback(proxy.close)
        place = Behind(server, copy, proxy)
        if copy is not None:
            wait_for(lambda: place._link() == "up", "the replica follows")
        yield place
