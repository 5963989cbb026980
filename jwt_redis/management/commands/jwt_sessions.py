"""``manage.py jwt_sessions USER``: where a user is signed in."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.core.serializers.json import DjangoJSONEncoder

from jwt_redis import sessions
from jwt_redis.devices import describe
from jwt_redis.management.base import ago, find_user, redis_needed, table


class Command(BaseCommand):
    """List a user's sessions."""

    help = "List the live sessions of a user, the one used last first."

    def add_arguments(self, parser: CommandParser) -> None:
        """The options."""
        parser.add_argument("user", help="a primary key or username (id:VALUE for a deleted user)")
        parser.add_argument("--json", action="store_true", help="for a script to read")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print them."""
        user = find_user(options["user"])
        with redis_needed():
            found = sessions.list_sessions(user)
        if options["json"]:
            rows = [{**asdict(session), "device": describe(session.user_agent)} for session in found]
            self.stdout.write(json.dumps(rows, cls=DjangoJSONEncoder, indent=2))
            return
        if not found:
            self.stdout.write(f"User {user} has no live session.")
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
                    session.label or describe(session.user_agent) or session.user_agent or "-",
                )
                for session in found
            ],
        )
        self.stdout.write("\n".join(lines))
