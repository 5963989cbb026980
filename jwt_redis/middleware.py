"""Simple JWT for plain Django views, sync and async."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import cache, cached_property, partial
from typing import Any, NamedTuple

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest, JsonResponse
from django.http.response import HttpResponseBase
from rest_framework.exceptions import APIException
from rest_framework_simplejwt.authentication import AUTH_HEADER_TYPE_BYTES
from rest_framework_simplejwt.tokens import Token

from jwt_redis.authentication import MEMO, JWTAuthentication, RevocationCheckMixin
from jwt_redis.conf import config
from jwt_redis.cookies import access_cookie, aenforce_csrf, enforce_csrf, patch_vary
from jwt_redis.exceptions import RevocationUnavailable

__all__ = ["JWTAuthenticationMiddleware"]


class JWTAuthenticationMiddleware:
    """Sets ``request.user``, ``request.auser``, ``request.auth`` (the token) and ``request.auth_error``.

    For a request with an ``Authorization: Bearer`` header. All are lazy: a view that looks at none costs nothing,
    and one that looks at several costs one check. A token that is refused leaves the user anonymous, and
    ``auth_error`` is the exception that says why. Where Redis cannot be asked the answer is 503.

    Put it behind Django's ``AuthenticationMiddleware``, whose user stays for requests without the header.
    In an async view await ``request.auser()`` before the others.

    With ``COOKIE``, the token may be in the cookie too. The header comes first, then a user whom Django's session has
    signed in, then the cookie. A request that fails Django's CSRF check is anonymous, even if the view is exempt.
    """

    sync_capable = True
    async_capable = True
    # A subclass may name a class of its own.
    authentication_class: type[RevocationCheckMixin] = JWTAuthentication

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        self._authenticator = self.authentication_class()
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)
            # Django would call one that is not async in a thread, for each request.
            self.process_view = self._aprocess_view  # type: ignore[method-assign]

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if self._is_async:
            return self.__acall__(request)
        self._prepare(request)
        response: HttpResponseBase = self.get_response(request)
        return _finished(request, response)

    async def __acall__(self, request: HttpRequest) -> HttpResponseBase:
        self._prepare(request)
        response: HttpResponseBase = await self.get_response(request)
        return _finished(request, response)

    def _prepare(self, request: Any) -> None:
        header = self._authenticator.get_header(request)
        kind = header.split(None, 1)[0] if header and header.split() else b""
        if kind not in AUTH_HEADER_TYPE_BYTES:
            if not hasattr(request, "user"):
                request.user = AnonymousUser()
            if config().cookie is None:
                request.auth = request.auth_error = None
                if not hasattr(request, "auser"):
                    request.auser = partial(_user_at_hand, request)
                return
            request._jwt_former = _Former(request.user, getattr(request, "auser", None))
        # Attributes that are computed when they are read, and may be None, need a class.
        request.__dict__.pop("user", None)
        request.__dict__.pop("auser", None)
        request.__class__ = _with_lazy_user(request.__class__)
        request._jwt_authenticator = self.authentication_class()

    async def _aprocess_view(self, request: Any, view: Any, args: Any, kwargs: Any) -> None:
        self._note_policy(request, view)

    def process_view(self, request: Any, view: Any, args: Any, kwargs: Any) -> Any:
        """Django's hook, before the view is called."""
        self._note_policy(request, view)

    def _note_policy(self, request: Any, view: Any) -> None:
        """A view may have a failure policy of its own, by the attribute ``on_redis_failure``."""
        authenticator = getattr(request, "_jwt_authenticator", None)
        policy = getattr(view, "on_redis_failure", getattr(getattr(view, "cls", None), "on_redis_failure", None))
        if authenticator is not None and policy is not None:
            authenticator.on_redis_failure = policy

    def process_exception(self, request: HttpRequest, exception: Exception) -> JsonResponse | None:
        """The 503 for a view that asked for the user while Redis could not be asked."""
        return _unavailable(exception) if isinstance(exception, RevocationUnavailable) else None


def _unavailable(exception: RevocationUnavailable) -> JsonResponse:
    return JsonResponse(exception.detail, status=exception.status_code, headers={"Retry-After": str(exception.wait)})


