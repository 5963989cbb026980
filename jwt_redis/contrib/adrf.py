"""For the async views of adrf: the classes whose ``authenticate`` and ``has_permission`` are async.

adrf calls them from a thread and has the event loop carry them out, so Redis is asked over the loop's own client.
"""

from __future__ import annotations

from typing import Any

from rest_framework_simplejwt.exceptions import InvalidToken, TokenError
from rest_framework_simplejwt.tokens import Token

from jwt_redis import authentication, permissions, sessions
from jwt_redis.authentication import RevocationCheckMixin, accepted

__all__ = ["AsyncAuthenticationMixin", "HasLiveSession", "JWTAuthentication", "JWTStatelessUserAuthentication"]


class AsyncAuthenticationMixin(RevocationCheckMixin):
    """For a project's own subclass of :class:`~jwt_redis.authentication.RevocationCheckMixin`: put it in front."""

    async def authenticate(self, request: Any) -> tuple[Any, Token] | None:  # type: ignore[override]
        """What :meth:`~jwt_redis.authentication.RevocationCheckMixin.authenticate` does, over ``redis.asyncio``."""
        return await self.aauthenticate(request)


class JWTAuthentication(AsyncAuthenticationMixin, authentication.JWTAuthentication):
    """:class:`jwt_redis.authentication.JWTAuthentication`: one HMGET, one row of the user table."""


class JWTStatelessUserAuthentication(AsyncAuthenticationMixin, authentication.JWTStatelessUserAuthentication):
    """:class:`jwt_redis.authentication.JWTStatelessUserAuthentication`: one HMGET, and no database."""


class HasLiveSession(permissions.HasLiveSession):
    """:class:`jwt_redis.permissions.HasLiveSession`, whichever class authenticated the request."""

    async def has_permission(self, request: Any, view: Any) -> bool:  # type: ignore[override]
        """:raises InvalidToken: when the store refuses the token."""
        token = request.auth if isinstance(request.auth, Token) else None
        if token is None:
            return False
        if getattr(token, "verdict", None) is None:
            try:
                verdict = await sessions.acheck(token, on_redis_failure=getattr(view, "on_redis_failure", None))
                accepted(token, verdict)
            except TokenError as error:
                raise InvalidToken(error.args[0]) from error
        return await permissions.ahas_session(token)
