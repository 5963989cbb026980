"""Which client asks (RFC 6749 section 2.3, RFC 7523 section 3), and that it says so in one way alone."""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
import os
import secrets
import threading
import time
from collections import OrderedDict
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from django.contrib.auth.hashers import check_password, make_password
from django.core.exceptions import ImproperlyConfigured
from rest_framework import exceptions
from rest_framework.request import Request

from jwt_redis.authentication import JWTAuthentication
from jwt_redis.conf import ASYMMETRIC_ALGORITHMS, OAuthClient, config, simplejwt_setting
from jwt_redis.keys import user_id
from jwt_redis.oauth.issuing import is_url, issuer, own_url
from jwt_redis.oauth.protocol import OAuthError, invalid_request
from jwt_redis.public_keys import BadSignature, KeysUnavailable, unverified, verified
from jwt_redis.sessions.once import use_once
from jwt_redis.verdicts import is_jti

__all__ = ["Caller", "authenticate"]

logger = logging.getLogger("jwt_redis")

ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
# Seconds by which a client's clock may differ, and those after which its assertion is too far from its end.
_LEEWAY: Final = 30
_LONGEST_ASSERTION: Final = 3600
_MAX_CLIENT_ID: Final = 255


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: a client, or, with a bearer token, a user."""

    client: OAuthClient | None = None
    user: Any = None

    def __str__(self) -> str:
        return f"client {self.client.client_id}" if self.client is not None else user_id(self.user)


def authenticate(request: Request, form: dict[str, str], view: Any, *, takes_bearer: bool = False) -> Caller:
    """Who asks, by whichever of the ways that ``OAUTH["methods"]`` allows.

    ``takes_bearer``: a user's access token will do as well, where ``OAUTH["bearer_permission"]`` lets it.

    :raises OAuthError: ``invalid_client`` when that is not proven, ``invalid_request`` when it is said in two ways.
    """
    scheme, _, credentials = request.META.get("HTTP_AUTHORIZATION", "").strip().partition(" ")
    said = [name for name in ("client_secret", "client_assertion") if name in form]
    if bool(scheme) + len(said) > 1:
        raise invalid_request("a client authenticates in one way at a time")
    if takes_bearer and scheme.lower() in _bearer_schemes():
        return _of_bearer(request, view)
    if scheme.lower() == "basic":
        return _with_secret("client_secret_basic", _basic(credentials), form)
    if scheme:
        raise _invalid_client("this way of authenticating is not supported")
    if "client_secret" in form:
        return _with_secret("client_secret_post", [(form.get("client_id", ""), form["client_secret"])], form)
    if "client_assertion" in form:
        return _with_assertion(request, form)
    return _public(form.get("client_id"))


def _invalid_client(description: str) -> OAuthError:
    ways = ['Basic realm="oauth", charset="UTF-8"']
    if config().oauth.bearer_permission is not None:
        ways.append('Bearer realm="oauth"')
    return OAuthError("invalid_client", description, 401, {"WWW-Authenticate": ", ".join(ways)})


def _unproven() -> OAuthError:
    # Whether there is such a client is not said.
    return _invalid_client("the client is not known, or has not proven who it is")


def _needs(method: str) -> None:
    if method not in config().oauth.methods:
        raise _invalid_client(f"{method} is not supported")


def _find(client_id: str) -> OAuthClient | None:
    find = config().oauth.clients
    if find is None or not 0 < len(client_id) <= _MAX_CLIENT_ID or not client_id.isprintable():
        return None
    client = find(client_id)
    if client is not None and not isinstance(client, OAuthClient):
        raise ImproperlyConfigured(
            "JWT_REDIS: OAUTH: clients: it answers with an OAuthClient or None, not with a " + type(client).__name__
        )
    return client


# By secret ---------------------------------------------------------------------------------------------------------


def _basic(credentials: str) -> list[tuple[str, str]]:
    """Id and secret. RFC 6749 section 2.3.1: both are encoded as in a form, and then as RFC 7617 has it.

    Many clients leave the first out. Where that makes a difference, both readings are given, the RFC's first.
    """
    try:
        client_id, colon, secret = base64.b64decode(credentials.strip(), validate=True).decode().partition(":")
    except ValueError:
        colon = ""
    if not colon:
        raise _invalid_client("the Authorization header cannot be read")
    readings = [(client_id, secret)]
    try:
        decoded = (_form_decoded(client_id), _form_decoded(secret))
    except ValueError:
        return readings
    return readings if decoded in readings else [decoded, *readings]


def _form_decoded(text: str) -> str:
    return unquote_to_bytes(text.replace("+", " ")).decode()


def _with_secret(method: str, readings: list[tuple[str, str]], form: dict[str, str]) -> Caller:
    _needs(method)
    named = form.get("client_id")
    if named is not None and all(named != client_id for client_id, _ in readings):
        raise invalid_request("client_id is another than the one that authenticates")
    for client_id, secret in readings:
        client = _find(client_id)
        if _is_secret(secret, client.secrets if client is not None else ()) and client is not None:
            return Caller(client)
    raise _unproven()


# A hash is slow on purpose, and a client may ask for each request that it gets: that a secret was good is remembered,
# under a key that is this process' alone.
_REMEMBERED: Final = 1024
_memo_key = secrets.token_bytes(32)
_good: OrderedDict[bytes, None] = OrderedDict()
# And those that are being looked at: who comes with the same secret meanwhile takes the answer.
_under_way: dict[bytes, Future[bool]] = {}
_lock = threading.Lock()


def _after_fork() -> None:
    """A thread of the parent's may have held the lock, and those that hash are not here."""
    global _lock
    _lock = threading.Lock()
    _under_way.clear()


