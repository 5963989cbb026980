"""Simple JWT's views under their own names, and those for signing out and for the list of sessions.

With ``JWT_REDIS["COOKIE"]`` the tokens travel in cookies; without it Simple JWT's views are Simple JWT's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, suppress
from typing import Any

from django.http import Http404, HttpRequest, JsonResponse
from django.utils.cache import add_never_cache_headers, patch_cache_control
from django.utils.translation import gettext as _
from django.views import View
from rest_framework import serializers
from rest_framework.exceptions import NotAuthenticated, NotFound
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework_simplejwt import views as stock
from rest_framework_simplejwt.exceptions import AuthenticationFailed, InvalidToken, TokenError
from rest_framework_simplejwt.tokens import Token

from jwt_redis import cookies, journal, sessions, stock_blacklist
from jwt_redis.authentication import JWTAuthentication
from jwt_redis.conf import config
from jwt_redis.cookie_views import ClearsCookiesMixin, CookieMixin, SetsCookiesMixin, TakesCookieMixin
from jwt_redis.decoding import claims_of, decode, decode_to_end
from jwt_redis.devices import describe, location_of
from jwt_redis.exceptions import RevocationUnavailable
from jwt_redis.keys import user_id
from jwt_redis.permissions import HasLiveSession
from jwt_redis.sessions.publishing import hear_of_keys
from jwt_redis.signing import backends
from jwt_redis.tokens import RefreshToken
from jwt_redis.verdicts import is_sid

__all__ = [
    "CSRFView",
    "JWKSView",
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


class JWKSView(View):
    """The public keys that verify our tokens, a JWK set (RFC 7517 section 5). 404 without ``KEYS``.

    For anybody: others may keep it for ``max_age``, and so a key is published that long before it signs.
    """

    def get(self, request: HttpRequest) -> JsonResponse:
        """The set; empty while all keys are secrets."""
        settings = config().keys
        if settings is not None:
            # Others go by what is published for as long as they keep it. While Redis is away it is what was heard.
            with suppress(RevocationUnavailable):
                hear_of_keys()
        found = backends.published()
        if found is None or settings is None:
            raise Http404
        response = JsonResponse({"keys": found}, content_type="application/jwk-set+json")
        patch_cache_control(response, public=True, max_age=int(settings.max_age.total_seconds()))
        return response


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

    _ended: Token | None = None

    def post(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Simple JWT's, with a token in the body. Without, all that the browser holds is ended: perhaps nothing."""
        if self.cookie is None or not isinstance(request.data, Mapping):
            return super().post(request, *args, **kwargs)
        if self.body_field in request.data:
            response = super().post(request, *args, **kwargs)
            self._ended = decode_to_end(request.data[self.body_field])
            return response
        cookies.enforce_csrf(request)
        _end_sessions(cookies.sessions_of_cookies(request).values())
        return Response({})

    def is_over(self, user: str, sid: str | None) -> bool:
        """That of the token in the body is; without one, all are."""
        return _names(self._ended, user, sid)


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
    location = serializers.SerializerMethodField()
    user_agent = serializers.CharField()
    device = serializers.SerializerMethodField()
    label = serializers.CharField()  # type: ignore[assignment]

    def get_current(self, session: sessions.Session) -> bool:
        """Is it the one that asks?"""
        return bool(session.sid == self.context["request"].auth.get("sid"))

    def get_location(self, session: sessions.Session) -> str:
        """In the words of the callable ``LOCATION``, "" without."""
        return location_of(session.ip)

    def get_device(self, session: sessions.Session) -> str:
        """Browser and system by family, "" where the user agent tells nothing."""
        return describe(session.user_agent)


class LabelSerializer(serializers.Serializer[Any]):
    """A name for a session; empty to take it away."""

    # Its length is for sessions.set_label to say: what is left out does not count.
    label = serializers.CharField(allow_blank=True)  # type: ignore[assignment]


