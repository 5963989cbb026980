"""A real PostgreSQL of one's own, where the system has one: on a unix socket in a folder, gone with the process."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from jwt_redis.testing.servers import die_with_parent

_START_SECONDS = 30


def find_binaries() -> Path | None:
    """The folder with ``initdb`` and ``postgres``, the newest one; None where there is none."""
    # Debian keeps them away from the PATH.
    versions = sorted(
        (path for path in Path("/usr/lib/postgresql").glob("*/bin") if (path / "initdb").exists()),
        key=lambda path: int(path.parent.name),
    )
    if versions:
        return versions[-1]
    found = shutil.which("initdb")
    return Path(found).resolve().parent if found else None


@contextlib.contextmanager
def postgres_server() -> Iterator[str]:
    """Yields the folder of the socket: libpq's ``host``. The superuser is ``postgres``, without a password.

    :raises RuntimeError: with what the server said, when it does not start.
    """
    binaries = find_binaries()
    if binaries is None:
        raise RuntimeError("There is no PostgreSQL here.")
    # It does not run as root.
    account = pwd.getpwnam("postgres" if _exists("postgres") else "nobody") if os.geteuid() == 0 else None
    options = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []} if account else {}
    folder = Path(tempfile.mkdtemp(prefix="jwt-pg-"))
    try:
        if account:
            os.chown(folder, account.pw_uid, account.pw_gid)
        folder.chmod(0o755)
        data = folder / "data"
        subprocess.run(
            [binaries / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "-N"],
            cwd=folder,
            check=True,
            capture_output=True,
            **options,  # type: ignore[call-overload]
        )
        settings = ("listen_addresses=", f"unix_socket_directories={folder}", "fsync=off", "max_connections=60")
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [binaries / "postgres", "-D", data, *(part for setting in settings for part in ("-c", setting))],
                cwd=folder,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=die_with_parent,
                **options,  # type: ignore[call-overload]
            )
        try:
            deadline = time.monotonic() + _START_SECONDS
            while subprocess.run([binaries / "pg_isready", "-q", "-h", folder]).returncode:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError("PostgreSQL did not start:\n" + (folder / "log").read_text()[-2000:])
                time.sleep(0.05)
            yield str(folder)
        finally:
            process.terminate()
            process.wait(30)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _exists(name: str) -> bool:
    with contextlib.suppress(KeyError):
        return pwd.getpwnam(name) is not None
    return False
