"""A project whose users are not Django's."""

from __future__ import annotations

from tests.settings import *  # noqa: F403
from tests.settings import INSTALLED_APPS, SIMPLE_JWT

# Behind ours, so that its admin is registered later.
INSTALLED_APPS = [*INSTALLED_APPS, "tests.people"]
AUTH_USER_MODEL = "people.Person"
SIMPLE_JWT = {**SIMPLE_JWT, "USER_ID_FIELD": "public_id"}
