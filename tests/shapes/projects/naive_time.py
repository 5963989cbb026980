"""USE_TZ is False, far from UTC."""

from __future__ import annotations

from tests.shapes.base import *  # noqa: F403

USE_TZ = False
TIME_ZONE = "Pacific/Kiritimati"
