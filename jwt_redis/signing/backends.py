"""Simple JWT's token backend with several keys: ``JWT_REDIS["KEYS"]``. Without that setting Simple JWT's own stays.

A token is signed by the key that signs today, and its header names it (``kid``). It is verified by the key that its
header names, with that key's own algorithm, whatever else the header says: ``alg`` is compared, ``jku``, ``jwk`` and
``x5u`` are never looked at (RFC 8725 sections 3.1, 3.10). One without a ``kid`` is from before there were several keys.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import threading
import time
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import jwt
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.utils.encoding import force_bytes
from django.utils.translation import gettext_lazy as _
from rest_framework_simplejwt import state
from rest_framework_simplejwt.backends import TokenBackend
from rest_framework_simplejwt.exceptions import TokenBackendError, TokenBackendExpiredToken

from jwt_redis.conf import Keys, config
from jwt_redis.exceptions import NoSigningKey
from jwt_redis.signing import key_files
from jwt_redis.signing.keys import Key, KeySet, make_key, public_jwk, thumbprint
from jwt_redis.verdicts import NO_KID

__all__ = ["KeyedBackend", "check_signer", "install", "kid_of", "load", "pre_kid_key", "published", "refuse", "refused"]

logger = logging.getLogger(__name__)

# Seconds between two looks at whether the directory has changed. An unknown kid is a reason to look at once.
LOOK_EVERY: Final = 1.0
# Longer headers are none of ours.
_MAX_HEADER: Final = 1024

# What Redis says is refused, whatever the files and settings say.
_refused: frozenset[str] = frozenset()


def load(settings_: Keys) -> KeySet:
    """The keys that the setting names, read now.

    :raises ValueError: naming the key and what is wrong with it.
    """
    if settings_.directory is not None:
        found = key_files.KeyFiles(settings_.directory).key_set()
        made = found if settings_.without_kid else KeySet(found.keys, found.signing, False)
    else:
        keys = {kid: make_key(kid, facts["alg"], _material(kid, facts)) for kid, facts in settings_.keys.items()}
        if settings_.signing is not None and keys[settings_.signing].signing is None:
            raise ValueError(f"{settings_.signing}: it signs, and only its public half is there")
        made = KeySet(keys, settings_.signing, settings_.without_kid)
    if made.signing is None and not made.accepts_no_kid:
        raise ValueError("no key signs, and what Simple JWT's own signs is not accepted")
    _refuse_twins(made, settings_)
    return made


def _material(kid: str, facts: Mapping[str, Any]) -> Any:
    if "key" in facts:
        return facts["key"]
    if "file" in facts:
        try:
            return Path(facts["file"]).read_bytes()
        except OSError as error:
            raise ValueError(f"{kid}: {facts['file']}: {error.strerror or error}") from error
    made = facts["load"](kid)
    if not isinstance(made, (str, bytes, Mapping)):
        raise ValueError(f"{kid}: load answered with a {type(made).__name__}, and not with a text, bytes or a JWK")
    return made


def _refuse_twins(made: KeySet, settings_: Keys) -> None:
    """Two names of one key: were it leaked, refusing the one would not refuse the other."""
    seen: dict[Any, str] = {}
    before = pre_kid_key() if made.accepts_no_kid else None
    for key in [*made.keys.values(), *([] if before is None else [before])]:
        what = thumbprint(key.alg, key.verifying) if key.is_asymmetric else key.verifying
        if what in seen:
            own = "SIMPLE_JWT's own key" if key.kid == NO_KID else key.kid
            raise ValueError(f"{seen[what]} and {own} are one key: one of them is enough")
        seen[what] = key.kid
    if made.accepts_no_kid and settings_.secret_key_fallbacks:
        for former in map(force_bytes, settings.SECRET_KEY_FALLBACKS):
            if seen.get(former, NO_KID) != NO_KID:
                raise ValueError(f"{seen[former]} and one of SECRET_KEY_FALLBACKS are one key: one of them is enough")


def pre_kid_key() -> Key | None:
    """Simple JWT's own key, if it is one that could be in a set; of a secret only the value."""
    backend = _stock
    try:
        if backend.algorithm.startswith("HS"):
            key = backend.prepared_signing_key
            return Key(NO_KID, backend.algorithm, key, key) if isinstance(key, bytes) else None
        public = backend.prepared_verifying_key
        return Key(NO_KID, backend.algorithm, public) if hasattr(public, "public_bytes") else None
    except (jwt.PyJWTError, ValueError, TypeError):
        return None


