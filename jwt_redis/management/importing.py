"""What the commands share that take over somebody else's blacklist: batch by batch, as often as one likes."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from jwt_redis import journal
from jwt_redis.conf import config, leeway_seconds
from jwt_redis.management.base import ProgressLine, actor, as_json, journal_needed, redis_needed
from jwt_redis.takeover import Listing, take_over
from jwt_redis.verdicts import is_jti

__all__ = ["Batch", "ImportCommand"]


@dataclass(frozen=True, slots=True)
class Batch:
    """Some of what was found. ``listings``: what may be of use. ``seen``: how many were looked at for it; ``unusable``:
    how many of them name no token. ``position``: from where to go on behind them, where that can be said."""

    listings: list[Listing]
    seen: int
    unusable: int = 0
    position: int | None = None


@dataclass(slots=True)
class _Count:
    seen: int = 0
    imported: int = 0
    known: int = 0
    expired: int = 0
    unusable: int = 0
    position: int | None = None
    began: float = field(default_factory=time.monotonic)

    def facts(self) -> dict[str, Any]:
        seconds = time.monotonic() - self.began
        names = ("seen", "imported", "known", "expired", "unusable")
        facts: dict[str, Any] = {name: getattr(self, name) for name in names}
        return facts | {
            "position": self.position,
            "seconds": round(seconds, 3),
            "per_second": round(self.seen / seconds) if seconds else 0,
        }


class ImportCommand(BaseCommand):
    """Its subclasses say where the tokens come from."""

    def add_arguments(self, parser: CommandParser) -> None:
        """The options."""
        parser.add_argument("--batch", type=int, default=1000, help="how many at a time (default 1000)")
        parser.add_argument("--dry-run", action="store_true", help="only count")
        parser.add_argument("--json", action="store_true", help="for a script to read")

    def take(self, batches: Iterable[Batch], total: int, options: dict[str, Any]) -> None:
        """Refuse what the batches name. What was done is told even if it does not come to its end."""
        count = _Count()
        line = ProgressLine(sys.stderr, total)
        is_done = False
        try:
            with redis_needed(), journal_needed(), journal.acting_as(actor(self._name())):
                for batch in batches:
                    self._take(batch, count, dry_run=options["dry_run"])
                    line.show(count.seen)
            is_done = True
        finally:
            line.close()
            self._tell(count, is_done, options)

    def _take(self, batch: Batch, count: _Count, *, dry_run: bool) -> None:
        now = time.time() - leeway_seconds()
        fit = [one for one in batch.listings if is_jti(one.jti)]
        current = [one for one in fit if one.exp > now]
        if dry_run:
            count.imported += len(current)
        else:
            taken = take_over(current)
            count.imported += taken.added
            count.known += taken.known
        count.seen += batch.seen
        count.expired += len(fit) - len(current)
        count.unusable += batch.unusable + len(batch.listings) - len(fit)
        count.position = batch.position if batch.position is not None else count.position

    def _tell(self, count: _Count, is_done: bool, options: dict[str, Any]) -> None:
        facts = {"dry_run": options["dry_run"], "is_done": is_done, **count.facts()}
        if options["json"]:
            self.stdout.write(as_json(facts))
            return
        verb = "Would import" if options["dry_run"] else "Imported"
        self.stdout.write(
            f"{verb} {facts['imported']} tokens, {facts['known']} were known, {facts['expired']} had expired,"
            f" {facts['unusable']} were unusable. {facts['seen']} looked at, {facts['per_second']} a second."
        )
        if not is_done and count.position is not None:
            self.stdout.write(f"It did not come to its end. Go on with: --after {count.position}")
        if count.unusable:
            self.stderr.write("Unusable: an id that is empty, longer than 255 characters, or not printable.")

    @staticmethod
    def _name() -> str:
        return sys.argv[1] if len(sys.argv) > 1 else "import"

    @staticmethod
    def refuse_unfit(options: dict[str, Any]) -> None:
        """:raises CommandError: where an import would be in vain."""
        if options["batch"] < 1:
            raise CommandError("--batch: a number above zero is needed.")
        if not config().accepts_by_absence:
            raise CommandError(
                "LEGACY_TOKENS is 'refuse': tokens without a session are refused whether they are listed or not, and"
                ' others were never issued elsewhere. Set JWT_REDIS["LEGACY_TOKENS"] = "adopt" first.'
            )
        if not config().journal:
            raise CommandError(
                "JOURNAL is False: what is imported would be in Redis alone, and lost with it."
                ' JWT_REDIS["JOURNAL"] = True, and `manage.py migrate jwt_redis`.'
            )
