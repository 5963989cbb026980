"""``COOKIE``: whether browsers keep the cookies to themselves, and send them where they are read."""

from __future__ import annotations

from django.conf import settings
from django.core.checks import CheckMessage, Warning

from jwt_redis.conf import Cookie
from jwt_redis.cookie_paths import out_of_reach, refresh_path

__all__ = ["check_cookie"]


def check_cookie(cookie: Cookie) -> list[CheckMessage]:
    """Where tokens travel in cookies."""
    found: list[CheckMessage] = []
    if not cookie.secure and not settings.DEBUG:
        found.append(
            Warning(
                "JWT_REDIS: COOKIE: secure is False: tokens are sent in the clear to whoever makes a browser ask over"
                " http.",
                hint="secure True, and TLS; False is for local development.",
                id="jwt_redis.W004",
            )
        )
    if not cookie.csrf:
        found.append(
            Warning(
                "JWT_REDIS: COOKIE: csrf is False: other sites can act for a user who is signed in.",
                hint="csrf True. Clients without cookies have the header, or views with uses_cookies=False.",
                id="jwt_redis.W005",
            )
        )
    if getattr(settings, "ROOT_URLCONF", None):
        found += _check_reach(cookie)
    return found


def _check_reach(cookie: Cookie) -> list[CheckMessage]:
    missed = out_of_reach(cookie)
    if missed is None:
        what = "no URL leads to a view that takes the refresh cookie: nobody can refresh."
        hint = 'path("auth/", include("jwt_redis.urls")), or views from jwt_redis.views in place of Simple JWT\'s own.'
    elif missed:
        what = f"browsers do not send the refresh cookie, whose path is {refresh_path(cookie)}, to {', '.join(missed)}."
        hint = "refresh_path None, or one that all of these URLs begin with."
    else:
        return []
    return [Warning(f"JWT_REDIS: COOKIE: {what}", hint=hint, id="jwt_redis.W006")]
