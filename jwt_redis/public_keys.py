"""Tokens that somebody else has signed: by the key that is theirs, and by no other algorithm than was agreed.

PyJWT verifies; what is here is which key it is given, and how seldom theirs are fetched.
"""

from __future__ import annotations

import io
import json
import os
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any, Final
from urllib.error import HTTPError
from urllib.request import HTTPHandler, HTTPRedirectHandler, HTTPSHandler, Request, build_opener

import jwt
from jwt import PyJWK, PyJWS
from jwt.exceptions import PyJWTError

from jwt_redis.conf import secure_url
from jwt_redis.decoding import CRASHES

__all__ = ["MAX_TOKEN", "BadSignature", "KeysUnavailable", "RemoteKeys", "unverified", "verified"]

# Characters. A token with a certificate chain in its header has as many; a longer one is nobody's.
MAX_TOKEN: Final = 16384
# Seconds for which a set of keys is kept: so long one that its owner has withdrawn may still be taken for good.
LIFESPAN: Final = 300.0
# Seconds in which one key that is not known does not lead to another look: anybody can name such a key.
COOLDOWN: Final = 30.0
# The same after a look that failed.
AFTER_FAILURE: Final = 5.0
# Seconds that a look may take, for each time that nothing comes.
TIMEOUT: Final = 3.0
# And those for all of the answer, its headers too, however slowly it comes; and how many bytes of it.
PATIENCE: Final = 6.0
MAX_SET: Final = 1 << 20

_KEY_TYPES: Final = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}


class BadSignature(Exception):
    """The token is not by whom it should be. The message says why, in ASCII and without anything of the token."""


class KeysUnavailable(Exception):
    """The keys could not be fetched, so nobody can say whose the token is."""


class RemoteKeys:
    """A JWK Set at a URL (RFC 7517 section 5): kept, and looked at again for a key that is not known, but seldom."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._lock = threading.Lock()
        self._keys: Sequence[Mapping[str, Any]] = ()
        self._fetched_at: float | None = None
        self._next_try = 0.0

    def keys(self, *, again: bool = False) -> Sequence[Mapping[str, Any]]:
        """The keys. ``again``: the one that is wanted was not among them.

        :raises KeysUnavailable: when there are none, and none could be fetched.
        """
        if not again and not self._is_old(time.monotonic()):
            # Somebody else's look, for a key that may be made up, holds up nobody whose key is here.
            return self._keys
        if not self._lock.acquire(timeout=TIMEOUT):
            raise KeysUnavailable("the keys are being fetched")
        try:
            now = time.monotonic()
            is_old = self._is_old(now)
            if is_old or (again and self._is_old(now, COOLDOWN)):
                self._fetch(now, is_old)
            return self._keys
        finally:
            self._lock.release()

    def _is_old(self, now: float, seconds: float | None = None) -> bool:
        fetched_at = self._fetched_at
        return fetched_at is None or now - fetched_at >= (LIFESPAN if seconds is None else seconds)

    def _fetch(self, now: float, is_old: bool) -> None:
        if now < self._next_try:
            if is_old:
                raise KeysUnavailable("the keys could not be fetched a moment ago")
            return
        try:
            keys = _members(_get(self._uri))
            if keys is None:
                raise ValueError("the answer is no JWK Set")
        except (HTTPException, *CRASHES) as error:
            # From now on: it may have failed slowly.
            self._next_try = time.monotonic() + AFTER_FAILURE
            if is_old:
                raise KeysUnavailable(f"the keys could not be fetched: {type(error).__name__}") from error
            return
        self._keys = keys
        self._fetched_at = time.monotonic()


class _NoRedirects(HTTPRedirectHandler):
    """Where the keys are was agreed, and not with whom that refers to."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


