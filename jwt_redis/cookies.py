"""Tokens in cookies (``JWT_REDIS["COOKIE"]``): their names, where they are sent, how they are read, set and cleared.

What comes in a cookie is sent by the browser, whoever made it do so: nothing here is trusted before
:func:`enforce_csrf`.
"""

from __future__ import annotations

import logging
import time
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpResponse
from django.http.request import HttpHeaders
from django.http.response import HttpResponseBase
from django.middleware.csrf import get_token, rotate_token
from django.utils.cache import patch_vary_headers
from django.utils.http import is_same_domain
from rest_framework.authentication import CSRFCheck
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied
from rest_framework_simplejwt import authentication as stock
from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.tokens import Token, UntypedToken

from jwt_redis.conf import Cookie, config, simplejwt_setting
from jwt_redis.cookie_paths import refresh_path
from jwt_redis.decoding import claims_of, decode_to_end

__all__ = [
    "access_cookie",
    "access_cookies",
    "access_name",
    "aenforce_csrf",
    "bears_header",
    "clear_cookies",
    "csrf_token",
    "enforce_csrf",
    "header_token",
    "patch_vary",
    "raw_access_token",
    "refresh_cookies",
    "refresh_name",
    "refuse_other_origins",
    "renew_csrf_token",
    "send_csrf_cookie",
    "sessions_of_cookies",
    "set_cookies",
    "vary_view",
]

logger = logging.getLogger("jwt_redis")

# Browsers drop a cookie whose name and value are longer, without a word (RFC 6265bis section 5.6).
_MAX_COOKIE = 4096


# Reading ----------------------------------------------------------------------------------------------------------


def raw_access_token(request: Any) -> bytes | None:
    """The encoded access token of a request, Django's or DRF's: that of the header, or else that of the cookie.

    Only where :func:`header_token` has none does it come from the cookie; then call :func:`enforce_csrf` too.

    :raises AuthenticationFailed: when the header is malformed.
    """
    from_header = header_token(request)
    return access_cookie(request) if from_header is None else from_header


def header_token(request: Any) -> bytes | None:
    """The encoded token of the ``Authorization`` header, where that is one of Simple JWT's types.

    :raises AuthenticationFailed: when the header is malformed.
    """
    reader = _header_reader()
    header: bytes | None = reader.get_header(request)
    return None if header is None else reader.get_raw_token(header)


def bears_header(request: Any) -> bool:
    """Is there a token in the header, or what was meant for one? No other site can make a browser send that."""
    try:
        return header_token(request) is not None
    except AuthenticationFailed:
        return True


@cache
def _header_reader() -> stock.JWTAuthentication:
    return stock.JWTAuthentication()


def access_cookie(request: Any) -> bytes | None:
    """The encoded access token in the request's cookie. None where there is none, or ``COOKIE`` is off.

    None, too, where the cookie comes twice with different values: a sibling of the host may have set one of them,
    and nothing tells which.
    """
    found = access_cookies(request)
    return found[0].encode(errors="replace") if len(found) == 1 else None


def access_cookies(request: Any) -> list[str]:
    """Each value of the access cookie: more than one where somebody else has set another."""
    cookie = config().cookie
    return [] if cookie is None else _values(request, access_name(cookie))


def refresh_cookies(request: Any) -> list[str]:
    """Each value of the refresh cookie, as :func:`access_cookies`."""
    cookie = config().cookie
    return [] if cookie is None else _values(request, refresh_name(cookie))


def sessions_of_cookies(request: Any) -> dict[tuple[str, str | None], Token]:
    """What the browser holds: by user and session, a token that names it. Also one that has run out."""
    found: dict[tuple[str, str | None], Token] = {}
    for raw in (*refresh_cookies(request), *access_cookies(request)):
        try:
            token = decode_to_end(raw)
            claims = claims_of(token)
        except TokenError:
            continue  # of another service, or nobody's
        found.setdefault((claims.user, claims.sid), token)
    return found


