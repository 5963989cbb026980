"""Starts a Redis, a Django project that signs people in, and two services that are none. Ctrl-C ends all of it."""

from __future__ import annotations

import contextlib
import io
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, NamedTuple

from jwt_redis.testing.servers import RedisServer, die_with_parent, free_port

HERE = Path(__file__).resolve().parent
USERS = {"alice": "correct horse", "bob": "battery staple"}
# Seconds after which each of the services has heard of a revocation: the README beside it says why.
BOUNDS = {"orders": 5, "photos": 7.5}
_START_SECONDS = 30.0
_STOP_SECONDS = 10.0
# Ctrl-C, kill, and a terminal that is closed.
_ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_UVICORN = ("--host", "127.0.0.1", "--no-access-log", "--log-level", "warning", "--timeout-graceful-shutdown", "1")


class Running(NamedTuple):
    """A process, and where it answers."""

    name: str
    process: subprocess.Popen[bytes]
    url: str


def main() -> None:
    for signum in _ENDINGS:
        signal.signal(signum, _stop)
    # A proxy in the environment is not for loopback.
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1"
    with contextlib.ExitStack() as stack:
        var = _folder(stack)
        store = RedisServer(folder=var / "redis")
        # In front of its start: a Ctrl-C meanwhile has to stop it too.
        stack.callback(store.stop)
        store.start()
        assert store.process is not None  # noqa: S101 - start() has made it
        issuer, secret = f"http://127.0.0.1:{free_port()}", secrets.token_urlsafe()
        _prepare(var, issuer, store.url, secret)
        running = [Running("Redis", store.process, store.url)]
        running.append(_start_issuer(stack, issuer))
        running.append(_start_orders(stack, issuer, secret))
        if photos := _start_photos(stack, issuer):
            running.append(photos)
        _greet(var, running)
        _watch(running)


def _stop(signum: int, frame: Any) -> None:
    # A second Ctrl-C must not cut the tidying short.
    for one in _ENDINGS:
        signal.signal(one, signal.SIG_IGN)
    sys.exit(0)


def _folder(stack: contextlib.ExitStack) -> Path:
    """Where the database and the keys are: ``EXAMPLES_VAR``, or a folder that goes with this process."""
    if named := os.environ.get("EXAMPLES_VAR"):
        Path(named).mkdir(parents=True, exist_ok=True)
        return Path(named).resolve()
    return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="jwt-redis-examples-")))


