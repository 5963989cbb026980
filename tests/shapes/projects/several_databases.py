"""Users in one database, which is read from a replica, the journal in another, and a third that is the default."""

from __future__ import annotations

from tests.shapes.base import *  # noqa: F403

_SQLITE = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:", "OPTIONS": {"timeout": 20}}
DATABASES = {
    "default": {**_SQLITE},
    "people": {**_SQLITE},
    "people_replica": {**_SQLITE, "TEST": {"MIRROR": "people"}},
    "journal": {**_SQLITE},
}
DATABASE_ROUTERS = ["tests.shapes.routing.Router"]
