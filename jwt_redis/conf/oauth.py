"""``JWT_REDIS["OAUTH"]``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from django.contrib.auth.hashers import identify_hasher

from jwt_redis.conf import addresses, jwks, values


class OAuthClient(NamedTuple):
    """A client of the OAuth endpoints. Without secrets and keys it is a public one (RFC 6749 section 2.1)."""

    client_id: str
    # As Django's ``make_password`` has made them; several while one is being replaced.
    secrets: tuple[str, ...] = ()
    # Its public keys, for private_key_jwt (RFC 7523): a JWK Set (RFC 7517) or where that is.
    jwks: Mapping[str, Any] | None = None
    jwks_uri: str | None = None
    # May it ask what tokens are (RFC 7662)?
    introspects: bool = False
    # Whom it is: of a token with ``aud``, it is told only where that names one of these. Empty: whatever ``aud`` says.
    audiences: tuple[str, ...] = ()

    @property
    def is_public(self) -> bool:
        """Has it nothing to prove who it is with?"""
        return not (self.secrets or self.jwks or self.jwks_uri)


class OAuth(NamedTuple):
    """Of the endpoints in ``jwt_redis.oauth.urls``."""

    # Called with a client_id: the OAuthClient, or None. Or a dict of them, by their id.
    clients: Callable[..., Any] | None = None
    # How clients may say who they are: also 'private_key_jwt', and 'none' for public ones.
    methods: tuple[str, ...] = ("client_secret_basic", "client_secret_post")
    # A DRF permission class. With it a bearer token will do, too, in place of a client's credentials.
    bearer_permission: type[Any] | None = None
    # Called with who asks and the token's claims: what may be said of it, or None.
    claims: Callable[..., Any] | None = None
    # Names the client that a token was issued to (RFC 9068 section 2.2).
    client_claim: str = "client_id"
    # Of whose user a token is, and whether that user may still come in.
    authentication: type[Any] | None = None
    # The issuer identifier (RFC 8414 section 2). None: Simple JWT's ISSUER.
    issuer: str | None = None
    # More members for the metadata. What this site says of itself stays.
    metadata: Mapping[str, Any] = {}


_CLIENT_AUTHENTICATION = ("client_secret_basic", "client_secret_post", "private_key_jwt", "none")


def _hashed(value: object) -> tuple[str, ...]:
    secrets = values.texts(value)
    for secret in secrets:
        try:
            identify_hasher(secret)
        except ValueError:
            raise ValueError("what django.contrib.auth.hashers.make_password has made is needed") from None
    return secrets


_CLIENT_PARSERS: dict[str, Callable[[object], Any]] = {
    "secrets": _hashed,
    "jwks": values.optional(jwks.jwk_set),
    "jwks_uri": values.optional(addresses.secure_url),
    "introspects": values.flag,
    "audiences": values.texts,
}


def _clients(value: object) -> Callable[..., Any] | None:
    """A dict of clients by their id, or what finds one."""
    if not isinstance(value, Mapping):
        return values.callable_or_path(value)
    known: dict[str, OAuthClient] = {}
    for client_id, given in value.items():
        name = values.text(client_id)
        try:
            known[name] = OAuthClient(name, **values.parts(given, _CLIENT_PARSERS, "{'secrets': [...]}"))
        except ValueError as error:
            raise ValueError(f"{name!r}: {error}") from error
        if known[name].introspects and known[name].is_public:
            raise ValueError(f"{name!r}: introspects: a client that proves nothing is told nothing")
    return known.get


def _members(value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise ValueError("a dict of members is needed")
    if "issuer" in value:
        raise ValueError("the issuer has a key of its own, OAUTH['issuer']: by another one nobody finds the metadata")
    return value


def parse_oauth(value: object) -> OAuth:
    parsers: dict[str, Callable[[object], Any]] = {
        "clients": _clients,
        "methods": values.names(*_CLIENT_AUTHENTICATION),
        "bearer_permission": values.class_or_path,
        "claims": values.callable_or_path,
        "client_claim": values.text,
        "authentication": values.class_or_path,
        "issuer": values.optional(addresses.issuer),
        "metadata": _members,
    }
    return OAuth() if value is None else OAuth(**values.parts(value, parsers, "{'clients': 'shop.clients.find'}"))
