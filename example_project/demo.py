"""Runs the demo: a Redis of its own, a database with two users, an ASGI server. Ctrl-C ends all of it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import redis

from jwt_redis.testing.servers import RedisServer, die_with_parent

HERE = Path(__file__).resolve().parent
VAR = Path(os.environ.get("DEMO_VAR") or HERE / "var").resolve()
# Where `manage.py demo_walk` reads which port it became.
ADDRESS = VAR / "address"
# Where config/settings.py reads which Redis it is, for manage.py in a second terminal.
REDIS = VAR / "redis-url"
HOST = "127.0.0.1"
_FIRST_PORT = 8000
_START_SECONDS = 30.0
_STOP_SECONDS = 10.0
# Event streams are open for as long as their pages: they are not waited for.
_OPTIONS = ("--lifespan", "off", "--no-access-log", "--log-level", "critical", "--timeout-graceful-shutdown", "1")
# Ctrl-C, kill, and a terminal that is closed.
_ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main() -> None:
    for signum in _ENDINGS:
        signal.signal(signum, _stop)
    VAR.mkdir(parents=True, exist_ok=True)
    with _only_one(), _redis() as (url, which), _written(REDIS, url):
        os.environ.update(REDIS_URL=url, DEMO_VAR=str(VAR), DJANGO_SETTINGS_MODULE="config.settings")
        passwords = _prepare_database()
        port, why = _choose_port()
        base = f"http://{HOST}:{port}"
        # For the links in e-mails.
        os.environ["DEMO_BASE_URL"] = base
        with _site(port) as server:
            _wait_until_it_answers(base, server)
            with _written(ADDRESS, base):
                _greet(base, which, passwords, why)
                status = _wait_for_the_end(server)
        sys.exit(f"The server ended by itself, with status {status}.")


def _stop(signum: int, frame: Any) -> None:
    # A second Ctrl-C must not cut the tidying short.
    for one in _ENDINGS:
        signal.signal(one, signal.SIG_IGN)
    sys.exit(0)


@contextlib.contextmanager
def _only_one() -> Iterator[None]:
    """Two Redis servers must not write the same files. The lock goes with the process, however that ends."""
    # "a+": what the other one has written is not to be lost by asking.
    with (VAR / "lock").open("a+") as lock:
        lock.seek(0)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            who = f"A demo (process {lock.read() or 'unknown'}) runs with {VAR} already."
            sys.exit(f"{who} Stop it, or set DEMO_VAR to another folder.")
        lock.truncate()
        lock.write(str(os.getpid()))
        lock.flush()
        yield


@contextlib.contextmanager
def _written(path: Path, text: str) -> Iterator[None]:
    """It is there while the demo runs, for this user alone: in a URL there may be a password."""
    try:
        path.unlink(missing_ok=True)
        with open(path, "x", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write(text)
        yield
    finally:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def _redis() -> Iterator[tuple[str, str]]:
    """The URL of the Redis in ``REDIS_URL``, or of one that is started, and which it is, in words."""
    if url := os.environ.get("REDIS_URL"):
        try:
            with contextlib.closing(redis.Redis.from_url(url, socket_timeout=3)) as client:
                client.ping()
        except (redis.RedisError, ValueError) as error:
            sys.exit(f"The Redis in REDIS_URL does not answer: {error}\nWithout it the demo starts one of its own.")
        # Not the URL: there may be a password in it.
        yield url, "the one in REDIS_URL"
        return
    server = RedisServer(folder=VAR / "redis", options={"appendonly": "yes"})
    try:
        # Not "with": a Ctrl-C while it starts has to stop it too.
        server.start()
        yield server.url, f"{server.url}  (its own, files in {server.folder})"
    finally:
        server.stop()


def _prepare_database() -> dict[str, str]:
    """Migrate, and make the users that are not there. The passwords as far as they are still those of the start."""
    import django

    django.setup()
    from django.conf import settings
    from django.contrib.auth import get_user_model
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    users = get_user_model()._default_manager
    found = {}
    for name, password in settings.DEMO_USERS.items():
        user = users.filter(username=name).first()
        if user is None:
            # alice may look around in the admin.
            rights = {"is_staff": True, "is_superuser": True} if name == "alice" else {}
            user = users.create_user(name, f"{name}@example.com", password, **rights)
        found[name] = password if user.check_password(password) else "(the one you changed it to)"
    return found


def _choose_port() -> tuple[int, str]:
    """The port, and why it is not the usual one, if it is not."""
    if named := os.environ.get("PORT"):
        if not named.isdecimal() or not 0 < int(named) < 65536:
            sys.exit(f"PORT is {named!r}, which is no port.")
        if not _is_free(int(named)):
            sys.exit(f"Port {named} is in use. Set PORT to another, or leave it out.")
        return int(named), ""
    for port in range(_FIRST_PORT, _FIRST_PORT + 100):
        if _is_free(port):
            return port, f"  (port {_FIRST_PORT} is in use)" if port != _FIRST_PORT else ""
    sys.exit(f"No port from {_FIRST_PORT} on is free. Set PORT.")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As Django's server does: a connection that lingers from the last run is no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


@contextlib.contextmanager
def _site(port: int) -> Iterator[subprocess.Popen[bytes]]:
    server = subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", "uvicorn", "config.asgi:application", "--host", HOST, "--port", str(port), *_OPTIONS],
        cwd=HERE,
        stdin=subprocess.DEVNULL,
        # Errors and the log go to stderr.
        stdout=subprocess.DEVNULL,
        # Ctrl-C is for this process to act on.
        start_new_session=True,
        preexec_fn=die_with_parent,
    )
    try:
        yield server
    finally:
        server.terminate()
        try:
            server.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _wait_until_it_answers(base: str, server: subprocess.Popen[bytes]) -> None:
    # A proxy in the environment is not for loopback.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with opener.open(f"{base}/", timeout=2):
                return
        except OSError:
            time.sleep(0.05)
    sys.exit(f"The server did not answer at {base}.")


def _wait_for_the_end(server: subprocess.Popen[bytes]) -> int:
    terminal = select.poll()
    if os.isatty(0):
        # For no event but that it is gone. Where make leads the session (`ssh -t host make demo`), the SIGHUP of a
        # closed terminal goes to make alone, which then waits for this process.
        terminal.register(0, 0)
    while (status := server.poll()) is None:
        if terminal.poll(500):
            sys.exit(0)
    return status


def _greet(base: str, which: str, passwords: dict[str, str], why: str) -> None:
    manage = f"{_short(sys.executable)} {_short(HERE / 'manage.py')}"
    lines = [
        "",
        "  jwt_redis: JSON Web Tokens that can be taken back. Here is a small site to try it on.",
        "",
        f"  The demo is at    {base}/{why}",
        *(f"  Sign in as        {name} / {password}" for name, password in passwords.items()),
        f"  Django's admin    {base}/admin/  (alice; the same sign-in)",
        f"  Redis             {which}",
        "",
        "  1. Open it in two browsers, or in one and a private window, and sign in to both.",
        "  2. Under Devices, sign one out from the other.",
        "",
        "  In a second terminal `make walk` tells the same story over HTTP, and the commands",
        f"  are at hand:      {manage} jwt_sessions alice",
        "  Ctrl-C stops the demo.",
        "",
        "  What happens to sessions:",
    ]
    print("\n".join(lines), flush=True)  # noqa: T201


def _short(path: Path | str) -> str:
    """As seen from where the demo was started, where that is no longer than the whole."""
    return min((str(path), os.path.relpath(path)), key=len)


if __name__ == "__main__":
    main()
