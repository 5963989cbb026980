"""Simple JWT's serializers under their own names, and as mixins for a project's own subclasses."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model, user_logged_in
from django.core.exceptions import ObjectDoesNotExist
from django.utils.module_loading import import_string
from django.utils.translation import gettext_lazy as _
from rest_framework import serializers
from rest_framework.exceptions import AuthenticationFailed
from rest_framework_simplejwt import exceptions as stock_exceptions
from rest_framework_simplejwt import serializers as stock
from rest_framework_simplejwt.utils import get_md5_hash_password

from jwt_redis import sessions, stock_blacklist
from jwt_redis.conf import config, simplejwt_setting
from jwt_redis.decoding import UNFIT, claims_of
from jwt_redis.devices import device_of, signing_in_from
from jwt_redis.exceptions import RevocationUnavailable, RevokedToken
from jwt_redis.journal import acting_as
from jwt_redis.last_login import left_to_simplejwt
from jwt_redis.sessions.observing import UNAVAILABLE, note_refusal
from jwt_redis.tokens import RefreshToken, SlidingToken, UntypedToken
from jwt_redis.verdicts import SID_CLAIM, TOKEN_BLACKLISTED

__all__ = [
    "SessionBlacklistMixin",
    "SessionObtainMixin",
    "SessionRefreshMixin",
    "SessionRefreshSlidingMixin",
    "SessionVerifyMixin",
    "TokenBlacklistSerializer",
    "TokenObtainPairSerializer",
    "TokenObtainSlidingSerializer",
    "TokenRefreshSerializer",
    "TokenRefreshSlidingSerializer",
    "TokenVerifySerializer",
]


class SessionObtainMixin:
    """Opens a session at sign-in: for a subclass of one of Simple JWT's obtain serializers, in front of it.

    ``get_token`` may add claims; the session is written when the token is turned into a string, device and all.
    """

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Check the credentials, open the session, send Django's ``user_logged_in``."""
        request = self.context.get("request")  # type: ignore[attr-defined]
        with signing_in_from(request):
            data: dict[str, Any] = super().validate(attrs)  # type: ignore[misc]
        user = self.user  # type: ignore[attr-defined]
        with left_to_simplejwt():
            user_logged_in.send(sender=type(user), request=request, user=user)
        return data


def refuse_listed(token: Any) -> None:
    """Where Simple JWT's own blacklist is still installed, it is asked too.

    :raises RevokedToken: when the token is listed there.
    """
    if stock_blacklist.has(token):
        raise RevokedToken(TOKEN_BLACKLISTED)


class _UserOfToken:
    """The user that a refresh token is for, or a 401."""

    # Simple JWT's own text for the case.
    no_active_account = stock.TokenRefreshSerializer.default_error_messages["no_active_account"]

    def get_user(self, token: Any) -> Any:
        """One query.

        :raises AuthenticationFailed: when the user is inactive, deleted, or never was.
        """
        claims = claims_of(token)
        manager = get_user_model()._default_manager
        try:
            user = manager.get(**{simplejwt_setting("USER_ID_FIELD"): claims.user})
        except (ObjectDoesNotExist, *UNFIT):
            user = None
        if user is None or not simplejwt_setting("USER_AUTHENTICATION_RULE")(user):
            raise AuthenticationFailed(self.no_active_account, "no_active_account")
        return user


def _refuse_former_password(token: Any, user: Any) -> None:
    """Of a token without a session, Simple JWT's ``CHECK_REVOKE_TOKEN`` alone says under which password it was issued.

    :raises AuthenticationFailed: when that was another one.
    """
    if not simplejwt_setting("CHECK_REVOKE_TOKEN") or token.payload.get(SID_CLAIM) is not None:
        return
    claimed = token.payload.get(simplejwt_setting("REVOKE_TOKEN_CLAIM"))
    if claimed != get_md5_hash_password(user.password):
        raise stock_exceptions.AuthenticationFailed(
            str(_("The user's password has been changed.")), code="password_changed"
        )


def _renew_password_claim(token: Any, user: Any, claimed: str | None) -> None:
    """``CHECK_REVOKE_TOKEN`` is of the hash: one that was upgraded since is no other password. The session has told
    that; with ``OBSERVE`` it need not have, and what the token that came has ``claimed`` stays."""
    if not simplejwt_setting("CHECK_REVOKE_TOKEN"):
        return
    digest = claimed if config().observe else get_md5_hash_password(user.password)
    token.payload[simplejwt_setting("REVOKE_TOKEN_CLAIM")] = digest


