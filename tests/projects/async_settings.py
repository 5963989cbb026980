"""The test project as an ASGI server has it: no middleware that is not async, Redis wherever the test says."""

from __future__ import annotations

import os

from tests.settings import *  # noqa: F403
from tests.settings import INSTALLED_APPS as _ALL
from tests.settings import JWT_REDIS as _SETTINGS

ROOT_URLCONF = "tests.projects.async_urls"
# The admin wants middleware that is not.
INSTALLED_APPS = [app for app in _ALL if app != "django.contrib.admin"]
MIDDLEWARE = ["tests.projects.async_urls.StatelessMiddleware"]
NEAR = {"NEAR_CACHE": {"lease": 1.0}} if os.environ.get("JWT_REDIS_TEST_NEAR") else {}
JWT_REDIS = {**_SETTINGS, **NEAR}
