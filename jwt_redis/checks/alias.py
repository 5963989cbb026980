"""The alias in CACHES, whose Redis holds the state: what its settings tell."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlparse

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning
from django.core.exceptions import ImproperlyConfigured

from jwt_redis.store.connections import server_location

__all__ = ["check_alias", "neighbours"]


def check_alias(alias: str) -> list[CheckMessage]:
    """Is it one for state that must not be lost?"""
    try:
        _, options = server_location(alias)
    except ImproperlyConfigured as error:
        return [
            Error(
                str(error),
                hint="Give sessions an alias with BACKEND 'django_redis.cache.RedisCache'.",
                id="jwt_redis.E004",
            )
        ]
    found: list[CheckMessage] = []
    if options.get("IGNORE_EXCEPTIONS", getattr(settings, "DJANGO_REDIS_IGNORE_EXCEPTIONS", False)):
        found.append(
            Error(
                f"CACHES[{alias!r}] ignores exceptions: to whoever uses it, a Redis that is down holds no revocations.",
                hint="Give sessions an alias of their own, without IGNORE_EXCEPTIONS.",
                id="jwt_redis.E005",
            )
        )
    if others := neighbours(alias):
        found.append(
            Warning(
                f"CACHES[{alias!r}] shares its Redis database with {', '.join(map(repr, others))}:"
                " cache.clear() there is FLUSHDB, and signs everybody out.",
                hint="Give sessions a database of their own, or better a server.",
                id="jwt_redis.W002",
            )
        )
    return found


def neighbours(alias: str) -> list[str]:
    """The other caches in the same Redis database.

    :raises ImproperlyConfigured: when the alias is none of a django-redis cache.
    """
    url, options = server_location(alias)
    return sorted(name for name in settings.CACHES if name != alias and _same_database(url, options, name))


def _same_database(url: str, options: dict[str, Any], other: str) -> bool:
    params: Any = settings.CACHES[other]
    location = params.get("LOCATION", "")
    locations = location.split(",") if isinstance(location, str) else location
    other_db = params.get("OPTIONS", {}).get("CONNECTION_POOL_KWARGS", {}).get("db")
    here = _database(url, options.get("CONNECTION_POOL_KWARGS", {}).get("db"))
    return any(_database(str(one), other_db) == here for one in locations if "://" in str(one))


def _database(url: str, db: int | None) -> tuple[str, int, str]:
    parsed = urlparse(url)
    path = parsed.path.strip("/")
    query = dict(part.split("=", 1) for part in parsed.query.split("&") if "=" in part)
    if parsed.scheme == "unix":
        return (parsed.path, 0, query.get("db", str(db or 0)))
    host = {"localhost": "127.0.0.1", "::1": "127.0.0.1"}.get(parsed.hostname or "", parsed.hostname or "")
    return (host, parsed.port or 6379, query.get("db") or path or str(db or 0))
