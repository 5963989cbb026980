"""DRF authentication: Simple JWT's classes, and one question to Redis."""

from __future__ import annotations

import logging
from functools import cache
from typing import Any, cast

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.contrib.auth import get_user_model
from django.core.exceptions import ObjectDoesNotExist
from django.utils.functional import cached_property
from django.utils.translation import gettext as _
from rest_framework import exceptions
from rest_framework_simplejwt import authentication as stock
from rest_framework_simplejwt.exceptions import AuthenticationFailed, InvalidToken
from rest_framework_simplejwt.tokens import SlidingToken, Token
from rest_framework_simplejwt.utils import get_md5_hash_password

from jwt_redis import fingerprints, sessions, stock_blacklist
from jwt_redis.conf import FailurePolicy, config, simplejwt_setting
from jwt_redis.cookies import access_cookie, aenforce_csrf, enforce_csrf, vary_view
from jwt_redis.decoding import UNFIT, claims_of
from jwt_redis.keys import user_id
from jwt_redis.sessions.ending import aend_session_of_former_password, end_session_of_former_password
from jwt_redis.sessions.observing import anote_refusal, note_refusal
from jwt_redis.verdicts import SESSION_ENDED, TOKEN_BLACKLISTED, Verdict

__all__ = [
    "JWTAuthentication",
    "JWTStatelessUserAuthentication",
    "JWTTokenUserAuthentication",
    "RevocationCheckMixin",
    "accepted",
    "refused",
    "takes_cookies",
]

logger = logging.getLogger("jwt_redis")

PASSWORD_CHANGED = "password_changed"  # noqa: S105

# On Django's request: what the middleware found, so that DRF need not ask again.
MEMO = "_jwt_redis_memo"


def refused(token: Token, reason: str) -> InvalidToken:
    """The 401 for a token that the store refuses: Simple JWT's own body, and the ``reason``."""
    return InvalidToken(
        {
            "detail": _("Given token not valid for any token type"),
            "messages": [
                {
                    "token_class": type(token).__name__,
                    "token_type": token.token_type,
                    "message": _("Token is blacklisted"),
                }
            ],
            "reason": reason,
        }
    )


