"""Which project is this now? Before a case runs, the process is set up as the project that it is a case of."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.core.signals import setting_changed
from rest_framework_simplejwt import tokens as stock
from rest_framework_simplejwt.settings import api_settings

from jwt_redis import near_cache
from jwt_redis.tokens import AccessToken

__all__ = [
    "BLACKLIST",
    "DIRECT",
    "DIRECT_LAST_LOGIN",
    "NEAR",
    "STOCK",
    "STOCK_LAST_LOGIN",
    "UNJOURNALLED",
    "BlacklistedAccessToken",
    "Setup",
    "wait_until_near",
]

# More than it takes to connect and to read the log once.
_NEAR_SECONDS = 3.0


class BlacklistedAccessToken(stock.BlacklistMixin, stock.AccessToken):  # type: ignore[type-arg]
    """Simple JWT's access token, looked up in ``token_blacklist`` at each request."""


class Setup:
    """``simple_jwt``: entries of ``SIMPLE_JWT``. ``jwt_redis``: the whole ``JWT_REDIS``."""

    def __init__(self, simple_jwt: dict[str, Any], jwt_redis: dict[str, Any] = settings.JWT_REDIS) -> None:
        self.simple_jwt = simple_jwt
        self.jwt_redis = jwt_redis

    def enter(self) -> None:
        """From here on. What is so already stays, connections and caches with it."""
        # On the object that Simple JWT's modules have taken hold of; these entries it looks up at each use.
        for name, value in self.simple_jwt.items():
            setattr(api_settings, name, value)
        # Others have the default as well: no thread of the near cache shall run beside them.
        if settings.JWT_REDIS is not self.jwt_redis:
            settings.JWT_REDIS = self.jwt_redis
            setting_changed.send(sender=None, setting="JWT_REDIS", value=self.jwt_redis, enter=True)

    @property
    def is_near(self) -> bool:
        """Does it answer from memory?"""
        return self.jwt_redis.get("NEAR_CACHE") is not None


# As the peers' projects would have it; both are compared with rotation.
_THEIRS = {
    "AUTH_TOKEN_CLASSES": (stock.AccessToken,),
    "ROTATE_REFRESH_TOKENS": True,
    "BLACKLIST_AFTER_ROTATION": True,
    "UPDATE_LAST_LOGIN": False,
}
_OURS = {**_THEIRS, "AUTH_TOKEN_CLASSES": (AccessToken,), "BLACKLIST_AFTER_ROTATION": False}
STOCK = Setup(_THEIRS)
STOCK_LAST_LOGIN = Setup({**_THEIRS, "UPDATE_LAST_LOGIN": True})
BLACKLIST = Setup({**_THEIRS, "AUTH_TOKEN_CLASSES": (BlacklistedAccessToken,)})
DIRECT = Setup(_OURS)
DIRECT_LAST_LOGIN = Setup({**_OURS, "UPDATE_LAST_LOGIN": True})
UNJOURNALLED = Setup(_OURS, {**settings.JWT_REDIS, "JOURNAL": False})
NEAR = Setup(_OURS, {**settings.JWT_REDIS, "NEAR_CACHE": {"lease": 1.0}})


def wait_until_near(call: Callable[[], object]) -> None:
    """Call until the near cache has the log, or it takes too long."""
    deadline = time.monotonic() + _NEAR_SECONDS
    while not near_cache.is_fresh() and time.monotonic() < deadline:
        call()
        time.sleep(0.005)
