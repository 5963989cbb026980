"""Revocable JSON Web Tokens for Django REST framework, with Redis as the memory behind Simple JWT."""

from __future__ import annotations

from typing import Any

__all__ = ["__version__", "simplejwt_settings"]

__version__ = "1.0.0rc1"


def simplejwt_settings() -> dict[str, Any]:
    """The ``SIMPLE_JWT`` entries that put this package's classes in place of Simple JWT's.

    Safe to call from a settings module: nothing is imported, the classes are named by their dotted paths. Merge
    it first and your own entries after it, so that yours win::

        SIMPLE_JWT = {**jwt_redis.simplejwt_settings(), "ACCESS_TOKEN_LIFETIME": timedelta(minutes=5)}
    """
    return {
        "AUTH_TOKEN_CLASSES": ("jwt_redis.tokens.AccessToken",),
        "TOKEN_OBTAIN_SERIALIZER": "jwt_redis.serializers.TokenObtainPairSerializer",
        "TOKEN_REFRESH_SERIALIZER": "jwt_redis.serializers.TokenRefreshSerializer",
        "TOKEN_VERIFY_SERIALIZER": "jwt_redis.serializers.TokenVerifySerializer",
        "TOKEN_BLACKLIST_SERIALIZER": "jwt_redis.serializers.TokenBlacklistSerializer",
        "SLIDING_TOKEN_OBTAIN_SERIALIZER": "jwt_redis.serializers.TokenObtainSlidingSerializer",
        "SLIDING_TOKEN_REFRESH_SERIALIZER": "jwt_redis.serializers.TokenRefreshSlidingSerializer",
        "ROTATE_REFRESH_TOKENS": True,
        # Rotation itself makes the old token useless; Simple JWT's table is not needed for it.
        "BLACKLIST_AFTER_ROTATION": False,
    }
