"""Simple JWT's views under their own names, and those for signing out and for the list of sessions.

With ``JWT_REDIS["COOKIE"]`` the tokens travel in cookies; without it Simple JWT's views are Simple JWT's.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from django.utils.cache import add_never_cache_headers
from django.utils.translation import gettext as _
from rest_framework import serializers
from rest_framework.exceptions import NotAuthenticated, NotFound
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework_simplejwt import views as stock
from rest_framework_simplejwt.exceptions import AuthenticationFailed, InvalidToken, TokenError
from rest_framework_simplejwt.tokens import Token

from jwt_redis import cookies, journal, sessions
from jwt_redis.authentication import JWTAuthentication
from jwt_redis.cookie_views import ClearsCookiesMixin, CookieMixin, SetsCookiesMixin, TakesCookieMixin
from jwt_redis.decoding import claims_of, decode
from jwt_redis.devices import describe
from jwt_redis.keys import user_id
from jwt_redis.permissions import HasLiveSession
from jwt_redis.tokens import RefreshToken

__all__ = [
    "CSRFView",
    "LogoutAllView",
    "LogoutOthersView",
    "LogoutView",
    "SessionDetailView",
    "SessionListView",
    "SessionSerializer",
    "TokenBlacklistView",
    "TokenObtainPairView",
    "TokenObtainSlidingView",
    "TokenRefreshSlidingView",
    "TokenRefreshView",
    "TokenVerifyView",
]


class TokenObtainPairView(SetsCookiesMixin, stock.TokenObtainPairView):
    """Simple JWT's: credentials for a pair of tokens."""

    signs_in = True


class TokenObtainSlidingView(SetsCookiesMixin, stock.TokenObtainSlidingView):
    """Simple JWT's: credentials for a sliding token, which travels in the access cookie."""

    signs_in = True


class TokenRefreshView(TakesCookieMixin, SetsCookiesMixin, stock.TokenRefreshView):
    """Simple JWT's: a refresh token for new ones. A refusal leaves the cookies: another tab may have set newer ones."""

    body_field = "refresh"
    takes_refresh_cookie = True


class TokenRefreshSlidingView(TakesCookieMixin, SetsCookiesMixin, stock.TokenRefreshSlidingView):
    """Simple JWT's: a sliding token, renewed."""


class TokenVerifyView(TakesCookieMixin, stock.TokenVerifyView):
    """Simple JWT's: is this token good?"""


