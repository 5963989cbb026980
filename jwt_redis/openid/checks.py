"""``manage.py check``: logout tokens that nobody could verify."""

from __future__ import annotations

from typing import Any

from django.core import checks
from django.core.checks import CheckMessage, Tags, Warning

from jwt_redis.conf import config, problems
from jwt_redis.oauth.checks import is_mounted, needs_cryptography

__all__ = ["check_openid", "register"]


def register() -> None:
    """Register the checks."""
    checks.register(check_openid, Tags.security)


def check_openid(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """Where a provider may send logout tokens."""
    if problems():
        return []
    if config().openid_providers:
        return needs_cryptography("OPENID_PROVIDERS")
    if not is_mounted("jwt_redis_backchannel_logout"):
        return []
    return [
        Warning(
            "jwt_redis.openid.urls is included, and JWT_REDIS['OPENID_PROVIDERS'] names none: every logout token is"
            " refused.",
            hint="OPENID_PROVIDERS = {'https://op.example': {'client_id': ..., 'jwks_uri': ...}}",
            id="jwt_redis.W043",
        )
    ]
