"""The test project, each of whose answers says which worker gave it."""

from __future__ import annotations

from tests.settings import *  # noqa: F403
from tests.settings import MIDDLEWARE as _MIDDLEWARE

MIDDLEWARE = ["tests.support.process_header.process_header", *_MIDDLEWARE]
