"""dj-rest-auth's views that open a session, renew it and end it."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

from dj_rest_auth import jwt_auth
from dj_rest_auth import views as theirs
from dj_rest_auth.app_settings import api_settings
from django.contrib.auth import logout as django_logout
from django.contrib.auth import user_logged_in
from django.middleware.csrf import rotate_token
from django.utils.translation import gettext as _
from rest_framework.exceptions import NotAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework_simplejwt.exceptions import InvalidToken, TokenError

from jwt_redis import journal, sessions
from jwt_redis.authentication import JWTAuthentication
from jwt_redis.conf import simplejwt_setting
from jwt_redis.contrib.dj_rest_auth.authentication import enforce_csrf, enforce_origin
from jwt_redis.contrib.dj_rest_auth.serializers import CookieTokenRefreshSerializer, LogoutSerializer
from jwt_redis.decoding import claims_of, decode
from jwt_redis.devices import signing_in_from
from jwt_redis.last_login import left_to_simplejwt
from jwt_redis.tokens import RefreshToken

__all__ = ["LoginView", "LogoutView", "SignInMixin", "TokenRefreshView"]


class SignInMixin:
    """For a view of dj-rest-auth that signs somebody in, in front of it: registration, social login, MFA.

    The session is opened on the request's device, and where the tokens travel in cookies a CSRF cookie goes along.
    A token of before that is no good any more does not keep anybody out.
    """

    authentication_classes = ()

    def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        """The view's own, within the device."""
        with signing_in_from(request):
            return super().dispatch(request, *args, **kwargs)  # type: ignore[misc]

    def initial(self, request: Any, *args: Any, **kwargs: Any) -> None:
        """The view's own, and :func:`~jwt_redis.contrib.dj_rest_auth.authentication.enforce_origin`."""
        super().initial(request, *args, **kwargs)  # type: ignore[misc]
        enforce_origin(request)

    def finalize_response(self, request: Any, response: Any, *args: Any, **kwargs: Any) -> Any:
        """A new CSRF token with the new session, as Django's ``login`` has it."""
        if {api_settings.JWT_AUTH_COOKIE, api_settings.JWT_AUTH_REFRESH_COOKIE} & set(response.cookies):
            rotate_token(request)
        return super().finalize_response(request, response, *args, **kwargs)  # type: ignore[misc]


class LoginView(SignInMixin, theirs.LoginView):  # type: ignore[misc]
    """dj-rest-auth's, which opens a session."""

    def login(self) -> None:
        """dj-rest-auth's. Without ``SESSION_LOGIN`` it would send no ``user_logged_in``."""
        super().login()
        if not api_settings.SESSION_LOGIN:
            # Simple JWT's serializer, which writes last_login itself, is not asked here.
            with nullcontext() if simplejwt_setting("UPDATE_LAST_LOGIN") else left_to_simplejwt():
                user_logged_in.send(sender=type(self.user), request=self.request, user=self.user)


class TokenRefreshView(jwt_auth.get_refresh_view()):  # type: ignore[misc]
    """dj-rest-auth's, which uses a refresh token once."""

    serializer_class = CookieTokenRefreshSerializer

    def initial(self, request: Any, *args: Any, **kwargs: Any) -> None:
        """Theirs, and :func:`~jwt_redis.contrib.dj_rest_auth.authentication.enforce_origin`."""
        super().initial(request, *args, **kwargs)
        enforce_origin(request)


class LogoutView(theirs.LogoutView):  # type: ignore[misc]
    """Ends every session whose token comes with the request: as ``refresh`` in the body, in the header, in a cookie.

    One token that is good is enough, so that an access token may have expired. Doing it again is no error. The cookies
    are taken back whatever they are worth, but not while Redis cannot be asked: then nothing has ended.
    """

    authentication_classes = ()
    serializer_class = LogoutSerializer

    def get_authenticate_header(self, request: Request) -> str:
        """So that a refusal is a 401."""
        return JWTAuthentication().authenticate_header(request)

    def logout(self, request: Request) -> Response:
        """dj-rest-auth's answers: 200, or 401 where there was nothing to sign out of."""
        response = Response({"detail": _("Successfully logged out.")})
        try:
            _end_sessions(_sent(request), _in_cookies(request))
        except (InvalidToken, NotAuthenticated) as error:
            # Not by raising it: under ATOMIC_REQUESTS the database could not be used for what follows.
            detail = error.detail if isinstance(error.detail, dict) else {"detail": error.detail}
            headers = {"WWW-Authenticate": self.get_authenticate_header(request)}
            response = Response(detail, status=error.status_code, headers=headers)
        if api_settings.SESSION_LOGIN:
            # Django's request: its user is that of the Django session.
            django_logout(request._request)
        jwt_auth.unset_jwt_cookies(response)
        return response


def _sent(request: Request) -> list[tuple[Any, bool]]:
    """The tokens that the client has put there itself, and of each whether it ought to be a refresh token."""
    serializer = LogoutSerializer(data=request.data)
    serializer.is_valid(raise_exception=True)
    authenticator = JWTAuthentication()
    header = authenticator.get_header(request)
    access = authenticator.get_raw_token(header) if header else None
    return _pairs(serializer.validated_data.get("refresh"), access)


def _in_cookies(request: Request) -> list[tuple[Any, bool]]:
    """Those that the browser has added.

    :raises PermissionDenied: when there are some, and the CSRF token is missing or wrong.
    """
    names = api_settings.JWT_AUTH_REFRESH_COOKIE, api_settings.JWT_AUTH_COOKIE
    found = _pairs(*(request.COOKIES.get(name) if name else None for name in names))
    if found:
        enforce_csrf(request)
    return found


def _pairs(refresh: Any, access: Any) -> list[tuple[Any, bool]]:
    return [(raw, is_refresh) for raw, is_refresh in ((refresh, True), (access, False)) if raw]


def _end_sessions(sent: list[tuple[Any, bool]], in_cookies: list[tuple[Any, bool]]) -> None:
    """End the session of each. A browser whose cookies are no good, or that has none any more, is signed out.

    :raises NotAuthenticated: when there is no token, and tokens do not travel in cookies.
    :raises InvalidToken: when none is good, and the client has sent one itself.
    """
    errors: list[TokenError] = []
    for raw, is_refresh in (*sent, *in_cookies):
        try:
            token = RefreshToken(raw) if is_refresh else decode(raw)
            claims = claims_of(token)
        except TokenError as error:
            errors.append(error)
            continue
        with journal.acting_as(claims.user):
            if claims.sid is None:
                sessions.revoke_token(token, reason="logout")
            else:
                sessions.end_session(claims.user, claims.sid)
    if len(errors) < len(sent) + len(in_cookies):
        return
    if sent:
        raise InvalidToken(errors[0].args[0]) from errors[0]
    if not (api_settings.JWT_AUTH_COOKIE or api_settings.JWT_AUTH_REFRESH_COOKIE):
        raise NotAuthenticated(_("Send a refresh token in the body, or an access token in the header."))
