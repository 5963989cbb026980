"""A witness of the password: what tells that it was changed by somebody who sent no signal."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Callable
from typing import Any

__all__ = ["fingerprint", "fingerprints", "matches"]

# Characters kept of the HMAC, 48 bits: enough to tell two hashes apart, too few to test a password against.
_LENGTH = 8


def _auth_hash(user: Any) -> Callable[[], str] | None:
    # Simple JWT's TokenUser answers None to any name, a user model of the project's own may lack the method.
    method = getattr(user, "get_session_auth_hash", None)
    return method if callable(method) else None


def _bound(auth_hash: str, sid: str) -> str:
    digest = hmac.digest(auth_hash.encode(), sid.encode(), "sha256")
    return base64.urlsafe_b64encode(digest)[:_LENGTH].decode()


def fingerprint(user: Any, sid: str) -> str:
    """Django's session auth hash of ``user``, bound to one session and cut short; "" for a user that has none."""
    auth_hash = _auth_hash(user)
    return _bound(auth_hash(), sid) if auth_hash else ""


def fingerprints(user: Any, sid: str) -> list[str]:
    """:func:`fingerprint`, and the same under each of ``SECRET_KEY_FALLBACKS``."""
    if _auth_hash(user) is None:
        return []
    return [fingerprint(user, sid), *(_bound(former, sid) for former in user.get_session_auth_fallback_hash())]


def matches(user: Any, sid: str, stored: str) -> bool:
    """Is ``stored``, a session record's fingerprint, that of the user's password as it is now?"""
    if not stored or _auth_hash(user) is None:
        return True
    return fingerprint(user, sid) in stored or any(former in stored for former in fingerprints(user, sid)[1:])
