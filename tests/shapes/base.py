"""What the shapes have in common: the test project, with the device page, and nothing to hide behind."""

from __future__ import annotations

from tests.settings import *  # noqa: F403
from tests.settings import INSTALLED_APPS as _APPS

ROOT_URLCONF = "tests.shapes.urls"
STATIC_URL = "/static/"
INSTALLED_APPS = [*_APPS, "django.contrib.staticfiles"]
