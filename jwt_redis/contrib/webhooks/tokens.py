"""The Security Event Token (RFC 8417) of a delivery. It is made anew each time it is sent, and says the same."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote

import jwt
from django.core.exceptions import ImproperlyConfigured

from jwt_redis.conf import Webhooks, config
from jwt_redis.contrib.webhooks.models import Delivery
from jwt_redis.signing import backends

__all__ = ["SESSION_REVOKED", "STREAM_UPDATED", "VERIFICATION", "claims_of", "sign", "signs_with", "try_to_sign"]

# OpenID CAEP 1.0 section 3.1, OpenID Shared Signals Framework 1.0.
SESSION_REVOKED = "https://schemas.openid.net/secevent/caep/event-type/session-revoked"
VERIFICATION = "https://schemas.openid.net/secevent/ssf/event-type/verification"
STREAM_UPDATED = "https://schemas.openid.net/secevent/ssf/event-type/stream-updated"
_TYPE = "secevent+jwt"


def _like(pattern: str) -> Callable[[Any], bool]:
    compiled = re.compile(pattern, re.DOTALL)
    return lambda value: isinstance(value, str) and compiled.fullmatch(value) is not None


def _are_addresses(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, str) and _is_address(one) for one in value)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


_ANY = _like(".+")
# RFC 3986 section 2: what may be in a URI, and that it begins with its scheme.
_URI = _like(r"[A-Za-z][A-Za-z0-9+.-]*:[!#$%&'()*+,./0-9:;=?@A-Z\[\]_a-z~-]+")
# RFC 9493 section 3.2, and what the framework adds in 3.5: what an identifier has to have by its format, and of what
# form. Of an address only that it is one: whether anybody reads mail there nobody can see.
_MEMBERS: Mapping[str, Mapping[str, Callable[[Any], bool]]] = {
    "account": {"uri": _like(r"acct:[^\s@]+@[^\s@]+")},
    "email": {"email": _like(r".+@[^\s@]+")},
    "iss_sub": {"iss": _ANY, "sub": _ANY},
    "opaque": {"id": _ANY},
    "phone_number": {"phone_number": _like(r"\+[0-9](?: ?[0-9]){0,14}")},
    "did": {"url": _like(r"did:[a-z0-9]+:[^\s]+")},
    "uri": {"uri": _URI},
    "jwt_id": {"iss": _ANY, "jti": _ANY},
    "saml_assertion_id": {"issuer": _ANY, "assertion_id": _ANY},
    "ip-addresses": {"ip-addresses": _are_addresses},
}


def _in_force() -> Webhooks:
    settings = config().webhooks
    if settings is None:
        raise ImproperlyConfigured('JWT_REDIS["WEBHOOKS"] is None.')
    return settings


def claims_of(delivery: Delivery) -> dict[str, Any]:
    """What is said of it, from the row alone.

    No ``exp`` and no ``sub``: so it is not taken for an access token or an ID token (RFC 8417 section 4; the OpenID
    Shared Signals Framework 1.0 requires both).
    """
    settings = _in_force()
    claims = {
        "iss": settings.issuer,
        "aud": delivery.receiver.audience,
        "jti": delivery.jti,
        "iat": delivery.happened_at,
        "txn": delivery.key[:32],
    }
    if delivery.kind in (Delivery.Kind.VERIFICATION, Delivery.Kind.STREAM):
        is_trial = delivery.kind == Delivery.Kind.VERIFICATION
        of_stream = {VERIFICATION: {}} if is_trial else {STREAM_UPDATED: {"status": delivery.target}}
        return {**claims, "sub_id": {"format": "opaque", "id": delivery.receiver.stream}, "events": of_stream}
    event: dict[str, Any] = {"event_timestamp": delivery.happened_at, "initiating_entity": delivery.initiator}
    if delivery.reason:
        event["reason_admin"] = {"en": delivery.reason}
    if delivery.before_ms is not None:
        event["before"] = delivery.before_ms / 1000
    if delivery.kind == Delivery.Kind.OTHERS:
        # Whoever does not know this ends one session too many, and none too few.
        event["kept_session"] = {"format": "opaque", "id": delivery.target}
    claims["toe"] = delivery.happened_at
    return {**claims, "sub_id": _subject(delivery, settings), "events": {SESSION_REVOKED: event}}


def _subject(delivery: Delivery, settings: Webhooks) -> dict[str, Any]:
    # "complex" is OpenID Shared Signals': all of its members together say which sessions.
    if delivery.kind == Delivery.Kind.ALL:
        # An issuer need not be a URI (RFC 7519 section 4.1.1).
        tenant = {"format": "uri", "uri": settings.issuer}
        if not _is_identifier(tenant):
            tenant = {"format": "opaque", "id": settings.issuer}
        return {"format": "complex", "tenant": tenant}
    subject: dict[str, Any] = {"format": "complex", "user": _user(delivery, settings)}
    if delivery.kind == Delivery.Kind.SESSION:
        subject["session"] = {"format": "opaque", "id": delivery.target}
    return subject


def _user(delivery: Delivery, settings: Webhooks) -> dict[str, Any]:
    user = unquote(delivery.user, errors="surrogatepass")
    if settings.user_subject is None:
        return {"format": "iss_sub", "iss": settings.issuer, "sub": user}
    made = settings.user_subject(user, delivery.receiver.audience)
    if not _is_identifier(made):
        raise ValueError(f"user_subject: {made!r} is no subject identifier of RFC 9493")
    return {**made}


def _is_identifier(made: Any, *, may_be_aliases: bool = True) -> bool:
    """RFC 9493 section 3: all that its format asks for, and nothing else."""
    name = made.get("format") if isinstance(made, dict) else None
    # A member of a complex subject is a simple one.
    if not isinstance(name, str) or not name or name == "complex":
        return False
    if name == "aliases":
        # Section 3.2.8: at least one, and none of them aliases again.
        held = made.get("identifiers")
        if not may_be_aliases or made.keys() != {"format", "identifiers"} or not isinstance(held, list) or not held:
            return False
        return all(_is_identifier(one, may_be_aliases=False) for one in held)
    # Of a format that both sides have agreed upon, only they know what belongs to it.
    if (members := _MEMBERS.get(name)) is None:
        return True
    return made.keys() == {"format", *members} and all(fits(made[one]) for one, fits in members.items())


def signs_with() -> tuple[str, Any, str | None]:
    """Algorithm, key and key id.

    :raises ImproperlyConfigured: when all there is is the secret that access tokens are signed with: a receiver that
        could verify with it could also make them.
    """
    settings = _in_force()
    if settings.algorithm is not None:
        return settings.algorithm, settings.signing_key, settings.key_id
    algorithm, key, kid = backends.signs_with()
    if algorithm.startswith("HS"):
        raise ImproperlyConfigured(
            f"access tokens are signed by {algorithm}, whose secret receivers must not have. WEBHOOKS needs 'algorithm'"
            " and 'signing_key' of its own, or SIMPLE_JWT an asymmetric ALGORITHM."
        )
    return algorithm, key, settings.key_id or kid


def sign(claims: Mapping[str, Any]) -> str:
    """The compact form. This alone knows with which key."""
    algorithm, key, key_id = signs_with()
    headers = {"typ": _TYPE} if key_id is None else {"typ": _TYPE, "kid": key_id}
    return jwt.encode(dict(claims), key, algorithm=algorithm, headers=headers)


def try_to_sign() -> None:
    """Before there is anything to sign.

    :raises ImproperlyConfigured: as :func:`signs_with`; or when the key cannot be read, is none for the algorithm, or
        needs the package cryptography, which is missing.
    :raises NoSigningKey: when the key that is to sign was revoked, and no other signs in its place yet.
    """
    try:
        sign({})
    except (jwt.PyJWTError, NotImplementedError, ValueError, TypeError, AttributeError) as error:
        # NotImplementedError is PyJWT's, without cryptography; the last one where the key is a public one.
        raise ImproperlyConfigured(f"signing_key: {type(error).__name__}: {error}") from error
