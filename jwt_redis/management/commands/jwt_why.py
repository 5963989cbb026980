"""``manage.py jwt_why TOKEN``: what the check says of a token, and which rule says it."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import CommandParser

from jwt_redis import sessions
from jwt_redis.management.base import TerminalCommand, printable, redis_needed


class Command(TerminalCommand):
    """Explain a verdict."""

    help = "Say whether a token is accepted, and why. Exit status 1 when it is refused."

    def add_arguments(self, parser: CommandParser) -> None:
        """The options."""
        parser.add_argument("token", help="the token; '-' reads it from standard input, away from the shell's history")
        parser.add_argument("--json", action="store_true", help="for a script to read")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print the verdict; the exit status tells it too."""
        token = options["token"]
        if token == "-":  # noqa: S105
            token = sys.stdin.readline()
        with redis_needed():
            found = sessions.explain(token.removeprefix("Bearer ").strip())
        facts: dict[str, Any] = {"allowed": found.allowed, "reason": found.reason, "rule": found.rule}
        if found.claims is not None:
            claims = found.claims
            facts |= {"user": claims.user, "sid": claims.sid, "jti": claims.jti, "expires_at": _iso(claims.exp)}
        if options["json"]:
            self.stdout.write(json.dumps(facts, indent=2))
        else:
            verdict = self.style.SUCCESS("accepted") if found.allowed else self.style.ERROR(f"refused: {found.reason}")
            self.stdout.write(verdict)
            for name, value in facts.items():
                if name not in ("allowed", "reason") and value is not None:
                    self.stdout.write(f"  {name}: {printable(str(value))}")
        if not found.allowed:
            sys.exit(1)


def _iso(seconds: int) -> str:
    try:
        return datetime.fromtimestamp(seconds, tz=UTC).isoformat()
    except (ValueError, OverflowError, OSError):
        return str(seconds)
