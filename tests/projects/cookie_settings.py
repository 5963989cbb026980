"""The test project with tokens in cookies, behind a proxy that speaks TLS; without, where the test says so."""

from __future__ import annotations

import json
import os

from tests.settings import *  # noqa: F403
from tests.settings import JWT_REDIS as _SETTINGS
from tests.settings import MIDDLEWARE as _MIDDLEWARE

ROOT_URLCONF = "tests.projects.cookie_urls"
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
JWT_REDIS = {**_SETTINGS, "COOKIE": json.loads(os.environ.get("JWT_REDIS_TEST_COOKIE", "{}"))}
if os.environ.get("JWT_REDIS_TEST_CSRF_MIDDLEWARE"):
    MIDDLEWARE = ["django.middleware.csrf.CsrfViewMiddleware", *_MIDDLEWARE]
