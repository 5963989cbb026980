"""``manage.py jwt_cleanup``: drop what has run out, a small batch at a time."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db import Error as DatabaseError
from django.utils import timezone

from jwt_redis import journal, keys, outlets, provider_sessions
from jwt_redis.management.base import ProgressLine, TerminalCommand, as_json, journal_needed, redis_needed
from jwt_redis.models import Sample
from jwt_redis.operations import Done, Operation, run
from jwt_redis.outlets import Outlet
from jwt_redis.records import Marker
from jwt_redis.sessions.parts import marker_command, with_marker
from jwt_redis.store import commands
from jwt_redis.store.outside import key_count, user_keys

_ROWS = 1000
# For so long it can be looked up in the admin how many sessions there were.
_SAMPLES_KEPT = timedelta(days=400)


class Command(TerminalCommand):
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
            facts["provider_rows"] = self._clean_providers(dry_run)
            for outlet in outlets.installed:
                if (rows := self._clean_outlet(outlet, dry_run)) is None:
                    continue
                facts[outlet.label.replace(" ", "_")] = rows
                if not options["json"]:
                    self.stdout.write(f"{verb} {rows} {outlet.label}.")
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

    def _clean_providers(self, dry_run: bool) -> int:
        """Which session was a provider's, and what it said of them; of those that are over, nobody asks."""
        with journal_needed():
            # As with the journal's own: without the table there is nothing to drop.
            if not provider_sessions.has_tables():
                return 0
            tables = provider_sessions.expired()
            return sum(rows.count() if dry_run else rows._raw_delete(rows.db) for rows in tables)

    def _clean_outlet(self, outlet: Outlet, dry_run: bool) -> int | None:
        with journal_needed():
            if not journal.is_on() and not journal.has_table():
                return None
            rows = outlet.expired(journal.database())
            if rows is None:
                return None
            if dry_run:
                return rows.count()
            dropped = 0
            while ids := list(rows.values_list("pk", flat=True)[:_ROWS]):
                batch = rows.filter(pk__in=ids)
                dropped += batch._raw_delete(batch.db)
        return dropped

    def _clean_redis(self, dry_run: bool, batch_size: int) -> tuple[int, int, int]:
        users = fields = devices = 0
        signed_in = sessions = 0
        with redis_needed():
            trusted_from = _trusted_from()
            line = ProgressLine(sys.stderr, key_count())
            scanned = 0
            for batch in user_keys(keys.user_pattern(), batch_size):
                named = set(batch)
                # SCAN may name a key twice, and a user has two.
                for user_key in {owner for key in named if (owner := keys.user_key_of(key)) is not None}:
                    prune = commands.prune(user_key, dry_run=dry_run, trusted_from=trusted_from)
                    dropped, orphans, live = run(Operation((prune,), Done))
                    # Once for each user, whichever of the two is named first.
                    if live and user_key in named:
                        signed_in += 1
                        sessions += live
                    users += bool(dropped or orphans)
                    fields += dropped
                    devices += orphans
                scanned += len(batch)
                line.show(scanned)
            line.close()
        if not dry_run:
            self._keep_sample(signed_in, sessions)
        return fields, devices, users

    def _keep_sample(self, users: int, sessions: int) -> None:
        try:
            if not journal.is_on() and not journal.has_table():
                return
            Sample.objects.create(users=users, sessions=sessions)
            Sample.objects.filter(taken_at__lt=timezone.now() - _SAMPLES_KEPT).delete()
        except DatabaseError as error:
            self.stderr.write(f"How many sessions there are was not kept for the admin: {error}")


def _trusted_from() -> int:
    """The moment before which no session is, in ms of the epoch."""
    asked_at = time.monotonic()
    operation: Operation[Marker] = Operation((marker_command(),), with_marker(Done, asked_at))
    marker = run(operation)
    return max(marker.not_before_ms + 1, marker.born_ms)


def _ranges() -> Iterator[tuple[int, int]]:
    """The ids of the journal's rows to drop, as first and last of each batch."""
    last = 0
    while ids := list(journal.expired().filter(pk__gt=last).order_by("pk").values_list("pk", flat=True)[:_ROWS]):
        last = ids[-1]
        yield ids[0], last
