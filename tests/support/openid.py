"""A provider's keys, and logout tokens signed with them."""

from __future__ import annotations

import json
import time
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa
from jwt import PyJWS
from jwt.algorithms import RSAAlgorithm

ISSUER = "https://op.example"
CLIENT = "shop"
EVENT = "http://schemas.openid.net/event/backchannel-logout"

KEY, NEXT_KEY, OTHERS_KEY = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(3))


def jwk(key: Any = KEY, kid: str | None = "one", **more: Any) -> dict[str, Any]:
    """The public half, as a provider publishes it."""
    found = json.loads(RSAAlgorithm.to_jwk(key.public_key()))
    del found["key_ops"]
    return {**found, "use": "sig", "alg": "RS256", **({} if kid is None else {"kid": kid}), **more}


JWKS = {"keys": [jwk()]}
PROVIDERS: dict[str, dict[str, Any]] = {ISSUER: {"client_id": CLIENT, "jwks": JWKS}}


def claims_of_logout(**changes: Any) -> dict[str, Any]:
    """Those of section 2.4's example; what is ``...`` is left out."""
    now = int(time.time())
    claims: dict[str, Any] = {
        "iss": ISSUER,
        "sub": "248289761001",
        "aud": CLIENT,
        "iat": now,
        "exp": now + 120,
        "jti": f"bWJq{time.time_ns()}",
        "sid": "08a5019c-17e1-4977-8f42-65a12843ea02",
        "events": {EVENT: {}},
        **changes,
    }
    return {name: value for name, value in claims.items() if value is not ...}


def logout_token(key: Any = KEY, algorithm: str = "RS256", header: dict[str, Any] | None = None, **changes: Any) -> str:
    """Signed, with the claims of :func:`claims_of_logout`."""
    headers = {"kid": "one", "typ": "logout+jwt", **(header or {})}
    headers = {name: value for name, value in headers.items() if value is not ...}
    # Not jwt.encode, which makes no token with claims of the wrong kind.
    body = json.dumps(claims_of_logout(**changes)).encode()
    return PyJWS().encode(body, key, algorithm, headers)
