"""Tokens are good for a while after they have run out."""

from __future__ import annotations

from datetime import timedelta

from tests.shapes.base import *  # noqa: F403
from tests.shapes.base import SIMPLE_JWT

SIMPLE_JWT = {**SIMPLE_JWT, "LEEWAY": timedelta(seconds=30)}
