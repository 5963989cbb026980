"""The test project with a directory of signing keys, and a near cache where the environment says so."""

from __future__ import annotations

import os

from tests.settings import *  # noqa: F403
from tests.settings import JWT_REDIS as WITHOUT_KEYS
from tests.settings import MIDDLEWARE as _MIDDLEWARE

MIDDLEWARE = ["tests.support.process_header.process_header", *_MIDDLEWARE]
_lease = os.environ.get("JWT_REDIS_TEST_LEASE")
JWT_REDIS = {
    **WITHOUT_KEYS,
    "KEYS": {"directory": os.environ["JWT_REDIS_TEST_KEYS"]},
    "NEAR_CACHE": {"lease": float(_lease)} if _lease else None,
    "STRATEGY": os.environ.get("JWT_REDIS_TEST_STRATEGY", "whitelist"),
}
