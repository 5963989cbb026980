"""OAuth's settings, each request in a transaction: in a file of SQLite's, or in a PostgreSQL."""

from __future__ import annotations

import os

from tests.projects.oauth_settings import *  # noqa: F403
from tests.projects.oauth_settings import DATABASES
from tests.projects.oauth_settings import JWT_REDIS as OAUTH
from tests.shapes.postgres import DATABASES as IN_POSTGRES
from tests.support.openid import PROVIDERS

ROOT_URLCONF = "tests.support.logout_races"
_DATABASE = DATABASES["default"]
# SQLite has a transaction fail at once that first reads and then writes, where another one has written meanwhile.
# And fifty that wait for the one writer are served in no order: on a busy machine the last of them for half a minute.
_DATABASE["OPTIONS"] = {**_DATABASE["OPTIONS"], "transaction_mode": "IMMEDIATE", "timeout": 150}
if os.environ.get("JWT_REDIS_TEST_POSTGRES"):
    _DATABASE = IN_POSTGRES["default"]
DATABASES = {"default": {**_DATABASE, "ATOMIC_REQUESTS": True}}
JWT_REDIS = {**OAUTH, "OPENID_PROVIDERS": PROVIDERS}
