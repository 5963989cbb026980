"""``JWT_REDIS["OPENID_PROVIDERS"]``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from jwt_redis.conf import addresses, jwks, values


class OpenIDProvider(NamedTuple):
    """Who may sign logout tokens (OpenID Connect Back-Channel Logout 1.0)."""

    issuer: str
    # As whom this site is registered there; more than one where it has several clients.
    client_ids: tuple[str, ...]
    jwks: Mapping[str, Any] | None = None
    jwks_uri: str | None = None
    # That which was registered as id_token_signed_response_alg.
    algorithms: tuple[str, ...] = ("RS256",)
    # Called with the logout token's claims: the user whose sessions all end, too, where no ``sid`` names one.
    user: Callable[..., Any] | None = None
    # Seconds after which a logout token is too old, whatever its ``exp`` says.
    max_age: float = 600.0
    # Seconds by which the provider's clock may differ.
    leeway: float = 30.0


def parse_openid_providers(value: object) -> Mapping[str, OpenIDProvider]:
    parsers: dict[str, Callable[[object], Any]] = {
        "client_id": values.texts,
        "jwks": values.optional(jwks.jwk_set),
        "jwks_uri": values.optional(addresses.secure_url),
        "algorithms": values.names(*jwks.ASYMMETRIC_ALGORITHMS),
        "user": values.callable_or_path,
        "max_age": values.seconds,
        "leeway": values.seconds,
    }
    if value is None:
        return {}
    example = "{'https://op.example': {'client_id': 'shop', 'jwks_uri': 'https://op.example/jwks'}}"
    if not isinstance(value, Mapping):
        raise ValueError(f"None, or a dict such as {example}, is needed")
    found: dict[str, OpenIDProvider] = {}
    for issuer, given in value.items():
        name = values.text(issuer)
        try:
            parsed = values.parts(given, parsers, "{'client_id': 'shop', 'jwks_uri': 'https://op.example/jwks'}")
            client_ids = parsed.pop("client_id", ())
            if not client_ids:
                raise ValueError("client_id: it is missing; a logout token is for it")
            if (parsed.get("jwks") is None) == (parsed.get("jwks_uri") is None):
                raise ValueError("jwks, jwks_uri: one of the two is needed")
            if not parsed.get("max_age", 1):
                raise ValueError("max_age: more than zero is needed")
        except ValueError as error:
            raise ValueError(f"{name!r}: {error}") from error
        found[name] = OpenIDProvider(name, client_ids, **parsed)
    return found
