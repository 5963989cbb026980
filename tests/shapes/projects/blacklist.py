"""The blacklist strategy."""

from __future__ import annotations

from tests.shapes.base import *  # noqa: F403
from tests.shapes.base import JWT_REDIS

JWT_REDIS = {**JWT_REDIS, "STRATEGY": "blacklist"}