class _Source:
    """Where the keys come from, and what they were at the last look."""

    def __init__(self, settings_: Keys) -> None:
        self.settings = settings_
        self._lock = threading.Lock()
        self._stamp: key_files.Stamp | None = None
        self._next_look = 0.0
        self._loaded: KeySet | None = None
        self._complaint = ""
        # Of Simple JWT's own key, once.
        self.has_complained = False
        self.key_set: KeySet | None = None

    def now(self, *, at_once: bool = False) -> KeySet:
        """The keys; whether they have changed is looked at once a second, or ``at_once``.

        :raises ImproperlyConfigured: when they could never be read.
        """
        made = self.key_set
        if made is not None and not at_once and time.monotonic() < self._next_look:
            return made
        with self._lock:
            return self._look()

    def _look(self) -> KeySet:
        self._next_look = time.monotonic() + LOOK_EVERY
        before = self._loaded
        directory = self.settings.directory
        if before is not None and directory is None:
            self._next_look = float("inf")
            return self._made()
        try:
            # The stamp is from before the files: what changes meanwhile is read the next time.
            found = self._stamped(directory) if directory is not None else None
            if before is None or found != self._stamp:
                self._loaded = load(self.settings)
                self.key_set = None
                if before is not None:
                    logger.info("The signing keys have changed.", extra={"event": "keys_changed"})
            self._stamp, self._complaint = found, ""
        except (ValueError, OSError) as error:
            if before is None:
                raise ImproperlyConfigured(f"JWT_REDIS: KEYS: {error}.") from error
            # Nobody is logged out because a disk is away for a moment.
            if str(error) != self._complaint:
                self._complaint = str(error)
                logger.error("The signing keys cannot be read: %s", error, extra={"event": "keys_unreadable"})
        return self._made()

    def _stamped(self, directory: str) -> key_files.Stamp | None:
        try:
            return key_files.stamp(directory)
        except FileNotFoundError:
            if self._stamp is not None:
                raise
            # Before the first key.
            return None

    def _made(self) -> KeySet:
        made, loaded = self.key_set, self._loaded
        assert loaded is not None  # noqa: S101 - _look has read it
        if made is None:
            made = self.key_set = loaded.without(_refused)
        return made

    def rebuild(self) -> None:
        """What is refused has changed."""
        with self._lock:
            if self._loaded is not None:
                self.key_set = self._loaded.without(_refused)

    def after_fork(self) -> None:
        """Another thread of the parent may have held the lock."""
        self._lock = threading.Lock()


