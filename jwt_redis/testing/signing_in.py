"""A user is signed in without a password: a session is opened, and a client bears its tokens."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.request import HttpHeaders
from django.test import AsyncClient, Client
from django.utils.module_loading import import_string
from rest_framework_simplejwt import authentication
from rest_framework_simplejwt.tokens import RefreshToken, Token

from jwt_redis import sessions
from jwt_redis.conf import config, leeway_seconds, simplejwt_setting
from jwt_redis.cookies import access_name, csrf_token, refresh_name, set_cookies
from jwt_redis.decoding import decode
from jwt_redis.verdicts import SID_CLAIM

__all__ = ["SignedIn", "aauth_headers", "alogin", "auth_headers", "expired", "login"]


class SignedIn(NamedTuple):
    """A session that was opened for a test. ``refresh`` is empty for a sliding token, which is both."""

    user: Any
    sid: str
    access: str
    refresh: str

    @property
    def headers(self) -> dict[str, str]:
        """What a request bears it with: for the ``headers`` of Django's test client, ``requests``, ``httpx``."""
        return _headers(self.access)


def auth_headers(user: Any) -> dict[str, str]:
    """Open a session for ``user``: the header of a request in it, named and spelled as ``SIMPLE_JWT`` says.

    ``client.get("/notes/", headers=auth_headers(user))``. A new session each time; ``user`` may also be a token of
    this package, of whose session it then is.
    """
    return _signed_in(user, _given(user) or _opened(user)).headers


async def aauth_headers(user: Any) -> dict[str, str]:
    """:func:`auth_headers` over ``redis.asyncio``."""
    return _signed_in(user, _given(user) or await _aopened(user)).headers


def login(client: Any, user: Any, *, transport: str | None = None) -> SignedIn:
    """Open a session for ``user``, and have ``client`` bear it in each request from now on.

    ``client``: Django's ``Client`` or ``AsyncClient``, or DRF's ``APIClient``. Who it was before is forgotten.
    ``transport``: "cookie" or "header"; None is cookies where ``JWT_REDIS["COOKIE"]`` is on. A client with
    ``enforce_csrf_checks`` gets Django's CSRF cookie too, whose value a request repeats in the ``X-CSRFToken`` header.

    :raises ValueError: when ``transport`` is another word, or "cookie" where cookies are off.
    :raises TypeError: when the client is of another kind: for those there is :func:`auth_headers`.
    """
    way = _transport(client, transport)
    made = _signed_in(user, _opened(user))
    _bear(client, made, way)
    return made


async def alogin(client: Any, user: Any, *, transport: str | None = None) -> SignedIn:
    """:func:`login` over ``redis.asyncio``."""
    way = _transport(client, transport)
    made = _signed_in(user, await _aopened(user))
    _bear(client, made, way)
    return made


def expired(token: Token | str) -> str:
    """The same token, as it would be had its time run out just now, ``LEEWAY`` included; signed again.

    Its session is as it was. For a token of any type that is good.
    """
    good = decode(token)
    seconds = leeway_seconds() + 1
    payload = dict(good.payload)
    now = int(time.time())
    payload["exp"] = int(now - seconds)
    payload["iat"] = min(int(payload.get("iat", now)), int(now - seconds) - 1)
    encoded: Any = good.get_token_backend().encode(payload)
    return str(encoded)


def _given(user: Any) -> Token | None:
    return user if isinstance(user, Token) else None


def _is_sliding() -> bool:
    kinds = {cls.token_type for cls in simplejwt_setting("AUTH_TOKEN_CLASSES")}
    return "sliding" in kinds and "access" not in kinds


def _sliding(user: Any) -> Any:
    return import_string(simplejwt_setting("SLIDING_TOKEN_OBTAIN_SERIALIZER")).get_token(user)


def _opened(user: Any) -> Token:
    if not _is_sliding():
        return sessions.open_session(user)
    token: Token = _sliding(user)
    sessions.register(token)
    return token


async def _aopened(user: Any) -> Token:
    if not _is_sliding():
        return await sessions.aopen_session(user)
    token: Token = _sliding(user)
    await sessions.aregister(token)
    return token


def _signed_in(user: Any, token: Any) -> SignedIn:
    is_refresh = isinstance(token, RefreshToken)
    access = token.access_token if is_refresh else token
    return SignedIn(user, token.payload.get(SID_CLAIM, ""), str(access), str(token) if is_refresh else "")


def _headers(access: str) -> dict[str, str]:
    name = HttpHeaders.parse_header_name(simplejwt_setting("AUTH_HEADER_NAME")) or "Authorization"
    return {name: f"{authentication.AUTH_HEADER_TYPES[0]} {access}"}


def _transport(client: Any, transport: str | None) -> str:
    if not isinstance(client, (Client, AsyncClient)):
        raise TypeError(f"a test client of Django's or DRF's is needed, not {client!r}: see auth_headers")
    if transport not in (None, "header", "cookie"):
        raise ValueError(f"transport: 'header' or 'cookie' is needed, not {transport!r}")
    if transport == "cookie" and config().cookie is None:
        raise ValueError("transport: JWT_REDIS['COOKIE'] is None, so nobody would look into the cookie")
    return transport or ("header" if config().cookie is None else "cookie")


def _bear(client: Any, made: SignedIn, transport: str) -> None:
    _forget(client)
    if transport == "cookie":
        response = HttpResponse()
        set_cookies(response, access=made.access, refresh=made.refresh or None)
        client.cookies.update(response.cookies)
        if client.handler.enforce_csrf_checks and not settings.CSRF_USE_SESSIONS:
            client.cookies[settings.CSRF_COOKIE_NAME] = csrf_token(HttpRequest())
    else:
        # Each client has another place for a header that stays, and Django's async one has none.
        client.generic = partial(_generic, type(client).generic, client, made.headers)


def _generic(generic: Any, client: Any, bearing: Mapping[str, str], *args: Any, **kwargs: Any) -> Any:
    # What a request says itself has the last word, in either of Django's ways.
    if simplejwt_setting("AUTH_HEADER_NAME") not in kwargs:
        kwargs["headers"] = {**bearing, **(kwargs.get("headers") or {})}
    return generic(client, *args, **kwargs)


def _forget(client: Any) -> None:
    vars(client).pop("generic", None)
    cookie = config().cookie
    if cookie is not None:
        for name in (access_name(cookie), refresh_name(cookie)):
            client.cookies.pop(name, None)
