"""A process for each database and algorithm, and what it found."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.rounds import Times
from jwt_redis.testing.servers import RedisServer, die_with_parent

__all__ = ["POSTGRES", "SQLITE", "Found", "Maker", "ask", "databases", "environment", "measure", "sqlite"]

SQLITE, POSTGRES = "SQLite", "PostgreSQL"
# Makes an entry of ``DATABASES``, of an empty database.
Maker = Callable[[], dict[str, Any]]
_ROOT = Path(__file__).resolve().parent.parent.parent
# For preparing and for what the rounds' own limit does not see.
_SPARE_SECONDS = 120


@dataclass(frozen=True, slots=True)
class Found:
    """What a process measured; ``counts``: queries and Redis commands a call, by case; ``note``: what it has to say."""

    times: Times
    counts: dict[str, list[int]]
    note: str
    versions: dict[str, str]


@contextlib.contextmanager
def databases() -> Iterator[tuple[dict[str, Maker], str]]:
    """SQLite in a file, and PostgreSQL where it can be had; beside it what has to be said."""
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="jwt-redis-"))
        makers: dict[str, Maker] = {SQLITE: lambda: sqlite(folder)}
        try:
            # psycopg may be missing with it.
            from benchmarks.postgres import NoPostgresError, PostgresServer
        except ImportError as error:
            yield makers, f"PostgreSQL was left out: {error}."
            return
        try:
            server = stack.enter_context(PostgresServer())
        except NoPostgresError as error:
            yield makers, f"PostgreSQL was left out: {error}."
            return
        makers[POSTGRES] = server.new_database
        yield makers, f"PostgreSQL {server.version} with its defaults, over TCP on the loopback interface."


def sqlite(folder: str) -> dict[str, Any]:
    """An entry for ``DATABASES``: of a file that is not there yet."""
    return {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{folder}/{secrets.token_hex(4)}.sqlite3"}


def environment(server: RedisServer, database: dict[str, Any], algorithm: str) -> dict[str, str]:
    """What the settings of the child read."""
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "benchmarks.peers.settings",
        "BENCH_REDIS": server.url,
        "BENCH_DATABASE": json.dumps(database),
        "BENCH_ALGORITHM": algorithm,
    }


def measure(job: str, database: Maker, algorithm: str, *, is_quick: bool, rounds: int = 1, seconds: float = 0) -> Found:
    """Run a job of child.py, with a Redis and a database of its own.

    :raises RuntimeError: with what the process printed, when it fails.
    """
    with RedisServer() as server:
        found = ask(job, environment(server, database(), algorithm), is_quick=is_quick, rounds=rounds, seconds=seconds)
    return Found(Times.load(found["times"]), found["counts"], found["note"], found["versions"])


def ask(job: str, environ: dict[str, str], *, is_quick: bool, rounds: int = 1, seconds: float = 0) -> Any:
    """The answer of a job of child.py."""
    size = ["--quick"] if is_quick else []
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.peers.child", job, str(rounds), str(seconds), *size],
        cwd=_ROOT,
        env=environ,
        capture_output=True,
        text=True,
        timeout=seconds + _SPARE_SECONDS,
        preexec_fn=die_with_parent,
    )
    if done.returncode:
        raise RuntimeError(f"{job} failed:\n{done.stderr[-4000:]}")
    return json.loads(done.stdout)
