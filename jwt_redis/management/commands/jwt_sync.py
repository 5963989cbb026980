"""``manage.py jwt_sync``: what the journal knows and Redis does not is brought into Redis."""

from __future__ import annotations

import time
from typing import Any

from django.core.management.base import CommandError, CommandParser

from jwt_redis import journal, recovery
from jwt_redis.exceptions import NotReplicated, RevocationUnavailable
from jwt_redis.management.base import TerminalCommand, as_json, journal_needed, redis_needed

# Seconds for which another process that applies the journal is waited for.
_PATIENCE = 10.0


class Command(TerminalCommand):
    """Apply the journal."""

    help = (
        "Apply revocations that are pending in the journal, and, to a Redis that was restarted, promoted or emptied,"
        " all that it may lack. Workers do so by themselves; this is for cron, or after an outage."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """The options."""
        parser.add_argument("--dry-run", action="store_true", help="only count what is pending")
        parser.add_argument("--json", action="store_true", help="for a script to read")

    def handle(self, *args: Any, **options: Any) -> None:
        """Do it, and say how many."""
        if not journal.is_on():
            raise CommandError('There is no journal: JWT_REDIS["JOURNAL"] is False. Nothing can be pending.')
        with journal_needed():
            before = journal.pending_count()
            began = journal.now()
        if options["dry_run"]:
            said = f"Would apply {_counted(before)}."
            self.stdout.write(as_json({"dry_run": True, "pending": before}) if options["json"] else said)
            return
        with redis_needed():
            _sync()
        with journal_needed():
            applied, left = journal.replayed_since(began), journal.pending_count()
        if options["json"]:
            self.stdout.write(as_json({"dry_run": False, "applied": applied, "pending": left}))
            return
        self.stdout.write(self.style.SUCCESS(f"Applied {_counted(applied)} from the journal."))
        if left:
            self.stdout.write(self.style.WARNING(f"Still pending: {_counted(left)}. Run it again."))
        else:
            self.stdout.write("Nothing is pending.")


def _sync() -> None:
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            recovery.trusted(recovery.sweep)
            return
        except NotReplicated:
            raise
        except RevocationUnavailable as error:
            # Without a cause: another process is at it.
            if error.__cause__ is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def _counted(count: int) -> str:
    return f"{count} revocation{'' if count == 1 else 's'}"
