"""DRF permissions about the session that a request comes from."""

from __future__ import annotations

import time
from typing import Any

from rest_framework.exceptions import NotAuthenticated
from rest_framework.permissions import BasePermission
from rest_framework_simplejwt.exceptions import InvalidToken, TokenError
from rest_framework_simplejwt.tokens import Token

from jwt_redis import sessions
from jwt_redis.authentication import accepted
from jwt_redis.conf import config
from jwt_redis.decoding import claims_of
from jwt_redis.exceptions import InsufficientAuthentication
from jwt_redis.keys import user_id
from jwt_redis.sessions.observing import anote_refusal, note_refusal
from jwt_redis.verdicts import AUTH_TIME_CLAIM, NO_SESSION

__all__ = ["HasLiveSession", "IsSessionOwner", "LoggedInWithin"]


def _token(request: Any) -> Token | None:
    # request.auth is whatever the authentication class in use puts there.
    auth = getattr(request, "auth", None)
    return auth if isinstance(auth, Token) else None


class HasLiveSession(BasePermission):
    """The request bears a Simple JWT token whose session is alive, whichever class authenticated it.

    Behind this package's own authentication classes nothing is asked twice.
    """

    def has_permission(self, request: Any, view: Any) -> bool:
        """:raises InvalidToken: when the store refuses the token."""
        token = _token(request)
        if token is None:
            return False
        if getattr(token, "verdict", None) is None:
            policy = getattr(view, "on_redis_failure", None)
            try:
                accepted(token, sessions.check(token, on_redis_failure=policy))
            except TokenError as error:
                raise InvalidToken(error.args[0]) from error
        return has_session(token)


def has_session(token: Token) -> bool:
    """Is the token one with a session? With ``OBSERVE`` one without passes."""
    if token.payload.get("sid") is None and config().observe:
        note_refusal(claims_of(token).user, None, NO_SESSION, "HasLiveSession")
        return True
    return token.payload.get("sid") is not None


async def ahas_session(token: Token) -> bool:
    """:func:`has_session`, telling async receivers too."""
    if token.payload.get("sid") is None and config().observe:
        await anote_refusal(claims_of(token).user, None, NO_SESSION, "HasLiveSession")
        return True
    return token.payload.get("sid") is not None


class _LoggedInWithin(BasePermission):
    max_age: int

    def has_permission(self, request: Any, view: Any) -> bool:
        token = _token(request)
        if token is None:
            if request.user and request.user.is_authenticated:
                raise InsufficientAuthentication(self.max_age)
            raise NotAuthenticated
        auth_time = token.payload.get(AUTH_TIME_CLAIM)
        if not (isinstance(auth_time, (int, float)) and time.time() - auth_time <= self.max_age):
            if config().observe:
                claims = claims_of(token)
                note_refusal(claims.user, claims.sid, InsufficientAuthentication.default_code, "LoggedInWithin")
                return True
            raise InsufficientAuthentication(self.max_age)
        return True


def LoggedInWithin(minutes: float) -> type[BasePermission]:
    """The user gave credentials at most ``minutes`` ago (the ``auth_time`` claim); refreshing does not count.

    Otherwise 401 with RFC 9470's challenge ``insufficient_user_authentication``: sign in again, then ask again.
    ``permission_classes = [IsAuthenticated, LoggedInWithin(minutes=5)]``.

    :raises ValueError: when ``minutes`` is not more than zero.
    """
    if isinstance(minutes, bool) or not isinstance(minutes, (int, float)) or minutes <= 0:
        raise ValueError("minutes: a number above zero is needed")
    return type("LoggedInWithin", (_LoggedInWithin,), {"max_age": int(minutes * 60)})


class IsSessionOwner(BasePermission):
    """The object, a :class:`jwt_redis.sessions.Session` or anything with a ``user``, is the requester's own."""

    def has_object_permission(self, request: Any, view: Any, obj: Any) -> bool:
        """False for anonymous users, and for an object without a user."""
        if not request.user or not request.user.is_authenticated:
            return False
        try:
            return user_id(request.user) == user_id(obj.user)
        except (AttributeError, ValueError):
            return False
