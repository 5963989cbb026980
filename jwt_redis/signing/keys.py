"""Keys that tokens are signed with: made of what a file or a setting holds, and held against the rules.

A key is bound to one algorithm (RFC 8725 section 3.1). No I/O, and nothing is printed: a key's ``repr`` is its name.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import jwt
from jwt.utils import base64url_encode

from jwt_redis.verdicts import NO_KID

__all__ = ["ALGORITHMS", "Key", "KeySet", "generate", "is_kid", "make_key", "public_jwk", "thumbprint", "valid_kid"]

# Hash and signature of each, RFC 7518 section 3.1 and RFC 8037 section 3.1. "none" is not among them.
ALGORITHMS: Final = (
    "ES256",
    "ES384",
    "ES512",
    "EdDSA",
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "HS256",
    "HS384",
    "HS512",
)
# RFC 7518 sections 3.3 and 3.5.
_LEAST_RSA_BITS: Final = 2048
_NEW_RSA_BITS: Final = 3072
_CURVES: Final = {"ES256": "secp256r1", "ES384": "secp384r1", "ES512": "secp521r1"}
# RFC 7638 section 3.2, RFC 8037 section 2: what a thumbprint is made of.
_REQUIRED: Final = {"RSA": ("e", "kty", "n"), "EC": ("crv", "kty", "x", "y"), "OKP": ("crv", "kty", "x")}
# It stands in a file's name, in a list with commas, and on a command line.
_KID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")


def is_kid(value: object) -> bool:
    """Can ``value`` be the name of a key? 1 to 64 letters, digits, ``_.-``, and in front none of ``.-``."""
    return isinstance(value, str) and _KID.fullmatch(value) is not None


def valid_kid(value: object) -> str:
    """``value``, if it can be the name of a key, or is the one for "the key of the tokens without a kid".

    :raises ValueError: when it cannot.
    """
    if not is_kid(value):
        raise ValueError(f"kid: 1 to 64 letters, digits and _.- are needed, none of .- in front, not {value!r}")
    return str(value)


@dataclass(frozen=True, slots=True, eq=False)
class Key:
    """One key. ``signing`` is None where only the public half is here."""

    kid: str
    alg: str
    verifying: Any = field(repr=False)
    signing: Any = field(default=None, repr=False)

    @property
    def is_asymmetric(self) -> bool:
        """Has it a half that everybody may know?"""
        return not self.alg.startswith("HS")


@dataclass(frozen=True, slots=True, eq=False)
class KeySet:
    """The keys as they are now; after any change it is another object.

    ``signing``: the name of the key that signs, None for Simple JWT's own. ``accepts_no_kid``: tokens without a ``kid``
    are verified by Simple JWT's own key.
    """

    keys: Mapping[str, Key]
    signing: str | None = None
    accepts_no_kid: bool = True

    def without(self, refused: frozenset[str]) -> KeySet:
        """The same without the keys of these names."""
        if not refused:
            return self
        kept = {kid: key for kid, key in self.keys.items() if kid not in refused}
        return KeySet(kept, self.signing, self.accepts_no_kid and NO_KID not in refused)


def make_key(kid: str, alg: str, material: str | bytes | Mapping[str, Any]) -> Key:
    """A key of a PEM text (RFC 7468), a JWK (RFC 7517, a mapping or JSON), or, for HMAC, of the secret itself.

    :raises ValueError: naming what is wrong, and never the material.
    """
    valid_kid(kid)
    if kid == NO_KID:
        raise ValueError(f"{kid}: that name stands for the key of the tokens that have no kid")
    if alg not in ALGORITHMS:
        raise ValueError(f"{kid}: alg is one of {', '.join(ALGORITHMS)}, not {alg!r}")
    jwk = _as_jwk(material)
    if jwk is not None and jwk.get("alg", alg) != alg:
        raise ValueError(f"{kid}: the key says that it is for {jwk['alg']!r}, and not for {alg}")
    if jwk is not None:
        _check_use(kid, jwk)
    try:
        algorithm = jwt.PyJWS().get_algorithm_by_name(alg)
    except NotImplementedError as error:  # PyJWT's, of an algorithm that it knows and cannot do by itself
        raise ValueError(f"{kid}: {alg} needs the package cryptography: pip install 'jwt_redis[keys]'") from error
    try:
        prepared: Any = algorithm.from_jwk(jwk) if jwk is not None else algorithm.prepare_key(material)
    except (jwt.PyJWTError, ValueError, TypeError, LookupError, ArithmeticError):
        # Without the cause, which may quote the material.
        raise ValueError(f"{kid}: the material is no key for {alg}") from None
    except Exception as error:
        if type(error).__module__.partition(".")[0] != "cryptography":
            raise
        raise ValueError(f"{kid}: the material is no key for {alg}, or of a kind that is not supported") from None
    if alg.startswith("HS"):
        least = int(alg[2:]) // 8
        if not isinstance(prepared, bytes) or len(prepared) < least:
            raise ValueError(f"{kid}: {alg} needs a secret of at least {least} bytes (RFC 7518 section 3.2)")
        return Key(kid, alg, prepared, prepared)
    is_private = hasattr(prepared, "public_key")
    public = prepared.public_key() if is_private else prepared
    _check_public(kid, alg, public)
    return Key(kid, alg, public, prepared if is_private else None)


def _as_jwk(material: str | bytes | Mapping[str, Any]) -> dict[str, Any] | None:
    if isinstance(material, Mapping):
        return dict(material)
    text = material.strip() if isinstance(material, str) else material.strip().decode(errors="replace")
    if not text.startswith("{"):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and "kty" in found else None


def _check_use(kid: str, jwk: Mapping[str, Any]) -> None:
    """RFC 7517 sections 4.2 and 4.3: what it says that it is for."""
    if jwk.get("use", "sig") != "sig":
        raise ValueError(f"{kid}: the key says that it is for {jwk['use']!r}, and not for signatures")
    operations = jwk.get("key_ops", ["sign"])
    if not isinstance(operations, list) or not {"sign", "verify"} & set(map(str, operations)):
        raise ValueError(f"{kid}: the key says by its key_ops that it signs and verifies nothing")


def _check_public(kid: str, alg: str, public: Any) -> None:
    if alg[:2] in ("RS", "PS"):
        if public.key_size < _LEAST_RSA_BITS:
            raise ValueError(
                f"{kid}: an RSA key of {public.key_size} bits is too small, {_LEAST_RSA_BITS} are the least"
                " (RFC 7518 section 3.3)"
            )
    elif alg in _CURVES:
        if public.curve.name != _CURVES[alg]:
            raise ValueError(f"{kid}: {alg} needs a key of the curve {_CURVES[alg]}, and this is {public.curve.name}")
    elif type(public).__name__.find("Ed25519") < 0:
        raise ValueError(f"{kid}: EdDSA is Ed25519 here (RFC 8037), and this is another curve")


# Publishing -------------------------------------------------------------------------------------------------------


def _bare_jwk(alg: str, public: Any) -> dict[str, Any]:
    made: dict[str, Any] = dict(jwt.PyJWS().get_algorithm_by_name(alg).to_jwk(public, as_dict=True))
    # By name, so that no member comes along that says more.
    return {name: made[name] for name in _REQUIRED[made["kty"]]}


def thumbprint(alg: str, public: Any) -> str:
    """The SHA-256 thumbprint of a public key (RFC 7638): the same wherever it is made."""
    text = json.dumps(_bare_jwk(alg, public), sort_keys=True, separators=(",", ":"))
    return base64url_encode(hashlib.sha256(text.encode()).digest()).decode()


def public_jwk(key: Key) -> dict[str, Any]:
    """The public half as a JWK (RFC 7517 section 4), with nothing of the private one.

    :raises ValueError: when there is no public half.
    """
    if not key.is_asymmetric:
        raise ValueError(f"{key.kid}: a secret has no public half")
    return {**_bare_jwk(key.alg, key.verifying), "use": "sig", "alg": key.alg, "kid": key.kid}


# Making -----------------------------------------------------------------------------------------------------------


def generate(alg: str) -> tuple[Key, dict[str, Any]]:
    """A new key, and its private JWK. It is named by its thumbprint; a secret, of which that would tell, by chance.

    :raises ValueError: when ``alg`` is unknown, or needs a package that is missing.
    """
    if alg.startswith("HS") and alg in ALGORITHMS:
        kid = _fit(lambda: secrets.token_urlsafe(16))
        jwk = {"kty": "oct", "k": base64url_encode(secrets.token_bytes(64)).decode(), "alg": alg, "kid": kid}
        return make_key(kid, alg, jwk), jwk
    while True:
        private = _private_key(alg)
        kid = thumbprint(alg, private.public_key())
        if is_kid(kid):
            break
    jwk = dict(jwt.PyJWS().get_algorithm_by_name(alg).to_jwk(private, as_dict=True))
    # PyJWT says for what a key is, too: "sign", which the public half would contradict.
    jwk.pop("key_ops", None)
    jwk |= {"alg": alg, "kid": kid}
    return make_key(kid, alg, jwk), jwk


def _fit(make: Any) -> str:
    while not is_kid(found := make()):
        pass
    return str(found)


def _private_key(alg: str) -> Any:
    if alg not in ALGORITHMS:
        raise ValueError(f"alg is one of {', '.join(ALGORITHMS)}, not {alg!r}")
    try:
        from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
    except ImportError as error:
        raise ValueError(f"{alg} needs the package cryptography: pip install 'jwt_redis[keys]'") from error
    if alg == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    if alg in _CURVES:
        curves: dict[str, Any] = {"ES256": ec.SECP256R1, "ES384": ec.SECP384R1, "ES512": ec.SECP521R1}
        return ec.generate_private_key(curves[alg]())
    return rsa.generate_private_key(public_exponent=65537, key_size=_NEW_RSA_BITS)
