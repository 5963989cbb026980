"""What the live servers tell: only ``--deploy`` asks Redis."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlparse

from django.core.checks import CheckMessage, Error, Warning
from django.core.exceptions import ImproperlyConfigured

from jwt_redis.checks.journal import check_journal_for_deployment
from jwt_redis.conf import config, problems
from jwt_redis.exceptions import RevocationUnavailable
from jwt_redis.store.connections import server_location
from jwt_redis.store.outside import server_info

__all__ = ["OLDEST_REDIS", "check_deployment", "is_loopback", "version_of"]

OLDEST_REDIS = (6, 2)


def check_deployment(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """What the live servers tell."""
    if problems():
        return []
    observing: list[CheckMessage] = [
        Warning(
            "OBSERVE is on: nothing is enforced, and a revoked token works as long as it has not expired.",
            hint="OBSERVE False, once the log of refusal_observed says nothing that you did not expect.",
            id="jwt_redis.W106",
        )
    ]
    return check_journal_for_deployment() + (observing if config().observe else []) + _check_redis()


def _check_redis() -> list[CheckMessage]:
    try:
        info = server_info()
    except ImproperlyConfigured:
        return []  # check_settings says so
    except RevocationUnavailable as error:
        return [
            Error(
                f"The Redis behind JWT_REDIS cannot be reached: {error.__cause__}.",
                hint="Start it, or correct LOCATION, user and password of the alias.",
                id="jwt_redis.E101",
            )
        ]
    asked: Sequence[Callable[[dict[str, Any]], CheckMessage | None]] = (
        _check_version,
        _check_role,
        _check_eviction,
        _check_persistence,
        _check_replicas,
    )
    found = [message for check in asked if (message := check(info)) is not None]
    return found if config().client_factory else found + _check_connection()


def version_of(info: dict[str, Any]) -> tuple[int, ...]:
    """Major and minor, from INFO."""
    return tuple(int(part) for part in str(info.get("redis_version", "0")).split(".")[:2] if part.isdigit())


def _check_version(info: dict[str, Any]) -> CheckMessage | None:
    if version_of(info) >= OLDEST_REDIS:
        return None
    return Error(
        f"Redis is {info.get('redis_version')}, and 6.2 is the oldest that will do.",
        hint="The revocation log needs XADD MINID.",
        id="jwt_redis.E102",
    )


def _check_role(info: dict[str, Any]) -> CheckMessage | None:
    if info.get("role", "master") == "master":
        return None
    return Error(
        "The Redis behind JWT_REDIS is a replica, which may not know of a revocation yet: every request is answered"
        " with 503.",
        hint="Name the primary first in LOCATION.",
        id="jwt_redis.E103",
    )


def _check_eviction(info: dict[str, Any]) -> CheckMessage | None:
    policy = str(info.get("maxmemory_policy", "noeviction"))
    if policy == "noeviction":
        return None
    if config().accepts_by_absence:
        which = (
            "under the blacklist strategy" if config().strategy == "blacklist" else "while legacy tokens are adopted"
        )
        return Error(
            f"Redis evicts ({policy}): {which} a revoked token that is evicted would work again, so every request is"
            " answered with 503.",
            hint="maxmemory-policy noeviction, or STRATEGY 'whitelist' with LEGACY_TOKENS 'refuse'.",
            id="jwt_redis.E104",
        )
    return Error(
        f"Redis evicts ({policy}): under memory pressure users are signed out.",
        hint="maxmemory-policy noeviction, on a server that no cache shares.",
        id="jwt_redis.E105",
    )


def _check_persistence(info: dict[str, Any]) -> CheckMessage | None:
    if int(info.get("aof_enabled", 0)):
        return None
    if config().journal:
        lost = "a crash loses sessions, whose users have to sign in again. Revocations are in the journal."
    else:
        lost = "a crash loses sessions and revocations, and without a journal what was revoked may work again."
    return Warning(
        f"Redis does not write an append-only file: {lost}",
        hint="appendonly yes.",
        id="jwt_redis.W103",
    )


def _check_replicas(info: dict[str, Any]) -> CheckMessage | None:
    waiting, connected = config().wait_replicas, int(info.get("connected_slaves", 0))
    if waiting is None or connected >= waiting.replicas:
        return None
    return Warning(
        f"WAIT_REPLICAS asks for {waiting.replicas} replicas, and {connected} are connected: each revocation is"
        " answered with 503.",
        hint="Start the replicas, or lower WAIT_REPLICAS.",
        id="jwt_redis.W105",
    )


def _check_connection() -> list[CheckMessage]:
    url, options = server_location()
    parsed = urlparse(url)
    found: list[CheckMessage] = []
    pool_kwargs = options.get("CONNECTION_POOL_KWARGS", {})
    if not (parsed.password or options.get("PASSWORD") or pool_kwargs.get("password")) and parsed.scheme != "unix":
        found.append(
            Warning(
                "Redis is used without a password: whoever reaches it can sign in as anybody's session.",
                hint="requirepass or an ACL user, and PASSWORD in the alias' OPTIONS.",
                id="jwt_redis.W101",
            )
        )
    if parsed.scheme == "redis" and not is_loopback(parsed.hostname or "") and not pool_kwargs.get("ssl"):
        found.append(
            Warning(
                f"Redis on {parsed.hostname} is used without TLS.",
                hint="A rediss:// URL.",
                id="jwt_redis.W102",
            )
        )
    return found


def is_loopback(host: str) -> bool:
    """Does nobody but this very machine hear what is sent there?"""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
