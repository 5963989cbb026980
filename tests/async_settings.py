"""The test project as an ASGI server has it: no middleware that is not async, Redis wherever the test says."""

from __future__ import annotations

from tests.settings import *  # noqa: F403

ROOT_URLCONF = "tests.async_urls"
MIDDLEWARE = ["tests.async_urls.StatelessMiddleware"]