def _prepare(var: Path, issuer: str, store: str, secret: str) -> None:
    """The issuer's settings, tables, users and signing key."""
    from django.contrib.auth.hashers import PBKDF2PasswordHasher

    hasher = PBKDF2PasswordHasher()
    run = {
        "issuer": issuer,
        "redis": store,
        "secret_key": secrets.token_urlsafe(48),
        # As make_password() makes it, which needs the settings that this is for; but quick: nobody guesses 256 random
        # bits, and a service that starts asks about many tokens at once.
        "orders_secret_hash": hasher.encode(secret, hasher.salt(), iterations=1),
    }
    (var / "run.json").unlink(missing_ok=True)
    with open(var / "run.json", "x", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        json.dump(run, file)
    os.environ.update(EXAMPLES_VAR=str(var), DJANGO_SETTINGS_MODULE="issuer.settings")

    import django

    django.setup()
    from django.contrib.auth import get_user_model
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    users = get_user_model()._default_manager
    for name, password in USERS.items():
        if not users.filter(username=name).exists():
            users.create_user(name, f"{name}@example.com", password)
    if not (var / "keys").exists():
        made = io.StringIO()
        call_command("jwt_keys", "create", "--json", stdout=made)
        # Nobody has a copy of the keys yet that lacks it.
        call_command(
            "jwt_keys", "activate", json.loads(made.getvalue())["kid"], "--now", "--json", stdout=io.StringIO()
        )


def _start_issuer(stack: contextlib.ExitStack, url: str) -> Running:
    command = _uvicorn("django.core.asgi:get_asgi_application", url)
    return _start(stack, "issuer", url, [*command, "--factory", "--lifespan", "off"], HERE, {})


def _start_orders(stack: contextlib.ExitStack, issuer: str, secret: str) -> Running:
    url = f"http://127.0.0.1:{free_port()}"
    environment = {"ISSUER": issuer, "CLIENT_ID": "orders", "CLIENT_SECRET": secret}
    return _start(stack, "orders", url, _uvicorn("service:app", url), HERE / "introspection", environment)


def _start_photos(stack: contextlib.ExitStack, issuer: str) -> Running | None:
    """None where there is no Node, or its packages cannot be had; the other service does without."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        print(f"  photos is left out: {'npm' if node else 'node'} is not here. Debian's packages: nodejs npm")
        return None
    folder = HERE / "status_list"
    lock, installed = folder / "package-lock.json", folder / "node_modules/.package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        print("  Installing what photos needs ...", flush=True)
        command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel", "error"]
        if subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL).returncode:  # noqa: S603
            print("  photos is left out: npm has not found what it needs.")
            return None
    url = f"http://127.0.0.1:{free_port()}"
    environment = {"ISSUER": issuer, "PORT": url.rpartition(":")[2]}
    return _start(stack, "photos", url, [node, "service.mjs"], folder, environment)


def _uvicorn(application: str, url: str) -> list[str]:
    return [sys.executable, "-m", "uvicorn", application, "--port", url.rpartition(":")[2], *_UVICORN]


def _start(
    stack: contextlib.ExitStack, name: str, url: str, command: list[str], folder: Path, environment: dict[str, str]
) -> Running:
    process = subprocess.Popen(  # noqa: S603
        command,
        cwd=folder,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        # Ctrl-C is for this process to act on.
        start_new_session=True,
        preexec_fn=die_with_parent,
    )
    stack.callback(_end, process)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with opener.open(url, timeout=2):
                break
        except urllib.error.HTTPError:
            break  # 401 and 404 are answers
        except OSError:
            time.sleep(0.05)
    else:
        sys.exit(f"{name} did not answer at {url}.")
    return Running(name, process, url)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _watch(running: list[Running]) -> None:
    """Until Ctrl-C, or until all are gone. That one of them dies is what there is to try."""
    while running:
        for one in list(running):
            if (status := one.process.poll()) is not None:
                print(f"  {one.name} has ended, with status {status}.", flush=True)
                running.remove(one)
        time.sleep(0.2)


def _greet(var: Path, running: list[Running]) -> None:
    issuer = next(one.url for one in running if one.name == "issuer")
    services = [one for one in running if one.name in BOUNDS]
    bearer = '-H "Authorization: Bearer $TOKEN"'
    lines = [
        "",
        "  Services that honour revocations, and are no Django project.",
        "",
        *(f"  {one.name:8} {one.url}  (process {one.process.pid})" for one in running),
        "",
        "  1. Sign in:",
        f"  TOKEN=$(curl -s {issuer}/auth/token/ -d username=alice -d 'password={USERS['alice']}' \\",
        """    | sed 's/.*"access":"\\([^"]*\\)".*/\\1/')""",
        "  2. The services let you in:",
        *(f"  curl -i {bearer} {one.url}" for one in services),
        "  3. Sign out:",
        f"  curl {bearer} -X POST {issuer}/auth/logout/",
        "  4. Ask the services again: 401,",
        *(f"     {one.name} after {BOUNDS[one.name]} seconds at the latest." for one in services),
        "  5. Kill the issuer, or Redis, by its process above, and they say 503 after that time: neither guesses.",
        "",
        "  Commands of the issuer, in a second terminal:",
        f"  EXAMPLES_VAR={var} {_short(sys.executable)} {_short(HERE / 'manage.py')} jwt_sessions alice",
        "  Ctrl-C stops all of it.",
        "",
    ]
    print("\n".join(lines), flush=True)


def _short(path: Path | str) -> str:
    """As seen from where this was started, where that is no longer than the whole."""
    return min((str(path), os.path.relpath(path)), key=len)


if __name__ == "__main__":
    main()
