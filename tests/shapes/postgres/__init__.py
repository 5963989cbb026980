"""Shapes for which a PostgreSQL has to be there, and its socket's folder in ``JWT_REDIS_TEST_POSTGRES``."""

from __future__ import annotations

import os

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": os.environ.get("JWT_REDIS_TEST_POSTGRES_NAME", "jwt_redis"),
        "USER": "postgres",
        "HOST": os.environ.get("JWT_REDIS_TEST_POSTGRES", ""),
    }
}
