"""Tokens signed with RS256."""

from __future__ import annotations

from tests.shapes.base import *  # noqa: F403
from tests.shapes.base import SIMPLE_JWT
from tests.shapes.signing_keys import settings_for

SIMPLE_JWT = {**SIMPLE_JWT, **settings_for("RS256")}
