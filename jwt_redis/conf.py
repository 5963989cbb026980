"""The ``JWT_REDIS`` setting: read when it is needed, so that ``override_settings`` works, and checked key by key."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple

from django.conf import settings
from django.contrib.auth.hashers import identify_hasher
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string
from rest_framework_simplejwt import settings as simplejwt

__all__ = [
    "ASYMMETRIC_ALGORITHMS",
    "DEFAULT_MAX_AGE",
    "Config",
    "Cookie",
    "Keys",
    "LegacyTokens",
    "NearCache",
    "OAuth",
    "OAuthClient",
    "OpenIDProvider",
    "Pages",
    "SignInNotice",
    "StatusList",
    "WaitReplicas",
    "Webhooks",
    "config",
    "is_issuer_url",
    "leeway_seconds",
    "longest_access_lifetime",
    "longest_lifetime",
    "longest_session",
    "problems",
    "simplejwt_setting",
]

Strategy = Literal["whitelist", "blacklist"]
FailurePolicy = Literal["deny", "allow"]

# How long a session may be refreshed where SESSION_MAX_AGE says nothing.
DEFAULT_MAX_AGE = timedelta(days=90)

REVOKE_ON = ("password_changed", "deactivated", "deleted", "groups_changed", "permissions_changed")


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("a non-empty string is needed")
    return value


def _prefix(value: object) -> str:
    text = _text(value)
    if any(c in "{}*?[]\\" or not c.isprintable() or c.isspace() for c in text):
        raise ValueError("braces, spaces and the wildcards * ? [ ] \\ have a meaning in Redis and cannot be part of it")
    return text


def _choice(*names: str) -> Callable[[object], Any]:
    def parse(value: object) -> str:
        if value not in names:
            raise ValueError("it is one of " + ", ".join(repr(name) for name in names))
        return str(value)

    return parse


def _seconds(value: object) -> float:
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < float("inf"):
        raise ValueError("a number of seconds, zero or more, or a timedelta is needed")
    return float(value)


def _lifetime(value: object) -> timedelta | None:
    if value is None:
        return None
    if not isinstance(value, timedelta) or value < timedelta(seconds=1):
        raise ValueError("None or a timedelta of at least a second is needed")
    return value


def _count(value: object) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError("None or a whole number, one or more, is needed")
    return value


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("True or False is needed")
    return value


class WaitReplicas(NamedTuple):
    """How many replicas have to confirm a revocation, and for how long to wait for them."""

    replicas: int
    seconds: float


# Seconds that WAIT may take where the setting is a bare number.
_WAIT_SECONDS = 0.1


def _wait_replicas(value: object) -> WaitReplicas | None:
    count, seconds = value if isinstance(value, (list, tuple)) and len(value) == 2 else (value, _WAIT_SECONDS)
    if isinstance(count, bool) or not isinstance(count, int) or count < 0:
        raise ValueError("a number of replicas, or a pair of it and the seconds to wait, is needed")
    waiting = _seconds(seconds)
    if count and waiting < 0.001:
        # WAIT takes milliseconds, and 0 as "for ever".
        raise ValueError("at least a millisecond to wait is needed")
    return WaitReplicas(count, waiting) if count else None


class NearCache(NamedTuple):
    """How a process answers from its own memory. Seconds, but for the last two."""

    # The longest for which a process answers from memory without having heard from Redis: 0.1 to 60 seconds.
    lease: float = 1.0
    # Between two looks at the log, where a process looks instead of waiting for news. A quarter of the lease, if
    # nothing else is said.
    poll: float = 0.25
    # With more clients than that waiting at the server, processes begin to poll, by lot. 0: all do.
    max_waiting: int = 200
    # Of how many sessions the record is kept, for the password's witness.
    records: int = 10_000


# Shorter, and a process would be busy keeping it; longer, and "revoked" would mean little.
_LEASES = (0.1, 60.0)


def _parts(value: object, parsers: Mapping[str, Callable[[object], Any]], example: str) -> dict[str, Any]:
    """A dict within the dict, each of its keys parsed."""
    if not isinstance(value, Mapping):
        raise ValueError(f"None, or a dict such as {example}, is needed")
    if unknown := [key for key in value if key not in parsers]:
        raise ValueError(f"{unknown[0]!r} is not one of " + ", ".join(repr(name) for name in parsers))
    parsed: dict[str, Any] = {}
    for name, given in value.items():
        try:
            parsed[name] = parsers[name](given)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
    return parsed


def _near_cache(value: object) -> NearCache | None:
    if value is None:
        return None
    parsers = {"lease": _seconds, "poll": _seconds, "max_waiting": _whole_number, "records": _whole_number}
    parsed = _parts(value, parsers, "{'lease': 1.0}")
    # Where only the lease is given, the rest follows it.
    parsed.setdefault("poll", parsed.get("lease", NearCache().lease) / 4)
    made = NearCache(**parsed)
    if not _LEASES[0] <= made.lease <= _LEASES[1]:
        raise ValueError(f"lease: between {_LEASES[0]:g} and {_LEASES[1]:g} seconds are needed")
    if not 0.01 <= made.poll <= made.lease / 2:
        raise ValueError("poll: at least 0.01 and at most half of the lease, or it would run out between two looks")
    return made


def _whole_number(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError("a whole number, zero or more, is needed")
    return value


class Cookie(NamedTuple):
    """How tokens travel in cookies (RFC 6265). The names are without their prefix, which depends on the path."""

    # The access cookie's name.
    access: str = "access_token"
    # The refresh cookie's name.
    refresh: str = "refresh_token"
    # Put ``__Host-`` in front of a secure cookie whose path is ``/`` and that has no domain, ``__Secure-`` in front of
    # any other secure one.
    prefix: bool = True
    # Where the access cookie is sent.
    path: str = "/"
    # Where the refresh cookie is sent. None: as far down as the URLs of refresh and logout go together.
    refresh_path: str | None = None
    # None: this host alone. A domain: all of its hosts.
    domain: str | None = None
    # When a browser sends them with requests that another site began.
    samesite: Literal["Strict", "Lax", "None"] = "Lax"
    # Only over https.
    secure: bool = True
    # Enforce CSRF.
    csrf: bool = True
    # Keep a cookie until its token expires; False: until the browser is closed.
    persistent: bool = True
    # Leave the tokens in the body, too, where a script can read them.
    in_body: bool = False
    # What ``Clear-Site-Data`` names when somebody signs out. True: cache, cookies and storage.
    clear_site_data: tuple[str, ...] = ()


# RFC 6265 section 4.1.1: a token as in RFC 9110 section 5.6.2.
_COOKIE_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_COOKIE_PATH = re.compile(r"/[!-:<-~]*")
_DOMAIN = re.compile(r"\.?[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*")
# https://www.w3.org/TR/clear-site-data/ and what browsers have added.
_SITE_DATA = (
    "cache",
    "cookies",
    "storage",
    "executionContexts",
    "clientHints",
    "prefetchCache",
    "prerenderCache",
    "*",
)


def _cookie_name(value: object) -> str:
    text = _text(value)
    if not _COOKIE_NAME.fullmatch(text):
        raise ValueError("letters, digits and !#$%&'*+-.^_`|~ make a cookie's name")
    if text.lower().startswith(("__host-", "__secure-")):
        raise ValueError("the prefix is put in front of it where it may be; see 'prefix'")
    return text


def _cookie_path(value: object) -> str:
    if not isinstance(value, str) or not _COOKIE_PATH.fullmatch(value):
        raise ValueError("a path such as '/auth/' is needed: a slash first, ASCII, no spaces, no semicolon")
    return value


def _cookie_domain(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not _DOMAIN.fullmatch(value):
        raise ValueError("None or a domain's name such as 'example.com' is needed, without a scheme and a port")
    return value


def _site_data(value: object) -> tuple[str, ...]:
    if isinstance(value, bool):
        return ("cache", "cookies", "storage") if value else ()
    if not isinstance(value, (list, tuple)):
        raise ValueError("True, False or a list of names is needed")
    if unknown := [name for name in value if name not in _SITE_DATA]:
        raise ValueError(f"{unknown[0]!r} is not one of " + ", ".join(repr(name) for name in _SITE_DATA))
    return tuple(value)


def _cookie(value: object) -> Cookie | None:
    if value is None:
        return None
    parsers: dict[str, Callable[[object], Any]] = {
        "access": _cookie_name,
        "refresh": _cookie_name,
        "prefix": _flag,
        "path": _cookie_path,
        "refresh_path": lambda given: None if given is None else _cookie_path(given),
        "domain": _cookie_domain,
        "samesite": _choice("Strict", "Lax", "None"),
        "secure": _flag,
        "csrf": _flag,
        "persistent": _flag,
        "in_body": _flag,
        "clear_site_data": _site_data,
    }
    made = Cookie(**_parts(value, parsers, "{'samesite': 'Strict'}"))
    if made.access == made.refresh:
        raise ValueError(f"access, refresh: two names are needed, and both are {made.access!r}")
    if made.samesite == "None" and not made.secure:
        raise ValueError("samesite: with 'None', browsers refuse a cookie that is not secure")
    return made


class Pages(NamedTuple):
    """Of the HTML pages. Each URL is a path, a whole URL, or the name of a URL pattern."""

    # Where who is not signed in is sent. None: Django's ``LOGIN_URL``.
    login_url: str | None = None
    # Where the password is changed, for those who find somebody else's device.
    password_url: str | None = None
    # How many sessions a page lists.
    page_size: int = 20


class Keys(NamedTuple):
    """Where the keys that tokens are signed with come from: a ``directory``, or ``keys`` and ``signing``."""

    # The directory that `jwt_keys` looks after. It says which keys there are and which one signs.
    directory: str | None = None
    # In place of a directory: keys by kid, each a dict with 'alg' and one of 'file', 'key' and 'load'.
    keys: Mapping[str, Mapping[str, Any]] = {}
    # Which of these signs. None: Simple JWT's own key, without a kid.
    signing: str | None = None
    # Whether tokens without a kid are verified by Simple JWT's own key.
    without_kid: bool = True
    # Whether SECRET_KEY_FALLBACKS verify such tokens too, where SIGNING_KEY is SECRET_KEY.
    secret_key_fallbacks: bool = False
    # For how long others may keep a copy of the published keys.
    max_age: timedelta = timedelta(minutes=5)

    def __repr__(self) -> str:
        """Without the material: whoever reports an error shows what the variables were."""
        return f"Keys(directory={self.directory!r}, keys={[*self.keys]!r}, signing={self.signing!r})"


_KEY_PARTS: dict[str, Callable[[object], Any]] = {
    "alg": _text,
    "key": lambda value: value if isinstance(value, (bytes, Mapping)) else _text(value),
    "file": lambda value: _path(value),
    "load": lambda value: _needed(_callable(value)),
}


def _path(value: object) -> str:
    if not isinstance(value, (str, os.PathLike)) or not os.fspath(value):
        raise ValueError("a path is needed")
    return str(os.fspath(value))


def _needed(value: Callable[..., Any] | None) -> Callable[..., Any]:
    if value is None:
        raise ValueError("a callable, or the dotted path of one, is needed")
    return value


def _named_keys(value: object) -> Mapping[str, Mapping[str, Any]]:
    if not isinstance(value, Mapping):
        raise ValueError("a dict of keys by their kid is needed")
    found = {}
    for kid, facts in value.items():
        if not isinstance(kid, str):
            raise ValueError(f"{kid!r} is no kid")
        try:
            parsed = _parts(facts, _KEY_PARTS, "{'alg': 'ES256', 'file': '/etc/keys/2026.pem'}")
        except ValueError as error:
            raise ValueError(f"{kid}: {error}") from error
        if "alg" not in parsed or len(parsed) != 2:
            raise ValueError(f"{kid}: 'alg' and one of 'key', 'file', 'load' are needed")
        found[kid] = parsed
    return found


def _keys(value: object) -> Keys | None:
    if value is None:
        return None
    parsers: dict[str, Callable[[object], Any]] = {
        "directory": lambda given: None if given is None else _path(given),
        "keys": _named_keys,
        "signing": _url,
        "without_kid": _flag,
        "secret_key_fallbacks": _flag,
        "max_age": _duration,
    }
    made = Keys(**_parts(value, parsers, "{'directory': '/etc/myproject/jwt-keys'}"))
    if made.directory is not None and (made.keys or made.signing is not None):
        raise ValueError("directory: the directory says which keys there are; 'keys' and 'signing' go without it")
    if made.signing is not None and made.signing not in made.keys:
        raise ValueError(f"signing: there is no key {made.signing!r} in 'keys'")
    if made.directory is None and made.signing is None and not made.without_kid:
        raise ValueError("without_kid: False needs a key that signs, and no token would be accepted")
    return made


def _url(value: object) -> str | None:
    return None if value is None else _text(value)


def _page_size(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 1000:
        raise ValueError("a whole number from 1 to 1000 is needed")
    return value


def _pages(value: object) -> Pages:
    parsers: dict[str, Callable[[object], Any]] = {
        "login_url": _url,
        "password_url": _url,
        "page_size": _page_size,
    }
    return Pages() if value is None else Pages(**_parts(value, parsers, "{'page_size': 20}"))


class SignInNotice(NamedTuple):
    """Who is told of a sign-in from a device that the user was not seen with, and how."""

    # What the links in the e-mail begin with. Not the host of the request: that is for the client to invent.
    base_url: str
    # Called with the notice. None: nobody but the receivers of the signal is told.
    send: Callable[..., Any] | None
    # For how long the link "this was not me" works.
    link_lifetime: timedelta = timedelta(days=7)
    # For how long a device is known after a sign-in.
    known_for: timedelta = timedelta(days=90)
    # Whether a known browser in another network is new.
    by_network: bool = False
    # Called with the user, for the language to write in. None: that of the request.
    language: Callable[..., Any] | None = None


_BASE_URL = re.compile(r"https?://[^/?#\s@]+(/[^?#\s]*)?")


def _base_url(value: object) -> str:
    if not isinstance(value, str) or not _BASE_URL.fullmatch(value):
        raise ValueError("the site's address such as 'https://example.com' is needed")
    return value.rstrip("/")


def _duration(value: object) -> timedelta:
    lifetime = _lifetime(value)
    if lifetime is None or lifetime > timedelta(days=3650):
        raise ValueError("a timedelta of at least a second, and of at most ten years, is needed")
    return lifetime


def _sign_in_notice(value: object) -> SignInNotice | None:
    if value is None:
        return None
    parsers: dict[str, Callable[[object], Any]] = {
        "base_url": _base_url,
        "send": _callable,
        "link_lifetime": _duration,
        "known_for": _duration,
        "by_network": _flag,
        "language": _callable,
    }
    parsed = _parts(value, parsers, "{'base_url': 'https://example.com'}")
    if "base_url" not in parsed:
        raise ValueError("base_url: it is missing; the links in the e-mail begin with it")
    parsed.setdefault("send", _callable("jwt_redis.notices.send_mail"))
    return SignInNotice(**parsed)


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
    # More members for the metadata, or others.
    metadata: Mapping[str, Any] = {}


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


_CLIENT_AUTHENTICATION = ("client_secret_basic", "client_secret_post", "private_key_jwt", "none")
# None of a shared secret: whoever can verify with it can sign with it.
ASYMMETRIC_ALGORITHMS = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "ES256K", "EdDSA"),
)
_HTTPS_URL = re.compile(r"https://[^/?#\s@]+(/[^?#\s]*)?(\?[^#\s]*)?")
# Nobody is between this machine and itself.
_LOCAL_URL = re.compile(r"http://(127\.0\.0\.1|localhost|\[::1\])(:\d+)?(/[^?#\s]*)?(\?[^#\s]*)?")


def secure_url(value: object) -> str:
    """It, where nobody on the way can answer in its place.

    :raises ValueError: when it is none.
    """
    if not isinstance(value, str) or not (_HTTPS_URL.fullmatch(value) or _LOCAL_URL.fullmatch(value)):
        raise ValueError("an https:// URL is needed (http:// for this very machine)")
    return value


def is_issuer_url(value: str) -> bool:
    """Is it https, without a query (RFC 8414 section 2)? Or of this very machine."""
    return "?" not in value and bool(_HTTPS_URL.fullmatch(value) or _LOCAL_URL.fullmatch(value))


def _issuer(value: object) -> str | None:
    if value is not None and not is_issuer_url(_text(value)):
        raise ValueError("an https:// URL without a query is needed (RFC 8414 section 2)")
    return None if value is None else _text(value)


def _jwk_set(value: object) -> Mapping[str, Any] | None:
    if value is None:
        return None
    keys = value.get("keys") if isinstance(value, Mapping) else None
    if not isinstance(keys, (list, tuple)) or not keys or not all(isinstance(key, Mapping) for key in keys):
        raise ValueError("a JWK Set is needed: {'keys': [{'kty': ...}]} (RFC 7517 section 5)")
    if any(key.get("kty") == "oct" for key in keys):
        raise ValueError("public keys are needed, and one is a shared secret (kty 'oct')")
    if any("d" in key for key in keys):
        raise ValueError("public keys are needed, and one is private (it has 'd')")
    return value  # type: ignore[return-value]


def _names(*possible: str) -> Callable[[object], tuple[str, ...]]:
    def parse(value: object) -> tuple[str, ...]:
        if isinstance(value, str) or not isinstance(value, (list, tuple)) or not value:
            raise ValueError("a list of names is needed")
        if unknown := [name for name in value if name not in possible]:
            raise ValueError(f"{unknown[0]!r} is not one of " + ", ".join(repr(name) for name in possible))
        return tuple(value)

    return parse


def _texts(value: object) -> tuple[str, ...]:
    """One string, or a list of them."""
    found = (value,) if isinstance(value, str) else value
    if not isinstance(found, (list, tuple)):
        raise ValueError("a string or a list of strings is needed")
    return tuple(_text(one) for one in found)


def _hashed(value: object) -> tuple[str, ...]:
    secrets = _texts(value)
    for secret in secrets:
        try:
            identify_hasher(secret)
        except ValueError:
            raise ValueError("what django.contrib.auth.hashers.make_password has made is needed") from None
    return secrets


_CLIENT_PARSERS: dict[str, Callable[[object], Any]] = {
    "secrets": _hashed,
    "jwks": _jwk_set,
    "jwks_uri": lambda given: None if given is None else secure_url(given),
    "introspects": _flag,
    "audiences": _texts,
}


def _clients(value: object) -> Callable[..., Any] | None:
    """A dict of clients by their id, or what finds one."""
    if not isinstance(value, Mapping):
        return _callable(value)
    known: dict[str, OAuthClient] = {}
    for client_id, given in value.items():
        name = _text(client_id)
        try:
            known[name] = OAuthClient(name, **_parts(given, _CLIENT_PARSERS, "{'secrets': [...]}"))
        except ValueError as error:
            raise ValueError(f"{name!r}: {error}") from error
        if known[name].introspects and known[name].is_public:
            raise ValueError(f"{name!r}: introspects: a client that proves nothing is told nothing")
    return known.get


def _class(value: object) -> type[Any] | None:
    found = _callable(value)
    if found is not None and not isinstance(found, type):
        raise ValueError("a class is needed")
    return found


def _members(value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise ValueError("a dict of members is needed")
    return value


def _oauth(value: object) -> OAuth:
    parsers: dict[str, Callable[[object], Any]] = {
        "clients": _clients,
        "methods": _names(*_CLIENT_AUTHENTICATION),
        "bearer_permission": _class,
        "claims": _callable,
        "client_claim": _text,
        "authentication": _class,
        "issuer": _issuer,
        "metadata": _members,
    }
    return OAuth() if value is None else OAuth(**_parts(value, parsers, "{'clients': 'shop.clients.find'}"))


def _openid_providers(value: object) -> Mapping[str, OpenIDProvider]:
    parsers: dict[str, Callable[[object], Any]] = {
        "client_id": _texts,
        "jwks": _jwk_set,
        "jwks_uri": lambda given: None if given is None else secure_url(given),
        "algorithms": _names(*ASYMMETRIC_ALGORITHMS),
        "user": _callable,
        "max_age": _seconds,
        "leeway": _seconds,
    }
    if value is None:
        return {}
    example = "{'https://op.example': {'client_id': 'shop', 'jwks_uri': 'https://op.example/jwks'}}"
    if not isinstance(value, Mapping):
        raise ValueError(f"None, or a dict such as {example}, is needed")
    found: dict[str, OpenIDProvider] = {}
    for issuer, given in value.items():
        name = _text(issuer)
        try:
            parsed = _parts(given, parsers, "{'client_id': 'shop', 'jwks_uri': 'https://op.example/jwks'}")
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


class Webhooks(NamedTuple):
    """Who says that a session is over, to whom the receivers in the database listen, and how it is sent."""

    # The iss of a Security Event Token (RFC 8417 section 2.2).
    issuer: str
    # It takes the user-id claim and the receiver's audience, and answers with a subject identifier (RFC 9493). None:
    # one of the format iss_sub.
    user_subject: Callable[..., Any] | None = None
    # None: what Simple JWT signs with is used, if that is asymmetric.
    algorithm: str | None = None
    # What 'algorithm' signs with: a PEM, or a secret that the receivers have too.
    signing_key: str | None = None
    # The kid in the header, for receivers that know several keys.
    key_id: str | None = None
    # By origin ("https://example.com"), the value of the Authorization header. By origin, so that whoever may change a
    # receiver's URL cannot have it sent elsewhere.
    authorization: Mapping[str, str] = {}
    # For one delivery, from the name's lookup to the answer's end.
    timeout: float = 10.0
    # The pause after a first failure. It doubles with each further one, and is cut by chance to at least its half.
    first_delay: float = 5.0
    # The longest pause between two attempts.
    longest_delay: float = 3600.0
    # For how long it is tried.
    give_up_after: timedelta = timedelta(days=7)
    # For how long deliveries that arrived are kept.
    keep: timedelta = timedelta(days=30)
    # Networks that are not public and may be sent to all the same.
    networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = ()
    # Whether a receiver may be reached without TLS.
    allow_http: bool = False
    # Whom to believe a certificate, in a file. None: whom the system believes.
    ca_file: str | None = None


_ORIGIN = re.compile(r"https?://[^/?#\s@]+")
# What Simple JWT and PyJWT know.
_ALGORITHMS = (*(f"{family}{bits}" for family in ("HS", "RS", "PS", "ES") for bits in (256, 384, 512)), "EdDSA")


def _authorization(value: object) -> Mapping[str, str]:
    if not isinstance(value, Mapping):
        raise ValueError("a dict such as {'https://example.com': 'Bearer ...'} is needed")
    for origin, header in value.items():
        if not isinstance(origin, str) or not _ORIGIN.fullmatch(origin):
            raise ValueError(f"{origin!r} is no origin such as 'https://example.com'")
        # RFC 9110 section 5.5: what would end the header, or could not be in it.
        if not isinstance(header, str) or not re.fullmatch(r"[!-~]+( [!-~]+)*", header):
            raise ValueError(f"{origin}: what is there for it cannot be an Authorization header")
    return {origin.lower(): header for origin, header in value.items()}


def _networks(value: object) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    if isinstance(value, str) or not isinstance(value, (list, tuple)):
        raise ValueError("a list of networks such as ['10.1.0.0/16'] is needed")
    return tuple(ipaddress.ip_network(one) for one in value)


def _positive(value: object) -> float:
    seconds = _seconds(value)
    if seconds < 0.01:
        raise ValueError("at least a hundredth of a second is needed")
    return seconds


def _webhooks(value: object) -> Webhooks | None:
    if value is None:
        return None

    def optional(given: object) -> str | None:
        return None if given is None else _text(given)

    parsers: dict[str, Callable[[object], Any]] = {
        "issuer": _text,
        "user_subject": _callable,
        "algorithm": lambda given: None if given is None else _choice(*_ALGORITHMS)(given),
        "signing_key": optional,
        "key_id": optional,
        "authorization": _authorization,
        "timeout": _positive,
        "first_delay": _positive,
        "longest_delay": _positive,
        "give_up_after": _duration,
        "keep": _duration,
        "networks": _networks,
        "allow_http": _flag,
        "ca_file": optional,
    }
    parsed = _parts(value, parsers, "{'issuer': 'https://example.com'}")
    if "issuer" not in parsed:
        raise ValueError("issuer: it is missing; receivers know by it who speaks")
    made = Webhooks(**parsed)
    if (made.algorithm is None) != (made.signing_key is None):
        raise ValueError("algorithm, signing_key: both are needed, or none of them")
    if made.longest_delay < made.first_delay:
        raise ValueError("longest_delay: it is shorter than first_delay")
    return made


class StatusList(NamedTuple):
    """How the status of tokens is published for services without Redis (IETF Token Status List)."""

    # Where the lists are, as others reach it: each list's URI begins with it.
    uri: str
    # Seconds for which a service may keep a list.
    ttl: int = 60
    # Places in a list, half of which are given to sessions.
    size: int = 2**17


# A list of a few places tells who is asked about; a longer one is no more private, and slow to sign.
_LIST_SIZES = (2**10, 2**23)
_TTLS = (1, 24 * 3600)


def _status_list(value: object) -> StatusList | None:
    if value is None:
        return None
    parsers: dict[str, Callable[[object], Any]] = {"uri": _base_url, "ttl": _whole_number, "size": _whole_number}
    parsed = _parts(value, parsers, "{'uri': 'https://example.com/status/'}")
    if "uri" not in parsed:
        raise ValueError("uri: it is missing; tokens name by it where their list is")
    made = StatusList(**{**parsed, "uri": parsed["uri"] + "/"})
    if not _TTLS[0] <= made.ttl <= _TTLS[1]:
        raise ValueError(f"ttl: a whole number of seconds from {_TTLS[0]} to {_TTLS[1]} is needed")
    if made.size % 8 or not _LIST_SIZES[0] <= made.size <= _LIST_SIZES[1]:
        raise ValueError(f"size: a multiple of 8 from {_LIST_SIZES[0]} to {_LIST_SIZES[1]} is needed")
    return made


def _callable(value: object) -> Callable[..., Any] | None:
    if value is None or callable(value):
        return value
    if not isinstance(value, str):
        raise ValueError("None, a callable, or the dotted path of one is needed")
    try:
        found = import_string(value)
    except ImportError as error:
        raise ValueError(str(error)) from error
    if not callable(found):
        raise ValueError(f"{value} is not callable")
    return found  # type: ignore[no-any-return]


def _events(value: object) -> frozenset[str]:
    if isinstance(value, str) or not isinstance(value, (list, tuple, set, frozenset)):
        raise ValueError("a list of names is needed")
    unknown = [name for name in value if name not in REVOKE_ON]
    if unknown:
        raise ValueError(f"{unknown[0]!r} is not one of " + ", ".join(repr(name) for name in REVOKE_ON))
    return frozenset(value)


@dataclass(frozen=True, slots=True)
class LegacyTokens:
    """Tokens without a session are accepted, as those are that Simple JWT issued before it had one."""

    # Seconds of the epoch: only what was issued before that moment. None: whenever that was.
    issued_before: float | None = None


def _legacy_tokens(value: object) -> LegacyTokens | None:
    if value in ("refuse", "adopt"):
        return LegacyTokens() if value == "adopt" else None
    if isinstance(value, Mapping) and set(value) == {"adopt"}:
        moment = value["adopt"]
        if not isinstance(moment, datetime) or moment.tzinfo is None:
            raise ValueError("adopt: an aware datetime is needed, one with a time zone")
        return LegacyTokens(moment.timestamp())
    raise ValueError("it is one of 'refuse', 'adopt', or {'adopt': a datetime}, before which they were issued")


def _setting(default: object, parse: Callable[[object], Any], help: str) -> Any:
    return field(default=default, metadata={"parse": parse, "help": help})


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """One validated ``JWT_REDIS``. Each field is the setting of the same name in capitals."""

    alias: str = _setting("default", _text, "The CACHES alias, a django-redis one, whose Redis holds the state.")
    client_factory: Callable[..., Any] | None = _setting(
        None,
        _callable,
        "It makes the client in place of ALIAS: called with asynchronous=False for a redis.Redis (or RedisCluster),"
        " with asynchronous=True for its redis.asyncio twin.",
    )
    key_prefix: str = _setting("jwt:", _prefix, "What every key in Redis begins with.")
    strategy: Strategy = _setting(
        "whitelist",
        _choice("whitelist", "blacklist"),
        "'whitelist': a token is good while its session is in Redis. 'blacklist': until it is listed there.",
    )
    refresh_grace: float = _setting(
        10.0,
        _seconds,
        "Seconds in which the immediate predecessor of a refresh token may come again and gets the same successor.",
    )
    session_max_age: timedelta | None = _setting(
        None,
        _lifetime,
        "The age at which a session ends however often it is refreshed. None: 90 days, or the first refresh token's"
        " own lifetime where that is longer.",
    )
    max_sessions: int | None = _setting(
        100, _count, "How many sessions a user may have; one more ends the oldest. None: no limit."
    )
    legacy_tokens: LegacyTokens | None = _setting(
        "refuse",
        _legacy_tokens,
        "What becomes of tokens without a session. 'refuse'; 'adopt': those that Simple JWT issued before live until"
        " they expire, and a refresh token gets a session when it is used. {'adopt': an aware datetime}: only those"
        " that were issued before that moment.",
    )
    observe: bool = _setting(
        False,
        _flag,
        "Nothing is refused that Simple JWT would have let pass: what would be is logged, counted and signalled. What"
        " is revoked is written down, and not enforced.",
    )
    on_redis_failure: FailurePolicy = _setting(
        "deny",
        _choice("deny", "allow"),
        "'deny': 503 while Redis cannot be asked. 'allow': a token with a good signature passes, logged each time.",
    )
    journal: bool = _setting(
        True,
        _flag,
        "Record each revocation in the database too, from where it is applied again when Redis has lost it.",
    )
    wait_replicas: WaitReplicas | None = _setting(
        0,
        _wait_replicas,
        "How many replicas must confirm a revocation (WAIT) before it counts. A pair adds the seconds to wait for them,"
        " 0.1 otherwise. Too few is a 503.",
    )
    near_cache: NearCache | None = _setting(
        None,
        _near_cache,
        "A process answers from its own copy of the revocation log, for no longer than 'lease'. None: every check asks"
        " Redis.",
    )
    status_list: StatusList | None = _setting(
        None,
        _status_list,
        "A dict with 'uri', under which jwt_redis.status_urls is reached: tokens say where their status is published,"
        " for services that cannot ask Redis. Also 'ttl', in seconds, and 'size'. None: nothing is published.",
    )
    token_memo_size: int = _setting(
        2048, _whole_number, "Of how many tokens a process remembers that the signature was good. 0: of none."
    )
    revoke_on: frozenset[str] = _setting(
        frozenset({"password_changed", "deactivated", "deleted"}),
        _events,
        "Which changes of a user end all of the user's sessions: " + ", ".join(map(repr, REVOKE_ON)) + ".",
    )
    client_ip: Callable[..., Any] | None = _setting(
        "jwt_redis.devices.remote_addr",
        _callable,
        "It takes the request and answers with the IP to show. None: no IP is kept.",
    )
    cookie: Cookie | None = _setting(
        None,
        _cookie,
        "Empty for the defaults: tokens travel in HttpOnly cookies, with CSRF enforced. None: in headers only.",
    )
    location: Callable[..., Any] | None = _setting(
        None,
        _callable,
        "It takes an IP and answers with where that is, in words, or None. For the list of devices.",
    )
    pages: Pages = _setting(None, _pages, "Of the pages in jwt_redis.pages.urls.")
    sign_in_notice: SignInNotice | None = _setting(
        None,
        _sign_in_notice,
        "Users are told by e-mail of a sign-in from a new device. None: they are not.",
    )
    oauth: OAuth = _setting(
        None,
        _oauth,
        "Who may ask the endpoints in jwt_redis.oauth.urls to revoke and introspect, and how.",
    )
    openid_providers: Mapping[str, OpenIDProvider] = _setting(
        None,
        _openid_providers,
        "By issuer, dicts with 'client_id' and 'jwks_uri' or 'jwks': whose logout tokens end sessions here.",
    )
    keys: Keys | None = _setting(
        None,
        _keys,
        "A dict with 'directory', or with 'keys' and 'signing': several signing keys by kid. None: Simple JWT's own.",
    )
    webhooks: Webhooks | None = _setting(
        None,
        _webhooks,
        "The receivers of jwt_redis.contrib.webhooks are told of each revocation. None: they are not.",
    )

    @property
    def accepts_by_absence(self) -> bool:
        """Is there a token that is good because Redis has nothing against it? Then nothing may be lost there."""
        return self.strategy == "blacklist" or self.legacy_tokens is not None


_FIELDS = {f.name.upper(): f for f in fields(Config)}


class Problem(NamedTuple):
    """One thing that is wrong with ``settings.JWT_REDIS``."""

    key: str
    reason: str
    is_unknown: bool = False


def _parse(raw: object) -> tuple[dict[str, Any], list[Problem]]:
    """The values that are right, and for each that is not its key and what is wrong."""
    if not isinstance(raw, Mapping):
        return {}, [Problem("JWT_REDIS", "a dict is needed")]
    values: dict[str, Any] = {}
    wrong: list[Problem] = []
    for key in raw:
        if key not in _FIELDS:
            wrong.append(Problem(str(key), "there is no such key", is_unknown=True))
    for name, f in _FIELDS.items():
        try:
            values[f.name] = f.metadata["parse"](raw.get(name, f.default))
        except ValueError as error:
            wrong.append(Problem(name, str(error)))
    return values, wrong


def problems() -> list[Problem]:
    """What is wrong with ``settings.JWT_REDIS``. Empty when all is well."""
    return _parse(getattr(settings, "JWT_REDIS", {}))[1]


_NO_SETTING: dict[str, Any] = {}
_cached: tuple[object, Config] | None = None
# Past LazyObject's, which is written in Python and takes as long as all the rest. What it finds is what Django's
# settings have kept for themselves, and drop when they are overridden.
_kept = object.__getattribute__


def config() -> Config:
    """The settings in force.

    :raises ImproperlyConfigured: naming each key that is unknown or of the wrong kind.
    """
    global _cached
    try:
        raw = _kept(settings, "JWT_REDIS")
    except AttributeError:
        raw = getattr(settings, "JWT_REDIS", _NO_SETTING)
    cached = _cached
    # By identity: override_settings puts another dict in its place.
    if cached is not None and cached[0] is raw:
        return cached[1]
    values, wrong = _parse(raw)
    if wrong:
        raise ImproperlyConfigured("JWT_REDIS: " + "; ".join(f"{key}: {reason}" for key, reason, _ in wrong) + ".")
    made = Config(**values)
    _cached = (raw, made)
    return made


def simplejwt_setting(name: str) -> Any:
    """Simple JWT's setting ``name`` as it is now: its module replaces the object when settings are overridden."""
    return getattr(simplejwt.api_settings, name)


def leeway_seconds() -> float:
    """Simple JWT's ``LEEWAY``, in seconds: for so long after its ``exp`` a token is still accepted."""
    leeway = simplejwt_setting("LEEWAY")
    return leeway.total_seconds() if isinstance(leeway, timedelta) else float(leeway or 0)


def longest_lifetime() -> float:
    """Seconds for which the longest-lived token of any type is good."""
    refresh = (simplejwt_setting(name) for name in ("REFRESH_TOKEN_LIFETIME", "SLIDING_TOKEN_REFRESH_LIFETIME"))
    return max(longest_access_lifetime(), *(float(lifetime.total_seconds()) for lifetime in refresh))


def longest_session() -> float:
    """Seconds after which a session of today has certainly ended, and every token with it."""
    max_age = config().session_max_age or DEFAULT_MAX_AGE
    return max(longest_lifetime(), max_age.total_seconds())


def longest_access_lifetime() -> float:
    """Seconds for which the longest-lived token that a request may carry is good."""
    lifetimes = [simplejwt_setting("ACCESS_TOKEN_LIFETIME")]
    lifetimes += [cls.lifetime for cls in simplejwt_setting("AUTH_TOKEN_CLASSES") if cls.lifetime]
    return float(max(lifetimes).total_seconds())