class KeyedBackend(TokenBackend):
    """Simple JWT's, with a key set. ``key_set`` is another object after any change."""

    def __init__(self, stock: TokenBackend, settings_: Keys) -> None:
        """``stock``: the backend that would be there without the setting."""
        vars(self).update(vars(stock))
        # A kid that is unknown is refused; it is looked for nowhere else.
        self.jwks_client = None
        self.source = _Source(settings_)
        self.key_set: KeySet | None = None

    def look(self, *, at_once: bool = False) -> KeySet:
        """The keys as they are now: :meth:`_Source.now`."""
        made = self.source.now(at_once=at_once)
        if made is not self.key_set:
            self.key_set = made
        return made

    def signer(self) -> Key | None:
        """The key of today. None: the one without a ``kid``, Simple JWT's own.

        :raises NoSigningKey: when the key that is to sign is refused.
        """
        key_set = self.look()
        if key_set.signing is None:
            if NO_KID in _refused:
                raise NoSigningKey
            return None
        key = key_set.keys.get(key_set.signing)
        if key is None or key.signing is None:
            # Refused: perhaps the next one is there already.
            key_set = self.look(at_once=True)
            key = key_set.keys.get(key_set.signing or "")
            if key is None or key.signing is None:
                logger.critical("The signing key is refused.", extra={"event": "no_signing_key"})
                raise NoSigningKey
        return key

    def encode(self, payload: dict[str, Any]) -> str:
        """Sign with the key of today, whose ``kid`` the header bears.

        :raises NoSigningKey: when the key that is to sign is refused.
        """
        key = self.signer()
        if key is None:
            return super().encode(payload)
        claims = payload.copy()
        if self.audience is not None:
            claims["aud"] = self.audience
        if self.issuer is not None:
            claims["iss"] = self.issuer
        return jwt.encode(
            claims, key.signing, algorithm=key.alg, headers={"kid": key.kid}, json_encoder=self.json_encoder
        )

    def decode(self, token: Any, verify: bool = True) -> dict[str, Any]:
        """The payload of a token whose signature is that of the key it names.

        :raises TokenBackendError: when it is not, or there is no such key.
        """
        key_set = self.look()
        if not verify:
            return super().decode(token, verify)
        kid = kid_in(token)
        if kid is None:
            return self._decode_without_kid(token, key_set)
        key = key_set.keys.get(kid) or self.look(at_once=True).keys.get(kid)
        if key is None:
            raise TokenBackendError(_("Token is invalid"))
        return self._decode_by(token, key.verifying, key.alg)

    def own_key(self, token: Any) -> Any:
        """What Simple JWT's own key verifies with. None where its settings have none that would do, perhaps since all
        keys are named: then nothing without a ``kid`` is good, and what has one is not concerned."""
        try:
            return self.get_verifying_key(token)
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            if not self.source.has_complained:
                self.source.has_complained = True
                # Without what it says, which may quote the material.
                logger.error(
                    "SIMPLE_JWT has no key that verifies %s (%s): no token without a kid is accepted.",
                    self.algorithm,
                    type(error).__name__,
                    extra={"event": "own_key_unusable"},
                )
            return None

    def _decode_without_kid(self, token: Any, key_set: KeySet) -> dict[str, Any]:
        if not key_set.accepts_no_kid:
            raise TokenBackendError(_("Token is invalid"))
        first = self.own_key(token)
        if first is None:
            raise TokenBackendError(_("Token is invalid"))
        fallbacks = settings.SECRET_KEY_FALLBACKS if self._is_secret_key() else ()
        for former in fallbacks:
            if not _is_signed_by(token, first, self.algorithm) and _is_signed_by(token, former, self.algorithm):
                return self._decode_by(token, former, self.algorithm)
        return self._decode_by(token, first, self.algorithm)

    def _is_secret_key(self) -> bool:
        return (
            self.source.settings.secret_key_fallbacks
            and self.algorithm.startswith("HS")
            and self.signing_key == settings.SECRET_KEY
        )

    def _decode_by(self, token: Any, key: Any, alg: str) -> dict[str, Any]:
        try:
            return jwt.decode(
                token,
                key,
                algorithms=[alg],
                audience=self.audience,
                issuer=self.issuer,
                leeway=self.get_leeway(),
                options={"verify_aud": self.audience is not None},
            )
        except jwt.ExpiredSignatureError as error:
            raise TokenBackendExpiredToken(_("Token is expired")) from error
        except jwt.InvalidTokenError as error:
            raise TokenBackendError(_("Token is invalid")) from error


def check_signer() -> None:
    """Before a session begins or goes on: is there a key for the token that it gets?

    :raises NoSigningKey: when the key that is to sign is refused.
    """
    backend = state.token_backend
    if isinstance(backend, KeyedBackend):
        backend.signer()


def signs_with() -> tuple[str, Any, str | None]:
    """Algorithm, key and ``kid``, if it has one, that tokens are signed with now; for what else is to be verified by
    the same keys.

    :raises NoSigningKey: when the key that is to sign is refused.
    """
    backend = state.token_backend
    key = backend.signer() if isinstance(backend, KeyedBackend) else None
    if key is None:
        if NO_KID in _refused:
            raise NoSigningKey
        return str(backend.algorithm), backend.prepared_signing_key, None
    return key.alg, key.signing, key.kid


