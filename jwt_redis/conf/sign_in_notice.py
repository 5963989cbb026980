"""``JWT_REDIS["SIGN_IN_NOTICE"]``."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, NamedTuple

from jwt_redis.conf import addresses, values


class SignInNotice(NamedTuple):
    """Who is told of a sign-in from a device that the user was not seen with, and how."""

    # What the links in the e-mail begin with. Not the host of the request: that is for the client to invent.
    base_url: str
    # Called with the notice. None: nobody but the receivers of the signal is told.
    send: Callable[..., Any] | None
    # For how long the link "this was not me" works.
    link_lifetime: timedelta = timedelta(days=7)
    # For how long a device is known after a sign-in.
    known_for: timedelta = timedelta(days=90)
    # Whether a known browser in another network is new.
    by_network: bool = False
    # Called with the user, for the language to write in. None: that of the request.
    language: Callable[..., Any] | None = None


def parse_sign_in_notice(value: object) -> SignInNotice | None:
    if value is None:
        return None
    parsers: dict[str, Callable[[object], Any]] = {
        "base_url": addresses.base_url,
        "send": values.callable_or_path,
        "link_lifetime": values.duration,
        "known_for": values.duration,
        "by_network": values.flag,
        "language": values.callable_or_path,
    }
    parsed = values.parts(value, parsers, "{'base_url': 'https://example.com'}")
    if "base_url" not in parsed:
        raise ValueError("base_url: it is missing; the links in the e-mail begin with it")
    parsed.setdefault("send", values.callable_or_path("jwt_redis.notices.send_mail"))
    return SignInNotice(**parsed)
