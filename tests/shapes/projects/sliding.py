"""Sliding tokens alone."""

from __future__ import annotations

from tests.shapes.base import *  # noqa: F403
from tests.shapes.base import SIMPLE_JWT

SIMPLE_JWT = {**SIMPLE_JWT, "AUTH_TOKEN_CLASSES": ("jwt_redis.tokens.SlidingToken",)}
