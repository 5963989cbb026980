"""``JWT_REDIS["PAGES"]``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from jwt_redis.conf import values


class Pages(NamedTuple):
    """Of the HTML pages. Each URL is a path, a whole URL, or the name of a URL pattern."""

    # Where who is not signed in is sent. None: Django's ``LOGIN_URL``.
    login_url: str | None = None
    # Where the password is changed, for those who find somebody else's device.
    password_url: str | None = None
    # How many sessions a page lists.
    page_size: int = 20


def _page_size(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 1000:
        raise ValueError("a whole number from 1 to 1000 is needed")
    return value


def parse_pages(value: object) -> Pages:
    parsers: dict[str, Callable[[object], Any]] = {
        "login_url": values.optional(values.text),
        "password_url": values.optional(values.text),
        "page_size": _page_size,
    }
    return Pages() if value is None else Pages(**values.parts(value, parsers, "{'page_size': 20}"))
