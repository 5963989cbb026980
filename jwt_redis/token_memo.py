"""A signature is verified once: what a token held is remembered under the digest of its text.

What changes with time is looked at each time: ``exp``, ``nbf`` and ``iat`` as PyJWT does it, and whether the key and
the backend are still those that found the token good. Two ways lead here:

- :func:`decode` takes the place of the backend's. Whatever a class makes of the payload, it makes on each request.
- :func:`recall` takes the place of all that a class does, for one that does nothing but what Simple JWT and this
  package do: what it has found good once is good but for the time.

Whether the token was revoked is asked elsewhere. A forked child begins with nothing.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections import OrderedDict
from hashlib import sha256
from operator import attrgetter
from typing import Any, Final, cast

from django.core.signals import setting_changed
from rest_framework_simplejwt import backends, state
from rest_framework_simplejwt import settings as simplejwt
from rest_framework_simplejwt.backends import TokenBackend

from jwt_redis import observers
from jwt_redis.conf import config
from jwt_redis.observers import Observer
from jwt_redis.signing.backends import KeyedBackend
from jwt_redis.verdicts import Claims

__all__ = ["REMEMBERED", "Remembered", "clear", "decode", "recall"]

# The attribute of a token of ours that holds it.
REMEMBERED: Final = "_jwt_redis_remembered"
# What is longer, or has more claims, is decoded each time: an entry takes a few kilobytes at most.
MAX_LENGTH: Final = 4096
MAX_CLAIMS: Final = 64

_claim_names = attrgetter("api_settings.USER_ID_CLAIM", "api_settings.JTI_CLAIM", "api_settings.TOKEN_TYPE_CLAIM")
_SCALARS: Final = frozenset({str, int, float, bool, type(None)})


class Remembered:
    """The payload of a token whose signature was good, and what was made of it since. Never its text."""

    __slots__ = ("_claims", "_payload", "_text", "from_", "good_for", "names", "until")

    def __init__(self, payload: dict[str, Any], leeway: float) -> None:
        is_flat = all(type(value) in _SCALARS for value in payload.values())
        # Read anew for each token, so that nested values are shared with nobody either.
        self._text = None if is_flat else json.dumps(payload)
        # Nobody else has this one, so nobody changes it.
        self._payload = dict(payload) if is_flat else self.copy()
        # PyJWT's own comparisons: whole seconds, good at ``from_ <= now < until``.
        self.until = int(payload["exp"]) + leeway
        self.from_ = max(int(payload.get("iat", 0)), int(payload.get("nbf", 0))) - leeway
        # Which classes have found it good, and how they were made then.
        self.good_for: dict[type, tuple[Any, ...]] = {}
        # What the claims were called when they were read.
        self.names: tuple[Any, ...] | None = None
        self._claims: Claims | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        # A token may be pickled or copied; this stays where it is, and None takes its place.
        return type(None), ()

    def copy(self) -> dict[str, Any]:
        """The payload as if it had just been decoded: whoever gets it may change it."""
        return dict(self._payload) if self._text is None else cast("dict[str, Any]", json.loads(self._text))

    def claims_of(self, payload: dict[str, Any]) -> Claims | None:
        """What :meth:`note_claims` was told, unless ``payload`` or the claims' names are others now."""
        return self._claims if self.names == _claim_names(simplejwt) and payload == self._payload else None

    def note_claims(self, payload: dict[str, Any], claims: Claims) -> None:
        """``claims`` were read out of ``payload``."""
        if self.names is None and payload == self._payload:
            # In this order, and once: whoever finds the names finds the claims of these names.
            self._claims = claims
            self.names = _claim_names(simplejwt)

    def note_good(self, cls: type, made_of: tuple[Any, ...]) -> None:
        """:func:`recall` may answer for ``cls``, for as long as it is made of the same."""
        self.good_for[cls] = made_of


class _Memo:
    """The tokens that a backend in one state has found good. The least recently used one makes room.

    ``snapshot``: all that the backend holds. Key, algorithm, audience, issuer, leeway, and what somebody may have put
    into it: with any change the memo is another one.
    """

    def __init__(
        self, snapshot: dict[str, Any] | None = None, methods: tuple[Any, ...] = (), leeway: float = 0
    ) -> None:
        self.snapshot = snapshot
        self.methods = methods
        self.leeway = leeway
        # For a hit moves its entry; it is held for the time of two steps in a dict.
        self._lock = threading.Lock()
        self._entries: OrderedDict[bytes, Remembered] = OrderedDict()

    def is_of(self, backend: TokenBackend) -> bool:
        """Is the backend, are its keys and methods what they were?"""
        if type(backend) is KeyedBackend:
            # A key that is no longer there takes with it what it has found good.
            backend.look()
        elif type(backend) is not TokenBackend:
            return False
        return (
            vars(backend) == self.snapshot
            and (TokenBackend.decode, TokenBackend.get_verifying_key, TokenBackend.get_leeway) == self.methods
        )

    def get(self, digest: bytes) -> Remembered | None:
        with self._lock:
            found = self._entries.get(digest)
            if found is not None:
                self._entries.move_to_end(digest)
            return found

    def put(self, digest: bytes, remembered: Remembered, size: int) -> None:
        with self._lock:
            self._entries[digest] = remembered
            while len(self._entries) > size:
                self._entries.popitem(last=False)

    def drop(self, digest: bytes) -> None:
        with self._lock:
            self._entries.pop(digest, None)


