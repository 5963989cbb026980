"""Where the refresh cookie is sent: as far down as the URLs of the views that take it go together."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

from django.conf import settings
from django.urls import URLResolver, get_resolver, get_script_prefix, get_urlconf
from django.urls.resolvers import RegexPattern, RoutePattern

from jwt_redis.conf import Cookie

__all__ = ["out_of_reach", "refresh_path"]


class _Route(NamedTuple):
    """A URL of a view that takes the refresh cookie: how it begins, and whether that is all of it."""

    beginning: str
    is_whole: bool
    view: str


def refresh_path(cookie: Cookie) -> str:
    """The refresh cookie's path: the setting, or what the URLs of the views that take it have in common.

    Such a view has ``takes_refresh_cookie`` True and ``uses_cookies`` not False. Where no URL leads to one, it is "/".
    """
    if cookie.refresh_path is not None:
        return cookie.refresh_path
    return get_script_prefix() + _common_beginning(get_urlconf() or settings.ROOT_URLCONF)


@cache
def _common_beginning(urlconf: Any) -> str:
    beginnings = [beginning for beginning, _, _ in _routes(urlconf)]
    if not beginnings:
        return ""
    # The first and the last in their order differ the soonest.
    first, last = min(beginnings), max(beginnings)
    if first == last and all(is_whole for _, is_whole, _ in _routes(urlconf)):
        return first
    length = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    return first[: first.rfind("/", 0, length) + 1]


def out_of_reach(cookie: Cookie) -> list[str] | None:
    """The views that take the refresh cookie and are not sent it. None where no URL leads to such a view."""
    routes = _routes(settings.ROOT_URLCONF)
    if not routes:
        return None
    path = refresh_path(cookie)
    return sorted({route.view for route in routes if not _reaches(path, route)})


def _reaches(path: str, route: _Route) -> bool:
    # RFC 6265 section 5.1.4.
    url = get_script_prefix() + route.beginning
    if not route.is_whole and path.startswith(url):
        return True  # Whether the rest of it fits, nobody can tell.
    return url == path or url.startswith(path if path.endswith("/") else f"{path}/")


def _routes(urlconf: Any) -> list[_Route]:
    return list(_walk(get_resolver(urlconf).url_patterns, "", True))


def _walk(entries: Any, beginning: str, is_whole: bool) -> Iterator[_Route]:
    for entry in entries:
        fixed, is_all = _fixed_part(entry.pattern)
        here = beginning + fixed if is_whole else beginning
        if isinstance(entry, URLResolver):
            yield from _walk(entry.url_patterns, here, is_whole and is_all)
        elif _takes_refresh_cookie(entry.callback):
            cls = entry.callback.cls
            yield _Route(here, is_whole and is_all, f"{cls.__module__}.{cls.__qualname__}")


def _takes_refresh_cookie(callback: Any) -> bool:
    # As DRF's as_view leaves them on the function.
    view, given = getattr(callback, "cls", None), getattr(callback, "initkwargs", {})
    uses_cookies = given.get("uses_cookies", getattr(view, "uses_cookies", None))
    return uses_cookies is not False and getattr(view, "takes_refresh_cookie", False) is True


# Of a regular expression, what stands for itself.
_LITERAL = re.compile(r"\^?((?:[\w/~-](?![?*{]))*)(\$|\\Z)?")


def _fixed_part(pattern: Any) -> tuple[str, bool]:
    """What each URL of a pattern begins with, and whether that is all of it."""
    if isinstance(pattern, RoutePattern) and isinstance(route := vars(pattern)["_route"], str):
        return route.partition("<")[0], "<" not in route
    if isinstance(pattern, RegexPattern) and isinstance(regex := vars(pattern)["_regex"], str):
        found = _LITERAL.match(regex)
        return (found[1], found.end() == len(regex)) if found else ("", False)
    # A language's prefix, or a translated route: another one with each request.
    return "", False
