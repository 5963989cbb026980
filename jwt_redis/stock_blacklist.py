"""Simple JWT's own blacklist, ``rest_framework_simplejwt.token_blacklist``: where a project still has it, what stands
there counts, whoever has written it."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from rest_framework_simplejwt.tokens import Token

from jwt_redis.conf import simplejwt_setting

__all__ = ["APP", "ahas", "has", "is_installed", "model"]

APP = "rest_framework_simplejwt.token_blacklist"


def is_installed() -> bool:
    """Is the app there, with its tables?"""
    return apps.is_installed(APP)


def model() -> Any:
    """``BlacklistedToken``."""
    return apps.get_app_config("token_blacklist").get_model("BlacklistedToken")


def has(token: Token) -> bool:
    """Is the token listed there? One query, where the app is installed."""
    return is_installed() and bool(_rows(token).exists())


async def ahas(token: Token) -> bool:
    """:func:`has` with the async ORM."""
    return is_installed() and bool(await _rows(token).aexists())


def _rows(token: Token) -> Any:
    return model().objects.filter(token__jti=token.payload.get(simplejwt_setting("JTI_CLAIM")))
