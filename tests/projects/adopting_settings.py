"""The test project, adopting tokens from before there were sessions."""

from __future__ import annotations

from tests.projects.racing_settings import *  # noqa: F403

JWT_REDIS = {"ALIAS": "sessions", "LEGACY_TOKENS": "adopt"}
