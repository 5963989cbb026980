"""A project that sends webhooks, for processes that a test starts: to loopback, quickly again."""

from __future__ import annotations

import json
import os

from tests.settings import *  # noqa: F403
from tests.settings import JWT_REDIS

WEBHOOKS = {
    "issuer": "https://issuer.example.com",
    "algorithm": "ES256",
    "signing_key": os.environ.get("WEBHOOK_KEY", ""),
    "networks": ["127.0.0.0/8"],
    "allow_http": True,
    "timeout": float(os.environ.get("WEBHOOK_TIMEOUT", "2")),
    "first_delay": 0.05,
    "longest_delay": 0.2,
}
JWT_REDIS = {**JWT_REDIS, "WEBHOOKS": WEBHOOKS}

if named := os.environ.get("WEBHOOK_DATABASE"):
    DATABASES = {"default": json.loads(named)}
