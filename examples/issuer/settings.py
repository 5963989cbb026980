"""The project that signs people in: for one's own machine, never for a server that others reach."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import jwt_redis

# A folder for the database, the keys and what run.py has written there: which Redis and which ports it found.
VAR = Path(os.environ["EXAMPLES_VAR"])
RUN: dict[str, Any] = json.loads((VAR / "run.json").read_text())

SECRET_KEY = RUN["secret_key"]
USE_TZ = True
ROOT_URLCONF = "issuer.urls"
ALLOWED_HOSTS = ["127.0.0.1"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "rest_framework", "jwt_redis"]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": VAR / "db.sqlite3",
        "OPTIONS": {"timeout": 20, "transaction_mode": "IMMEDIATE"},
    }
}
CACHES = {
    "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
    "sessions": {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": RUN["redis"],
        # Only here: the package's own limit, a quarter of a second, is not for a laptop that does all else, too.
        "OPTIONS": {"SOCKET_TIMEOUT": 2.0, "SOCKET_CONNECT_TIMEOUT": 2.0},
    },
}
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["jwt_redis.authentication.JWTAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
}
SIMPLE_JWT = {**jwt_redis.simplejwt_settings(), "ISSUER": RUN["issuer"]}
JWT_REDIS = {
    "ALIAS": "sessions",
    # Others verify by jwks/: only what these keys have signed is a token here.
    "KEYS": {"directory": VAR / "keys", "without_kid": False},
    # For services that ask about each token: orders, in introspection/.
    "OAUTH": {"clients": {"orders": {"secrets": [RUN["orders_secret_hash"]], "introspects": True}}},
    # For services that do not: photos, in status_list/. Seconds; a minute is the default.
    "STATUS_LIST": {"uri": f"{RUN['issuer']}/status/", "ttl": 5},
}
