"""The stream that says when the session which asks for it has ended."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from typing import Any, Final

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpResponse, JsonResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.views.generic import View
from rest_framework.exceptions import APIException, AuthenticationFailed, NotAuthenticated
from rest_framework_simplejwt.tokens import Token

from jwt_redis import sessions
from jwt_redis.authentication import JWTAuthentication, RevocationCheckMixin
from jwt_redis.conf import FailurePolicy, config
from jwt_redis.contrib.sse import stream
from jwt_redis.contrib.sse.crowding import SUPERSEDED, among_streams
from jwt_redis.cookies import header_token, patch_vary, raw_access_token
from jwt_redis.exceptions import RevocationUnavailable
from jwt_redis.records import EndedSession
from jwt_redis.revocations import TOKEN_EXPIRED, Ending, watch

__all__ = ["SessionEventsView"]

logger = logging.getLogger("jwt_redis")

# The id behind which nothing comes any more.
_END: Final = "end"
# Seconds after which the page of a stream that has given way comes back: were it at once, too many would take each
# other's place for ever.
_LATER: Final = 60.0


class SessionEventsView(View):
    """``GET``: an event stream of the session that asks, by header or by cookie.

    It sends ``session-ended`` with ``reason`` and ``why`` when the session ends, and ``token-expired`` when the token
    has run out while the session may be alive: get a new one and come again. Behind either the stream ends. With a sign
    of life ``unavailable`` says that Redis cannot be asked, ``available`` that it can be again: nothing was missed.

    ``max_streams``: how many a session may have open in one process, None for no limit. With one more the oldest is
    told ``superseded``, and ends; a browser comes back after a minute. ``heartbeat``: seconds between two signs of
    life. ``retry``: seconds after which a client comes back.
    ``on_redis_failure`` and ``uses_cookies`` are as for any view.
    """

    authentication_class: type[RevocationCheckMixin] = JWTAuthentication
    on_redis_failure: FailurePolicy | None = None
    uses_cookies: bool = True
    max_streams: int | None = 20
    heartbeat: float = 15.0
    retry: float = 3.0
    http_method_names = ["get", "head", "options"]

    @classmethod
    def as_view(cls, **initkwargs: Any) -> Any:
        """Django's.

        :raises ValueError: when ``max_streams`` is neither None nor a whole number above zero.
        """
        most = initkwargs.get("max_streams", cls.max_streams)
        if most is not None and (not isinstance(most, int) or isinstance(most, bool) or most < 1):
            raise ValueError(f"max_streams: None or a whole number above zero is needed, not {most!r}")
        return super().as_view(**initkwargs)

    async def get(self, request: Any) -> HttpResponseBase:
        """Who asks is asked about before the first byte: 401, 403 and 503 are as ever.

        With ``Last-Event-ID``, which a browser sends when it comes back, a session that has ended meanwhile gets a
        stream of that one event; and 204, upon which no browser comes again, when it was told already.
        """
        if not isinstance(request, ASGIRequest):
            logger.error(
                "%s needs ASGI: a thread for each page would be held for ever.",
                type(self).__name__,
                extra={"event": "asgi_needed"},
            )
            return JsonResponse({"detail": "Event streams need ASGI.", "code": "asgi_needed"}, status=501)
        try:
            answer: HttpResponseBase = self._respond(self._events(await self.aget_token(request)))
        except RevocationUnavailable as error:
            answer = _failed(error)
        except APIException as error:
            answer = await self._refused(request, error)
        if config().cookie is not None and self.uses_cookies:
            patch_vary(answer)
        return answer

    async def head(self, request: Any) -> HttpResponseBase:
        """What ``get`` would answer, without a stream."""
        answer = await self.get(request)
        if not isinstance(answer, StreamingHttpResponse):
            return answer
        return HttpResponse(headers=dict(answer.items()), status=answer.status_code)

    async def aget_token(self, request: Any) -> Token:
        """The verified token of the request.

        :raises APIException: when there is none, or it is refused.
        """
        # Where our authentication looks for what a view has to say.
        request.parser_context = {"view": self}
        found = await self.authentication_class().aauthenticate(request)
        if found is None:
            raise NotAuthenticated
        return found[1]

    async def _refused(self, request: Any, error: APIException) -> HttpResponseBase:
        last = request.headers.get("Last-Event-ID")
        if last and isinstance(error, (AuthenticationFailed, NotAuthenticated)):
            try:
                ending = await _missed_ending(request, self.uses_cookies)
            except RevocationUnavailable as unavailable:
                return _failed(unavailable)
            if ending is not None:
                return HttpResponse(status=204) if last == _END else self._respond(_farewell(ending))
        answer = _failed(error)
        if answer.status_code == 401:
            answer["WWW-Authenticate"] = self.authentication_class().authenticate_header(request)
        return answer

    def _respond(self, events: AsyncIterator[str]) -> StreamingHttpResponse:
        return StreamingHttpResponse(
            events,
            content_type="text/event-stream",
            headers={
                "Cache-Control": "no-store, no-transform",
                # nginx: nothing is to wait for more to come.
                "X-Accel-Buffering": "no",
            },
        )

    async def _events(self, token: Token) -> AsyncIterator[str]:
        """Whoever hangs up cancels this, wherever it is."""
        yield stream.retry(self.retry)
        is_known = True
        # Nothing is shown that one would have to be kept from: it stays, and says that it cannot tell.
        try:
            async with watch(token, on_redis_failure="allow") as watched:
                with among_streams(watched, self.max_streams):
                    yield stream.event(id=watched.position) if watched.position else stream.COMMENT
                    while (ending := await watched.wait(self.heartbeat)) is None:
                        if watched.is_known is not is_known:
                            is_known = watched.is_known
                            yield stream.event("available" if is_known else "unavailable", {}, id=watched.position)
                        else:
                            yield stream.COMMENT
        except RevocationUnavailable:
            # Redis is known to lack something, which is being applied: the client comes back.
            yield stream.event("unavailable", {})
            return
        if ending.reason == SUPERSEDED:
            yield stream.retry(max(self.retry, _LATER))
            yield stream.event("superseded", {"max_streams": self.max_streams})
            return
        async for text in _farewell(ending):
            yield text


async def _farewell(ending: Ending) -> AsyncIterator[str]:
    if ending.reason == TOKEN_EXPIRED:
        yield stream.event("token-expired", {"reason": ending.reason})
    else:
        yield stream.event("session-ended", {"reason": ending.reason, "why": ending.why}, id=_END)


async def _missed_ending(request: Any, takes_cookie: bool) -> Ending | None:
    """How the session of the request's token has ended; None where the token says nothing, or that is not known."""
    try:
        raw = raw_access_token(request) if takes_cookie else header_token(request)
    except AuthenticationFailed:
        return None
    if raw is None:
        return None
    explained = await sessions.aexplain(raw.decode(errors="replace"))
    if explained.allowed or explained.claims is None:
        return None
    state = explained.state
    ended = state.session if state is not None else None
    return Ending(explained.reason or "", ended.why if isinstance(ended, EndedSession) else "")


def _failed(error: APIException) -> HttpResponse:
    detail = error.detail if isinstance(error.detail, dict) else {"detail": error.detail}
    answer = JsonResponse(detail, status=error.status_code)
    if (wait := getattr(error, "wait", None)) is not None:
        answer["Retry-After"] = str(wait)
    answer["Cache-Control"] = "no-store"
    return answer
