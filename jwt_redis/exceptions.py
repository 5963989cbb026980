"""What can go wrong, as exceptions that carry their facts."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext_lazy as _
from rest_framework import status
from rest_framework.exceptions import APIException
from rest_framework_simplejwt.exceptions import DetailDictMixin, TokenError

__all__ = [
    "InsufficientAuthentication",
    "JWTRedisError",
    "JournalUnavailable",
    "NoSigningKey",
    "NotReplicated",
    "RemovedInJWTRedis2Warning",
    "RevocationUnavailable",
    "RevokedToken",
    "StoreNotReady",
]


class JWTRedisError(Exception):
    """The base of every exception that this package defines."""


class RemovedInJWTRedis2Warning(DeprecationWarning):
    """What is used works in every 1.x, and is gone in 2.0. The message names what takes its place."""


class RevocationUnavailable(JWTRedisError, DetailDictMixin, APIException):
    """Redis could not be asked, so nobody can say whether a token was revoked.

    Answered as 503 with ``Retry-After`` and never as 401: a client that gets a 401 throws its tokens away.

    ``wait``: seconds after which the client may try again (the ``Retry-After`` header, RFC 9110 section 10.2.3).
    """

    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_detail: Any = _("Sessions cannot be looked up right now. Try again shortly.")
    default_code = "revocation_unavailable"
    wait = 1

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), ())


class StoreNotReady(RevocationUnavailable):
    """Redis may lack revocations, and what the journal has for it could not be applied yet. Never let through."""


class NoSigningKey(RevocationUnavailable):
    """The key that signs was refused, and no other signs in its place yet: a token that it signed would be refused."""


class JournalUnavailable(RevocationUnavailable):
    """Redis knows of a revocation, but the journal could not be written: Redis could still forget it."""


class NotReplicated(RevocationUnavailable):
    """A revocation is in the primary, but fewer replicas confirmed it in time than ``WAIT_REPLICAS`` asks for.

    It stays pending in the journal. ``confirmed`` and ``wanted`` are numbers of replicas (WAIT).
    """

    def __init__(self, confirmed: int = 0, wanted: int = 0) -> None:
        super().__init__()
        self.confirmed = confirmed
        self.wanted = wanted

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.confirmed, self.wanted))


class RevokedToken(JWTRedisError, TokenError):
    """A token with a good signature that the store refuses.

    ``reason`` is one of the stable strings in :mod:`jwt_redis.verdicts`. Simple JWT's views turn its argument, a
    dict, into the body of a 401.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__({"detail": _("Token is blacklisted"), "code": "token_not_valid", "reason": reason})

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.reason,))


class InsufficientAuthentication(JWTRedisError, DetailDictMixin, APIException):
    """The user signed in too long ago for what is asked: RFC 9470's step-up challenge.

    Not DRF's ``AuthenticationFailed``, for whose ``WWW-Authenticate`` the view always puts the authenticator's own.
    """

    status_code = status.HTTP_401_UNAUTHORIZED
    default_detail: Any = _("Sign in again to do this.")
    default_code = "insufficient_user_authentication"

    def __init__(self, max_age: int) -> None:
        """``max_age``: the greatest age of the sign-in, in seconds (RFC 9470 section 3)."""
        super().__init__()
        self.max_age = max_age
        self.auth_header = (
            'Bearer error="insufficient_user_authentication", '
            f'error_description="A more recent authentication is required", max_age="{max_age}"'
        )
