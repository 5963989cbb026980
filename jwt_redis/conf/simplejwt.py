"""Simple JWT's own settings as they are now, and for how long what it issues lives."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from rest_framework_simplejwt import settings as simplejwt

from jwt_redis.conf.reading import config

# How long a session may be refreshed where SESSION_MAX_AGE says nothing.
DEFAULT_MAX_AGE = timedelta(days=90)


def simplejwt_setting(name: str) -> Any:
    """Simple JWT's setting ``name`` as it is now: its module replaces the object when settings are overridden."""
    return getattr(simplejwt.api_settings, name)


def leeway_seconds() -> float:
    """Simple JWT's ``LEEWAY``, in seconds: for so long after its ``exp`` a token is still accepted."""
    leeway = simplejwt_setting("LEEWAY")
    return leeway.total_seconds() if isinstance(leeway, timedelta) else float(leeway or 0)


def longest_lifetime() -> float:
    """Seconds for which the longest-lived token of any type is good."""
    refresh = (simplejwt_setting(name) for name in ("REFRESH_TOKEN_LIFETIME", "SLIDING_TOKEN_REFRESH_LIFETIME"))
    return max(longest_access_lifetime(), *(float(lifetime.total_seconds()) for lifetime in refresh))


def longest_session() -> float:
    """Seconds after which a session of today has certainly ended, and every token with it."""
    max_age = config().session_max_age or DEFAULT_MAX_AGE
    return max(longest_lifetime(), max_age.total_seconds())


def longest_access_lifetime() -> float:
    """Seconds for which the longest-lived token that a request may carry is good."""
    lifetimes = [simplejwt_setting("ACCESS_TOKEN_LIFETIME")]
    lifetimes += [cls.lifetime for cls in simplejwt_setting("AUTH_TOKEN_CLASSES") if cls.lifetime]
    return float(max(lifetimes).total_seconds())