class _InTime(io.RawIOBase):
    """What comes over a socket within ``PATIENCE``: a socket's own timeout begins anew with each byte."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        # It keeps the connection open.
        self._raw = sock.makefile("rb", buffering=0)
        self._deadline = time.monotonic() + PATIENCE

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the answer does not come to an end")
        self._socket.settimeout(min(TIMEOUT, left))
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Answer(HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp.close()
        self.fp = io.BufferedReader(_InTime(sock))


class _Connection(HTTPConnection):
    response_class = _Answer


class _SecureConnection(HTTPSConnection):
    response_class = _Answer


class _HTTP(HTTPHandler):
    def http_open(self, req: Request) -> HTTPResponse:
        return self.do_open(_Connection, req)


class _HTTPS(HTTPSHandler):
    def https_open(self, req: Request) -> HTTPResponse:
        return self.do_open(_SecureConnection, req)


def _get(uri: str) -> Any:
    """The JSON that is there. What a client's keys are may have come from that client: neither URL nor answer is
    trusted."""
    request = Request(secure_url(uri), headers={"Accept": "application/json"})  # noqa: S310
    body = bytearray()
    try:
        with build_opener(_HTTP, _HTTPS, _NoRedirects).open(request, timeout=TIMEOUT) as response:
            while chunk := response.read1(65536):
                body += chunk
                if len(body) > MAX_SET:
                    raise ValueError("the answer is too long")
    except HTTPError as error:
        error.close()
        raise
    return json.loads(body)


@lru_cache(maxsize=256)
def _remote(uri: str) -> RemoteKeys:
    return RemoteKeys(uri)


# A child must not wait for a lock that a thread of its parent's holds.
os.register_at_fork(after_in_child=_remote.cache_clear)


def unverified(raw: str) -> dict[str, Any]:
    """The claims of a token that nobody has verified: to find out whose keys to verify it with, and for nothing else.

    :raises BadSignature: when it is no signed token at all.
    """
    return _claims(_split(raw)["payload"])


def _split(raw: str) -> dict[str, Any]:
    if len(raw) > MAX_TOKEN:
        raise BadSignature("the token is too long")
    try:
        # A string of anything but ASCII is no token, and PyJWT would raise its UnicodeEncodeError.
        return PyJWS().decode_complete(raw.encode("ascii"), options={"verify_signature": False})
    except (PyJWTError, *CRASHES):
        raise BadSignature("the token is not a signed JWT") from None


def _claims(payload: bytes) -> dict[str, Any]:
    try:
        claims = json.loads(payload)
    except (ValueError, RecursionError):
        claims = None
    if not isinstance(claims, dict):
        raise BadSignature("the token has no claims")
    return claims


def verified(
    raw: str, jwks: Mapping[str, Any] | None, jwks_uri: str | None, algorithms: Sequence[str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims of a token with a good signature; what the claims say is for the caller to judge.

    ``jwks`` or ``jwks_uri``: whose it has to be. ``algorithms``: those that were agreed, none of a shared secret.

    :raises BadSignature: when it is somebody else's, or nobody's.
    :raises KeysUnavailable: when the keys could not be fetched.
    """
    header = _split(raw)["header"]
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in algorithms:
        raise BadSignature("the token is not signed with an algorithm that was agreed")
    key = _key_for(header.get("kid"), algorithm, jwks, jwks_uri)
    try:
        # The key's own algorithm alone, whatever the header says: it says the same.
        options: Any = {"enforce_minimum_key_length": True}
        found = PyJWS(options=options).decode_complete(raw.encode("ascii"), key, algorithms=[algorithm])
    except jwt.InvalidSignatureError:
        raise BadSignature("the signature is not good") from None
    except (PyJWTError, NotImplementedError, *CRASHES):  # the second is PyJWT's, of what it does not know
        raise BadSignature("the signature cannot be verified with the key that is named") from None
    return found["header"], _claims(found["payload"])


def _key_for(kid: object, algorithm: str, jwks: Mapping[str, Any] | None, jwks_uri: str | None) -> Any:
    if jwks is not None:
        found = _fitting(_members(jwks) or (), kid, algorithm)
    elif jwks_uri is not None:
        source = _remote(jwks_uri)
        found = _fitting(source.keys(), kid, algorithm) or _fitting(source.keys(again=True), kid, algorithm)
    else:
        found = []
    if not found:
        raise BadSignature("there is no such key")
    if len(found) > 1 and kid is None:
        raise BadSignature("the token names no key, and there are several")
    return found[0]


def _members(jwks: object) -> Sequence[Mapping[str, Any]] | None:
    """The keys of a JWK Set, which may be whatever somebody has registered; None if it is none."""
    keys = jwks.get("keys") if isinstance(jwks, Mapping) else None
    return tuple(key for key in keys if isinstance(key, Mapping)) if isinstance(keys, (list, tuple)) else None


def _fitting(keys: Sequence[Mapping[str, Any]], kid: object, algorithm: str) -> list[Any]:
    """Those that may have signed it: of the right type, for signatures, and not for another algorithm.

    One that is damaged or will not do is passed over, as if it were not there (RFC 7517 section 5).
    """
    fitting = [
        key
        for key in keys
        if key.get("kty") == _KEY_TYPES[algorithm[:2]]
        and key.get("use") in (None, "sig")
        and _verifies(key.get("key_ops"))
        and key.get("alg") in (None, algorithm)
        and (kid is None or key.get("kid") == kid)
    ]
    return [made for key in fitting if (made := _made(key, algorithm)) is not None]


def _verifies(operations: object) -> bool:
    # RFC 7517 section 4.3; what is no list is out of range.
    return operations is None or (isinstance(operations, (list, tuple)) and "verify" in operations)


def _made(key: Mapping[str, Any], algorithm: str) -> Any:
    """What PyJWT verifies with; None for a key that is not whole, of another curve, or too weak."""
    try:
        made = PyJWK(dict(key), algorithm)
        # Of the curve or the kind that the algorithm needs.
        prepared = made.Algorithm.prepare_key(made.key)
        return None if made.Algorithm.check_key_length(prepared) else prepared
    except (PyJWTError, NotImplementedError, *CRASHES):  # the second is PyJWT's, of what it does not know
        return None
