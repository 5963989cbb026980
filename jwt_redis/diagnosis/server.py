"""A server by itself: what it is, how it keeps what it was told, and who reaches it."""

from __future__ import annotations

import time
from collections.abc import Iterator

import redis

from jwt_redis.checks import OLDEST_REDIS, is_loopback, version_of
from jwt_redis.conf import config
from jwt_redis.diagnosis.findings import Finding, notice, ok, problem, warning
from jwt_redis.diagnosis.nodes import Node, Unanswered
from jwt_redis.diagnosis.sizes import counted, size, span

__all__ = ["check_connection", "check_memory_limit", "check_persistence", "check_role", "check_version"]

# Of maxmemory: above it is time to act, for a full server refuses revocations.
_FULL = 0.8


def check_version(node: Node) -> Iterator[Finding]:
    """Is it new enough?"""
    info = node.info
    name = f"Valkey {info['valkey_version']}" if "valkey_version" in info else f"Redis {info.get('redis_version')}"
    if version_of(info) >= OLDEST_REDIS:
        yield ok("version", f"{name}, {info.get('redis_mode', 'standalone')}.")
    else:
        yield problem("version", f"{name}.", "6.2 is the oldest that will do: the revocation log needs XADD MINID.")


def check_role(node: Node) -> Iterator[Finding]:
    """Is it the primary?"""
    if node.info.get("role", "master") == "master":
        yield ok("role", "A primary.")
    else:
        yield problem(
            "role",
            "A replica: it may not know of a revocation yet, so every request is answered with 503.",
            "Name the primary first in the alias' LOCATION, or use Sentinel.",
        )


def check_memory_limit(node: Node) -> Iterator[Finding]:
    """Does it throw keys away, or is it about to be full?"""
    policy = str(node.info.get("maxmemory_policy", "noeviction"))
    limit, used, evicted = node.number("maxmemory"), node.number("used_memory"), node.number("evicted_keys")
    facts = f"maxmemory {size(limit) if limit else 'without a limit'}, {policy}; {size(used)} in use"
    if policy != "noeviction":
        consequence = (
            "a revoked token that is evicted would work again, so every request is answered with 503"
            if config().accepts_by_absence
            else "under memory pressure users are signed out"
        )
        yield problem(
            "eviction", f"{facts}: {consequence}.", "maxmemory-policy noeviction, on a server that no cache shares."
        )
    elif limit and used > _FULL * limit:
        yield warning(
            "eviction", f"{facts}: once it is full, nobody can sign in and nothing be revoked.", "A higher maxmemory."
        )
    else:
        yield ok("eviction", f"{facts}.")
    if evicted:
        yield warning(
            "evicted",
            f"{counted(evicted, 'key')} evicted since this server was started.",
            "Whoever lost a key was signed out. Give sessions a server of their own, with maxmemory-policy noeviction.",
        )


def check_persistence(node: Node) -> Iterator[Finding]:
    """What is left after a crash?"""
    info = node.info
    if not node.number("aof_enabled"):
        yield _without_aof(node)
    elif info.get("aof_last_write_status", "ok") != "ok":
        yield problem(
            "persistence",
            "The append-only file cannot be written: Redis refuses every write, and with it every revocation.",
            "Look for a full or a broken disk.",
        )
    else:
        yield _with_aof(node)
    if info.get("rdb_last_bgsave_status", "ok") != "ok":
        yield problem(
            "snapshot",
            "The last snapshot failed: unless told otherwise Redis refuses every write from then on.",
            "Look for a full disk, or too little memory to fork (vm.overcommit_memory).",
        )
    else:
        age = time.time() - node.number("rdb_last_save_time")
        yield ok("snapshot", f"No snapshot has failed; the last one, or the start, was {span(age)} ago.")


def _without_aof(node: Node) -> Finding:
    found = f"No append-only file: a crash now loses {counted(node.number('rdb_changes_since_last_save'), 'change')}."
    if config().journal:
        return warning(
            "persistence",
            f"{found} Revocations are applied again from the journal; sessions are lost.",
            "appendonly yes.",
        )
    return problem(
        "persistence",
        f"{found} Without a journal a session that was ended in what is lost is alive again.",
        'appendonly yes, and JWT_REDIS["JOURNAL"] = True.',
    )


def _with_aof(node: Node) -> Finding:
    try:
        policy = node.setting("appendfsync")
    except Unanswered as why:
        return notice("persistence", f"An append-only file; how often it is flushed cannot be asked ({why}).")
    if policy == "always":
        return ok("persistence", "An append-only file, flushed with each write.")
    lost = "the last second" if policy == "everysec" else "what the system has not flushed"
    found = f"An append-only file, appendfsync {policy}: a power loss can lose {lost}."
    if config().journal:
        return ok("persistence", f"{found} Revocations are applied again from the journal.")
    return warning("persistence", found, 'JWT_REDIS["JOURNAL"] = True, or appendfsync always.')


def check_connection(node: Node) -> Iterator[Finding]:
    """Who else reaches it, and who listens?"""
    pool = node.client.connection_pool
    connection = pool.get_connection()
    try:
        host = str(getattr(connection, "host", ""))
        is_local = isinstance(connection, redis.UnixDomainSocketConnection) or is_loopback(host)
        is_encrypted = isinstance(connection, redis.SSLConnection)
        has_password = bool(connection.password or connection.credential_provider)
    finally:
        pool.release(connection)
    if is_encrypted or is_local:
        yield ok("tls", "TLS." if is_encrypted else "No TLS, on this very host.")
    else:
        yield warning("tls", f"Redis on {host} is used without TLS.", "A rediss:// URL.")
    if has_password:
        yield ok("password", "A password is sent.")
    elif isinstance(connection, redis.UnixDomainSocketConnection):
        yield ok("password", "No password; the socket's file has permissions.")
    else:
        yield warning(
            "password",
            "No password: whoever reaches Redis can sign in as anybody.",
            "requirepass or an ACL user, and PASSWORD in the alias' OPTIONS.",
        )
