"""``manage.py jwt_revoke``: a token, a session, a user's sessions, or everything."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils.dateparse import parse_datetime
from rest_framework_simplejwt.exceptions import TokenError

from jwt_redis import journal, sessions
from jwt_redis.management.base import TerminalCommand, actor, as_json, confirm, find_user, printable, redis_needed
from jwt_redis.sessions.parts import valid_reason, valid_sid
from jwt_redis.verdicts import is_jti


class Command(TerminalCommand):
    """Revoke."""

    help = "Revoke one token, one session, all of a user's sessions, or everything. The next request is refused."

    def add_arguments(self, parser: CommandParser) -> None:
        """The options."""
        what = parser.add_argument_group("what to revoke (one of these)")
        what.add_argument("--token", help="a token; '-' reads it from standard input, away from the shell's history")
        what.add_argument("--session", metavar="SID", help="one session of --user")
        what.add_argument("--jti", help="one token of --user, by its id")
        what.add_argument("--user", metavar="ID", help="a primary key or username (id:VALUE for a deleted user)")
        what.add_argument("--all", action="store_true", help="every session of every user")
        parser.add_argument("--except", dest="kept", metavar="SID", help="with --user: the session that stays")
        parser.add_argument(
            "--before", metavar="ISO", help="with --all: only what is older, e.g. 2026-01-31T12:00+00:00"
        )
        parser.add_argument("--reason", default="revoked", help="why: letters, digits and underscores")
        parser.add_argument("--dry-run", action="store_true", help="only say what would be revoked")
        parser.add_argument("--json", action="store_true", help="for a script to read; it is never asked")
        parser.add_argument("--no-input", "--noinput", action="store_true", help="do not ask")

    def handle(self, *args: Any, **options: Any) -> None:
        """Find out what is meant, and do it."""
        self.reason, self.dry_run, self.is_json = options["reason"], options["dry_run"], options["json"]
        chosen = [name for name in ("token", "session", "jti", "all") if options[name]]
        if len(chosen) > 1:
            raise CommandError("Only one of " + ", ".join(f"--{name}" for name in chosen) + " at a time.")
        kind = chosen[0] if chosen else "user"
        self._refuse_stray(kind, options)
        try:
            # Also of a dry run: what the run would refuse, it refuses.
            valid_reason(self.reason)
            with redis_needed(), journal.acting_as(actor("jwt_revoke")):
                if kind == "token":
                    self._token(options["token"])
                elif kind == "all":
                    self._everything(options["before"], ask=not options["no_input"])
                else:
                    self._of_user(kind, find_user(options["user"]), options)
        except (ValueError, TokenError) as error:
            raise CommandError(str(error.args[0])) from error

    def _refuse_stray(self, kind: str, options: dict[str, Any]) -> None:
        needs_user = kind in ("session", "jti", "user")
        if needs_user and not options["user"]:
            raise CommandError(
                f"--{kind} needs --user ID as well: Redis keeps everything by user."
                if kind != "user"
                else "Say what to revoke: --token, --session, --jti, --user or --all."
            )
        for name, fits in (("user", needs_user), ("kept", kind == "user"), ("before", kind == "all")):
            if options[name] and not fits:
                raise CommandError(f"--{'except' if name == 'kept' else name} does not go with --{kind}.")

    def _token(self, token: str) -> None:
        if token == "-":  # noqa: S105
            token = sys.stdin.readline().strip()
        if self.dry_run:
            found = sessions.explain(token)
            self._would(
                f"revoke a token that is {'good' if found.allowed else 'refused: ' + found.rule}", found.allowed
            )
            return
        changed = sessions.revoke_token(token, reason=self.reason)
        self._say(int(changed), "The token is revoked.", "The token was revoked before, or its session is over.")

    def _of_user(self, kind: str, user: str, options: dict[str, Any]) -> None:
        if kind == "jti":
            if self.dry_run:
                if not is_jti(options["jti"]):
                    raise CommandError("--jti: not a token id.")
                self._would(f"revoke the token {options['jti']} of user {user}.", 1)
                return
            changed = sessions.revoke_jti(user, options["jti"], reason=self.reason)
            self._say(int(changed), "The token is revoked.", "The token was revoked before.")
        elif kind == "session":
            sid = valid_sid(options["session"])
            if self.dry_run:
                is_alive = sid in _live(user)
                state = "alive" if is_alive else "not alive"
                self._would(f"end the session {sid} of user {user}, which is {state}.", is_alive)
                return
            changed = sessions.end_session(user, sid, reason=self.reason)
            self._say(int(changed), "The session is ended.", "There was no such live session.")
        else:
            self._all_of_user(user, options["kept"])

    def _all_of_user(self, user: str, kept: str | None) -> None:
        # Asked only where it matters: without Redis the journal can still be told.
        live = _live(user) if kept or self.dry_run else []
        if kept and kept not in live:
            raise CommandError(f"--except: user {user} has no live session {kept}. `jwt_sessions` lists them.")
        if self.dry_run:
            count = len(live) - bool(kept)
            self._would(f"end {count} session{'' if count == 1 else 's'} of user {user}.", count)
            return
        if kept:
            count = sessions.end_other_sessions(user, kept, reason=self.reason)
        else:
            count = sessions.end_all_sessions(user, reason=self.reason)
        done = f"Ended {count} session{'' if count == 1 else 's'} of user {user}."
        self._say(count, done, done)

    def _everything(self, before: str | None, *, ask: bool) -> None:
        moment = None
        if before is not None:
            try:
                moment = parse_datetime(before)
            except ValueError as error:
                raise CommandError(f"--before: {error}.") from error
            if moment is None:
                raise CommandError(f"--before: {before!r} is no ISO 8601 date and time, like 2026-01-31T12:00+00:00.")
            if moment.tzinfo is None:
                raise CommandError("--before: add the time zone, like +00:00.")
            if moment > datetime.now(tz=UTC):
                raise CommandError("--before: that moment is yet to come.")
        which = f"every session from before {moment.isoformat()}" if moment else "every session of every user"
        if self.dry_run:
            self._would(f"revoke {which}.", None)
            return
        if ask:
            confirm(f"revokes {which}", done="revoked", is_json=self.is_json)
        in_force = sessions.revoke_everything(moment, reason=self.reason)
        done = f"Everything from before {in_force.isoformat()} is revoked, in every process within a second."
        self._say(None, done, done, before=in_force)

    def _would(self, what: str, count: int | None) -> None:
        if self.is_json:
            self.stdout.write(as_json({"dry_run": True, "would": what.rstrip("."), "count": count}))
        else:
            self.stdout.write(printable(f"Would {what}"))

    def _say(self, count: int | None, done: str, nothing: str, **facts: Any) -> None:
        """``count``: what was alive until now; None where nobody counts."""
        said = nothing if count == 0 else done
        if self.is_json:
            self.stdout.write(as_json({"dry_run": False, "count": count, "said": said, **facts}))
        else:
            shown = printable(said)
            self.stdout.write(self.style.WARNING(shown) if count == 0 else self.style.SUCCESS(shown))


def _live(user: str) -> list[str]:
    return [session.sid for session in sessions.list_sessions(user)]
