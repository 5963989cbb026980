"""A TCP proxy whose wire gets slow, or stops, and loses nothing: what was sent arrives later."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections import deque

__all__ = ["Link"]

_CHUNK = 65536


class Link:
    """Forwards to ``target``. ``delay``: seconds by which replies come late. While it is held nothing arrives, and no
    connection is closed."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.delay = 0.0
        self._flows = {False: threading.Event(), True: threading.Event()}
        self._sockets: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port: int = self._listener.getsockname()[1]
        self.release()
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def hold(self, *, requests: bool = True) -> None:
        """No reply arrives any more; nor does a question, but for ``requests=False``."""
        self._flows[True].clear()
        if requests:
            self._flows[False].clear()

    def release(self) -> None:
        """All of it arrives now."""
        for flow in self._flows.values():
            flow.set()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self.target), timeout=2)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            for one in (client, server):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._sockets |= {client, server}
            for source, sink, is_reply in ((client, server, False), (server, client, True)):
                _Wire(self, source, sink, is_reply)

    def close_pair(self, *sockets: socket.socket) -> None:
        """This connection is over."""
        for one in sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        with self._lock:
            self._sockets -= set(sockets)

    def wait_until_it_flows(self, *, is_reply: bool) -> None:
        """For the wires."""
        self._flows[is_reply].wait()

    def close(self) -> None:
        """No more."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)
        with self._lock:
            left = list(self._sockets)
        self.close_pair(*left)
        self.release()


class _Wire:
    """One direction of one connection: a thread reads, another delivers when it is time."""

    def __init__(self, link: Link, source: socket.socket, sink: socket.socket, is_reply: bool) -> None:
        self._link, self._source, self._sink, self._is_reply = link, source, sink, is_reply
        self._waiting: deque[tuple[float, bytes]] = deque()
        self._news = threading.Semaphore(0)
        for work in (self._read, self._deliver):
            threading.Thread(target=work, daemon=True).start()

    def _read(self) -> None:
        data = b"?"
        while data:
            try:
                data = self._source.recv(_CHUNK)
            except OSError:
                data = b""
            due = time.monotonic() + (self._link.delay if self._is_reply else 0.0)
            self._waiting.append((due, data))
            self._news.release()

    def _deliver(self) -> None:
        while True:
            self._news.acquire()
            due, data = self._waiting.popleft()
            time.sleep(max(0.0, due - time.monotonic()))
            self._link.wait_until_it_flows(is_reply=self._is_reply)
            try:
                if not data:
                    break
                self._sink.sendall(data)
            except OSError:
                break
        self._link.close_pair(self._source, self._sink)
