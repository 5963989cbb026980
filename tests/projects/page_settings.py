"""The test project with pages, tokens in cookies, and a strict Content-Security-Policy."""

from __future__ import annotations

import json
import os

from tests.settings import *  # noqa: F403
from tests.settings import INSTALLED_APPS as _APPS
from tests.settings import JWT_REDIS as _SETTINGS
from tests.settings import MIDDLEWARE as _MIDDLEWARE

ROOT_URLCONF = "tests.projects.page_urls"
LOGIN_URL = "login"
STATIC_URL = "/static/"
# As its server is run: it serves the static files itself.
DEBUG = bool(os.environ.get("JWT_REDIS_TEST_DEBUG"))
INSTALLED_APPS = [*_APPS, "django.contrib.staticfiles"]
LANGUAGES = [("en", "English"), ("de", "Deutsch"), ("ar", "العربية")]
LANGUAGE_CODE = os.environ.get("JWT_REDIS_TEST_LANGUAGE", "en")
MIDDLEWARE = ["tests.support.pages.strict_policy", "django.middleware.csrf.CsrfViewMiddleware", *_MIDDLEWARE]
JWT_REDIS = {
    **_SETTINGS,
    "COOKIE": {"secure": False},
    "PAGES": {"password_url": "password"},
    "CLIENT_IP": "tests.support.pages.claimed_ip",
    "LOCATION": "tests.support.pages.locate",
    **json.loads(os.environ.get("JWT_REDIS_TEST_PAGES", "{}")),
}
