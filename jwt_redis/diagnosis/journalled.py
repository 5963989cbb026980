"""The journal: is it there, and does Redis have all of it?"""

from __future__ import annotations

from collections.abc import Iterator

from django.db import Error as DatabaseError

from jwt_redis import journal
from jwt_redis.conf import config
from jwt_redis.diagnosis.findings import Finding, ok, problem, warning
from jwt_redis.diagnosis.sizes import counted, span
from jwt_redis.models import Revocation

__all__ = ["check_journal"]

# Seconds after which a pending row is one that nobody looks after.
_PATIENCE = 60


def check_journal() -> Iterator[Finding]:
    """The table, its rows, those that are pending."""
    if not config().journal:
        yield warning(
            "journal",
            "Revocations are in Redis alone (JOURNAL = False): where it loses some of them, by an older snapshot or a"
            " replica that lagged, what was revoked works again.",
            'JWT_REDIS["JOURNAL"] = True, and `manage.py migrate jwt_redis`.',
        )
        return
    try:
        if not journal.has_table():
            yield problem(
                "journal", "The journal's table is missing: no revocation succeeds.", "manage.py migrate jwt_redis"
            )
            return
        rows = Revocation.objects.using(journal.database()).count()
        pending = journal.pending_count()
        oldest = [journal.seconds_since(row) for row in journal.pending(0, 1)]
    except DatabaseError as why:
        yield problem(
            "journal", f"The journal's database does not answer ({why}): no revocation succeeds.", "Start it."
        )
        return
    yield ok("journal", f"{counted(rows, 'row')} in the journal.")
    if not oldest:
        yield ok("pending", "No revocation is pending.")
        return
    found = f"{counted(pending, 'revocation')} pending, the oldest for {span(oldest[0])}: Redis does not know of them."
    advice = "manage.py jwt_sync applies them now. A worker that revokes anyway looks every few seconds."
    yield (problem if oldest[0] > _PATIENCE else warning)("pending", found, advice)