class LogoutView(ClearsCookiesMixin):
    """Ends one session: that of the refresh token in the body, or else of the access token in the header.

    An access token that has expired does not matter when the refresh token is good. Doing it again is no error.
    With neither, and with cookies, all that the browser holds is ended; a cookie that is no good has nothing to end.
    """

    takes_refresh_cookie = True
    _ended: Token | None = None

    authentication_classes = ()
    permission_classes = ()

    def get_authenticate_header(self, request: Request) -> str:
        """So that a refusal is a 401."""
        return JWTAuthentication().authenticate_header(request)

    def post(self, request: Request) -> Response:
        """How many sessions this ended, 0 or 1; more where the browser holds cookies of several."""
        serializer = LogoutSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        try:
            if refresh := serializer.validated_data.get("refresh"):
                self._ended = token = RefreshToken(refresh)
                with journal.acting_as(claims_of(token).user):
                    ended = int(sessions.revoke_token(token, reason="logout"))
                stock_blacklist.add(token)
            elif (raw := cookies.header_token(request)) is not None:
                self._ended = decode(raw)
                ended = _end_sessions([self._ended])
            elif self.cookie is not None:
                ended = _end_sessions(cookies.sessions_of_cookies(request).values())
            else:
                raise NotAuthenticated(_("Send a refresh token in the body, or an access token in the header."))
        except TokenError as error:
            raise InvalidToken(error.args[0]) from error
        return Response({"sessions_ended": ended})

    def is_over(self, user: str, sid: str | None) -> bool:
        """That of the token in the body or the header is; without one, all are."""
        return _names(self._ended, user, sid)


def _names(token: Token | None, user: str, sid: str | None) -> bool:
    if token is None:
        return True
    claims = claims_of(token)
    return (claims.user, claims.sid) == (user, sid)


def _end_sessions(tokens: Iterable[Token]) -> int:
    """Sign out of the session of each. How many were alive."""
    ended = 0
    for token in tokens:
        claims = claims_of(token)
        with journal.acting_as(claims.user):
            if claims.sid is None:
                ended += sessions.revoke_token(token, reason="logout")
            else:
                ended += sessions.end_session(claims.user, claims.sid)
        if claims.owns_session:
            stock_blacklist.add(token)
    return ended


class _SessionView(APIView):
    authentication_classes = (JWTAuthentication,)
    permission_classes = (HasLiveSession,)

    def check_permissions(self, request: Request) -> None:
        """Also with ``OBSERVE``, these are of no use without a session."""
        super().check_permissions(request)
        if request.auth is None or request.auth.payload.get("sid") is None:  # type: ignore[union-attr]
            self.permission_denied(request)

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

    def is_over(self, user: str, sid: str | None) -> bool:
        """All of this user's are."""
        return user == user_id(self.request.user)


class SessionListView(_SessionView):
    """The user's live sessions, the one used last first."""

    def get(self, request: Request) -> Response:
        """A JSON list."""
        found = sessions.list_sessions(request.user)
        return Response(SessionSerializer(found, many=True, context={"request": request}).data)


class SessionDetailView(ClearsCookiesMixin, _SessionView):
    """One of the user's sessions."""

    def patch(self, request: Request, sid: str) -> Response:
        """Name it: ``label``. 404 where it is not alive, or not the user's; 400 where the name is too long."""
        serializer = LabelSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        if not is_sid(sid):
            raise NotFound(_("You have no such session."))
        try:
            is_there = sessions.set_label(request.user, sid, serializer.validated_data["label"])
        except ValueError as error:
            said = _("At most %(count)d characters are possible.") % {"count": sessions.MAX_LABEL}
            raise serializers.ValidationError({"label": [said]}) from error
        found = [session for session in sessions.list_sessions(request.user) if session.sid == sid]
        if not (is_there and found):
            raise NotFound(_("You have no such session."))
        return Response(SessionSerializer(found[0], context={"request": request}).data)

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
        return Response(status=204)

    def is_over(self, user: str, sid: str | None) -> bool:
        """The one that was asked for is."""
        return (user, sid) == (user_id(self.request.user), self.kwargs["sid"])