def _is_signed_by(token: Any, key: Any, alg: str) -> bool:
    try:
        jwt.PyJWS().decode(token, key, algorithms=[alg])
    except jwt.InvalidTokenError:
        return False
    return True


# The header -------------------------------------------------------------------------------------------------------


def kid_in(token: Any) -> str | None:
    """The ``kid`` that a token's header names (RFC 7515 section 4.1.4), None if it names none. Nothing is verified.

    :raises TokenBackendError: when the header cannot be read, or the ``kid`` is no text.
    """
    text = token.decode("ascii", "replace") if isinstance(token, bytes) else token
    if not isinstance(text, str):
        raise TokenBackendError(_("Token is invalid"))
    header = text.partition(".")[0]
    if len(header) > _MAX_HEADER:
        raise TokenBackendError(_("Token is invalid"))
    return _kid_in_header(header)


@lru_cache(maxsize=128)
def _kid_in_header(header: str) -> str | None:
    # All tokens of a key have the same one.
    try:
        found = json.loads(base64.urlsafe_b64decode(header + "=" * (-len(header) % 4)))
    except (ValueError, RecursionError) as error:
        raise TokenBackendError(_("Token is invalid")) from error
    if not isinstance(found, dict) or not isinstance(found.get("kid", ""), str):
        raise TokenBackendError(_("Token is invalid"))
    return found.get("kid")


def kid_of(token: Any) -> str | None:
    """By which key a ``Token`` was signed, or will be; None for Simple JWT's own. It has been verified."""
    backend = _installed
    if backend is None:
        return None
    raw = getattr(token, "token", None)
    if raw is None:
        return backend.look().signing
    try:
        return kid_in(raw)
    except TokenBackendError:
        return None


# Published --------------------------------------------------------------------------------------------------------


def published() -> list[dict[str, Any]] | None:
    """The public keys that verify, as JWKs; those of secrets are not published. None without ``KEYS``."""
    backend = _installed
    if backend is None:
        return None
    key_set = backend.look()
    found = [public_jwk(key) for key in key_set.keys.values() if key.is_asymmetric]
    before = pre_kid_key() if key_set.accepts_no_kid else None
    if before is not None and before.is_asymmetric:
        found.append({**public_jwk(before), "kid": thumbprint(before.alg, before.verifying)})
    return found


# In its place -----------------------------------------------------------------------------------------------------

_stock: TokenBackend = state.token_backend
_installed: KeyedBackend | None = None


def refused() -> frozenset[str]:
    """The names of the keys that are refused, as this process last heard of them."""
    return _refused


def refuse(kids: frozenset[str]) -> None:
    """The keys of these names verify and sign nothing in this process; those that are no longer named do again."""
    global _refused
    if kids != _refused:
        _refused = kids
        if _installed is not None:
            _installed.source.rebuild()


def install(**kwargs: Any) -> None:
    """Put the backend in its place where ``KEYS`` is on, and Simple JWT's own back where it is off."""
    global _installed, _stock
    if kwargs.get("setting", "JWT_REDIS") not in ("JWT_REDIS", "SIMPLE_JWT"):
        return
    try:
        wanted = config().keys
    except ImproperlyConfigured:
        return  # `manage.py check` says so, and whoever asks for the settings
    if not isinstance(state.token_backend, KeyedBackend):
        _stock = state.token_backend
    if wanted is None:
        if _installed is not None:
            state.token_backend = _stock
        _installed = None
    elif _installed is None or _installed.source.settings != wanted:
        state.token_backend = _installed = KeyedBackend(_stock, wanted)


setting_changed.connect(install, dispatch_uid="jwt_redis.signing.backends.install")


def _after_fork() -> None:
    if _installed is not None:
        _installed.source.after_fork()


os.register_at_fork(after_in_child=_after_fork)