class SessionRefreshMixin(_UserOfToken):
    """Uses a refresh token: one query for the user, one script in Redis."""

    token_class = RefreshToken
    # Claims that get_token does not set and that shall live on all the same.
    carried_claims: tuple[str, ...] = ()

    def validate(self, attrs: dict[str, Any]) -> dict[str, str]:
        """A new access token and, with ``ROTATE_REFRESH_TOKENS``, the refresh token's successor.

        :raises RevokedToken: when the token was used before, or its session is over.
        """
        presented = self.token_class(attrs["refresh"])
        refuse_listed(presented)
        user = self.get_user(presented)
        _refuse_former_password(presented, user)
        claimed = presented.payload.get(simplejwt_setting("REVOKE_TOKEN_CLAIM"))
        rotating = bool(simplejwt_setting("ROTATE_REFRESH_TOKENS"))
        device = device_of(self.context.get("request"))  # type: ignore[attr-defined]
        record = sessions.rotate(presented, user, device, rotating=rotating)
        refresh = presented.successor(record, self.get_fresh_claims(presented, user)) if rotating else presented
        _renew_password_claim(refresh, user, claimed)
        data = {"access": str(refresh.access_token)}
        if rotating:
            data["refresh"] = str(refresh)
        return data

    def get_fresh_claims(self, presented: RefreshToken, user: Any) -> dict[str, Any] | None:
        """The custom claims as the project's obtain serializer sets them today, where it has a ``get_token``.

        What it no longer sets is gone: a claim like "is_admin" must not outlive the right. None: keep all.
        """
        obtain = import_string(simplejwt_setting("TOKEN_OBTAIN_SERIALIZER"))
        if obtain.get_token.__func__ is stock.TokenObtainSerializer.get_token.__func__:  # type: ignore[attr-defined]
            return None
        carried = {claim: presented.payload[claim] for claim in self.carried_claims if claim in presented.payload}
        return {**carried, **obtain.get_token(user).payload}


class SessionRefreshSlidingMixin(_UserOfToken):
    """Renews a sliding token, which keeps its ``jti``, while its session is alive."""

    token_class = SlidingToken

    def validate(self, attrs: dict[str, Any]) -> dict[str, str]:
        """The token with a new ``exp``.

        :raises RevokedToken: when it or its session was revoked.
        """
        token = self.token_class(attrs["token"])
        refuse_listed(token)
        token.check_exp(simplejwt_setting("SLIDING_TOKEN_REFRESH_EXP_CLAIM"))
        user = self.get_user(token)
        _refuse_former_password(token, user)
        device = device_of(self.context.get("request"))  # type: ignore[attr-defined]
        record = sessions.rotate(token, user, device, rotating=False)
        token.set_exp()
        token.set_iat()
        token.payload["exp"] = min(token.payload["exp"], record.expires_at)
        _renew_password_claim(token, user, token.payload.get(simplejwt_setting("REVOKE_TOKEN_CLAIM")))
        return {"token": str(token)}


class SessionVerifyMixin:
    """Verifies a token of any type, and asks whether it was revoked."""

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Nothing, for a token that is good."""
        token = UntypedToken(attrs["token"])
        if stock_blacklist.has(token):
            raise serializers.ValidationError(
                {"non_field_errors": [_("Token is blacklisted")], "reason": [TOKEN_BLACKLISTED]}
            )
        verdict = sessions.check(token)
        if verdict.reason is not None:
            raise serializers.ValidationError(
                {"non_field_errors": [_("Token is blacklisted")], "reason": [verdict.reason]}
            )
        return {}


class SessionBlacklistMixin:
    """Revokes a refresh token, and its session with it. Doing it again is no error."""

    token_class = RefreshToken

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Nothing, once the session is ended."""
        token = self.token_class(attrs["refresh"])
        try:
            with acting_as(claims_of(token).user):
                sessions.revoke_token(token, reason="logout")
        except RevocationUnavailable:
            if not config().observe:
                raise
            # It is in the journal, if there is one.
            note_refusal(claims_of(token).user, claims_of(token).sid, UNAVAILABLE, "revoke_token")
        stock_blacklist.add(token)
        return {}


class TokenObtainPairSerializer(SessionObtainMixin, stock.TokenObtainPairSerializer):
    """Simple JWT's, with a session."""

    token_class = RefreshToken


class TokenObtainSlidingSerializer(SessionObtainMixin, stock.TokenObtainSlidingSerializer):
    """Simple JWT's, with a session."""

    token_class = SlidingToken


class TokenRefreshSerializer(SessionRefreshMixin, stock.TokenRefreshSerializer):
    """Simple JWT's, with rotation in one script."""


class TokenRefreshSlidingSerializer(SessionRefreshSlidingMixin, stock.TokenRefreshSlidingSerializer):
    """Simple JWT's, with a session."""


class TokenVerifySerializer(SessionVerifyMixin, stock.TokenVerifySerializer):
    """Simple JWT's, which here knows what was revoked."""


class TokenBlacklistSerializer(SessionBlacklistMixin, stock.TokenBlacklistSerializer):
    """Simple JWT's, without its table."""
