"""``manage.py jwt_sessions USER``: where a user is signed in."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

from django.core.management.base import CommandError, CommandParser

from jwt_redis import journal, sessions
from jwt_redis.devices import describe
from jwt_redis.management.base import (
    TerminalCommand,
    ago,
    as_json,
    find_user,
    journal_needed,
    printable,
    redis_needed,
    shortened,
    table,
)
from jwt_redis.sessions import Session

# Columns for what an unknown client calls itself; --json has all of it.
_AGENT = 60


class Command(TerminalCommand):
    """List a user's sessions."""

    help = "List the live sessions of a user, the one used last first; or, from the journal, what was revoked."

    def add_arguments(self, parser: CommandParser) -> None:
        """The options."""
        parser.add_argument("user", help="a primary key or username (id:VALUE for a deleted user)")
        parser.add_argument("--history", action="store_true", help="what was revoked of the user, the latest first")
        parser.add_argument("--json", action="store_true", help="for a script to read")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print them."""
        user = find_user(options["user"])
        if options["history"]:
            self._history(user, is_json=options["json"])
            return
        with redis_needed():
            found = sessions.list_sessions(user)
        if options["json"]:
            rows = [{**asdict(session), "device": describe(session.user_agent)} for session in found]
            self.stdout.write(as_json(rows))
            return
        if not found:
            self.stdout.write(f"User {printable(user)} has no live session.")
            return
        lines = table(
            ("SESSION", "IP", "SIGNED IN", "LAST USED", "ENDS", "DEVICE"),
            [
                (
                    session.sid,
                    session.ip or "-",
                    f"{ago(session.created_at)} ago",
                    f"{ago(session.last_refreshed_at)} ago",
                    f"{session.expires_at:%Y-%m-%d %H:%M} UTC",
                    _device(session),
                )
                for session in found
            ],
            self.style.MIGRATE_HEADING,
        )
        self.stdout.write("\n".join(lines))

    def _history(self, user: str, *, is_json: bool) -> None:
        if not journal.is_on():
            raise CommandError('There is no journal: JWT_REDIS["JOURNAL"] is False. Live sessions: without --history.')
        with journal_needed():
            found = list(journal.history(user))
        if is_json:
            named = ("created_at", "kind", "target", "reason", "actor", "applied_at", "until")
            rows = [{name: getattr(row, name) for name in named} for row in found]
            self.stdout.write(as_json(rows))
            return
        if not found:
            self.stdout.write(f"Nothing was revoked of user {printable(user)}, or it is past and was cleaned up.")
            return
        lines = table(
            ("WHEN", "WHAT", "TARGET", "WHY", "BY WHOM", "IN REDIS SINCE"),
            [
                (
                    _stamp(row.created_at),
                    row.get_kind_display(),
                    row.target or "-",
                    row.reason,
                    row.actor or "-",
                    "pending" if row.applied_at is None else _stamp(row.applied_at),
                )
                for row in found
            ],
            self.style.MIGRATE_HEADING,
        )
        self.stdout.write("\n".join(lines))


def _device(session: Session) -> str:
    """What it is first: whoever holds a session may name it after a device of its owner."""
    found = describe(session.user_agent) or shortened(session.user_agent, _AGENT) or "-"
    return f"{found} “{session.label}”" if session.label else found


def _stamp(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}{' UTC' if moment.tzinfo else ''}"
