"""Django's own users, whose ids are numbers."""

from __future__ import annotations

from tests.shapes.base import *  # noqa: F403
from tests.shapes.postgres import DATABASES as DATABASES