class RevocationCheckMixin(stock.JWTAuthentication):
    """For a project's own subclass of Simple JWT's ``JWTAuthentication``: put it in front.

    ``on_redis_failure``: "deny" or "allow" takes the place of the setting for this class. A view may say so too,
    by an attribute of that name. A view whose ``uses_cookies`` is False takes no cookie.
    """

    on_redis_failure: FailurePolicy | None = None
    # Does get_user look at the session's record? A near cache must then have it.
    needs_record = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # Simple JWT's looks for the user model, on each request, and not every class needs it.
        cls: Any = type(self)
        if args or kwargs or not _is_in_front_of_simplejwt(cls):
            super().__init__(*args, **kwargs)

    @cached_property
    def user_model(self) -> Any:  # type: ignore[override]
        """The project's user model."""
        return get_user_model()

    def authenticate(self, request: Any) -> tuple[Any, Token] | None:
        """Simple JWT's, except that what the middleware has found for this request is not asked for again.

        With ``COOKIE``, a request without the header may have the token in the cookie. One that is refused there
        leaves the request anonymous: the browser sends it wherever the user goes, to the sign-in too.

        :raises PermissionDenied: when the cookie's token is good, and the request may be another site's doing.
        """
        django_request = self._django_request = getattr(request, "_request", request)
        context = getattr(request, "parser_context", None)
        view = context.get("view") if context else None
        self.on_redis_failure = getattr(view, "on_redis_failure", None) or self.on_redis_failure
        has_cookies = config().cookie is not None
        if has_cookies:
            vary_view(django_request, view)
        cls: Any = type(self)
        if not _is_in_front_of_simplejwt(cls):
            found = super().authenticate(request)
            return self._authenticate_cookie(django_request, view) if found is None and has_cookies else found
        # Simple JWT's authenticate. DRF's request takes a detour to the header; a project's method may want it, though.
        is_stock = cls.get_header is stock.JWTAuthentication.get_header
        header: bytes | None = self.get_header(django_request if is_stock else request)
        raw_token = self.get_raw_token(header) if header is not None else None
        if raw_token is None:
            return self._authenticate_cookie(django_request, view) if has_cookies else None
        token = self.get_validated_token(raw_token)
        return self.get_user(token), token

    async def aauthenticate(self, request: Any) -> tuple[Any, Token] | None:
        """:meth:`authenticate` over ``redis.asyncio`` and the async ORM; in a thread where a subclass has changed that
        alone."""
        if _has_sync_alone(self, "authenticate"):
            return cast("tuple[Any, Token] | None", await _in_thread(_sync_method(self, "authenticate"), request))
        django_request = self._django_request = getattr(request, "_request", request)
        context = getattr(request, "parser_context", None)
        view = context.get("view") if context else None
        self.on_redis_failure = getattr(view, "on_redis_failure", None) or self.on_redis_failure
        has_cookies = config().cookie is not None
        if has_cookies:
            vary_view(django_request, view)
        header: bytes | None = self.get_header(request)
        raw_token = self.get_raw_token(header) if header is not None else None
        if raw_token is not None:
            token = await self.aget_validated_token(raw_token)
            return await self.aget_user(token), token
        raw_token = access_cookie(django_request) if has_cookies and takes_cookies(view) else None
        if raw_token is None:
            return None
        try:
            token = await self.aget_validated_token(raw_token)
            user = await self.aget_user(token)
        except exceptions.AuthenticationFailed as error:
            _cookie_refused(error)
            return None
        await aenforce_csrf(django_request)
        return user, token

    def _authenticate_cookie(self, request: Any, view: Any) -> tuple[Any, Token] | None:
        raw_token = access_cookie(request) if takes_cookies(view) else None
        if raw_token is None:
            return None
        try:
            token = self.get_validated_token(raw_token)
            user = self.get_user(token)
        except exceptions.AuthenticationFailed as error:
            _cookie_refused(error)
            return None
        enforce_csrf(request)
        return user, token

    def get_validated_token(self, raw_token: bytes) -> Token:
        """Verify the token, then ask Redis whether it was revoked.

        :raises InvalidToken: when it is not good, or was revoked.
        :raises RevocationUnavailable: when Redis cannot be asked.
        """
        if (found := self._found_before(raw_token)) is not None:
            return found
        token = super().get_validated_token(raw_token)
        # As Simple JWT does: of the tokens that a request may carry, a sliding one alone can be listed there.
        if token.token_type == SlidingToken.token_type and stock_blacklist.has(token):
            raise refused(token, TOKEN_BLACKLISTED)
        verdict = sessions.check(token, on_redis_failure=self.on_redis_failure, needs_record=self.needs_record)
        return accepted(token, verdict)

    async def aget_validated_token(self, raw_token: bytes) -> Token:
        """:meth:`get_validated_token` over ``redis.asyncio``; in a thread where a subclass has changed that alone."""
        if _has_sync_alone(self, "get_validated_token"):
            return cast("Token", await _in_thread(self.get_validated_token, raw_token))
        if (found := self._found_before(raw_token)) is not None:
            return found
        token = super().get_validated_token(raw_token)
        # As Simple JWT does: of the tokens that a request may carry, a sliding one alone can be listed there.
        if token.token_type == SlidingToken.token_type and await stock_blacklist.ahas(token):
            raise refused(token, TOKEN_BLACKLISTED)
        verdict = await sessions.acheck(token, on_redis_failure=self.on_redis_failure, needs_record=self.needs_record)
        return accepted(token, verdict)

    def _found_before(self, raw_token: bytes) -> Token | None:
        """What the middleware has found for this request."""
        memo = getattr(getattr(self, "_django_request", None), MEMO, None)
        if memo is None or memo[0] != raw_token or (self.needs_record and _lacks_record(memo[1])):
            return None
        if isinstance(memo[1], Exception):
            raise memo[1]
        return cast("Token", memo[1])

    async def aget_user(self, validated_token: Token) -> Any:
        """``get_user`` in a thread, for a class that has no async one."""
        return await _in_thread(self.get_user, validated_token)

    def check_password_witness(self, user: Any, token: Token) -> bool:
        """Was the session opened under the user's password of today? The row is at hand, so it costs no query."""
        if _fits(user, token):
            return True
        if not _is_from_memory(token):
            return False
        # The password's hash may have been upgraded since that record was read.
        policy = self.on_redis_failure
        accepted(token, sessions.check(token, on_redis_failure=policy, needs_record=True, directly=True))
        return _fits(user, token)

    async def acheck_password_witness(self, user: Any, token: Token) -> bool:
        """:meth:`check_password_witness` over ``redis.asyncio``."""
        if _fits(user, token):
            return True
        if not _is_from_memory(token):
            return False
        policy = self.on_redis_failure
        accepted(token, await sessions.acheck(token, on_redis_failure=policy, needs_record=True, directly=True))
        return _fits(user, token)


