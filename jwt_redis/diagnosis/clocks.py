"""Three clocks: this host's, by which tokens expire; Redis', by which sessions do; the database's, for the journal."""

from __future__ import annotations

import time
from collections.abc import Iterator

from django.conf import settings
from django.db import Error as DatabaseError

from jwt_redis import journal
from jwt_redis.diagnosis.findings import Finding, notice, ok, problem, warning
from jwt_redis.diagnosis.nodes import Node, Unanswered
from jwt_redis.store.commands import MARGIN

__all__ = ["check_database_clock", "check_redis_clock"]

# Seconds from which on a clock is not being set by anybody.
_NOTABLE = 2.0
# Of the database only differences between its own moments are taken, and a day's grace where that is not so.
_DATABASE_LIMIT = 43200.0


def check_redis_clock(node: Node) -> Iterator[Finding]:
    """How far is Redis' clock from this host's?"""
    asked_at = time.time()
    try:
        seconds, microseconds = node.ask(lambda client: client.time())
    except Unanswered as why:
        yield notice("clock_redis", f"Redis' clock cannot be asked ({why}).")
        return
    ahead = seconds + microseconds / 1e6 - (asked_at + time.time()) / 2
    found = _compared("Redis' clock", ahead)
    if ahead > MARGIN:
        yield problem(
            "clock_redis",
            f"{found} It drops revocations {MARGIN} s after their end: a revoked token works again here.",
            "Have both set by NTP.",
        )
    elif abs(ahead) > _NOTABLE:
        yield warning("clock_redis", f"{found} Sessions end too early or too late.", "Have both set by NTP.")
    else:
        yield ok("clock_redis", found)


def check_database_clock() -> Iterator[Finding]:
    """How far is the database's?"""
    asked_at = time.time()
    try:
        moment = journal.now()
    except DatabaseError as why:
        yield notice("clock_database", f"The database's clock cannot be asked ({why}).")
        return
    if not settings.USE_TZ:
        yield notice("clock_database", "Without USE_TZ nobody knows in which time zone the database's clock is.")
        return
    ahead = moment.timestamp() - (asked_at + time.time()) / 2
    found = _compared("The database's clock", ahead)
    if abs(ahead) > _DATABASE_LIMIT:
        yield problem(
            "clock_database", f"{found} After a loss of Redis the journal looks at the wrong days.", "Set it by NTP."
        )
    elif abs(ahead) > MARGIN:
        yield warning("clock_database", found, "Set it by NTP.")
    else:
        yield ok("clock_database", found)


def _compared(whose: str, ahead: float) -> str:
    return f"{whose} is {abs(ahead):.2f} s {'ahead of' if ahead > 0 else 'behind'} this host's."
