"""Who is at the other end? No command travels on a connection to a server that may have lost revocations.

A server is known by its run id and its replication id: the one is another after a restart, the other after a
promotion. One that is not known yet is refused with :class:`UntrustedStore`; ``recovery.establish`` then applies the
journal to it, and tells :func:`trust`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import redis
from django.core.signals import setting_changed

from jwt_redis.conf import config

__all__ = [
    "Server",
    "UntrustedStore",
    "admitted",
    "agate",
    "ask_server",
    "established",
    "gate",
    "gate_in_cluster",
    "is_waiting",
    "refuse_unfit",
    "reset",
    "trust",
]

_SECTIONS = ("server", "replication", "memory")
_FACT = re.compile(r"^(run_id|master_replid|role|maxmemory_policy):([\w-]+)", re.MULTILINE)

_trusted: frozenset[str] = frozenset()
# A server was refused since trust was last established: some clients wrap the exception in one of their own.
_waiting = False
# How many connections have passed: what was known before the newest is to be asked for again.
_admitted = 0
_established = 0


class UntrustedStore(redis.RedisError):
    """What this server holds may be less than what was acknowledged: the journal comes first."""


@dataclass(frozen=True, slots=True)
class Server:
    """One run of one server, in one role."""

    identity: str
    is_primary: bool
    evicts: bool


def _read(text: str) -> Server:
    facts = dict(_FACT.findall(text))
    return Server(
        identity=f"{facts.get('run_id', '')}.{facts.get('master_replid', '')[:12]}",
        is_primary=facts.get("role", "master") == "master",
        evicts=facts.get("maxmemory_policy", "noeviction") != "noeviction",
    )


def trust(identities: frozenset[str]) -> None:
    """These are the servers that may be asked."""
    global _trusted, _waiting, _established
    _established += 1
    _trusted = identities
    _waiting = False


def established() -> int:
    """How often trust was established: what was known of another server may not hold of this one."""
    return _established


def admitted() -> int:
    """How many connections have passed the gate so far."""
    return _admitted


def is_waiting() -> bool:
    """Was a server refused, and nobody has looked after it yet?"""
    return _waiting


def reset(**kwargs: Any) -> None:
    """Trust nobody."""
    if kwargs.get("setting", "JWT_REDIS") in ("JWT_REDIS", "CACHES"):
        trust(frozenset())


setting_changed.connect(reset, dispatch_uid="jwt_redis.store.gate.reset")


def _text(reply: Any) -> str:
    return reply.decode(errors="replace") if isinstance(reply, bytes) else str(reply)


def _admit(server: Server) -> None:
    global _waiting, _admitted
    refuse_unfit(server)
    if server.identity not in _trusted:
        _waiting = True
        raise UntrustedStore(server.identity)
    _admitted += 1


def refuse_unfit(server: Server) -> None:
    """:raises ConnectionError: when the server is none that a verdict may rest on, trusted or not."""
    if server.identity.startswith("."):
        raise redis.ConnectionError("this server does not say who it is: INFO has no run_id")
    if not server.is_primary:
        # A replica may not know of a revocation yet.
        raise redis.ConnectionError("this server is a replica: only the primary is asked")
    # Where a revoked token that is evicted would work again.
    if server.evicts and config().accepts_by_absence:
        raise redis.ConnectionError(
            "this server evicts keys (maxmemory-policy), under which neither the blacklist strategy runs nor the"
            " adoption of tokens without a session"
        )
    # A session whose place is evicted could be ended without the status list hearing of it.
    if server.evicts and config().status_list is not None:
        raise redis.ConnectionError("this server evicts keys (maxmemory-policy), under which no STATUS_LIST is kept")


def gate(connection: Any) -> None:
    """For ``redis_connect_func``: each new connection of the sync client passes here."""
    with _closed_unless_passed(connection):
        connection.on_connect()
        gate_in_cluster(connection)


def gate_in_cluster(connection: Any) -> None:
    """The same where the client itself has greeted the server already."""
    with _closed_unless_passed(connection):
        _admit(ask_server(connection))


@contextmanager
def _closed_unless_passed(connection: Any) -> Iterator[None]:
    """Whatever is raised, a time limit by a signal for instance: the clients close it for errors of Redis only."""
    try:
        yield
    except BaseException:
        connection.disconnect()
        raise


def ask_server(connection: Any) -> Server:
    """Who is at the other end (INFO)."""
    for section in _SECTIONS:
        connection.send_command("INFO", section)
    return _read("\n".join([_text(connection.read_response()) for _ in _SECTIONS]))


async def agate(connection: Any) -> None:
    """:func:`gate` for ``redis.asyncio``."""
    try:
        await connection.on_connect()
        for section in _SECTIONS:
            await connection.send_command("INFO", section)
        _admit(_read("\n".join([_text(await connection.read_response()) for _ in _SECTIONS])))
    except BaseException:
        await connection.disconnect(nowait=True)
        raise