_memo = _Memo()


def clear(**kwargs: Any) -> None:
    """Forget all tokens."""
    global _memo
    if kwargs.get("setting", "JWT_REDIS") in ("JWT_REDIS", "SIMPLE_JWT"):
        _memo = _Memo()


setting_changed.connect(clear, dispatch_uid="jwt_redis.token_memo.clear")
# Another thread of the parent may have held the lock.
os.register_at_fork(after_in_child=clear)


def _memo_for(backend: TokenBackend, token: Any) -> _Memo | None:
    """A new memo for a backend as it is now; None for one whose answers hang on more than it holds.

    A project's own backend is asked on each request, and so are keys from a URL: they come and go in their client.
    """
    methods = (TokenBackend.decode, TokenBackend.get_verifying_key, TokenBackend.get_leeway)
    if (
        type(backend) not in (TokenBackend, KeyedBackend)
        or backend.jwks_client is not None
        or any(getattr(method, "__globals__", None) is not vars(backends) for method in methods)
        or any(callable(value) and name in vars(TokenBackend) for name, value in vars(backend).items())
        or not all(value is None or isinstance(value, (str, list, tuple, set, frozenset)) for value in _lists(backend))
    ):
        return None
    # It is prepared at first use, and kept there: before the snapshot.
    if isinstance(backend, KeyedBackend):
        backend.own_key(token)
    else:
        backend.get_verifying_key(token)
    snapshot = dict(vars(backend))
    for name in ("audience", "issuer"):
        if isinstance(snapshot[name], (list, set)):
            # Somebody may change it in its place.
            snapshot[name] = snapshot[name].copy()
    return _Memo(snapshot, methods, backend.get_leeway().total_seconds())


def _lists(backend: TokenBackend) -> tuple[Any, Any]:
    return backend.audience, backend.issuer


def _digest(token: Any) -> bytes | None:
    if not isinstance(token, (bytes, str)) or len(token) > MAX_LENGTH:
        return None
    try:
        return sha256(token.encode() if isinstance(token, str) else token).digest()
    except UnicodeEncodeError:
        return None


def recall(token: Any, cls: type, made_of: tuple[Any, ...]) -> Remembered | None:
    """What is remembered of a token that ``cls``, made as it is now, has found good and would find good now."""
    memo = _memo
    if not memo.is_of(state.token_backend) or (digest := _digest(token)) is None:
        return None
    found = memo.get(digest)
    if found is None or found.good_for.get(cls) != made_of or found.names != _claim_names(simplejwt):
        return None
    if not found.from_ <= time.time() < found.until:
        return None
    if observers.installed:
        observers.tell(Observer.recalled, True)
    return found


def decode(backend: TokenBackend, token: Any) -> tuple[dict[str, Any], Remembered | None]:
    """What ``backend.decode(token)`` gives, by it or from memory. The payload is the caller's own.

    Also what is remembered of the token, if anything is. Raises what the backend raises.
    """
    global _memo
    size = config().token_memo_size
    digest = _digest(token) if size else None
    memo = None
    if digest is not None:
        memo = _memo if _memo.is_of(backend) else _memo_for(backend, token)
    if digest is None or memo is None:
        return backend.decode(token), None
    # What others verify meanwhile under the former state goes into the former memo, where nobody looks any more.
    _memo = memo
    found = memo.get(digest)
    if found is not None:
        if found.from_ <= time.time() < found.until:
            if observers.installed:
                observers.tell(Observer.recalled, True)
            return found.copy(), found
        # The backend says why.
        memo.drop(digest)
    if observers.installed:
        observers.tell(Observer.recalled, False)
    payload = backend.decode(token)
    made = _remembered(payload, memo.leeway)
    if made is None:
        return payload, None
    # Unless the key was changed while the signature was looked at.
    if memo.is_of(backend):
        memo.put(digest, made, size)
    return payload, made


def _remembered(payload: dict[str, Any], leeway: float) -> Remembered | None:
    if len(payload) > MAX_CLAIMS:
        return None
    try:
        made = Remembered(payload, leeway)
    except (LookupError, ValueError, TypeError, OverflowError, RecursionError):
        # Without an exp, which no token class of ours takes; or nested too deep.
        return None
    # What is another one when it is written and read again (halves of a character are) is left to the backend.
    return made if made.copy() == payload else None
