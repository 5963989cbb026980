"""From a string to a verified token, with one kind of error."""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any, Final

from django.core.exceptions import ValidationError
from django.db import DataError
from django.utils.translation import gettext_lazy as _
from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.tokens import Token, UntypedToken

from jwt_redis.signing.backends import kid_of
from jwt_redis.token_memo import REMEMBERED, Remembered
from jwt_redis.verdicts import Claims, read_claims

__all__ = ["CRASHES", "UNFIT", "claims_of", "decode", "decode_to_end", "decode_to_revoke", "one_error", "unreadable"]

logger = logging.getLogger(__name__)

# What PyJWT 2.15 and Simple JWT 5.5 let out on crafted tokens: a header nested too deep, an exp of 1e400, of the year
# 10000 or beyond time_t (an OSError), a lone surrogate. None of them may become a 500.
CRASHES: Final = (ArithmeticError, AttributeError, LookupError, OSError, RecursionError, TypeError, ValueError)

# What a field or a database says of a value that it cannot hold: of a user id that no row of the user model has.
UNFIT: Final = (DataError, OverflowError, TypeError, ValidationError, ValueError)


@contextmanager
def one_error() -> Iterator[None]:
    """Turn whatever a crafted token provokes into a ``TokenError``."""
    try:
        yield
    except CRASHES as error:
        raise unreadable(error) from error


def unreadable(error: BaseException) -> TokenError:
    """Log one of ``CRASHES``, and make the exception that callers get for it."""
    logger.info("A token could not be read: %s: %s", type(error).__name__, error, extra={"event": "bad_token"})
    return TokenError(_("Token is invalid"))


def decode(token: str | bytes | Token) -> Token:
    """Verify the signature and the registered claims of a token of any type. A ``Token`` was verified already.

    :raises TokenError: when it is expired or not good.
    """
    if isinstance(token, Token):
        return token
    with one_error():
        return UntypedToken(token)  # type: ignore[arg-type]


class _TokenToEnd(UntypedToken):
    """Its signature counts, and not its time."""

    def get_token_backend(self) -> Any:
        backend: Any = copy.copy(super().get_token_backend())
        backend.leeway = _FOR_EVER
        return backend

    def verify(self) -> None:
        claims_of(self)


_FOR_EVER: Final = timedelta(days=36500)


def decode_to_end(raw_token: str | bytes) -> Token:
    """A token of any type, for nothing but to end its session: one that has run out still says which that is.

    :raises TokenError: when its signature is not good, or it lacks what names a session.
    """
    with one_error():
        return _TokenToEnd(raw_token)  # type: ignore[arg-type]


def decode_to_revoke(token: str | bytes | Token) -> Token:
    """A token of any type that is good, or will be: one that is not good yet, as where another host's clock is ahead,
    has to be gone before it is (RFC 7009 section 2.1). A ``Token`` was verified already.

    :raises TokenError: when it has expired or is not good, or lacks what a verdict needs.
    """
    try:
        found = decode(token)
        claims_of(found)
    except TokenError:
        early = None
        if not isinstance(token, Token):
            with suppress(TokenError):
                early = decode_to_end(token)
        if early is None or claims_of(early).exp <= time.time():
            raise
        return early
    return found


def claims_of(token: Token) -> Claims:
    """The claims that a verdict needs.

    :raises TokenError: naming the one that is missing or of the wrong kind.
    """
    # Of a token of ours, and only while nobody has changed its payload.
    remembered: Remembered | None = getattr(token, REMEMBERED, None)
    claims = remembered.claims_of(token.payload) if remembered is not None else None
    if claims is not None:
        return claims
    try:
        claims = read_claims(token.payload, kid_of(token))
    except ValueError as error:
        raise TokenError(str(error)) from error
    if remembered is not None:
        remembered.note_claims(token.payload, claims)
    return claims
