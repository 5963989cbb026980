"""Public keys of others, as settings hold them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# None of a shared secret: whoever can verify with it can sign with it.
ASYMMETRIC_ALGORITHMS = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "ES256K", "EdDSA"),
)


def jwk_set(value: object) -> Mapping[str, Any]:
    keys = value.get("keys") if isinstance(value, Mapping) else None
    if not isinstance(keys, (list, tuple)) or not keys or not all(isinstance(key, Mapping) for key in keys):
        raise ValueError("a JWK Set is needed: {'keys': [{'kty': ...}]} (RFC 7517 section 5)")
    if any(key.get("kty") == "oct" for key in keys):
        raise ValueError("public keys are needed, and one is a shared secret (kty 'oct')")
    if any("d" in key for key in keys):
        raise ValueError("public keys are needed, and one is private (it has 'd')")
    return value  # type: ignore[return-value]
