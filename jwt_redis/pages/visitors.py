"""Who asks for a page, and how the answer leaves the browser: with new cookies, or with none."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from django.http.response import HttpResponseBase
from django.utils.module_loading import import_string
from django.utils.translation import gettext as _
from rest_framework.exceptions import APIException, AuthenticationFailed, ValidationError
from rest_framework_simplejwt.exceptions import TokenError

from jwt_redis import cookies, sessions
from jwt_redis.authentication import JWTAuthentication
from jwt_redis.conf import simplejwt_setting
from jwt_redis.decoding import decode
from jwt_redis.exceptions import RevokedToken
from jwt_redis.records import EndedSession

__all__ = ["Visitor", "visitor_of", "why_signed_out"]

logger = logging.getLogger("jwt_redis")


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody who is signed in. ``sid``: the session that asks; "" where Django's own session has signed them in."""

    user: Any
    sid: str = ""
    # What was refreshed on the way, for the cookies.
    tokens: Mapping[str, str] = field(default_factory=dict)

    def keep(self, response: HttpResponseBase) -> None:
        """Put what was refreshed into the cookies of the response."""
        if self.tokens:
            cookies.set_cookies(response, access=self.tokens["access"], refresh=self.tokens.get("refresh"))


def visitor_of(request: Any, *, may_refresh: bool = True) -> Visitor | None:
    """Who asks: as Django's or our middleware has it, or by the refresh cookie where that is sent here.

    An access token lives for minutes, and a page has no script that would refresh it. CSRF is for the caller to
    check first. ``may_refresh``: the answer will carry new cookies, by :meth:`Visitor.keep`.

    :raises RevocationUnavailable: when Redis cannot be asked.
    """
    user = getattr(request, "user", None)
    if user is not None and user.is_authenticated:
        token = getattr(request, "auth", None)
        payload = getattr(token, "payload", {})
        return Visitor(user, str(payload.get("sid") or ""))
    return _refreshed(request) if may_refresh else None


def _refreshed(request: Any) -> Visitor | None:
    found = cookies.refresh_cookies(request)
    # Two are nobody's, and a header says that somebody else is meant.
    if len(found) != 1 or cookies.bears_header(request):
        return None
    serializer = import_string(simplejwt_setting("TOKEN_REFRESH_SERIALIZER"))
    try:
        made = serializer(data={"refresh": found[0]}, context={"request": request})
        made.is_valid(raise_exception=True)
        tokens = made.validated_data
        # Redis has just said that it is good. To ask again could fail, and what was refreshed would be lost.
        token = decode(tokens["access"])
        user = JWTAuthentication().get_user(token)
    except (TokenError, AuthenticationFailed, ValidationError) as error:
        logger.debug("A cookie was refused: %s", error, extra={"event": "cookie_refused"})
        request._jwt_refresh_error = error
        return None
    # For the project's own templates.
    request.user, request.auth = user, token
    return Visitor(user, str(token.payload.get("sid") or ""), tokens)


Why = Literal["password", "reuse", "owner", "not_me", "many", "expired", "all", "lost", "gone"]

# What a session was ended for, as the tombstone has it.
_REASONS: Final[dict[str, Why]] = {
    "password_changed": "password",
    "refresh_token_reused": "reuse",
    "logout": "owner",
    "logout_others": "owner",
    "logout_all": "owner",
    "not_me": "not_me",
    "max_sessions": "many",
}
# What the store says of the token, where there is no tombstone.
_VERDICTS: Final[dict[str, Why]] = {
    "session_expired": "expired",
    "no_session": "expired",
    "user_revoked": "all",
    "all_revoked": "all",
    "store_lost": "lost",
}


def why_signed_out(request: Any) -> str:
    """Why the token that came with the request is refused, in words; "" where there is none, or it has just expired.

    :raises RevocationUnavailable: when Redis cannot be asked.
    """
    refused = _refused_token(request)
    if refused is None:
        return ""
    explained = sessions.explain(refused)
    why = _VERDICTS.get(explained.reason or "", "gone")
    if explained.state is not None and isinstance(explained.state.session, EndedSession):
        why = _REASONS.get(explained.state.session.why, "gone")
    return _in_words(why)


def _refused_token(request: Any) -> str | None:
    """The access token if the store has refused it, or else the refresh token."""
    error = getattr(request, "auth_error", None)
    detail = error.detail if isinstance(error, APIException) else None
    if isinstance(detail, dict) and "reason" in detail:
        raw = cookies.raw_access_token(request)
        return raw.decode(errors="replace") if raw is not None else None
    if isinstance(getattr(request, "_jwt_refresh_error", None), RevokedToken):
        return cookies.refresh_cookies(request)[0]
    return None


def _in_words(why: Why) -> str:
    return {
        "password": _("Your password was changed, so every device has to sign in again."),
        "reuse": _(
            "Somebody used an old copy of your sign-in. To be safe, it was ended for both of you."
            " If you do not know why, change your password."
        ),
        "owner": _("You signed out, here or on another device."),
        "not_me": _("You said that a sign-in was not you, so all of your devices were signed out."),
        "many": _("You signed in on more devices than are possible at a time, so the oldest was signed out."),
        "expired": _("You have not been here for a while."),
        "all": _("All devices were signed out, as a precaution."),
        "lost": _("The server has lost track of who is signed in."),
        "gone": _("This device was signed out."),
    }[why]
