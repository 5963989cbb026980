"""``JWT_REDIS["COOKIE"]``."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from jwt_redis.conf import values


class Cookie(NamedTuple):
    """How tokens travel in cookies (RFC 6265). The names are without their prefix, which depends on the path."""

    # The access cookie's name.
    access: str = "access_token"
    # The refresh cookie's name.
    refresh: str = "refresh_token"
    # Put ``__Host-`` in front of a secure cookie whose path is ``/`` and that has no domain, ``__Secure-`` in front of
    # any other secure one.
    prefix: bool = True
    # Where the access cookie is sent.
    path: str = "/"
    # Where the refresh cookie is sent. None: as far down as the URLs of refresh and logout go together.
    refresh_path: str | None = None
    # None: this host alone. A domain: all of its hosts.
    domain: str | None = None
    # When a browser sends them with requests that another site began.
    samesite: Literal["Strict", "Lax", "None"] = "Lax"
    # Only over https.
    secure: bool = True
    # Enforce CSRF.
    csrf: bool = True
    # Keep a cookie until its token expires; False: until the browser is closed.
    persistent: bool = True
    # Leave the tokens in the body, too, where a script can read them.
    in_body: bool = False
    # What ``Clear-Site-Data`` names when somebody signs out. True: cache, cookies and storage.
    clear_site_data: tuple[str, ...] = ()


# RFC 6265 section 4.1.1: a token as in RFC 9110 section 5.6.2.
_COOKIE_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_COOKIE_PATH = re.compile(r"/[!-:<-~]*")
_DOMAIN = re.compile(r"\.?[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*")
# https://www.w3.org/TR/clear-site-data/ and what browsers have added.
_SITE_DATA = (
    "cache",
    "cookies",
    "storage",
    "executionContexts",
    "clientHints",
    "prefetchCache",
    "prerenderCache",
    "*",
)


def _cookie_name(value: object) -> str:
    text = values.text(value)
    if not _COOKIE_NAME.fullmatch(text):
        raise ValueError("letters, digits and !#$%&'*+-.^_`|~ make a cookie's name")
    if text.lower().startswith(("__host-", "__secure-")):
        raise ValueError("the prefix is put in front of it where it may be; see 'prefix'")
    return text


def _cookie_path(value: object) -> str:
    if not isinstance(value, str) or not _COOKIE_PATH.fullmatch(value):
        raise ValueError("a path such as '/auth/' is needed: a slash first, ASCII, no spaces, no semicolon")
    return value


def _cookie_domain(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not _DOMAIN.fullmatch(value):
        raise ValueError("None or a domain's name such as 'example.com' is needed, without a scheme and a port")
    return value


def _site_data(value: object) -> tuple[str, ...]:
    if isinstance(value, bool):
        return ("cache", "cookies", "storage") if value else ()
    if not isinstance(value, (list, tuple)):
        raise ValueError("True, False or a list of names is needed")
    if unknown := [name for name in value if name not in _SITE_DATA]:
        raise ValueError(f"{unknown[0]!r} is not one of " + ", ".join(repr(name) for name in _SITE_DATA))
    return tuple(value)


def parse_cookie(value: object) -> Cookie | None:
    if value is None:
        return None
    parsers: dict[str, Callable[[object], Any]] = {
        "access": _cookie_name,
        "refresh": _cookie_name,
        "prefix": values.flag,
        "path": _cookie_path,
        "refresh_path": values.optional(_cookie_path),
        "domain": _cookie_domain,
        "samesite": values.choice("Strict", "Lax", "None"),
        "secure": values.flag,
        "csrf": values.flag,
        "persistent": values.flag,
        "in_body": values.flag,
        "clear_site_data": _site_data,
    }
    made = Cookie(**values.parts(value, parsers, "{'samesite': 'Strict'}"))
    if made.access == made.refresh:
        raise ValueError(f"access, refresh: two names are needed, and both are {made.access!r}")
    if made.samesite == "None" and not made.secure:
        raise ValueError("samesite: with 'None', browsers refuse a cookie that is not secure")
    return made