def _values(request: Any, name: str) -> list[str]:
    value = request.COOKIES.get(name)
    if value is None:
        return []
    header = request.META.get("HTTP_COOKIE", "")
    if header.count(name) < 2:
        return [value] if value else []
    # Django's dict has the last of them, which may be an empty one.
    pairs = (part.partition("=") for part in header.split(";"))
    found = dict.fromkeys(value.strip() for key, _, value in pairs if key.strip() == name)
    if len(found) > 1:
        logger.warning("The cookie %s came with %d values.", name, len(found), extra={"event": "cookie_ambiguous"})
    return [value for value in found if value]


def access_name(cookie: Cookie) -> str:
    """The access cookie's whole name."""
    return _with_prefix(cookie, cookie.access, cookie.path)


def refresh_name(cookie: Cookie) -> str:
    """The refresh cookie's whole name."""
    return _with_prefix(cookie, cookie.refresh, refresh_path(cookie))


def _with_prefix(cookie: Cookie, base: str, path: str) -> str:
    # RFC 6265bis section 4.1.3: what a browser takes under these names was set over TLS; under __Host- by this host.
    if not (cookie.prefix and cookie.secure):
        return base
    return f"__Host-{base}" if path == "/" and cookie.domain is None else f"__Secure-{base}"


# Writing ----------------------------------------------------------------------------------------------------------


def set_cookies(
    response: HttpResponseBase, *, access: str | Token | None = None, refresh: str | Token | None = None
) -> None:
    """Put tokens into the cookies of a response: for a view of your own that signs somebody in.

    ``access`` and ``refresh``: a token or its encoded form; None leaves that cookie as it is. A sliding token is an
    ``access``. A new refresh token is written to Redis here, as always when it is turned into a string.

    :raises ImproperlyConfigured: when ``COOKIE`` is off.
    :raises TokenError: when a string is no token.
    """
    cookie = _in_force()
    made = []
    if access is not None:
        made.append((access_name(cookie), cookie.path, str(access), _seconds_left(access)))
    if refresh is not None:
        made.append((refresh_name(cookie), refresh_path(cookie), str(refresh), _seconds_left(refresh)))
    for name, path, value, seconds in made:
        if len(name) + len(value) > _MAX_COOKIE:
            logger.error(
                "The cookie %s has %d bytes, and browsers keep none of more than %d: give the token fewer claims.",
                name,
                len(name) + len(value),
                _MAX_COOKIE,
                extra={"event": "cookie_too_large"},
            )
        _set(response, cookie, name, path, value, seconds if cookie.persistent else None)


def clear_cookies(response: HttpResponseBase) -> None:
    """Have the browser forget both cookies: for a view of your own that signs somebody out.

    :raises ImproperlyConfigured: when ``COOKIE`` is off.
    """
    cookie = _in_force()
    _set(response, cookie, access_name(cookie), cookie.path, "", 0)
    _set(response, cookie, refresh_name(cookie), refresh_path(cookie), "", 0)


def _in_force() -> Cookie:
    cookie = config().cookie
    if cookie is None:
        raise ImproperlyConfigured("JWT_REDIS: COOKIE: it is None, so tokens do not travel in cookies.")
    return cookie


def _set(response: Any, cookie: Cookie, name: str, path: str, value: str, max_age: int | None) -> None:
    response.set_cookie(
        name,
        value,
        max_age=max_age,
        path=path,
        domain=cookie.domain,
        secure=cookie.secure,
        httponly=True,
        samesite=cookie.samesite,
    )


def _seconds_left(token: str | Token) -> int:
    # Minted or verified just now, so that its exp can be read as it is.
    payload = token.payload if isinstance(token, Token) else UntypedToken(token, verify=False).payload  # type: ignore[arg-type]
    # A sliding token is sent for as long as it may be refreshed.
    end = payload.get(simplejwt_setting("SLIDING_TOKEN_REFRESH_EXP_CLAIM"), payload["exp"])
    return max(0, int(end - time.time()))


