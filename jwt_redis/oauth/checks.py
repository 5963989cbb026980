"""``manage.py check``: endpoints that are mounted, and could not answer anybody."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Error, Tags, Warning
from django.urls import NoReverseMatch, reverse
from jwt.algorithms import has_crypto

from jwt_redis.conf import config, problems
from jwt_redis.oauth.issuing import is_url, issuer
from jwt_redis.oauth.metadata import replaced

__all__ = ["check_oauth", "is_mounted", "needs_cryptography", "register"]


def register() -> None:
    """Register the checks."""
    checks.register(check_oauth, Tags.security)


def is_mounted(url_name: str) -> bool:
    """Does a URL lead there?"""
    if not getattr(settings, "ROOT_URLCONF", None):
        return False
    try:
        reverse(url_name)
    except NoReverseMatch:
        return False
    return True


def needs_cryptography(what: str) -> list[CheckMessage]:
    """An error, where PyJWT cannot verify the signatures that ``what`` is about."""
    if has_crypto:
        return []
    return [
        Error(
            f"JWT_REDIS: {what}: PyJWT verifies no signature of a public key without the package cryptography.",
            hint="pip install 'jwt_redis[openid]'",
            id="jwt_redis.E041",
        )
    ]


def check_oauth(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """Where the endpoints are mounted."""
    if problems():
        return []
    oauth = config().oauth
    found: list[CheckMessage] = []
    if "private_key_jwt" in oauth.methods:
        found += needs_cryptography("OAUTH: methods")
    asked = is_mounted("jwt_redis_revoke") or is_mounted("jwt_redis_introspect")
    if asked and oauth.clients is None and oauth.bearer_permission is None:
        found.append(
            Warning(
                "jwt_redis.oauth.urls is included, and JWT_REDIS['OAUTH'] names no clients: everybody is refused.",
                hint="OAUTH = {'clients': {'billing': {'secrets': [make_password(...)], 'introspects': True}}}",
                id="jwt_redis.W041",
            )
        )
    if is_mounted("jwt_redis_oauth_metadata") and is_url(named := issuer()) and (names := replaced(named)):
        found.append(
            Error(
                f"JWT_REDIS: OAUTH: metadata names {', '.join(names)}, which this site says of itself: that has no"
                " effect.",
                hint="Leave it out, or do not include the URLs that it is about.",
                id="jwt_redis.E042",
            )
        )
    if is_mounted("jwt_redis_oauth_metadata") and not is_url(issuer()):
        found.append(
            Warning(
                "jwt_redis.oauth.well_known is included, and no issuer that is an https:// URL is named: the metadata"
                " is not found.",
                hint="SIMPLE_JWT['ISSUER'], or JWT_REDIS['OAUTH']['issuer'] (RFC 8414 section 2).",
                id="jwt_redis.W042",
            )
        )
    return found