class TokenBlacklistView(TakesCookieMixin, ClearsCookiesMixin, stock.TokenBlacklistView):
    """Simple JWT's: ends the session of a refresh token."""

    body_field = "refresh"
    takes_refresh_cookie = True

    def post(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """A cookie that is no good, or missing, has nothing to end: whoever wants to be signed out is."""
        try:
            return super().post(request, *args, **kwargs)
        except (InvalidToken, NotAuthenticated):
            if not self.is_by_cookie:
                raise
            return Response({})


class CSRFView(CookieMixin):
    """A CSRF token for scripts, to send as ``X-CSRFToken``, and Django's CSRF cookie with it."""

    authentication_classes = ()
    permission_classes = ()

    def get(self, request: Request) -> Response:
        """The token. 404 where tokens do not travel in cookies."""
        if self.cookie is None:
            raise NotFound
        response = Response({"csrf_token": cookies.csrf_token(request)})
        add_never_cache_headers(response)
        return response


class LogoutSerializer(serializers.Serializer[Any]):
    """What may be sent to sign out."""

    refresh = serializers.CharField(required=False, write_only=True)
    sessions_ended = serializers.IntegerField(read_only=True)


class SessionSerializer(serializers.Serializer[Any]):
    """One session as its owner sees it."""

    sid = serializers.CharField()
    current = serializers.SerializerMethodField()
    created_at = serializers.DateTimeField()
    last_refreshed_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField()
    ip = serializers.CharField()
    user_agent = serializers.CharField()
    device = serializers.SerializerMethodField()
    label = serializers.CharField()  # type: ignore[assignment]

    def get_current(self, session: sessions.Session) -> bool:
        """Is it the one that asks?"""
        return bool(session.sid == self.context["request"].auth.get("sid"))

    def get_device(self, session: sessions.Session) -> str:
        """Browser and system by family, "" where the user agent tells nothing."""
        return describe(session.user_agent)


class LogoutView(ClearsCookiesMixin):
    """Ends one session: that of the refresh token in the body, or else of the access token in the header.

    An access token that has expired does not matter when the refresh token is good. Doing it again is no error.
    With neither, and with cookies, all that the browser holds is ended; a cookie that is no good has nothing to end.
    """

    takes_refresh_cookie = True

    authentication_classes = ()
    permission_classes = ()

    def get_authenticate_header(self, request: Request) -> str:
        """So that a refusal is a 401."""
        return JWTAuthentication().authenticate_header(request)

    def post(self, request: Request) -> Response:
        """How many sessions this ended, 0 or 1."""
        serializer = LogoutSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        try:
            if refresh := serializer.validated_data.get("refresh"):
                token = RefreshToken(refresh)
                with journal.acting_as(claims_of(token).user):
                    ended = sessions.revoke_token(token, reason="logout")
            elif (raw := cookies.header_token(request)) is not None:
                ended = self._end_session_of(decode(raw))
            elif self.cookie is not None:
                return Response({"sessions_ended": self._end_sessions_of_cookies(request)})
            else:
                raise NotAuthenticated(_("Send a refresh token in the body, or an access token in the header."))
        except TokenError as error:
            raise InvalidToken(error.args[0]) from error
        return Response({"sessions_ended": int(ended)})

    def _end_sessions_of_cookies(self, request: Request) -> int:
        """One, if nobody has slipped in cookies of another. How many were alive."""
        ended, done = 0, set()
        for raw in (*cookies.refresh_cookies(request), *cookies.access_cookies(request)):
            try:
                token = decode(raw)
                claims = claims_of(token)
            except TokenError:
                continue
            if (claims.user, claims.sid) not in done:
                done.add((claims.user, claims.sid))
                ended += self._end_session_of(token)
        return ended

    def _end_session_of(self, token: Token) -> bool:
        claims = claims_of(token)
        with journal.acting_as(claims.user):
            if claims.sid is None:
                return sessions.revoke_token(token, reason="logout")
            return sessions.end_session(claims.user, claims.sid)


class _SessionView(APIView):
    authentication_classes = (JWTAuthentication,)
    permission_classes = (HasLiveSession,)

    def sid(self, request: Request) -> str:
        """The asking session's."""
        sid: str = request.auth["sid"]  # type: ignore[index]
        return sid

    def acting(self, request: Request) -> AbstractContextManager[None]:
        """What is ended within was ended by the user who asks."""
        return journal.acting_as(user_id(request.user))

    def permission_denied(self, request: Request, message: str | None = None, code: str | None = None) -> None:  # type: ignore[override]
        """A token without a session is refused as any bad token is."""
        if request.auth is not None:
            raise AuthenticationFailed(_("This token has no session."), code="token_not_valid")
        raise NotAuthenticated


class LogoutOthersView(_SessionView):
    """Ends all of the user's sessions but the one that asks."""

    def post(self, request: Request) -> Response:
        """How many this ended."""
        with self.acting(request):
            ended = sessions.end_other_sessions(request.user, self.sid(request))
        return Response({"sessions_ended": ended})


class LogoutAllView(ClearsCookiesMixin, _SessionView):
    """Ends all of the user's sessions, the one that asks among them."""

    def post(self, request: Request) -> Response:
        """How many this ended."""
        with self.acting(request):
            ended = sessions.end_all_sessions(request.user)
        return Response({"sessions_ended": ended})


class SessionListView(_SessionView):
    """The user's live sessions, the one used last first."""

    def get(self, request: Request) -> Response:
        """A JSON list."""
        found = sessions.list_sessions(request.user)
        return Response(SessionSerializer(found, many=True, context={"request": request}).data)


class SessionDetailView(ClearsCookiesMixin, _SessionView):
    """One of the user's sessions."""

    def delete(self, request: Request, sid: str) -> Response:
        """End it, or find it ended. 404 where the user has none by that name: somebody else's is not told apart."""
        try:
            is_known = sid == self.sid(request) or sessions.is_known(request.user, sid)
        except ValueError:
            is_known = False
        if not is_known:
            raise NotFound(_("You have no such session."))
        with self.acting(request):
            sessions.end_session(request.user, sid)
        self.signs_out = sid == self.sid(request)
        return Response(status=204)
