"""The test project with drf-spectacular."""

from __future__ import annotations

import os

from tests.settings import *  # noqa: F403
from tests.settings import INSTALLED_APPS, JWT_REDIS, REST_FRAMEWORK

ROOT_URLCONF = "tests.projects.schema_urls"
INSTALLED_APPS = [*INSTALLED_APPS, "drf_spectacular"]
REST_FRAMEWORK = {**REST_FRAMEWORK, "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema"}
SPECTACULAR_SETTINGS = {
    "TITLE": "The test project",
    "VERSION": "1",
    "OAS_VERSION": os.environ.get("JWT_REDIS_TEST_OAS", "3.0.3"),
    "COMPONENT_SPLIT_REQUEST": bool(os.environ.get("JWT_REDIS_TEST_SPLIT")),
}

if os.environ.get("JWT_REDIS_TEST_COOKIES"):
    JWT_REDIS = {**JWT_REDIS, "COOKIE": {"secure": False}}
