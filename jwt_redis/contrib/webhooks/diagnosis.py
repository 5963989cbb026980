"""What ``jwt_doctor`` says of deliveries."""

from __future__ import annotations

from collections.abc import Iterator

from django.db import Error as DatabaseError
from django.db import transaction

from jwt_redis import journal
from jwt_redis.conf import config
from jwt_redis.contrib.webhooks.outbox import dead, waiting_facts
from jwt_redis.diagnosis.findings import Finding, ok, problem, warning
from jwt_redis.diagnosis.sizes import counted, span

__all__ = ["check_deliveries"]

# Seconds after which one that waits is one that nobody sends, or nobody takes.
_PATIENCE = 300


def check_deliveries() -> Iterator[Finding]:
    """Those that wait, and those that were given up."""
    if config().webhooks is None:
        return
    try:
        # A savepoint: a table that is missing must not take the caller's transaction along.
        with transaction.atomic(using=journal.database()):
            count, seconds = waiting_facts()
            given_up = dead().count()
    except DatabaseError as why:
        yield problem(
            "webhooks",
            f"The deliveries cannot be read ({why}): no revocation succeeds.",
            "manage.py migrate jwt_redis_webhooks",
        )
        return
    if count and seconds > _PATIENCE:
        yield warning(
            "webhooks",
            f"{counted(count, 'webhook')} waiting, the oldest for {span(seconds)}: not all receivers know of them.",
            "Is `manage.py jwt_deliver` running? The admin shows what receivers answered.",
        )
    else:
        yield ok("webhooks", f"{counted(count, 'webhook')} waiting.")
    if given_up:
        yield warning(
            "webhooks_dead",
            f"{counted(given_up, 'webhook')} given up: their receivers do not know that these sessions are over.",
            'Look at them in the admin; "send again" when the cause is gone, or delete them.',
        )