os.register_at_fork(after_in_child=_after_fork)


def _is_secret(secret: str, hashes: tuple[str, ...]) -> bool:
    """Is it one of these? For a client that there is not, it takes as long to say no."""
    if not hashes:
        make_password(secret)
        return False
    for hashed in hashes:
        proof = hmac.digest(_memo_key, f"{hashed}\0{secret}".encode(errors="surrogatepass"), hashlib.sha256)
        if _is_proof(proof, secret, hashed):
            return True
    return False


def _is_proof(proof: bytes, secret: str, hashed: str) -> bool:
    ours: Future[bool] = Future()
    with _lock:
        if proof in _good:
            return True
        answer = _under_way.setdefault(proof, ours)
    if answer is not ours:
        try:
            return answer.result()
        except CancelledError:
            return _is_proof(proof, secret, hashed)
    try:
        is_good = check_password(secret, hashed)
    except BaseException:
        # What stops this one is no answer for the others.
        with _lock:
            _under_way.pop(proof, None)
        answer.cancel()
        raise
    with _lock:
        _under_way.pop(proof, None)
        if is_good:
            _good[proof] = None
            while len(_good) > _REMEMBERED:
                _good.popitem(last=False)
    answer.set_result(is_good)
    return is_good


def _public(client_id: str | None) -> Caller:
    """A client that has nothing to prove who it is with: what it holds is its proof."""
    if client_id is None:
        raise _invalid_client("no client has authenticated")
    _needs("none")
    client = _find(client_id)
    if client is None or not client.is_public:
        raise _unproven()
    return Caller(client)


# By signature ------------------------------------------------------------------------------------------------------


def _with_assertion(request: Request, form: dict[str, str]) -> Caller:
    """RFC 7523 section 3, and OpenID Connect Core section 9 for the rest: ``jti`` is needed, and good once."""
    _needs("private_key_jwt")
    if form.get("client_assertion_type") != ASSERTION_TYPE:
        raise invalid_request("client_assertion_type is missing, or is not supported")
    raw = form["client_assertion"]
    try:
        client_id = unverified(raw).get("sub")
        client = _find(client_id) if isinstance(client_id, str) else None
        if client is None or form.get("client_id", client_id) != client_id:
            raise _unproven()
        _, claims = verified(raw, client.jwks, client.jwks_uri, ASYMMETRIC_ALGORITHMS)
    except BadSignature:
        raise _unproven() from None
    except KeysUnavailable as error:
        logger.error("A client's keys: %s", error, extra={"event": "client_keys_unavailable"})
        raise OAuthError("temporarily_unavailable", "the keys of the client cannot be fetched", 503) from None
    usable_for = _usable_for(claims, client, request)
    if usable_for is None:
        raise _invalid_client("the assertion is not good here, or no longer")
    # Its length keeps an id and a jti from being read as another client's.
    used = f"assertion {len(client.client_id)} {client.client_id} {claims['jti']}"
    if not use_once(used, secrets.token_urlsafe(12), usable_for):
        raise _invalid_client("the assertion was used before")
    return Caller(client)


def _usable_for(claims: dict[str, Any], client: OAuthClient, request: Request) -> float | None:
    """For how long an assertion could be used again, in seconds; None if it is not good."""
    now, exp = time.time(), claims.get("exp")
    audience = claims.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    if claims.get("iss") != client.client_id or not is_jti(claims.get("jti")):
        return None
    if not any(isinstance(one, str) and one in _own_names(request) for one in audiences):
        return None
    if any(not (claims.get(name) is None or _is_past(claims[name], now)) for name in ("nbf", "iat")):
        return None
    if exp is None or not _is_moment(exp) or not now - _LEEWAY < exp <= now + _LONGEST_ASSERTION + _LEEWAY:
        return None
    return float(exp - now + 2 * _LEEWAY)


def _is_moment(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 2**53


def _is_past(value: Any, now: float) -> bool:
    return _is_moment(value) and value <= now + _LEEWAY


def _own_names(request: Request) -> tuple[str, ...]:
    """Whom an assertion for this endpoint is for. Where the issuer is known, what the request calls the host is not."""
    named = issuer()
    if not is_url(named):
        return (request.build_absolute_uri(request.path),)
    return (named, own_url(named, request.path))


# By bearer token ---------------------------------------------------------------------------------------------------


def _bearer_schemes() -> tuple[str, ...]:
    if config().oauth.bearer_permission is None:
        return ()
    return tuple(str(scheme).lower() for scheme in simplejwt_setting("AUTH_HEADER_TYPES"))


def _of_bearer(request: Request, view: Any) -> Caller:
    """RFC 7662 section 2.1: a separate access token. Errors are those of RFC 6750 section 3.1."""
    permission = config().oauth.bearer_permission
    authenticator: Any = (config().oauth.authentication or JWTAuthentication)()
    try:
        found = authenticator.authenticate(request)
    except exceptions.AuthenticationFailed:
        found = None
    if found is None:
        headers = {"WWW-Authenticate": 'Bearer realm="oauth", error="invalid_token"'}
        raise OAuthError("invalid_token", "the access token is not good", 401, headers)
    request.user, request.auth = found
    if permission is None or not permission().has_permission(request, view):
        headers = {"WWW-Authenticate": 'Bearer realm="oauth", error="insufficient_scope"'}
        raise OAuthError("insufficient_scope", "this is not for everybody", 403, headers)
    return Caller(user=request.user)
