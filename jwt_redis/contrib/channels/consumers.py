"""A socket that ends with the session of whoever opened it."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import json
import logging
from typing import TYPE_CHECKING, Any, Final

from rest_framework.exceptions import APIException, AuthenticationFailed
from rest_framework_simplejwt.exceptions import InvalidToken
from rest_framework_simplejwt.tokens import Token

from jwt_redis.authentication import JWTAuthentication, RevocationCheckMixin
from jwt_redis.conf import FailurePolicy
from jwt_redis.contrib.channels.middleware import is_unavailable
from jwt_redis.exceptions import RevocationUnavailable, RevokedToken
from jwt_redis.revocations import REVOCATION_UNAVAILABLE, TOKEN_EXPIRED, Ending, Watch, watch

if TYPE_CHECKING:
    from channels.generic.websocket import AsyncWebsocketConsumer as _Consumer
else:
    _Consumer = object

__all__ = ["LiveSessionMixin"]

logger = logging.getLogger("jwt_redis")

# RFC 6455 section 7.4: from 4000 on they are the application's; these are as the statuses of HTTP.
_SIGNED_OUT: Final = 4401
_UNAVAILABLE: Final = 4503
# What asks for another token, and how it is answered.
_REAUTHENTICATE: Final = "reauthenticate"
_LONGEST_MESSAGE: Final = 10_000
# Seconds for a good-bye. Whoever does not read must not put off the end by that.
_GOOD_BYE: Final = 5.0

# Is it session_ended() that sends, or what that has begun? Others run at the same time.
_is_good_bye: contextvars.ContextVar[bool] = contextvars.ContextVar("jwt_redis_good_bye", default=False)


class LiveSessionMixin(_Consumer):
    """In front of ``AsyncWebsocketConsumer`` or one of its kind, behind :class:`JWTAuthMiddleware`.

    Nobody comes in without a good token: the handshake is refused with 401 or 503 where the server can
    (``websocket.http.response``), else with 403. When the session ends, or the token is revoked, the socket is closed
    with ``close_code``, by the near cache's lease (a second without one) at the latest; nothing that comes in or goes
    out after that gets through. The reason of the close is the verdict's.

    ``grace``: seconds for which the socket is kept when the token has run out. A client may send
    ``{"type": "reauthenticate", "token": "..."}`` at any time, with another token of the same user, and is answered
    ``{"type": "reauthenticated", "expires_in": SECONDS}`` or ``{"type": "reauthentication_failed", "code": "..."}``.
    At the beginning of a grace it is told ``{"type": "token_expired", "grace": SECONDS}``. Without one, 0, the socket
    is closed when the token has run out. ``takes_tokens``: False for a protocol of your own; then call
    :meth:`reauthenticate`.

    ``on_redis_failure`` takes the place of the setting: with "deny" the socket is closed with ``unavailable_code`` once
    Redis could not be asked for the lease, with "allow" it is kept, and nothing is missed when Redis is back.
    """

    authentication_class: type[RevocationCheckMixin] = JWTAuthentication
    on_redis_failure: FailurePolicy | None = None
    close_code: int = _SIGNED_OUT
    unavailable_code: int = _UNAVAILABLE
    grace: float = 0.0
    takes_tokens: bool = True

    # The middleware has put more into it than its type says.
    scope: Any
    base_send: Any

    _watched: Watch | None = None
    _guard: asyncio.Task[None] | None = None
    _is_ending: bool = False
    _is_closed: bool = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if getattr(cls, "_sync", False):
            raise TypeError(f"{cls.__name__}: LiveSessionMixin is for async consumers")

    async def __call__(self, scope: Any, receive: Any, send: Any) -> Any:
        """ASGI. However it ends, nothing is watched afterwards."""

        async def send_while_open(message: Any) -> None:
            if message["type"] == "websocket.send" and (
                self._is_closed or ((self._is_over() or self._is_ending) and not _is_good_bye.get())
            ):
                return
            await send(message)
            if message["type"] == "websocket.accept":
                # Not before: what it finds at once would be sent in front of the handshake's answer. Nor later:
                # connect() may have much to say, or a client that does not read.
                self._guard_it()

        try:
            return await super().__call__(scope, receive, send_while_open)
        finally:
            await self._stop_watching()

    # The way in ----------------------------------------------------------------------------------------------------

    async def websocket_connect(self, message: Any) -> None:
        """Who is not signed in does not get as far as ``connect``."""
        if "auth" not in self.scope:
            raise ValueError("there is no 'auth' in the scope: JWTAuthMiddleware goes around the consumer")
        token: Token | None = self.scope["auth"]
        error = self.scope.get("auth_error")
        if token is None:
            await self._refuse(503 if is_unavailable(error) else 401)
            return
        watched = watch(token, on_redis_failure=self.on_redis_failure)
        try:
            await watched.__aenter__()
        except RevocationUnavailable:
            await self._refuse(503)
            return
        self._watched = watched
        if watched.ending is not None:
            await self._refuse(503 if watched.ending.reason == REVOCATION_UNAVAILABLE else 401)
            return
        await super().websocket_connect(message)
        self._guard_it()

    def _guard_it(self) -> None:
        if self._guard is None and self._watched is not None:
            self._guard = asyncio.create_task(self._watch(self._watched), name="jwt_redis-socket")

    async def _refuse(self, status: int) -> None:
        self._is_closed = True
        if "websocket.http.response" not in (self.scope.get("extensions") or {}):
            await self.base_send({"type": "websocket.close"})
            return
        headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
        if status == 401:
            code = "not_authenticated"
            headers.append((b"www-authenticate", b'Bearer realm="api"'))
        else:
            code = "revocation_unavailable"
            headers.append((b"retry-after", b"1"))
        body = json.dumps({"code": code}).encode()
        await self.base_send({"type": "websocket.http.response.start", "status": status, "headers": headers})
        await self.base_send({"type": "websocket.http.response.body", "body": body})

    # The end -------------------------------------------------------------------------------------------------------

    async def _watch(self, watched: Watch) -> None:
        while True:
            ending = await watched.wait()
            if ending is not None and ending.reason == TOKEN_EXPIRED and self.grace > 0:
                # Whether it arrives or not, the grace has an end.
                with contextlib.suppress(Exception):
                    await self._say({"type": TOKEN_EXPIRED, "grace": self.grace})
                ending = await watched.wait_for_renewal(self.grace)
            if ending is not None:
                await self._finish(ending)
                return

    async def _finish(self, ending: Ending) -> None:
        self._is_ending = True
        _is_good_bye.set(True)
        try:
            async with asyncio.timeout(_GOOD_BYE):
                await self.session_ended(ending)
        except Exception:
            logger.exception("A consumer's session_ended() has failed.", extra={"event": "watch_failed"})
        if not self._is_closed:
            # Whatever a project has made of it, nobody stays.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_GOOD_BYE):
                    await LiveSessionMixin.session_ended(self, ending)
            self._is_closed = True

    async def session_ended(self, ending: Ending) -> None:
        """Closes the socket. Called once; what you do before ``super()`` is still sent, if it takes no more than five
        seconds."""
        code = self.unavailable_code if ending.reason == REVOCATION_UNAVAILABLE else self.close_code
        # A server may have closed it meanwhile, each with an error of its own.
        with contextlib.suppress(Exception):
            await self.close(code=code, reason=ending.reason)
        self._is_closed = True

    async def websocket_receive(self, message: Any) -> None:
        """What comes in after the end gets no further."""
        if self._is_closed or self._is_ending or self._watched is None or self._is_over():
            return
        if self.takes_tokens and (raw := _new_token(message.get("text"))) is not None:
            await self._answer_token(raw)
            return
        await super().websocket_receive(message)

    def _is_over(self) -> bool:
        ending = self._watched.ending if self._watched is not None else None
        return ending is not None and (ending.reason != TOKEN_EXPIRED or self.grace <= 0)

    async def dispatch(self, message: Any) -> None:
        """Nor does what comes from the channel layer."""
        if self._is_closed and not message["type"].startswith("websocket."):
            return
        await super().dispatch(message)

    async def websocket_disconnect(self, message: Any) -> None:
        """The other side has gone."""
        self._is_closed = True
        await self._stop_watching()
        await super().websocket_disconnect(message)

    async def _stop_watching(self) -> None:
        guard, self._guard = self._guard, None
        if guard is not None and guard is not asyncio.current_task():
            guard.cancel()
        watched, self._watched = self._watched, None
        if watched is not None:
            await watched.__aexit__(None, None, None)

    # Another token ---------------------------------------------------------------------------------------------------

    async def reauthenticate(self, raw_token: str) -> None:
        """The socket goes on with another token of the same user, by any session of theirs.

        :raises AuthenticationFailed: when the token is refused, or is another user's; the socket goes on as before.
        :raises RevocationUnavailable: when Redis cannot be asked.
        """
        watched = self._watched
        if watched is None:
            raise InvalidToken
        authenticator = self.authentication_class()
        authenticator.on_redis_failure = self.on_redis_failure
        token = await authenticator.aget_validated_token(raw_token.encode(errors="replace"))
        user = await authenticator.aget_user(token)
        try:
            await watched.renew(token)
        except (ValueError, RevokedToken) as error:
            raise InvalidToken(str(error) if isinstance(error, ValueError) else error.args[0]) from error
        self.scope["user"], self.scope["auth"] = user, token

    async def _answer_token(self, raw: str) -> None:
        try:
            await self.reauthenticate(raw)
        except APIException as error:
            detail = error.detail
            code = detail.get("code") if isinstance(detail, dict) else getattr(detail, "code", None)
            default = AuthenticationFailed.default_code
            await self._say({"type": "reauthentication_failed", "code": str(code or default)})
            return
        left = self._watched.seconds_left if self._watched is not None else 0
        await self._say({"type": "reauthenticated", "expires_in": max(0, int(left))})

    async def _say(self, message: dict[str, Any]) -> None:
        if not self._is_closed:
            await self.base_send({"type": "websocket.send", "text": json.dumps(message)})


def _new_token(text: str | None) -> str | None:
    """The token of a message that brings one."""
    if text is None or len(text) > _LONGEST_MESSAGE or _REAUTHENTICATE not in text:
        return None
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(message, dict) or message.get("type") != _REAUTHENTICATE:
        return None
    token = message.get("token")
    # Whatever it is, it was meant for here.
    return token if isinstance(token, str) else ""
