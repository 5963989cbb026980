"""Tokens that do not say of which type they are."""

from __future__ import annotations

from tests.shapes.base import *  # noqa: F403
from tests.shapes.base import SIMPLE_JWT

SIMPLE_JWT = {**SIMPLE_JWT, "TOKEN_TYPE_CLAIM": None}
