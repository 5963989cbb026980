"""How many requests does a whole server answer?"""

from __future__ import annotations

import contextlib
import http.client
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks import programs
from benchmarks.peers.processes import ask, environment, sqlite
from benchmarks.reports import Line, Report, Table, compared
from benchmarks.rounds import Times
from jwt_redis.testing.servers import RedisServer, die_with_parent, free_port

__all__ = ["run"]

_ROOT = Path(__file__).resolve().parent.parent.parent
# One process, so that a core is left for the load and for Redis.
_SERVERS = {
    "gunicorn": "gunicorn benchmarks.peers.serving:wsgi --worker-class gthread --threads 4 --workers 1"
    " --log-level error --bind 127.0.0.1:{port}",
    "uvicorn": "uvicorn benchmarks.peers.serving:asgi --log-level error --no-access-log --host 127.0.0.1 --port {port}",
}
_PEERS = {
    "none": "no authentication",
    "stock": "Simple JWT, unchecked",
    "direct": "**jwt_redis, direct**",
    "near": "**jwt_redis, near**",
}
_CONNECTIONS = 4
_ROUNDS, _SECONDS = 6, 1.2
_QUICK_ROUNDS, _QUICK_SECONDS = 1, 0.5
_START_SECONDS = 20


def run(is_quick: bool) -> Report:
    """All servers are up at once, and get the load one after the other in each round."""
    title = "Whole servers"
    wrk = programs.find("wrk", "wrk", may_install=not is_quick)
    if wrk is None:
        return Report(title, [], "Skipped: the load generator `wrk` is not here (Debian's package `wrk`).")
    rounds, seconds = (_QUICK_ROUNDS, _QUICK_SECONDS) if is_quick else (_ROUNDS, _SECONDS)
    kinds = ["gunicorn"] if is_quick else list(_SERVERS)
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="jwt-redis-"))
        redis = stack.enter_context(RedisServer())
        environ = environment(redis, sqlite(folder), "HS256")
        headers = ask("headers", environ, is_quick=True)["headers"]
        ports = {
            (kind, peer): stack.enter_context(_serving(kind, peer, environ, headers[peer]))
            for kind in kinds
            for peer in _PEERS
        }
        loads = {f"{kind} {peer}": (port, headers[peer]) for (kind, peer), port in ports.items()}
        times = _interleave(wrk, loads, rounds, seconds)
    return Report(
        title,
        list(_lines(times, kinds)),
        f"wrk with {_CONNECTIONS} connections on the same machine; one process of gunicorn with 4 threads, one of"
        " uvicorn. Times are those of a request: the inverse of how many were answered in a second.",
        tables=[
            Table(
                ["Requests a second", *kinds],
                [
                    [label, *(f"{1 / times.median(f'{kind} {peer}'):,.0f}" for kind in kinds)]
                    for peer, label in _PEERS.items()
                ],
            )
        ],
    )


def _lines(times: Times, kinds: Sequence[str]) -> Iterator[Line]:
    for kind in kinds:
        for name, base in (("near", "stock"), ("near", "none"), ("direct", "stock"), ("near", "direct")):
            what = f"{kind}: {_PEERS[name]} ÷ {_PEERS[base]}".replace("*", "")
            yield compared(what, times, f"{kind} {name}", f"{kind} {base}")


@contextlib.contextmanager
def _serving(kind: str, peer: str, environ: dict[str, str], header: str) -> Iterator[int]:
    port = free_port()
    command = _SERVERS[kind].format(port=port).split()
    process = subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=_ROOT,
        env={**environ, "BENCH_PEER": peer},
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=die_with_parent,
    )
    try:
        _wait(process, port, header)
        yield port
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(process: subprocess.Popen[Any], port: int, header: str) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        with contextlib.suppress(OSError), contextlib.closing(connection):
            connection.request("GET", "/it/", headers={"Authorization": header} if header else {})
            answer = connection.getresponse()
            assert answer.status == 200, answer.read()
            return
        time.sleep(0.05)
    raise RuntimeError("The server did not start.")


def _interleave(wrk: str, loads: dict[str, tuple[int, str]], rounds: int, seconds: float) -> Times:
    by_case: dict[str, dict[int, float]] = {name: {} for name in loads}
    for port, header in loads.values():
        # Threads, connections, the near cache.
        _load(wrk, port, header, min(seconds, 1))
    for number in range(rounds):
        for name in loads if number % 2 == 0 else reversed(loads):
            by_case[name][number] = _load(wrk, *loads[name], seconds)
    return Times(by_case)


def _load(wrk: str, port: int, header: str, seconds: float) -> float:
    """Seconds a request."""
    with_header = ["--header", f"Authorization: {header}"] if header else []
    # wrk itself counts in whole seconds; what is shorter is stopped, and answers as if it were over.
    command = [wrk, "--threads", "1", "--connections", str(_CONNECTIONS), "--duration", "10s", *with_header]
    process = subprocess.Popen(
        [*command, f"http://127.0.0.1:{port}/it/"],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=die_with_parent,
    )
    try:
        time.sleep(seconds)
    finally:
        process.send_signal(signal.SIGINT)
        printed, _ = process.communicate(timeout=10)
    assert "Non-2xx" not in printed, printed
    found = re.search(r"Requests/sec:\s+([\d.]+)", printed)
    assert found is not None, printed
    return 1 / float(found[1])
