"""A Celery application of one task. Its workers are forked."""

from __future__ import annotations

import os
import time
from typing import Any

import django
from celery import Celery

django.setup()

app = Celery("oracle", broker=os.environ.get("ORACLE_BROKER"), backend=os.environ.get("ORACLE_BROKER"))
app.conf.worker_hijack_root_logger = False


@app.task(name="check")
def check(raw: str) -> dict[str, Any]:
    """What this process says of a token."""
    from jwt_redis import near_cache, sessions
    from jwt_redis.tokens import AccessToken

    verdict = sessions.check(AccessToken(raw))
    # So that a child does not do all of them.
    time.sleep(0.02)
    return {
        "pid": os.getpid(),
        "accepted": verdict.allowed,
        "from_memory": verdict.from_memory,
        "follows": near_cache.is_following(),
    }
