"""``manage.py check``: what would break a promise. Only ``--deploy`` asks Redis."""

from __future__ import annotations

from django.core import checks
from django.core.checks import Tags

from jwt_redis.checks.alias import neighbours
from jwt_redis.checks.journal import check_journal
from jwt_redis.checks.keys import check_keys, check_keys_for_deployment
from jwt_redis.checks.servers import OLDEST_REDIS, check_deployment, is_loopback, version_of
from jwt_redis.checks.settings import check_settings

__all__ = [
    "OLDEST_REDIS",
    "check_deployment",
    "check_journal",
    "check_keys",
    "check_keys_for_deployment",
    "check_settings",
    "is_loopback",
    "neighbours",
    "register",
    "version_of",
]


def register() -> None:
    """Register the checks."""
    checks.register(check_settings, Tags.security)
    checks.register(check_keys, Tags.security)
    checks.register(check_journal, Tags.database)
    checks.register(check_deployment, Tags.security, deploy=True)
    checks.register(check_keys_for_deployment, Tags.security, deploy=True)
