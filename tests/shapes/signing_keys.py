"""Key pairs for the shapes that sign with one. Processes that a test starts have the same ones."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

_MAKERS: dict[str, Callable[[], Any]] = {
    "RS256": lambda: rsa.generate_private_key(public_exponent=65537, key_size=2048),
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
}


def key_pair(algorithm: str) -> tuple[str, str]:
    """The private and the public key, in PEM."""
    name = f"JWT_REDIS_TEST_KEY_{algorithm}"
    if name not in os.environ:
        os.environ[name] = (
            _MAKERS[algorithm]()
            .private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
            .decode()
        )
    private = serialization.load_pem_private_key(os.environ[name].encode(), None)
    public = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return os.environ[name], public.decode()


def settings_for(algorithm: str) -> dict[str, str]:
    """For ``SIMPLE_JWT``."""
    private, public = key_pair(algorithm)
    return {"ALGORITHM": algorithm, "SIGNING_KEY": private, "VERIFYING_KEY": public}
