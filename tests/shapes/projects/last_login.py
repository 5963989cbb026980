"""A sign-in is noted in the user's row."""

from __future__ import annotations

from tests.shapes.base import *  # noqa: F403
from tests.shapes.base import SIMPLE_JWT

SIMPLE_JWT = {**SIMPLE_JWT, "UPDATE_LAST_LOGIN": True}