def _cookie_refused(error: Exception) -> None:
    logger.debug("A cookie was refused: %s", error, extra={"event": "cookie_refused"})


def takes_cookies(view: Any) -> bool:
    """May who asks this view say who they are by cookie?"""
    return getattr(view, "uses_cookies", None) is not False


def _fits(user: Any, token: Token) -> bool:
    verdict: Verdict | None = getattr(token, "verdict", None)
    record = verdict.session if verdict is not None else None
    return record is None or fingerprints.matches(user, _sid(token), record.fingerprint)


def _sid(token: Token) -> str:
    """Of a token whose session has a record."""
    return claims_of(token).sid or ""


def _lacks_record(found: Token | Exception) -> bool:
    """Has the middleware's class, which looks at no record, been content with the near cache's word?"""
    verdict: Verdict | None = getattr(found, "verdict", None)
    return verdict is not None and verdict.from_memory and verdict.session is None


def _is_from_memory(token: Token) -> bool:
    verdict: Verdict | None = getattr(token, "verdict", None)
    return verdict is not None and verdict.from_memory


@cache
def _is_in_front_of_simplejwt(cls: Any) -> bool:
    """Has nobody put an ``authenticate`` or an ``__init__`` between ours and Simple JWT's?"""
    behind = cls.__mro__[cls.__mro__.index(RevocationCheckMixin) + 1 :]
    made_in = {next(base for base in behind if name in vars(base)) for name in ("authenticate", "__init__")}
    return made_in == {stock.JWTAuthentication}


async def _in_thread(method: Any, argument: Any) -> Any:
    return await sync_to_async(method)(argument)


def _has_sync_alone(authenticator: Any, name: str) -> bool:
    """Has somebody changed the sync method and not its twin? What it adds must not be lost in async code."""
    cls: Any = type(authenticator)
    return name in vars(authenticator) or _is_changed_alone(cls, name)


# Of these no class has an async twin, and ours do what they do.
_STOCK = frozenset(stock.JWTStatelessUserAuthentication.__mro__)


@cache
def _is_changed_alone(cls: Any, name: str) -> bool:
    """In any class: another's twin, in front of it, ends at ours and never comes to it."""
    theirs = [vars(base) for base in cls.__mro__ if base not in _STOCK]
    return any(name in own and f"a{name}" not in own and not iscoroutinefunction(own[name]) for own in theirs)


def _sync_method(authenticator: Any, name: str) -> Any:
    """The method that is there but for an async one of the same name, as adrf wants it."""
    if name in vars(authenticator):
        return vars(authenticator)[name]
    cls: Any = type(authenticator)
    found = (vars(base)[name] for base in cls.__mro__ if name in vars(base))
    return next(made for made in found if not iscoroutinefunction(made)).__get__(authenticator, cls)


