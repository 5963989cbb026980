"""The settings of the worker processes. What differs from one scenario to the next comes in the environment."""

from __future__ import annotations

import json
import os
from datetime import timedelta

from tests.settings import *  # noqa: F403
from tests.settings import CACHES, DATABASES, INSTALLED_APPS, MIDDLEWARE, REDIS_URL, SIMPLE_JWT

ROOT_URLCONF = "tests.chaos.urls"
INSTALLED_APPS = [*INSTALLED_APPS, "tests.chaos.apps.ChaosConfig"]
MIDDLEWARE = ["tests.chaos.hooks.ChaosMiddleware", *MIDDLEWARE]

DATABASES["default"] |= {
    # A worker's thread keeps its connection, as with a database server.
    "CONN_MAX_AGE": None,
    "OPTIONS": {
        "timeout": float(os.environ.get("CHAOS_DB_TIMEOUT", "5")),
        "transaction_mode": "IMMEDIATE",
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
    },
}
CACHES = {
    **CACHES,
    # How long Redis is waited for is part of what is looked at: the package's own limits.
    "sessions": json.loads(os.environ.get("CHAOS_ALIAS", "null")) or {**CACHES["sessions"], "OPTIONS": {}},
    # Another user of the same Redis database.
    "neighbour": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": REDIS_URL},
}
SIMPLE_JWT = {
    **SIMPLE_JWT,
    # No token expires while a scenario runs, whatever the clock of the process that issued it.
    "ACCESS_TOKEN_LIFETIME": timedelta(minutes=30),
    "LEEWAY": timedelta(seconds=float(os.environ.get("CHAOS_LEEWAY", "0"))),
}
JWT_REDIS = {"ALIAS": "sessions", **json.loads(os.environ.get("CHAOS_JWT_REDIS", "{}"))}

# What to do to this set of workers before they begin: names of functions in sabotage.py.
CHAOS_SABOTAGE = [name for name in os.environ.get("CHAOS_SABOTAGE", "").split(",") if name]

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "%(asctime)s %(process)d %(name)s %(levelname)s %(message)s"}},
    "handlers": {
        "stderr": {
            "class": "logging.StreamHandler",
            "formatter": "plain",
            "level": os.environ.get("CHAOS_LOG", "ERROR"),
        }
    },
    # hooks.PendingNoted reads the warnings.
    "root": {"handlers": ["stderr"], "level": "WARNING"},
}
