"""``manage.py jwt_cleanup``: drop what has run out, a small batch at a time."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from jwt_redis import journal, keys
from jwt_redis.management.base import ProgressLine, as_json, journal_needed, redis_needed
from jwt_redis.operations import Done, Operation, run
from jwt_redis.store import commands
from jwt_redis.store.outside import key_count, user_keys

_ROWS = 1000


class Command(BaseCommand):
    """Prune the journal and the store."""

    help = (
        "Drop what has run out. In the journal: rows past their end, which nobody else drops. In Redis: expired"
        " sessions, blacklist entries and devices without a session; writes do so for their own user anyway, and keys"
        " expire, so this is for users who left many behind and do not come back."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """The options."""
        parser.add_argument("--dry-run", action="store_true", help="only count")
        parser.add_argument("--batch", type=int, default=500, help="keys a SCAN step (default 500)")
        parser.add_argument("--json", action="store_true", help="for a script to read")

    def handle(self, *args: Any, **options: Any) -> None:
        """Walk the store. Each script works on one user's few fields, so Redis is never held up."""
        if options["batch"] < 1:
            raise CommandError("--batch: a number above zero is needed.")
        dry_run = options["dry_run"]
        # What was done is told even if what comes next fails.
        facts: dict[str, Any] = {"dry_run": dry_run}
        verb = "Would drop" if dry_run else "Dropped"
        try:
            if (rows := self._clean_journal(dry_run)) is not None:
                facts["journal_rows"] = rows
                if not options["json"]:
                    self.stdout.write(f"{verb} {rows} row{'' if rows == 1 else 's'} of the journal.")
            fields, devices, users = self._clean_redis(dry_run, options["batch"])
            facts |= {"fields": fields, "devices": devices, "users": users}
            if not options["json"]:
                self.stdout.write(f"{verb} {fields} expired fields and {devices} device fields of {users} users.")
        finally:
            if options["json"]:
                self.stdout.write(as_json(facts))

    def _clean_journal(self, dry_run: bool) -> int | None:
        """A thousand rows a DELETE, so that none holds a lock for long. Pending rows are never among them."""
        with journal_needed():
            # What is left of a journal that was switched off has run out too.
            if not journal.is_on() and not journal.has_table():
                return None
            total = journal.expired().count()
            dropped = total
            if not dry_run:
                line = ProgressLine(sys.stderr, total)
                dropped = 0
                for first, last in _ranges():
                    # Not delete(): receivers of any sender would have each row loaded and announced.
                    rows = journal.expired().filter(pk__gte=first, pk__lte=last)
                    dropped += rows._raw_delete(rows.db)
                    line.show(dropped)
                line.close()
        return dropped

    def _clean_redis(self, dry_run: bool, batch_size: int) -> tuple[int, int, int]:
        users = fields = devices = 0
        with redis_needed():
            line = ProgressLine(sys.stderr, key_count())
            scanned = 0
            for batch in user_keys(keys.user_pattern(), batch_size):
                # SCAN may name a key twice, and a user has two.
                for user_key in {owner for key in batch if (owner := keys.user_key_of(key)) is not None}:
                    dropped, orphans = run(Operation((commands.prune(user_key, dry_run=dry_run),), Done))
                    users += bool(dropped or orphans)
                    fields += dropped
                    devices += orphans
                scanned += len(batch)
                line.show(scanned)
            line.close()
        return fields, devices, users


def _ranges() -> Iterator[tuple[int, int]]:
    """The ids of the journal's rows to drop, as first and last of each batch."""
    last = 0
    while ids := list(journal.expired().filter(pk__gt=last).order_by("pk").values_list("pk", flat=True)[:_ROWS]):
        last = ids[-1]
        yield ids[0], last
