"""The log of revocations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from jwt_redis import keys
from jwt_redis.records import Marker
from jwt_redis.store.commands.command import Command, load_script, policy
from jwt_redis.store.commands.replies import is_number, read_mapping


class LogEntry(NamedTuple):
    """One revocation as the log has it. ``id``: the stream's, which begins with Redis' clock in ms."""

    id: str
    number: int
    kind: str
    user: str
    target: str
    reason: str = ""

    @property
    def moment(self) -> float:
        """Seconds of the epoch, by Redis' clock."""
        return int(self.id.partition("-")[0]) / 1000


@dataclass(frozen=True, slots=True)
class LogPage:
    """Entries of the log, and the marker and Redis' clock (seconds of the epoch) of the same moment."""

    marker: Marker | None
    now: float
    entries: tuple[LogEntry, ...]


def read_log(after: str, limit: int) -> Command[tuple[LogEntry, ...]]:
    """What the log has behind an entry (XRANGE), at most ``limit``. Not by a script, where each entry costs Redis six
    times as much."""
    key = keys.log_key()
    return Command((key,), ("XRANGE", key, f"({after}", "+", "COUNT", limit), _log_entries)


def read_log_from(first: str, limit: int) -> Command[tuple[LogEntry, ...]]:
    """:func:`read_log`, and the entry ``first`` itself."""
    key = keys.log_key()
    return Command((key,), ("XRANGE", key, first, "+", "COUNT", limit), _log_entries)


def read_log_end() -> Command[tuple[LogEntry, ...]]:
    """The log's last entry (XREVRANGE)."""
    key = keys.log_key()
    return Command((key,), ("XREVRANGE", key, "+", "-", "COUNT", 1), _log_entries)


def _log_entries(reply: Any) -> tuple[LogEntry, ...]:
    # Damaged by hand it is no stream: then it has no entries, and the numbers tell.
    entries = [one for one in reply or () if not isinstance(one, str)]
    return tuple(_log_entry(str(entry_id), read_mapping(fields)) for entry_id, fields in entries)


def _log_entry(entry_id: str, fields: dict[str, str]) -> LogEntry:
    number = fields.get("number")
    # What somebody has added by hand has no number, and so is a gap.
    return LogEntry(
        entry_id,
        int(number) if is_number(number) and number else 0,
        fields.get("kind", ""),
        fields.get("user", ""),
        fields.get("id", ""),
        fields.get("reason", ""),
    )


def append_log(user: str, revocations: Sequence[Sequence[str]]) -> Command[int]:
    """In Cluster, where the log is in another slot: write a script's revocations to it."""
    flat = [part for revocation in revocations for part in revocation]
    args = (policy()[1], keys.user_tag(user), *flat)
    return Command((keys.log_key(), keys.marker_key()), args, int, load_script("append_log", False))
