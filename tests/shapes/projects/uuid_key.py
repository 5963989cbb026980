"""Users with a UUID for a key, who sign in by e-mail."""

from __future__ import annotations

from tests.shapes.base import *  # noqa: F403
from tests.shapes.base import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "tests.people"]
AUTH_USER_MODEL = "people.Person"
