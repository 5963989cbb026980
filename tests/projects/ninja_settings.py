"""The test project with django-ninja, and without the middleware: the auth classes stand alone."""

from __future__ import annotations

import os

from tests.settings import *  # noqa: F403
from tests.settings import INSTALLED_APPS as _ALL
from tests.settings import JWT_REDIS as _SETTINGS

ROOT_URLCONF = "tests.projects.ninja_urls"
# The admin wants middleware that is not there.
INSTALLED_APPS = [app for app in _ALL if app != "django.contrib.admin"]
MIDDLEWARE = ["jwt_redis.middleware.JWTAuthenticationMiddleware"] if os.environ.get("JWT_REDIS_TEST_MIDDLEWARE") else []
JWT_REDIS = {**_SETTINGS, "COOKIE": {"secure": False}} if os.environ.get("JWT_REDIS_TEST_COOKIES") else _SETTINGS
