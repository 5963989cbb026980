"""Users may sign in before they are activated."""

from __future__ import annotations

from typing import Any

from tests.shapes.base import *  # noqa: F403
from tests.shapes.base import JWT_REDIS, SIMPLE_JWT


def anybody(user: Any) -> bool:
    return user is not None


AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.AllowAllUsersModelBackend"]
SIMPLE_JWT = {
    **SIMPLE_JWT,
    "CHECK_USER_IS_ACTIVE": False,
    "USER_AUTHENTICATION_RULE": "tests.shapes.projects.inactive.anybody",
}
JWT_REDIS = {**JWT_REDIS, "REVOKE_ON": ["password_changed", "deleted"]}