def _finished(request: Any, response: HttpResponseBase) -> HttpResponseBase:
    # Somebody has looked at the user, or at the lack of one: here, or in an authentication class.
    looked = request.__dict__.keys() & {"_jwt_result", "_jwt_varies"}
    if looked and config().cookie is not None:
        patch_vary(response)
    return _unless_unavailable(request, response)


def _unless_unavailable(request: Any, response: HttpResponseBase) -> HttpResponseBase:
    """The 503 also where another middleware asked for the user: Django has made a 500 of that."""
    error = request.__dict__.get("_jwt_unavailable")
    return _unavailable(error) if error is not None and response.status_code == 500 else response


async def _user_at_hand(request: Any) -> Any:
    return request.user


class _Former(NamedTuple):
    """The user of a request without the header, as another middleware has left it."""

    user: Any
    auser: Callable[[], Awaitable[Any]] | None


class _LazyUser:
    """What a request is given. Each is computed once; assigning to it works as on any request."""

    _jwt_authenticator: RevocationCheckMixin
    _jwt_result: tuple[Any, Token | None, Exception | None]

    def _authenticated(self) -> tuple[Any, Token | None, Exception | None]:
        if "_jwt_result" not in self.__dict__:
            self._jwt_result = _authenticate(self)
        return self._jwt_result

    @cached_property
    def user(self) -> Any:
        return self._authenticated()[0]

    @cached_property
    def auth(self) -> Token | None:
        return self._authenticated()[1]

    @cached_property
    def auth_error(self) -> Exception | None:
        return self._authenticated()[2]

    async def auser(self) -> Any:
        if "user" not in self.__dict__ and "_jwt_result" not in self.__dict__:
            self._jwt_result = await _aauthenticate(self)
        return self.user


@cache
def _with_lazy_user(cls: type) -> type:
    return type(cls.__name__, (_LazyUser, cls), {"__module__": cls.__module__, "__doc__": cls.__doc__})


def _former(request: Any) -> _Former | None:
    former: _Former | None = request.__dict__.get("_jwt_former")
    return former


def _raw_token(request: Any) -> bytes | None:
    if _former(request) is not None:
        return access_cookie(request)
    authenticator = request._jwt_authenticator
    # "Bearer" and nothing behind it: refused there, as DRF would.
    raw: bytes = authenticator.get_raw_token(authenticator.get_header(request))
    return raw


def _authenticate(request: Any) -> tuple[Any, Token | None, Exception | None]:
    authenticator, former = request._jwt_authenticator, _former(request)
    # Django's session may be the site's administrator's, in the same browser.
    if former is not None and former.user.is_authenticated:
        return former.user, None, None
    try:
        if (raw := _raw_token(request)) is None:
            return former.user if former is not None else AnonymousUser(), None, None
        try:
            token = authenticator.get_validated_token(raw)
        except APIException as error:
            _remember(request, raw, error)
            raise
        _remember(request, raw, token)
        user = authenticator.get_user(token)
        if former is not None:
            enforce_csrf(request)
        return user, token, None
    except RevocationUnavailable as error:
        request._jwt_unavailable = error
        raise
    except APIException as error:
        return AnonymousUser(), None, error


async def _aauthenticate(request: Any) -> tuple[Any, Token | None, Exception | None]:
    authenticator, former = request._jwt_authenticator, _former(request)
    user: Any = AnonymousUser()
    if former is not None:
        user = former.user if former.auser is None else await former.auser()
        if user.is_authenticated:
            return user, None, None
    try:
        if (raw := _raw_token(request)) is None:
            return user, None, None
        try:
            token = await authenticator.aget_validated_token(raw)
        except APIException as error:
            _remember(request, raw, error)
            raise
        _remember(request, raw, token)
        user = await authenticator.aget_user(token)
        if former is not None:
            await aenforce_csrf(request)
        return user, token, None
    except RevocationUnavailable as error:
        request._jwt_unavailable = error
        raise
    except APIException as error:
        return AnonymousUser(), None, error


def _remember(request: Any, raw: bytes, outcome: Token | Exception) -> None:
    # What was let through unchecked is for each view to allow.
    is_checked = getattr(getattr(outcome, "verdict", None), "checked", True)
    if is_checked and not isinstance(outcome, RevocationUnavailable):
        setattr(request, MEMO, (raw, outcome))
