"""What projects write by hand."""

from __future__ import annotations

from typing import Any

import redis
from django.conf import settings
from django.core.cache import cache
from rest_framework_simplejwt.authentication import JWTAuthentication, JWTStatelessUserAuthentication
from rest_framework_simplejwt.exceptions import InvalidToken
from rest_framework_simplejwt.tokens import Token

__all__ = ["RawGetAuthentication", "TutorialAuthentication", "TutorialStatelessAuthentication"]

_client = redis.Redis.from_url(settings.REDIS_URL)


class _TutorialMixin:
    """The blacklist of the tutorials, over django-redis."""

    def get_validated_token(self, raw_token: bytes) -> Token:
        token: Token = super().get_validated_token(raw_token)  # type: ignore[misc]
        if cache.get(f"blacklist:{token['jti']}"):
            raise InvalidToken("Token is blacklisted")
        return token


class TutorialAuthentication(_TutorialMixin, JWTAuthentication):
    """With the user's row."""


class TutorialStatelessAuthentication(_TutorialMixin, JWTStatelessUserAuthentication):
    """Without."""


class RawGetAuthentication(JWTStatelessUserAuthentication):
    """The least that asking Redis can cost: one GET by redis-py itself."""

    def get_validated_token(self, raw_token: bytes) -> Any:
        token = super().get_validated_token(raw_token)
        if _client.get(f"blacklist:{token['jti']}"):
            raise InvalidToken("Token is blacklisted")
        return token
