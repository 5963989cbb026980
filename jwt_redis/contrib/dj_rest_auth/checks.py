"""``manage.py check``: what of dj-rest-auth is still wired that knows nothing of sessions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.core import checks
from django.core.checks import CheckMessage, Error, Tags
from django.urls import NoReverseMatch, Resolver404, resolve, reverse
from rest_framework.settings import api_settings as drf_settings

__all__ = ["check_wiring", "register"]

_URLS = 'path("auth/", include("jwt_redis.contrib.dj_rest_auth.urls")) in place of "dj_rest_auth.urls".'


def register() -> None:
    """Register the check."""
    checks.register(check_wiring, Tags.security)


def check_wiring(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """Each class that would let revoked tokens through, or leave a session alive that was signed out of."""
    from dj_rest_auth.app_settings import api_settings

    if not api_settings.USE_JWT:
        return []
    return [Error(message, hint=hint, id="jwt_redis.E007") for message, hint in _faults()]


def _faults() -> Iterator[tuple[str, str]]:
    # Here, because they need the apps.
    from dj_rest_auth import jwt_auth, views
    from dj_rest_auth.app_settings import api_settings

    from jwt_redis.authentication import RevocationCheckMixin
    from jwt_redis.contrib.dj_rest_auth.views import LogoutView
    from jwt_redis.serializers import SessionRefreshMixin
    from jwt_redis.tokens import RefreshToken

    claims = api_settings.JWT_TOKEN_CLAIMS_SERIALIZER
    if not _is(getattr(claims, "token_class", None), RefreshToken):
        yield (
            f"REST_AUTH['JWT_TOKEN_CLAIMS_SERIALIZER']: {_name(claims)} makes tokens without a session.",
            '"jwt_redis.serializers.TokenObtainPairSerializer", or a subclass.',
        )
    for cls in drf_settings.DEFAULT_AUTHENTICATION_CLASSES:
        if _is(cls, jwt_auth.JWTCookieAuthentication) and not _is(cls, RevocationCheckMixin):
            yield (
                f"REST_FRAMEWORK['DEFAULT_AUTHENTICATION_CLASSES']: {_name(cls)} lets revoked tokens in.",
                '"jwt_redis.contrib.dj_rest_auth.authentication.JWTCookieAuthentication".',
            )
    logout, refresh = _served("rest_logout"), _served("token_refresh")
    if _is(logout, views.LogoutView) and not _is(logout, LogoutView):
        yield f"{_name(logout)}, which is served as rest_logout, ends no session.", _URLS
    serializer = getattr(refresh, "serializer_class", None)
    if _is(serializer, jwt_auth.CookieTokenRefreshSerializer) and not _is(serializer, SessionRefreshMixin):
        yield f"{_name(refresh)}, which is served as token_refresh, takes revoked refresh tokens.", _URLS


def _served(name: str) -> Any:
    """The class of the view that answers at the URL of this name: another pattern may stand in front of it."""
    try:
        view = resolve(reverse(name)).func
    except (NoReverseMatch, Resolver404):
        return None
    return getattr(view, "cls", None)


def _is(cls: Any, parent: type) -> bool:
    return isinstance(cls, type) and issubclass(cls, parent)


def _name(cls: Any) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"