# Vary -------------------------------------------------------------------------------------------------------------


def _vary() -> tuple[str, str]:
    return HttpHeaders.parse_header_name(simplejwt_setting("AUTH_HEADER_NAME")) or "Authorization", "Cookie"


def patch_vary(response: HttpResponseBase) -> None:
    """Say that the response depends on who asked, however they said so."""
    patch_vary_headers(response, _vary())


def vary_view(request: Any, view: Any) -> None:
    """:func:`patch_vary` for the response that a DRF view has not made yet; or else the middleware does it."""
    request._jwt_varies = True
    headers = getattr(view, "headers", None)
    if isinstance(headers, dict):
        known = [name.strip() for name in headers.get("Vary", "").split(",") if name.strip()]
        headers["Vary"] = ", ".join(dict.fromkeys([*known, *_vary()]))


# CSRF -------------------------------------------------------------------------------------------------------------


def enforce_csrf(request: Any) -> None:
    """Refuse a request that another site may have made the browser send, as Django's ``CsrfViewMiddleware`` does.

    ``request`` is Django's or DRF's. GET, HEAD, OPTIONS and TRACE pass; so does what that middleware has checked, and
    everything where ``COOKIE`` has ``csrf`` False.

    :raises PermissionDenied: "CSRF Failed: ...", with Django's reason.
    """
    cookie = config().cookie
    if cookie is None or not cookie.csrf:
        return
    check = _csrf_check()
    django_request = _django(request)
    check.process_request(django_request)
    if reason := check.process_view(django_request, None, (), {}):
        raise PermissionDenied(f"CSRF Failed: {reason}")


async def aenforce_csrf(request: Any) -> None:
    """:func:`enforce_csrf`; in a thread where the secret is in Django's session, which may have to be read."""
    if settings.CSRF_USE_SESSIONS:
        await sync_to_async(enforce_csrf)(request)
    else:
        enforce_csrf(request)


def refuse_other_origins(request: Any) -> None:
    """Refuse a request that a browser says another site has made: by ``Origin`` (RFC 6454 section 7), which no browser
    leaves out of a cross-site POST. Other clients send none, and pass.

    :raises PermissionDenied: naming the origin, where it is neither the host's own nor in ``CSRF_TRUSTED_ORIGINS``.
    """
    django_request = _django(request)
    origin = django_request.META.get("HTTP_ORIGIN")
    if origin is None or origin == f"{django_request.scheme}://{django_request.get_host()}":
        return
    try:
        given = urlsplit(origin)
    except ValueError:
        raise PermissionDenied("CSRF Failed: Origin checking failed - it is no origin.") from None
    for trusted in map(urlsplit, settings.CSRF_TRUSTED_ORIGINS):
        pattern = trusted.netloc.removeprefix("*")
        if given.scheme == trusted.scheme and is_same_domain(given.netloc, pattern):
            return
    raise PermissionDenied(f"CSRF Failed: Origin checking failed - {origin} does not match any trusted origins.")


def csrf_token(request: Any) -> str:
    """A CSRF token that fits the request's CSRF cookie, a new one where it has none: see :func:`send_csrf_cookie`."""
    django_request = _django(request)
    if "CSRF_COOKIE" not in django_request.META:
        _csrf_check().process_request(django_request)
    return get_token(django_request)


def renew_csrf_token(request: Any) -> None:
    """Another CSRF secret from now on, as at every sign-in."""
    rotate_token(_django(request))


def send_csrf_cookie(request: Any, response: HttpResponseBase) -> None:
    """Put Django's CSRF cookie into the response, where it is due; without its middleware nobody else does."""
    _csrf_check().process_response(_django(request), response)


def _django(request: Any) -> Any:
    return getattr(request, "_request", request)


def _csrf_check() -> Any:
    # Made anew: it keeps what it has read of the settings. Of a middleware, only its hooks are called here.
    return CSRFCheck(lambda request: HttpResponse())
