"""``manage.py jwt_cleanup``: drop what has run out, a small batch at a time."""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from jwt_redis import keys
from jwt_redis.management.base import ProgressLine, redis_needed
from jwt_redis.operations import Done, Operation, run
from jwt_redis.store import commands
from jwt_redis.store.client import key_count, user_keys


class Command(BaseCommand):
    """Prune the store."""

    help = (
        "Drop what has run out in Redis: expired sessions, blacklist entries and devices without a session. Writes do"
        " so for their own user anyway, and keys expire; this is for users who left many behind and do not come back."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """The options."""
        parser.add_argument("--dry-run", action="store_true", help="only count")
        parser.add_argument("--batch", type=int, default=500, help="keys a SCAN step (default 500)")

    def handle(self, *args: Any, **options: Any) -> None:
        """Walk the store. Each script works on one user's few fields, so Redis is never held up."""
        if options["batch"] < 1:
            raise CommandError("--batch: a number above zero is needed.")
        dry_run = options["dry_run"]
        users = fields = devices = 0
        with redis_needed():
            line = ProgressLine(sys.stderr, key_count())
            scanned = 0
            for batch in user_keys(keys.user_pattern(), options["batch"]):
                # SCAN may name a key twice, and a user has two.
                for user_key in {owner for key in batch if (owner := keys.user_key_of(key)) is not None}:
                    dropped, orphans = run(Operation((commands.prune(user_key, dry_run=dry_run),), Done))
                    users += bool(dropped or orphans)
                    fields += dropped
                    devices += orphans
                scanned += len(batch)
                line.show(scanned)
            line.close()
        verb = "Would drop" if dry_run else "Dropped"
        self.stdout.write(f"{verb} {fields} expired fields and {devices} device fields of {users} users.")
