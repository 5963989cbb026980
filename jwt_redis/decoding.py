"""From a string to a verified token, with one kind of error."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from django.utils.translation import gettext_lazy as _
from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.tokens import Token, UntypedToken

from jwt_redis.verdicts import Claims, read_claims

__all__ = ["claims_of", "decode", "one_error"]

logger = logging.getLogger(__name__)

# What PyJWT 2.15 and Simple JWT 5.5 let out on crafted tokens: a header nested too deep, an exp of 1e400, of the year
# 10000 or beyond time_t (an OSError), a lone surrogate. None of them may become a 500.
_CRASHES = (ArithmeticError, AttributeError, LookupError, OSError, RecursionError, TypeError, ValueError)


@contextmanager
def one_error() -> Iterator[None]:
    """Turn whatever a crafted token provokes into a ``TokenError``."""
    try:
        yield
    except _CRASHES as error:
        logger.info("A token could not be read: %s: %s", type(error).__name__, error, extra={"event": "bad_token"})
        raise TokenError(_("Token is invalid")) from error


def decode(token: str | bytes | Token) -> Token:
    """Verify the signature and the registered claims of a token of any type. A ``Token`` was verified already.

    :raises TokenError: when it is expired or not good.
    """
    if isinstance(token, Token):
        return token
    with one_error():
        return UntypedToken(token)  # type: ignore[arg-type]


def claims_of(token: Token) -> Claims:
    """The claims that a verdict needs.

    :raises TokenError: naming the one that is missing or of the wrong kind.
    """
    try:
        return read_claims(token.payload)
    except ValueError as error:
        raise TokenError(str(error)) from error
