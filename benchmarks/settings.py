"""Django for the benchmarks, with this package's defaults. ``stores.use`` puts the Redis in."""

from __future__ import annotations

import jwt_redis

SECRET_KEY = "a key for benchmarks that is long enough for HS256 to be content with it"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "rest_framework", "jwt_redis"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
REST_FRAMEWORK = {"DEFAULT_AUTHENTICATION_CLASSES": ["jwt_redis.authentication.JWTAuthentication"]}
SIMPLE_JWT = {**jwt_redis.simplejwt_settings()}
# Redis alone is measured here, so nothing is recorded in the database.
JWT_REDIS = {"ALIAS": "sessions", "JOURNAL": False}
