"""Users with UUIDs, whom tokens know by e-mail address: a column of text, which does not take every text."""

from __future__ import annotations

from tests.shapes.projects.email_id import *  # noqa: F403

from tests.shapes.postgres import DATABASES as DATABASES  # isort: skip
