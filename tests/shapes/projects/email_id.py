"""Tokens name a user by e-mail address, in the claim that OpenID Connect has for it."""

from __future__ import annotations

from tests.shapes.projects.uuid_key import *  # noqa: F403
from tests.shapes.projects.uuid_key import SIMPLE_JWT

SIMPLE_JWT = {**SIMPLE_JWT, "USER_ID_FIELD": "address", "USER_ID_CLAIM": "sub"}
