"""What is said of a token to whom (RFC 7662 section 2.2): no more than the one who asks may know."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rest_framework.exceptions import AuthenticationFailed
from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.tokens import Token

from jwt_redis import sessions
from jwt_redis.authentication import JWTAuthentication, accepted
from jwt_redis.conf import config, simplejwt_setting
from jwt_redis.decoding import claims_of, decode
from jwt_redis.oauth.clients import Caller

__all__ = ["describe", "is_known_type", "standard_claims"]

INACTIVE: Mapping[str, Any] = {"active": False}


def is_known_type(token: Token) -> bool:
    """Is it an access, a refresh or a sliding token? Of others, nobody asks whether they are revoked."""
    claim = simplejwt_setting("TOKEN_TYPE_CLAIM")
    if not claim:
        return True
    kinds = {"access", "refresh", "sliding", *(cls.token_type for cls in simplejwt_setting("AUTH_TOKEN_CLASSES"))}
    kind = token.payload.get(claim)
    # What is no text may not even be looked for in a set.
    return isinstance(kind, str) and kind in kinds


def standard_claims(caller: Caller, claims: Mapping[str, Any]) -> dict[str, Any] | None:
    """What RFC 7662 names and the token has; nothing of it says more about the user than ``sub``.

    None, which is as much as "not active", where the token is for others than the client's ``audiences``.
    """
    audience = claims.get("aud")
    named = audience if isinstance(audience, (list, tuple)) else [] if audience is None else [audience]
    allowed = caller.client.audiences if caller.client is not None else ()
    if allowed and named and not set(allowed) & set(map(str, named)):
        return None
    found = {name: claims[name] for name in ("iss", "aud", "exp", "nbf", "iat", "jti") if claims.get(name) is not None}
    found["sub"] = str(claims[simplejwt_setting("USER_ID_CLAIM")])
    client_id = claims.get(config().oauth.client_claim)
    if isinstance(client_id, str):
        found["client_id"] = client_id
    scope = claims.get("scope")
    if isinstance(scope, (list, tuple)):
        scope = " ".join(map(str, scope))
    if isinstance(scope, str):
        found["scope"] = scope
    kind = claims.get(simplejwt_setting("TOKEN_TYPE_CLAIM") or "")
    if kind != "refresh":
        # RFC 6749 section 5.1 has no type for a refresh token: it is nothing to come in with.
        found["token_type"] = "Bearer"  # noqa: S105
    return found


def describe(raw: str, caller: Caller) -> Mapping[str, Any]:
    """The answer for a token: ``active`` alone where it is not, or where the caller may not know of it.

    What counts is what counts at the door: signature and times, the session, the user's row.

    :raises RevocationUnavailable: when Redis does not answer. "Active" is never a guess.
    """
    authenticator: Any = (config().oauth.authentication or JWTAuthentication)()
    try:
        token = decode(raw)
        claims_of(token)
        if not is_known_type(token):
            return INACTIVE
        verdict = sessions.check(token, on_redis_failure="deny", needs_record=authenticator.needs_record)
        authenticator.get_user(accepted(token, verdict))
    except (TokenError, AuthenticationFailed):
        return INACTIVE
    allowed = (config().oauth.claims or standard_claims)(caller, token.payload)
    # A project may say "not active" in the RFC's words too.
    if allowed is None or not allowed.get("active", True):
        return INACTIVE
    return {**allowed, "active": True}
