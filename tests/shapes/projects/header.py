"""Tokens in a header of another name, under other types."""

from __future__ import annotations

from tests.shapes.base import *  # noqa: F403
from tests.shapes.base import SIMPLE_JWT

SIMPLE_JWT = {**SIMPLE_JWT, "AUTH_HEADER_NAME": "HTTP_X_ACCESS_TOKEN", "AUTH_HEADER_TYPES": ("JWT", "Token")}
