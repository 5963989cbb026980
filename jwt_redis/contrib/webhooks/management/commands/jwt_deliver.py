"""``manage.py jwt_deliver``: push to the receivers what is due."""

from __future__ import annotations

import logging
import signal
import threading
from types import FrameType
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError, CommandParser
from django.db import Error as DatabaseError
from django.db import close_old_connections

from jwt_redis import journal
from jwt_redis.conf import config
from jwt_redis.contrib.webhooks.outbox import dead, waiting_facts
from jwt_redis.contrib.webhooks.places import trusted
from jwt_redis.contrib.webhooks.sending import Tally, deliver
from jwt_redis.contrib.webhooks.tokens import try_to_sign
from jwt_redis.exceptions import NoSigningKey
from jwt_redis.management.base import TerminalCommand, as_json, journal_needed

logger = logging.getLogger(__name__)

# Seconds after which a database that did not answer is asked again.
_AGAIN = 5.0


class Command(TerminalCommand):
    """Send."""

    help = (
        "Push Security Event Tokens that are due to the receivers of jwt_redis.contrib.webhooks. It runs until it is"
        " told to end (SIGTERM); several may run at once. What was sent when one dies is sent again by the next."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """The options."""
        parser.add_argument("--once", action="store_true", help="end when nothing is due any more: for cron")
        parser.add_argument("--poll", type=float, default=1.0, help="seconds between two looks (default 1)")
        parser.add_argument("--json", action="store_true", help="for a script to read; with --once")

    def handle(self, *args: Any, **options: Any) -> None:
        """Round by round."""
        # Also "nan" and "inf" are floats.
        if not 0 < options["poll"] <= threading.TIMEOUT_MAX:
            raise CommandError("--poll: a number above zero is needed.")
        if options["json"] and not options["once"]:
            raise CommandError("--json goes with --once: what runs until it is told to end has nothing to sum up.")
        if (webhooks := config().webhooks) is None or not journal.is_on():
            raise CommandError('JWT_REDIS: WEBHOOKS is needed, and JOURNAL. See "System checks" in the documentation.')
        try:
            try_to_sign()
            trusted(webhooks.ca_file)
        except NoSigningKey as error:
            raise CommandError("The key that signs was revoked, and no other signs in its place yet.") from error
        except (ImproperlyConfigured, OSError) as error:
            raise CommandError(f"JWT_REDIS: WEBHOOKS: {error}") from error
        if options["once"]:
            self._once(options["json"])
        else:
            self._for_ever(options["poll"])

    def _once(self, as_facts: bool) -> None:
        sent = Tally()
        with journal_needed():
            while (tally := deliver()).total:
                sent.delivered += tally.delivered
                sent.failed += tally.failed
                sent.dead += tally.dead
            left, _seconds = waiting_facts()
            given_up = dead().count()
        if as_facts:
            self.stdout.write(
                as_json(
                    {"delivered": sent.delivered, "failed": sent.failed, "dead": sent.dead}
                    | {"waiting": left, "dead_in_all": given_up}
                )
            )
            return
        self.stdout.write(
            f"Arrived: {sent.delivered}. Failed for now: {sent.failed}. Given up: {sent.dead}. Waiting: {left}."
        )

    def _for_ever(self, poll: float) -> None:
        ended = threading.Event()

        def end(number: int, frame: FrameType | None) -> None:
            ended.set()

        before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            while not ended.is_set():
                close_old_connections()
                try:
                    busy = deliver().total > 0
                except DatabaseError as error:
                    logger.error("Deliveries cannot be read: %s", error, extra={"event": "journal_unavailable"})
                    ended.wait(_AGAIN)
                    continue
                if not busy:
                    ended.wait(poll)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
