"""A real HTTP server for tests: gunicorn or uvicorn, with worker processes on a loopback port."""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

from jwt_redis.testing.servers import die_with_parent, free_port

ROOT = Path(__file__).parent.parent.parent
_START_SECONDS = 30
# By the settings that they are for.
_databases: dict[str, Path] = {}


@contextlib.contextmanager
def http_server(
    folder: Path,
    *,
    workers: int = 3,
    threads: int = 8,
    settings: str = "tests.settings",
    prepared: Path | None = None,
    more: Sequence[str] = (),
    asgi: bool = False,
    program: Sequence[str] = (),
    **environment: str,
) -> Iterator[str]:
    """Serve the test project with a database file in ``folder``, and the run's Redis. Yields the base URL.

    ``prepared``: a database file to copy there, one with alice and bob in it if None; one that is there already is
    used. ``more``: arguments for the server. ``asgi``: uvicorn in place of gunicorn. ``program``: another module to run
    in place of either, with its arguments, among them "{port}".
    """
    database = folder / "db.sqlite3"
    env = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": settings,
        "JWT_REDIS_TEST_DB": str(database),
        **environment,
    }
    python = [sys.executable, "-W", "ignore"]
    if not database.exists():
        shutil.copy(prepared or _database_for(settings, env), database)
    port = free_port()
    if program:
        arguments = [argument.format(port=port) for argument in program]
    elif asgi:
        application = ["uvicorn", "django.core.asgi:get_asgi_application", "--factory", "--lifespan", "off"]
        arguments = [*application, "--port", str(port), "--workers", str(workers), "--log-level", "warning", *more]
    else:
        application = ["gunicorn", "django.core.wsgi:get_wsgi_application()", "-b", f"127.0.0.1:{port}"]
        arguments = [*application, "-w", str(workers), "--threads", str(threads), "-k", "gthread", *more]
    log = folder / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*python, "-m", *arguments],
            cwd=ROOT,
            env=env,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=die_with_parent,
        )
    base = f"http://127.0.0.1:{port}"
    try:
        _wait(base, process, log)
        yield base
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _database_for(settings: str, env: dict[str, str]) -> Path:
    """A database file with the tables of these settings, alice and bob: made once, to be copied."""
    if settings not in _databases:
        folder = tempfile.TemporaryDirectory(prefix="jwt-redis-db-")
        atexit.register(folder.cleanup)
        made = Path(folder.name) / "db.sqlite3"
        code = (
            "import django; django.setup(); from django.core.management import call_command;"
            "call_command('migrate', verbosity=0); from tests.support.server import make_users; make_users()"
        )
        command = [sys.executable, "-W", "ignore", "-c", code]
        subprocess.run(command, cwd=ROOT, env={**env, "JWT_REDIS_TEST_DB": str(made)}, check=True)
        _databases[settings] = made
    return _databases[settings]


def make_users() -> None:
    """alice and bob, with the passwords of conftest.py."""
    from django.contrib.auth import get_user_model

    for name, password in (("alice", "correct horse"), ("bob", "battery staple")):
        get_user_model().objects.create_user(name, f"{name}@example.com", password)


def _wait(base: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{base}/untouched/", timeout=2):  # noqa: S310
                return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError("The HTTP server did not start:\n" + log.read_text(errors="replace")[-3000:])
