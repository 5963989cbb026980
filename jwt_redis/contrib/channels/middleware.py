"""Who opens a socket: by header, by subprotocol or by cookie.

Never by the query string, which ends in logs, histories and ``Referer`` headers (RFC 6750 section 2.3, RFC 9700 section
4.3.2), unless a project says so.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final
from urllib.parse import parse_qs

from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import DisallowedHost
from django.core.handlers.asgi import ASGIRequest
from rest_framework.exceptions import APIException
from rest_framework_simplejwt.tokens import Token

from jwt_redis.authentication import JWTAuthentication, RevocationCheckMixin
from jwt_redis.cookies import bears_header, refuse_other_origins
from jwt_redis.exceptions import RevocationUnavailable

__all__ = ["SUBPROTOCOL", "JWTAuthMiddleware", "authenticate"]

logger = logging.getLogger("jwt_redis")

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]

#: ``new WebSocket(url, ["jwt", token])``: what the token follows upon, and what is chosen of the two.
SUBPROTOCOL: Final = "jwt"


class JWTAuthMiddleware:
    """Puts ``user``, ``auth`` (the token, or None) and ``auth_error`` (why there is none, or None) into the scope.

    ``JWTAuthMiddleware(URLRouter([...]))``. It refuses nobody: :class:`LiveSessionMixin` does, or your consumer.

    The ``Authorization`` header comes first; then the subprotocols ``["jwt", TOKEN]``, as a browser cannot set the
    header; then, with ``COOKIE``, the cookie: any site can make a browser open a socket with it, so ``Origin`` has to
    be the host's own or one of ``CSRF_TRUSTED_ORIGINS`` (RFC 6455 section 10.2). ``query_parameter``: the name of one
    that may have the token, None for none; it is in every log on the way.
    """

    authentication_class: type[RevocationCheckMixin] = JWTAuthentication

    def __init__(self, inner: Any, *, query_parameter: str | None = None) -> None:
        self.inner = inner
        self.query_parameter = query_parameter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> Any:
        """ASGI."""
        if scope["type"] != "websocket":
            return await self.inner(scope, receive, send)
        raw, subprotocols = _of_subprotocols(scope)
        is_offered = raw is not None
        if raw is None and self.query_parameter is not None:
            raw = _of_query(scope, self.query_parameter)
        user, token, error = await self._authenticate(scope, raw)
        scope = {**scope, "user": user, "auth": token, "auth_error": error}
        if not is_offered:
            return await self.inner(scope, receive, send)
        # The token is nobody else's business; and a browser gives up where it offers some and none is chosen.
        return await self.inner({**scope, "subprotocols": subprotocols}, receive, _choosing(send))

    async def _authenticate(self, scope: Scope, raw: str | None) -> tuple[Any, Token | None, Exception | None]:
        try:
            found = await authenticate(self.authentication_class(), scope, raw)
        except (APIException, DisallowedHost) as error:
            logger.debug("A socket was refused: %s", error, extra={"event": "socket_refused"})
            return AnonymousUser(), None, error
        return (AnonymousUser(), None, None) if found is None else (*found, None)


async def authenticate(
    authenticator: RevocationCheckMixin, scope: Scope, raw: str | None = None
) -> tuple[Any, Token] | None:
    """The user and the token of a socket; None for nobody. ``raw``: a token that came in another way than in a header
    or cookie of the handshake, and counts if there is no header.

    :raises APIException: when the token is refused, another site's page has sent the cookie, or Redis cannot be asked.
    """
    request = _request(scope)
    if bears_header(request):
        return await authenticator.aauthenticate(request)
    if raw is not None:
        token = await authenticator.aget_validated_token(raw.encode(errors="replace"))
        return await authenticator.aget_user(token), token
    found = await authenticator.aauthenticate(request)
    if found is not None:
        refuse_other_origins(request)
    return found


def _request(scope: Scope) -> ASGIRequest:
    """The handshake, as Django has requests. It is a GET (RFC 6455 section 4.1)."""
    scheme = {"ws": "http", "wss": "https"}.get(scope.get("scheme", "ws"), "http")
    made: Mapping[str, Any] = {
        "path": "/",
        "query_string": b"",
        **scope,
        "type": "http",
        "method": "GET",
        "scheme": scheme,
    }
    return ASGIRequest(dict(made), io.BytesIO())


def _of_subprotocols(scope: Scope) -> tuple[str | None, list[str]]:
    """The token behind ``jwt``, and what else was offered."""
    offered = list(scope.get("subprotocols") or ())
    if SUBPROTOCOL not in offered[:-1]:
        return None, offered
    at = offered.index(SUBPROTOCOL)
    return offered[at + 1], [*offered[:at], *offered[at + 2 :]]


def _of_query(scope: Scope, name: str) -> str | None:
    found = parse_qs(scope.get("query_string", b"").decode(errors="replace")).get(name, [])
    # Two are nobody's.
    return found[0] if len(found) == 1 else None


def _choosing(send: Send) -> Send:
    async def choose(message: Any) -> None:
        if message["type"] == "websocket.accept" and not message.get("subprotocol"):
            message = {**message, "subprotocol": SUBPROTOCOL}
        await send(message)

    return choose


def is_unavailable(error: object) -> bool:
    """Is it Redis, and not the token?"""
    return isinstance(error, RevocationUnavailable)
