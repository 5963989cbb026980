"""Is this a logout token, from a provider that we know, for us, of now? (OpenID Connect Back-Channel Logout 1.0, 2.6)

No I/O but for the provider's keys. Whether it was used before is for the view to ask.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from jwt_redis.conf import OpenIDProvider, config
from jwt_redis.public_keys import BadSignature, unverified, verified
from jwt_redis.verdicts import is_jti

__all__ = ["EVENT", "BadLogoutToken", "LogoutToken", "read"]

EVENT: Final = "http://schemas.openid.net/event/backchannel-logout"
# Section 2.4: the type is recommended, and providers that do not set it send "JWT" or nothing. Another one is a token
# that was made for something else (RFC 8725 section 3.11).
_TYPES: Final = ("jwt", "logout+jwt")
# Characters. A sub has at most 255 (OpenID Connect Core section 2); of a sid nothing is said.
_MAX_NAME: Final = 1024


class BadLogoutToken(Exception):
    """It is refused. The message says by which rule, in ASCII and without anything of the token."""


@dataclass(frozen=True, slots=True)
class LogoutToken:
    """A logout token that every rule was applied to."""

    provider: OpenIDProvider
    claims: Mapping[str, Any]
    jti: str
    sid: str | None
    subject: str | None
    # Seconds for which it could be used again.
    usable_for: float


def read(raw: str) -> LogoutToken:
    """Apply the rules of section 2.6.

    :raises BadLogoutToken: naming the rule.
    :raises KeysUnavailable: when the provider's keys could not be fetched.
    """
    try:
        named = unverified(raw).get("iss")
        provider = config().openid_providers.get(named) if isinstance(named, str) else None
        if provider is None:
            raise BadLogoutToken("iss: no provider that is known here")
        header, claims = verified(raw, provider.jwks, provider.jwks_uri, provider.algorithms)
    except BadSignature as error:
        raise BadLogoutToken(str(error)) from None
    _check_type(header)
    _check_audience(claims, provider)
    usable_for = _check_times(claims, provider, time.time())
    sid, subject = _name(claims, "sid"), _name(claims, "sub")
    if sid is None and subject is None:
        raise BadLogoutToken("sid, sub: one of the two is needed")
    _check_events(claims)
    if "nonce" in claims:
        raise BadLogoutToken("nonce: it is prohibited in a logout token")
    jti = claims.get("jti")
    if not isinstance(jti, str) or not is_jti(jti):
        raise BadLogoutToken("jti: a string is needed")
    return LogoutToken(provider, claims, jti, sid, subject, usable_for)


def _check_type(header: Mapping[str, Any]) -> None:
    kind = header.get("typ", "JWT")
    if not isinstance(kind, str) or kind.lower().removeprefix("application/") not in _TYPES:
        raise BadLogoutToken("typ: a token of another type")


def _check_audience(claims: Mapping[str, Any], provider: OpenIDProvider) -> None:
    """OpenID Connect Core section 3.1.3.7, rules 3 to 5: it is for us, and for nobody whom we do not trust."""
    audience = claims.get("aud")
    named = audience if isinstance(audience, list) else [audience]
    if not named or not all(isinstance(one, str) and one in provider.client_ids for one in named):
        raise BadLogoutToken("aud: it is for somebody else")
    party = claims.get("azp")
    if party is not None and party not in provider.client_ids:
        raise BadLogoutToken("azp: it is for somebody else")


def _check_times(claims: Mapping[str, Any], provider: OpenIDProvider, now: float) -> float:
    """For how long it could be used from now on, in seconds."""
    moments: dict[str, float] = {}
    for name in ("iat", "exp"):
        value = claims.get(name)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 2**53:
            raise BadLogoutToken(f"{name}: a number is needed")
        moments[name] = value
    leeway = provider.leeway
    if moments["iat"] > now + leeway:
        raise BadLogoutToken("iat: it is from the future")
    if moments["iat"] < now - provider.max_age - leeway:
        raise BadLogoutToken("iat: it is too old")
    if moments["exp"] <= now - leeway:
        raise BadLogoutToken("exp: it has expired")
    not_before = claims.get("nbf")
    if not_before is not None and not (isinstance(not_before, (int, float)) and not_before <= now + leeway):
        raise BadLogoutToken("nbf: it is not good yet")
    return min(moments["exp"], moments["iat"] + provider.max_age) + leeway - now


def _name(claims: Mapping[str, Any], claim: str) -> str | None:
    value = claims.get(claim)
    if value is None:
        return None
    if not isinstance(value, str) or not 0 < len(value) <= _MAX_NAME:
        raise BadLogoutToken(f"{claim}: a string is needed")
    return value


def _check_events(claims: Mapping[str, Any]) -> None:
    events = claims.get("events")
    if not isinstance(events, dict) or not isinstance(events.get(EVENT), dict):
        raise BadLogoutToken("events: a logout is needed")
