"""django-ninja: ``auth=JWTAuth()``, and ``auth=AsyncJWTAuth()`` for async operations."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Any, NamedTuple

try:
    from ninja import NinjaAPI
    from ninja.errors import AuthenticationError, HttpError
    from ninja.security.base import AuthBase, SecuritySchema
except ModuleNotFoundError as error:
    if error.name != "ninja":
        raise
    raise ModuleNotFoundError(
        "jwt_redis.contrib.ninja needs django-ninja: pip install 'jwt_redis[ninja]'", name="ninja"
    ) from error

from django.http import HttpRequest, HttpResponse
from django.http.request import HttpHeaders
from rest_framework.exceptions import APIException
from rest_framework_simplejwt.authentication import AUTH_HEADER_TYPES
from rest_framework_simplejwt.tokens import Token

from jwt_redis.authentication import JWTAuthentication, JWTStatelessUserAuthentication, RevocationCheckMixin
from jwt_redis.conf import FailurePolicy, config, simplejwt_setting
from jwt_redis.cookies import access_name, patch_vary
from jwt_redis.exceptions import RevocationUnavailable
from jwt_redis.permissions import LoggedInWithin

__all__ = ["AsyncJWTAuth", "JWTAuth", "Refused", "Unauthenticated", "add_exception_handlers"]


class Refused(HttpError):
    """What an auth class raises: django-ninja itself answers with its status and its ``detail``.

    :func:`add_exception_handlers` has the whole ``body`` answered, as DRF does, and the ``headers``.
    """

    def __init__(self, error: APIException, challenge: str = "") -> None:
        """``challenge``: for ``WWW-Authenticate`` (RFC 9110 section 11.6.1), where ``error`` has none of its own."""
        detail: Any = error.detail
        # As DRF does.
        self.body: Any = detail if isinstance(detail, (dict, list)) else {"detail": detail}
        self.headers: dict[str, str] = {}
        if wait := getattr(error, "wait", None):
            self.headers["Retry-After"] = str(wait)
        if error.status_code == 401 and (challenge := getattr(error, "auth_header", challenge)):
            self.headers["WWW-Authenticate"] = challenge
        text = self.body.get("detail") if isinstance(self.body, dict) else None
        super().__init__(error.status_code, str(text or error.default_detail))


class Unauthenticated(Refused, AuthenticationError):
    """A :class:`Refused` with 401, for a project's own handler of django-ninja's ``AuthenticationError``."""


def add_exception_handlers(api: NinjaAPI) -> None:
    """Answer with ``detail``, ``code``, ``messages`` and ``reason`` where a token is refused, and with the headers.

    Also with 503 where an operation of ``api`` itself asks Redis, by :mod:`jwt_redis.sessions`, and gets no answer.
    """
    api.add_exception_handler(Refused, partial(_answer, api=api))
    api.add_exception_handler(RevocationUnavailable, partial(_answer_unavailable, api=api))


def _answer(request: HttpRequest, error: Any, api: NinjaAPI) -> HttpResponse:
    response = api.create_response(request, error.body, status=error.status_code)
    for name, value in error.headers.items():
        response[name] = value
    if config().cookie is not None:
        patch_vary(response)
    return response


def _answer_unavailable(request: HttpRequest, error: Any, api: NinjaAPI) -> HttpResponse:
    return _answer(request, Refused(error), api)


class _Found(NamedTuple):
    user: Any
    auth: Token


class _JWTAuth(AuthBase):
    # A subclass may name a class of its own.
    authentication_class: type[RevocationCheckMixin] = JWTAuthentication
    is_async = False

    def __init__(
        self,
        *,
        stateless: bool = False,
        on_redis_failure: FailurePolicy | None = None,
        max_age: timedelta | None = None,
    ) -> None:
        """Bearer tokens, each asked about in Redis.

        ``stateless``: ``request.user`` is made of the token, no database is asked. ``on_redis_failure``: "deny" or
        "allow", in place of the setting. ``max_age``: of the sign-in; when that was longer ago, 401 with RFC 9470's
        challenge.

        :raises ValueError: naming the argument that is wrong.
        """
        # Not AuthBase's, which looks at the settings now: a wrong one is for `manage.py check` to tell.
        if on_redis_failure not in (None, "deny", "allow"):
            raise ValueError("on_redis_failure: it is one of 'deny', 'allow', None")
        if max_age is not None and (not isinstance(max_age, timedelta) or max_age < timedelta(seconds=1)):
            raise ValueError("max_age: None or a timedelta of at least a second is needed")
        if stateless:
            self.authentication_class = JWTStatelessUserAuthentication
        self._on_redis_failure = on_redis_failure
        self._recency: Any = LoggedInWithin(max_age.total_seconds() / 60)() if max_age is not None else None

    @property
    def openapi_security_schema(self) -> SecuritySchema:  # type: ignore[override]
        """What the API's schema says of it, by the class's name."""
        text, cookie = "An access token.", config().cookie
        if cookie is not None:
            text += f" Or the cookie `{access_name(cookie)}`, with a CSRF token for what changes something."
        header = HttpHeaders.parse_header_name(simplejwt_setting("AUTH_HEADER_NAME")) or "Authorization"
        if (header, AUTH_HEADER_TYPES[0]) == ("Authorization", "Bearer"):
            return SecuritySchema("http", scheme="bearer", bearerFormat="JWT", description=text)
        text += f" It comes behind `{AUTH_HEADER_TYPES[0]} `."
        return SecuritySchema("apiKey", **{"in": "header", "name": header, "description": text})

    def _authenticator(self) -> RevocationCheckMixin:
        # Of this request alone: it keeps something of it.
        authenticator = self.authentication_class()
        if self._on_redis_failure is not None:
            authenticator.on_redis_failure = self._on_redis_failure
        return authenticator

    def _accepted(self, request: Any, found: tuple[Any, Token] | None) -> Token | None:
        if found is None:
            return None
        user, token = found
        if self._recency is not None:
            self._recency.has_permission(_Found(user, token), None)

        async def auser() -> Any:
            return user

        request.user, request.auser = user, auser
        return token


class JWTAuth(_JWTAuth):
    """``request.auth`` is the token, ``request.user`` its user. Without a token the next class in ``auth`` is asked."""

    def __call__(self, request: HttpRequest) -> Token | None:
        """:raises Refused: when the token is refused (:class:`Unauthenticated`), or Redis cannot be asked."""
        authenticator = self._authenticator()
        try:
            return self._accepted(request, authenticator.authenticate(request))
        except APIException as error:
            raise _refused(error, authenticator, request) from error


class AsyncJWTAuth(_JWTAuth):
    """:class:`JWTAuth` over ``redis.asyncio``, and ``stateless`` without a thread."""

    is_async = True

    async def __call__(self, request: HttpRequest) -> Token | None:
        """As :class:`JWTAuth`."""
        authenticator = self._authenticator()
        try:
            return self._accepted(request, await authenticator.aauthenticate(request))
        except APIException as error:
            raise _refused(error, authenticator, request) from error


def _refused(error: APIException, authenticator: RevocationCheckMixin, request: Any) -> Refused:
    made = Unauthenticated if error.status_code == 401 else Refused
    return made(error, authenticator.authenticate_header(request))
