"""The test project, observed. Its near cache is on where the environment says so."""

from __future__ import annotations

import os

from tests.settings import *  # noqa: F403
from tests.settings import INSTALLED_APPS as _APPS
from tests.settings import JWT_REDIS as _JWT_REDIS
from tests.settings import MIDDLEWARE as _MIDDLEWARE

INSTALLED_APPS = [*_APPS, "jwt_redis.contrib.prometheus", "jwt_redis.contrib.opentelemetry"]
MIDDLEWARE = ["tests.support.process_header.process_header", *_MIDDLEWARE]
ROOT_URLCONF = "tests.projects.observed_urls"
JWT_REDIS = {**_JWT_REDIS, "REFRESH_GRACE": 0}
if lease := os.environ.get("JWT_REDIS_TEST_LEASE"):
    JWT_REDIS["NEAR_CACHE"] = {"lease": float(lease), "poll": 0.05}
