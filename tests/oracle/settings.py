"""The settings of the processes. What differs from one world to the next comes in the environment."""

from __future__ import annotations

import json
import os
from datetime import timedelta

from tests.settings import *  # noqa: F403
from tests.settings import CACHES, DATABASES, JWT_REDIS, SIMPLE_JWT

DATABASES["default"] |= {
    "CONN_MAX_AGE": None,
    "OPTIONS": {
        "timeout": 5,
        "transaction_mode": "IMMEDIATE",
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
    },
}
# How long Redis is waited for is part of what is looked at: the package's own limits.
_OWN = {**CACHES["sessions"], "OPTIONS": {}}
CACHES = {**CACHES, "sessions": json.loads(os.environ.get("ORACLE_ALIAS", "null")) or _OWN}
JWT_REDIS = {**JWT_REDIS, **json.loads(os.environ.get("ORACLE_JWT_REDIS", "{}"))}
# Some of it takes minutes, and longer on a busy machine.
SIMPLE_JWT = {**SIMPLE_JWT, "ACCESS_TOKEN_LIFETIME": timedelta(hours=1)}
ROOT_URLCONF = os.environ.get("ORACLE_URLS", "tests.oracle.urls")

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "%(asctime)s %(process)d %(name)s %(levelname)s %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "root": {"handlers": ["stderr"], "level": os.environ.get("ORACLE_LOG", "WARNING")},
    # Thousands of checks while Redis is away say the same.
    "loggers": {"jwt_redis.store.client": {"level": os.environ.get("ORACLE_LOG", "CRITICAL")}},
}
