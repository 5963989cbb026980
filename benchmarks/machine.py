"""On what was it measured? Absolute times say nothing without it."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.stores import connect
from jwt_redis.testing.servers import RedisServer

__all__ = ["machine"]


def machine() -> str:
    """One line: processor, cores, Python, client, server."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    client = f"redis-py {version('redis')}"
    try:
        client += f" with hiredis {version('hiredis')}"
    except PackageNotFoundError:
        client += " without hiredis"
    return (
        f"{_processor()}, {cores} cores, {platform.system()}; Python {platform.python_version()}, {client};"
        f" {_server()} on the loopback interface."
    )


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _server() -> str:
    with RedisServer() as server, connect(server) as store:
        info = store.info()
    # Valkey reports the Redis version that it is compatible with, and its own beside it.
    name = f"Valkey {info['valkey_version']}" if "valkey_version" in info else f"Redis {info['redis_version']}"
    return f"{name} ({info['mem_allocator']} allocator)"
