"""A WSGI application whose master process has checked a token, and follows the log, before it forks its workers."""

from __future__ import annotations

import os
import time

from django.core.wsgi import get_wsgi_application

application = get_wsgi_application()

from jwt_redis import near_cache, sessions  # noqa: E402
from jwt_redis.tokens import AccessToken  # noqa: E402

_deadline = time.monotonic() + 10
while not sessions.check(AccessToken(os.environ["ORACLE_TOKEN"])).from_memory:
    assert time.monotonic() < _deadline, "the master has never answered from memory"
    time.sleep(0.01)
assert near_cache.is_following()
