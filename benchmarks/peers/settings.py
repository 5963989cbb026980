"""Django for the child processes: all that is compared is installed. The environment has what differs between them."""

from __future__ import annotations

import json
import os
from datetime import timedelta
from typing import Any

import jwt_redis
from benchmarks.settings import DEFAULT_AUTO_FIELD, SECRET_KEY, USE_TZ

__all__ = [
    "ALLOWED_HOSTS",
    "CACHES",
    "DATABASES",
    "DEFAULT_AUTO_FIELD",
    "HEADLESS_JWT_ACCESS_TOKEN_EXPIRES_IN",
    "HEADLESS_JWT_ALGORITHM",
    "HEADLESS_JWT_PRIVATE_KEY",
    "HEADLESS_JWT_STATEFUL_VALIDATION_ENABLED",
    "INSTALLED_APPS",
    "JWT_REDIS",
    "MIDDLEWARE",
    "PASSWORD_HASHERS",
    "REDIS_URL",
    "REST_FRAMEWORK",
    "ROOT_URLCONF",
    "SECRET_KEY",
    "SIMPLE_JWT",
    "USE_TZ",
]

# The environment is how a parent process tells: see processes.py.
_ALGORITHM = os.environ.get("BENCH_ALGORITHM", "HS256")
REDIS_URL = os.environ["BENCH_REDIS"]

ALLOWED_HOSTS = ["127.0.0.1"]
ROOT_URLCONF = "benchmarks.peers.urls"
MIDDLEWARE: list[str] = []
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "rest_framework",
    "rest_framework_simplejwt.token_blacklist",
    "knox",
    # Not allauth.account: it insists on a middleware, which would cost all of them.
    "allauth",
    "allauth.headless",
    "jwt_redis",
]
# Connections are kept, for everybody.
DATABASES: dict[str, Any] = {"default": {**json.loads(os.environ["BENCH_DATABASE"]), "CONN_MAX_AGE": None}}
CACHES = {
    "default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": REDIS_URL.replace("/0", "/1")},
    "sessions": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": REDIS_URL},
}
# Passwords cost nothing here: a real hash takes longer than all the rest of a sign-in, whoever keeps the session.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
}
# A run takes longer than the five minutes that access tokens last.
_LIFETIME = timedelta(hours=2)
SIMPLE_JWT: dict[str, Any] = {
    **jwt_redis.simplejwt_settings(),
    "ACCESS_TOKEN_LIFETIME": _LIFETIME,
    "ALGORITHM": _ALGORITHM,
}
HEADLESS_JWT_ALGORITHM = _ALGORITHM
HEADLESS_JWT_PRIVATE_KEY = ""
HEADLESS_JWT_STATEFUL_VALIDATION_ENABLED = True
HEADLESS_JWT_ACCESS_TOKEN_EXPIRES_IN = int(_LIFETIME.total_seconds())
JWT_REDIS: dict[str, Any] = {"ALIAS": "sessions"}

if _ALGORITHM == "RS256":
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    _KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    HEADLESS_JWT_PRIVATE_KEY = _KEY.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    SIMPLE_JWT["SIGNING_KEY"] = HEADLESS_JWT_PRIVATE_KEY
    SIMPLE_JWT["VERIFYING_KEY"] = (
        _KEY.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )
