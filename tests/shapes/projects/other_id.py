"""Tokens name a user by a field that is not the key."""

from __future__ import annotations

from tests.shapes.projects.uuid_key import *  # noqa: F403
from tests.shapes.projects.uuid_key import SIMPLE_JWT

SIMPLE_JWT = {**SIMPLE_JWT, "USER_ID_FIELD": "public_id"}