def accepted(token: Token, verdict: Verdict) -> Token:
    """The token with its verdict, or the refusal raised."""
    if verdict.reason is not None:
        raise refused(token, verdict.reason)
    token.verdict = verdict  # type: ignore[attr-defined]
    return token


class JWTAuthentication(RevocationCheckMixin):
    """Simple JWT's ``JWTAuthentication``: one HMGET, one row of the user table."""

    needs_record = True

    def get_user(self, validated_token: Token) -> Any:
        """The user's row.

        :raises AuthenticationFailed: when there is none, or the user is inactive.
        :raises InvalidToken: when the password was changed since the session was opened; the session is ended.
        """
        try:
            user = super().get_user(validated_token)
        except UNFIT as error:
            # An id that no row of this user model can have.
            raise AuthenticationFailed(_("User not found"), code="user_not_found") from error
        except AuthenticationFailed as error:
            if isinstance(error.detail, dict) and error.detail.get("code") == "password_changed":
                self._end_if_password_changed(validated_token)
            raise
        if not self.check_password_witness(user, validated_token):
            if config().observe:
                note_refusal(user_id(user), _sid(validated_token), PASSWORD_CHANGED, "get_user")
                return user
            end_session_of_former_password(user, _sid(validated_token))
            raise refused(validated_token, SESSION_ENDED)
        return user

    def _end_if_password_changed(self, token: Token) -> None:
        """Simple JWT's own claim is of the hash, which may have been upgraded alone: the session's witness tells."""
        id_field, id_claim = simplejwt_setting("USER_ID_FIELD"), simplejwt_setting("USER_ID_CLAIM")
        user = self.user_model.objects.filter(**{id_field: token[id_claim]}).first()
        if user is not None and not self.check_password_witness(user, token) and not config().observe:
            end_session_of_former_password(user, _sid(token))

    async def aget_user(self, validated_token: Token) -> Any:
        """:meth:`get_user` with the async ORM; in a thread where a subclass has changed that alone."""
        if _has_sync_alone(self, "get_user") or _has_sync_alone(self, "check_password_witness"):
            return await _in_thread(self.get_user, validated_token)
        id_field, id_claim = simplejwt_setting("USER_ID_FIELD"), simplejwt_setting("USER_ID_CLAIM")
        try:
            user = await self.user_model.objects.aget(**{id_field: validated_token.payload[id_claim]})
        except (ObjectDoesNotExist, *UNFIT) as error:
            raise AuthenticationFailed(_("User not found"), code="user_not_found") from error
        if simplejwt_setting("CHECK_USER_IS_ACTIVE") and not user.is_active:
            raise AuthenticationFailed(_("User is inactive"), code="user_inactive")
        if simplejwt_setting("CHECK_REVOKE_TOKEN"):
            claimed = validated_token.payload.get(simplejwt_setting("REVOKE_TOKEN_CLAIM"))
            if claimed != get_md5_hash_password(user.password):
                # As _end_if_password_changed has it.
                if not await self.acheck_password_witness(user, validated_token) and not config().observe:
                    await aend_session_of_former_password(user, _sid(validated_token))
                raise AuthenticationFailed(_("The user's password has been changed."), code="password_changed")
        if not await self.acheck_password_witness(user, validated_token):
            if config().observe:
                await anote_refusal(user_id(user), _sid(validated_token), PASSWORD_CHANGED, "get_user")
                return user
            await aend_session_of_former_password(user, _sid(validated_token))
            raise refused(validated_token, SESSION_ENDED)
        return user


class JWTStatelessUserAuthentication(RevocationCheckMixin, stock.JWTStatelessUserAuthentication):
    """Simple JWT's class of this name: no database. Redis is the only revocation there is."""

    async def aget_user(self, validated_token: Token) -> Any:
        """The token's own user: there is nothing to wait for."""
        if _has_sync_alone(self, "get_user"):
            return await _in_thread(self.get_user, validated_token)
        return self.get_user(validated_token)


JWTTokenUserAuthentication = JWTStatelessUserAuthentication
