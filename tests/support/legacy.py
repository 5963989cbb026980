"""Tokens as Simple JWT issues them without this package."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from rest_framework_simplejwt import tokens as stock

ADOPT = {"ALIAS": "sessions", "LEGACY_TOKENS": "adopt"}


def aged(token: Any, age: float) -> Any:
    """The token, issued so many seconds ago."""
    claims = {"iat", "exp", "refresh_exp"} & token.payload.keys()
    token.payload.update({claim: int(token.payload[claim] - age) for claim in claims})
    return token


def refresh_token(user: Any, age: float = 60, lifetime: timedelta | None = None) -> stock.RefreshToken:
    """A refresh token that was issued so many seconds ago, to live for ``lifetime``."""
    token = stock.RefreshToken.for_user(user)
    if lifetime is not None:
        token.set_exp(lifetime=lifetime)
    made: stock.RefreshToken = aged(token, age)
    return made


def access_token(user: Any, age: float = 60) -> stock.AccessToken:
    """An access token that was issued so many seconds ago."""
    made: stock.AccessToken = aged(stock.AccessToken.for_user(user), age)
    return made


def sliding_token(user: Any, age: float = 60) -> stock.SlidingToken:
    """A sliding token that was issued so many seconds ago."""
    made: stock.SlidingToken = aged(stock.SlidingToken.for_user(user), age)
    return made
