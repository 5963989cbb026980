"""dj-rest-auth's refresh: the token from the body or the cookie, and then this package's rotation."""

from __future__ import annotations

from typing import Any

from dj_rest_auth import jwt_auth as theirs
from rest_framework import serializers

from jwt_redis.serializers import TokenRefreshSerializer

__all__ = ["CookieTokenRefreshSerializer", "LogoutSerializer"]


class CookieTokenRefreshSerializer(theirs.CookieTokenRefreshSerializer, TokenRefreshSerializer):  # type: ignore[misc]
    """dj-rest-auth's class of this name is made for Simple JWT's tokens alone, whatever ``SIMPLE_JWT`` says."""


class LogoutSerializer(serializers.Serializer[Any]):
    """What may be sent to sign out. Where it is in a cookie, dj-rest-auth's login answers with a ``refresh`` of ""."""

    refresh = serializers.CharField(required=False, allow_blank=True, allow_null=True, write_only=True)
    detail = serializers.CharField(read_only=True)
