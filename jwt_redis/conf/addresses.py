"""URLs of this site and of others, as settings name them."""

from __future__ import annotations

import re

from jwt_redis.conf import values

_BASE_URL = re.compile(r"https?://[^/?#\s@]+(/[^?#\s]*)?")
_HTTPS_URL = re.compile(r"https://[^/?#\s@]+(/[^?#\s]*)?(\?[^#\s]*)?")
# Nobody is between this machine and itself.
_LOCAL_URL = re.compile(r"http://(127\.0\.0\.1|localhost|\[::1\])(:\d+)?(/[^?#\s]*)?(\?[^#\s]*)?")


def base_url(value: object) -> str:
    if not isinstance(value, str) or not _BASE_URL.fullmatch(value):
        raise ValueError("the site's address such as 'https://example.com' is needed")
    return value.rstrip("/")


def secure_url(value: object) -> str:
    """It, where nobody on the way can answer in its place.

    :raises ValueError: when it is none.
    """
    if not isinstance(value, str) or not (_HTTPS_URL.fullmatch(value) or _LOCAL_URL.fullmatch(value)):
        raise ValueError("an https:// URL is needed (http:// for this very machine)")
    return value


def is_issuer_url(value: str) -> bool:
    """Is it https, without a query (RFC 8414 section 2)? Or of this very machine."""
    return "?" not in value and bool(_HTTPS_URL.fullmatch(value) or _LOCAL_URL.fullmatch(value))


def issuer(value: object) -> str:
    text = values.text(value)
    if not is_issuer_url(text):
        raise ValueError("an https:// URL without a query is needed (RFC 8414 section 2)")
    return text
