"""Simple JWT's own blacklist, ``rest_framework_simplejwt.token_blacklist``: where a project still has it, what stands
there counts, whoever has written it."""

from __future__ import annotations

import logging
from typing import Any, cast

from django.apps import apps
from django.core.exceptions import ValidationError
from rest_framework_simplejwt.tokens import BlacklistMixin, Token

from jwt_redis.conf import simplejwt_setting

__all__ = ["APP", "add", "ahas", "has", "is_installed", "model", "takes_rotated"]

logger = logging.getLogger(__name__)

APP = "rest_framework_simplejwt.token_blacklist"


def is_installed() -> bool:
    """Is the app there, with its tables?"""
    return apps.is_installed(APP)


def takes_rotated() -> bool:
    """Does Simple JWT list a refresh token once it was used?"""
    rotates = simplejwt_setting("ROTATE_REFRESH_TOKENS") and simplejwt_setting("BLACKLIST_AFTER_ROTATION")
    return bool(rotates) and is_installed()


def model() -> Any:
    """``BlacklistedToken``."""
    return apps.get_app_config("token_blacklist").get_model("BlacklistedToken")


def has(token: Token) -> bool:
    """Is the token listed there? One query, where the app is installed."""
    return is_installed() and bool(_rows(token).exists())


async def ahas(token: Token) -> bool:
    """:func:`has` with the async ORM."""
    return is_installed() and bool(await _rows(token).aexists())


def add(token: Token) -> None:
    """List a refresh or a sliding token there too, where the app is installed: a worker that runs without this package,
    before it is put in or after it was taken out, refuses it then."""
    if not is_installed():
        return
    try:
        # Ours have a method of their own by that name.
        cast("Any", BlacklistMixin).blacklist(token)
    except (ValidationError, ValueError, TypeError, OverflowError) as error:
        # A user id that no row of this user model can have: no worker lets such a token pass.
        logger.info("A token was not listed at Simple JWT's: %s", error, extra={"event": "bad_token"})


def _rows(token: Token) -> Any:
    return model().objects.filter(token__jti=token.payload.get(simplejwt_setting("JTI_CLAIM")))
