"""The test project with OAuth endpoints, and a provider that may end sessions."""

from __future__ import annotations

import hashlib
import json
import os

from tests.settings import *  # noqa: F403
from tests.settings import JWT_REDIS as PLAIN
from tests.settings import MIDDLEWARE as _MIDDLEWARE
from tests.settings import SIMPLE_JWT as PLAIN_SIMPLE_JWT

ROOT_URLCONF = "tests.projects.oauth_urls"
MIDDLEWARE = ["tests.support.process_header.process_header", *_MIDDLEWARE]
ISSUER = "https://auth.example.com/tenant"
SIMPLE_JWT = {**PLAIN_SIMPLE_JWT, "ISSUER": ISSUER}

SECRET = "a secret: with colon, 100% ünïcode + plus"
# A client that does not encode it as a form says something else than one that does.
OTHER_SECRET = "50% of a+b: the one before"


def hashed(secret: str) -> str:
    """What Django's MD5 hasher makes; the real ones are slow on purpose."""
    return "md5$salt$" + hashlib.md5(("salt" + secret).encode(), usedforsecurity=False).hexdigest()


# Made for these tests: of a client that signs.
PRIVATE_JWK = {
    "kty": "EC",
    "crv": "P-256",
    "x": "_DDs1aBeugDwHmtHTWfOUnWvsPB4SK_vBdz5u1_VcgM",
    "y": "tY1iRZwbrVzI0FXWaGRicQwmSbVnrwHMGZafTyjnrd8",
    "d": "T8AZBHXHA3JAxDxGazOrb94qtAb2VoOxFbhTLmy1KRM",
    "kid": "one",
}
PUBLIC_JWK = {name: value for name, value in PRIVATE_JWK.items() if name != "d"}

OAUTH = {
    "clients": {
        "api": {"secrets": [hashed(SECRET), hashed(OTHER_SECRET)], "introspects": True},
        "a+b c": {"secrets": hashed(SECRET), "introspects": True, "audiences": ["a"]},
        "shop": {"secrets": hashed("shop")},
        "app": {},
        "signs": {"jwks": {"keys": [PUBLIC_JWK]}, "introspects": True},
    },
    "methods": ["client_secret_basic", "client_secret_post", "private_key_jwt", "none"],
}
JWT_REDIS = {
    **PLAIN,
    "OAUTH": OAUTH,
    "OPENID_PROVIDERS": json.loads(os.environ.get("JWT_REDIS_TEST_PROVIDERS", "{}")),
}
