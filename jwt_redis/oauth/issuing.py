"""Under which name this site issues tokens, and where its endpoints are."""

from __future__ import annotations

from typing import TypeGuard
from urllib.parse import urlsplit

from jwt_redis.conf import config, is_issuer_url, simplejwt_setting

__all__ = ["is_url", "issuer", "own_url"]


def issuer() -> str | None:
    """This site's issuer identifier (RFC 8414 section 2): the setting's, or Simple JWT's ``ISSUER``. Not every
    ``ISSUER`` is a URL."""
    named = config().oauth.issuer or simplejwt_setting("ISSUER")
    return str(named) if named else None


def is_url(named: str | None) -> TypeGuard[str]:
    """Is it one that metadata can be found by? Where everybody hears what is sent, it is not."""
    return named is not None and is_issuer_url(named)


def own_url(named: str, path: str) -> str:
    """The URL of a ``path`` on the issuer's host; the one that a request names is for anybody to choose."""
    parts = urlsplit(named)
    return f"{parts.scheme}://{parts.netloc}{path}"
