"""The project of the tests under ASGI, with event streams and sockets. What varies comes by the environment."""

from __future__ import annotations

import json
import os
from datetime import timedelta

from tests.settings import *  # noqa: F403
from tests.settings import INSTALLED_APPS, MIDDLEWARE, SIMPLE_JWT

ROOT_URLCONF = "tests.projects.event_urls"
INSTALLED_APPS = [*INSTALLED_APPS, "channels"]
ASGI_APPLICATION = "tests.projects.event_asgi.application"
MIDDLEWARE = ["django.middleware.csrf.CsrfViewMiddleware", *MIDDLEWARE]
CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
SIMPLE_JWT = {
    **SIMPLE_JWT,
    "ACCESS_TOKEN_LIFETIME": timedelta(seconds=float(os.environ.get("JWT_REDIS_TEST_ACCESS", "300"))),
}
JWT_REDIS = {
    "ALIAS": "sessions",
    "COOKIE": {"secure": False},
    **json.loads(os.environ.get("JWT_REDIS_TEST_MORE", "{}")),
}
