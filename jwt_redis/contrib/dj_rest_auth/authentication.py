"""Access tokens from dj-rest-auth's cookie. Without views: DRF imports it while it makes its own."""

from __future__ import annotations

import logging
from typing import Any

from dj_rest_auth import jwt_auth as theirs
from dj_rest_auth.app_settings import api_settings
from rest_framework.exceptions import AuthenticationFailed
from rest_framework_simplejwt.tokens import Token

from jwt_redis.authentication import JWTAuthentication
from jwt_redis.cookies import refuse_other_origins

__all__ = ["JWTCookieAuthentication", "enforce_csrf", "enforce_origin"]

logger = logging.getLogger("jwt_redis")


class JWTCookieAuthentication(JWTAuthentication, theirs.JWTCookieAuthentication):  # type: ignore[misc]
    """dj-rest-auth's class of this name, and the question to Redis.

    A cookie that is refused leaves the request anonymous: the browser sends it wherever the user goes, to the sign-in
    too. An unsafe request with one that is good needs a CSRF token, unless ``JWT_AUTH_COOKIE_USE_CSRF`` is there and
    False: dj-rest-auth's own default is to ask for none.
    """

    def authenticate(self, request: Any) -> tuple[Any, Token] | None:
        """The header first, the cookie where there is none.

        :raises AuthenticationFailed: when the header's token is refused.
        :raises PermissionDenied: when the cookie's is good, and the CSRF token is missing or wrong.
        """
        if self.get_header(request) is not None:
            return super().authenticate(request)
        try:
            found = super().authenticate(request)
        except AuthenticationFailed as error:
            logger.debug("A cookie was refused: %s", error, extra={"event": "cookie_refused"})
            return None
        if found is not None:
            enforce_csrf(request)
        return found


def enforce_csrf(request: Any) -> None:
    """Django's CSRF check for a request whose token the browser has sent by itself.

    :raises PermissionDenied: when an unsafe request has no good CSRF token.
    """
    if _wants_csrf():
        theirs.JWTCookieAuthentication().enforce_csrf(request)


def enforce_origin(request: Any) -> None:
    """For an answer that sets cookies: another site must not sign anybody in as somebody else.

    There need not be a CSRF token yet, and a client that is no browser has none: it is ``Origin`` that tells.

    :raises PermissionDenied: naming the origin.
    """
    if _wants_csrf() and (api_settings.JWT_AUTH_COOKIE or api_settings.JWT_AUTH_REFRESH_COOKIE):
        refuse_other_origins(request)


def _wants_csrf() -> bool:
    # dj-rest-auth's object would answer with its default where the project says nothing.
    return bool(api_settings.user_settings.get("JWT_AUTH_COOKIE_USE_CSRF", True))
