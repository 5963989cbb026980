"""For the tests of projects that use this package: nothing in the package itself imports it.

The names below are imported when they are asked for: settings files start servers with :mod:`jwt_redis.testing.servers`
before Django is there.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jwt_redis.testing.assertions import (
        aassert_live,
        aassert_revoked,
        aassert_session_ended,
        aassert_session_live,
        assert_live,
        assert_revoked,
        assert_session_ended,
        assert_session_live,
    )
    from jwt_redis.testing.cases import SessionTestCase, SessionTestMixin, SessionTransactionTestCase
    from jwt_redis.testing.overriding import override_jwt_settings
    from jwt_redis.testing.private_redis import PrivateRedis, private_redis
    from jwt_redis.testing.resetting import reset
    from jwt_redis.testing.signing_in import SignedIn, aauth_headers, alogin, auth_headers, expired, login

__all__ = [
    "PrivateRedis",
    "SessionTestCase",
    "SessionTestMixin",
    "SessionTransactionTestCase",
    "SignedIn",
    "aassert_live",
    "aassert_revoked",
    "aassert_session_ended",
    "aassert_session_live",
    "aauth_headers",
    "alogin",
    "assert_live",
    "assert_revoked",
    "assert_session_ended",
    "assert_session_live",
    "auth_headers",
    "expired",
    "login",
    "override_jwt_settings",
    "private_redis",
    "reset",
]

_ROOMS = {
    "assertions": tuple(name for name in __all__ if "assert_" in name),
    "cases": ("SessionTestCase", "SessionTestMixin", "SessionTransactionTestCase"),
    "overriding": ("override_jwt_settings",),
    "private_redis": ("PrivateRedis", "private_redis"),
    "resetting": ("reset",),
    "signing_in": ("SignedIn", "aauth_headers", "alogin", "auth_headers", "expired", "login"),
}
_ROOM_OF = {name: room for room, names in _ROOMS.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _ROOM_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_ROOM_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
