"""A service whose tokens come from an identity provider, with keys from its URL. They know nothing of sessions."""

from __future__ import annotations

import os

from jwt_redis.testing.servers import free_port
from tests.shapes.base import *  # noqa: F403
from tests.shapes.base import JWT_REDIS, SIMPLE_JWT

PROVIDER_PORT = int(os.environ.setdefault("JWT_REDIS_TEST_PROVIDER", str(free_port())))
SIMPLE_JWT = {
    **SIMPLE_JWT,
    "ALGORITHM": "RS256",
    "SIGNING_KEY": None,
    "JWK_URL": f"http://127.0.0.1:{PROVIDER_PORT}/jwks.json",
    "AUDIENCE": "shop",
    "ISSUER": "https://id.example.com",
    "USER_ID_CLAIM": "sub",
    "TOKEN_TYPE_CLAIM": None,
}
JWT_REDIS = {**JWT_REDIS, "STRATEGY": "blacklist"}
