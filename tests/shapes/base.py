"""What the shapes have in common: the test project, with the device page, and nothing to hide behind."""

from __future__ import annotations

from tests.settings import *  # noqa: F403
from tests.settings import CACHES as _CACHES
from tests.settings import INSTALLED_APPS as _APPS

ROOT_URLCONF = "tests.shapes.urls"
STATIC_URL = "/static/"
INSTALLED_APPS = [*_APPS, "django.contrib.staticfiles"]
# The machine may be busy, and how long Redis is waited for is not what is told here.
_PATIENCE = {"SOCKET_TIMEOUT": 5.0, "SOCKET_CONNECT_TIMEOUT": 5.0}
CACHES = {**_CACHES, "sessions": {**_CACHES["sessions"], "OPTIONS": _PATIENCE}}
