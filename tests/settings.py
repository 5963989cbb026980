"""The one settings file of the test suite. conftest.py starts the Redis that is named here."""

from __future__ import annotations

import os
from datetime import timedelta
from importlib.util import find_spec
from typing import Any

import jwt_redis
from jwt_redis.testing.servers import free_port

# Processes that a test starts find the same server; each worker of pytest-xdist has one, not that of who started it.
_worker = os.environ.get("PYTEST_XDIST_WORKER", "")
if os.environ.get("JWT_REDIS_TEST_URL_IS_OF", "") != _worker:
    os.environ.pop("JWT_REDIS_TEST_URL", None)
os.environ["JWT_REDIS_TEST_URL_IS_OF"] = _worker
REDIS_URL = os.environ.setdefault("JWT_REDIS_TEST_URL", f"redis://127.0.0.1:{free_port()}/0")

SECRET_KEY = "a key for tests that is long enough for HS256 to be content with it"
ALLOWED_HOSTS = ["*"]
USE_TZ = True
ROOT_URLCONF = "tests.urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "rest_framework",
    "jwt_redis",
    # One that a test takes the package away from does without.
    *(["jwt_redis.contrib.webhooks"] if find_spec("httpx") else []),
    "tests",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "jwt_redis.middleware.JWTAuthenticationMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("JWT_REDIS_TEST_DB", ":memory:"),
        "OPTIONS": {"timeout": 20},
        "TEST": {"NAME": os.environ.get("JWT_REDIS_TEST_DB") or None},
    }
}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

CACHES: dict[str, dict[str, Any]] = {
    "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
    "sessions": {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": REDIS_URL,
        # The package's own limits are for a machine with time to spare, which one that runs tests is not.
        "OPTIONS": {"SOCKET_TIMEOUT": 5.0, "SOCKET_CONNECT_TIMEOUT": 5.0},
    },
}
REST_FRAMEWORK = {"DEFAULT_AUTHENTICATION_CLASSES": ["jwt_redis.authentication.JWTAuthentication"]}
SIMPLE_JWT = {
    **jwt_redis.simplejwt_settings(),
    "ACCESS_TOKEN_LIFETIME": timedelta(minutes=5),
    "REFRESH_TOKEN_LIFETIME": timedelta(days=1),
}
JWT_REDIS = {"ALIAS": "sessions"}
