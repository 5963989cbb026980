"""The revocation log, read on from where one was: what to ask, what follows from the answer, when to look again.

For the near cache's thread, and for :mod:`jwt_redis.revocations`. No I/O.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from jwt_redis.conf import NearCache
from jwt_redis.store import commands, markers
from jwt_redis.store.commands import Command, LogEntry, LogPage

__all__ = [
    "PAGE",
    "Crowd",
    "Pace",
    "Position",
    "Questions",
    "clock",
    "read_on",
]

# Entries that one question may bring.
PAGE: Final = 2000
# Parts of a lease: how long to wait for something new, and how often to have it proven who the primary is.
WAITING: Final = 0.4
# Seconds, at most: whoever is to end notices it in between.
LONGEST_WAIT: Final = 0.4
PROVING: Final = 0.3
# Seconds between two questions while revocations pour in, so that many followers do not busy Redis with each of them.
SPACING: Final = 0.02
# Seconds between two attempts, at most, while Redis cannot be asked.
LONGEST_PAUSE: Final = 2.0
# Seconds between two looks at how many processes are waiting.
COUNTING: Final = 30.0

# Where there is one, a clock that goes on while the machine is suspended.
if hasattr(time, "CLOCK_BOOTTIME"):

    def clock() -> float:
        """Seconds, from any point in time."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

else:
    clock = time.monotonic


_POSITION = re.compile(r"([\w-]{1,64})\.(\d{1,16})\.(\d{1,16}(?:-\d{1,20})?)", re.ASCII)


class Position(NamedTuple):
    """How far the log is known: the last entry's id and number, and the store that it was in."""

    id: str
    number: int
    store_id: str

    def __str__(self) -> str:
        return f"{self.store_id}.{self.number}.{self.id}"

    @classmethod
    def parse(cls, text: str) -> Position:
        """The position that ``text`` was made of.

        :raises ValueError: when it is none.
        """
        found = _POSITION.fullmatch(text) if isinstance(text, str) else None
        if found is None:
            raise ValueError("not a position in the revocation log")
        return cls(found[3], int(found[2]), found[1])


class Questions:
    """What to ask, with the proof that it is the primary who answers. ``lease``: in seconds.

    ``asked_at``: by :func:`clock`, from before the last question. ``proven_at``: likewise, of the last one that had
    the proof with it.
    """

    def __init__(self, lease: float) -> None:
        self._lease = lease
        self.asked_at = 0.0
        self.proven_at = float("-inf")
        # The same moment by time.monotonic(), from which the copy of the marker counts.
        self._marker_from = float("-inf")
        self._proves = False
        self._now = 0.0
        self._known: tuple[str, int] | None = None

    def next(self, entries: Command[tuple[LogEntry, ...]], *more: Command[Any]) -> tuple[Command[Any], ...]:
        """The commands of one round trip, the moment first: what came in between is in the log and not yet counted.
        The other way round it would be missed."""
        self.asked_at, self._now = clock(), time.monotonic()
        # What this process revokes until the answer is there is not in it, and no sign that the store was set back.
        self._known = markers.trusted_store()
        # A direct check rests on the same proof, and may do so for a second, however long the lease.
        self._proves = self.asked_at - self.proven_at >= min(PROVING * self._lease, markers.MAX_AGE / 2)
        return (commands.read_moment(proves_primary=self._proves), entries, *more)

    def answered(self, results: Sequence[Any]) -> LogPage:
        """The answer to :meth:`next`.

        :raises UntrustedStore: when it is not the store that is trusted.
        """
        (marker, now), entries = results[0], results[1]
        markers.seen(marker, self._now if self._proves else self._marker_from, self._known)
        if self._proves:
            self.proven_at, self._marker_from = self.asked_at, self._now
        if marker is not None and entries and entries[-1].number > marker.revocations:
            # Something came in between. What was read before it says that whoever this concerns is good.
            markers.reset()
        return LogPage(marker, now, entries)


def read_on(known: Position, page: LogPage, limit: int) -> tuple[Position, str]:
    """How far the log is known after a page of at most ``limit`` entries, and what is wrong with it: "" for nothing.

    Up to the position that is returned all is well in any case.
    """
    last_id, number, store_id = known
    marker = page.marker
    # markers.seen has refused a store without one.
    assert marker is not None  # noqa: S101
    for entry in page.entries:
        if entry.number != number + 1:
            return Position(last_id, number, store_id), "an entry is missing"
        last_id, number = entry.id, entry.number
    read = Position(last_id, number, store_id)
    if marker.store_id != store_id:
        return read, "the store or its server is another one"
    if len(page.entries) < limit and marker.revocations > number:
        return read, "entries are missing"
    return read, ""


class Pace:
    """How long to do nothing, in seconds: whoever follows the log does so at the same pace."""

    def __init__(self, settings: NearCache) -> None:
        self._poll = settings.poll
        #: For how long the server may keep somebody waiting for something new.
        self.longest_wait = min(WAITING * settings.lease, LONGEST_WAIT)

    def until_next_look(self) -> float:
        """Where nobody waits at the server. Not all look at once."""
        return self._poll * random.uniform(0.8, 1.0)  # noqa: S311

    def after_failures(self, before: int) -> float:
        """After one more failure than that in a row. Whoever comes back does so at another moment than the others."""
        longest: float = self._poll * 2 ** min(before, 10)
        return min(longest, LONGEST_PAUSE) * random.uniform(0.8, 1.0)  # noqa: S311

    def between(self, asked_at: float) -> float:
        """While revocations pour in, between the question of that moment and the next."""
        return max(0.0, SPACING - (clock() - asked_at))


class Crowd:
    """Do so many processes wait for news that this one had better look now and then? ``most``: how many may wait."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.is_polling = not most
        self._next_count = 0.0

    def is_due(self) -> bool:
        """Is it time to count?"""
        return bool(self._most) and clock() >= self._next_count

    def counting(self) -> None:
        """Somebody counts; the next time is a while away."""
        self._next_count = clock() + COUNTING * random.uniform(0.8, 1.2)  # noqa: S311

    def choose(self, waiting: int) -> None:
        """By lot, so that not all of too many change at once."""
        if not self.is_polling:
            self.is_polling = waiting > self._most and random.random() < (waiting - self._most) / waiting  # noqa: S311
        elif waiting < self._most // 2:
            self.is_polling = random.random() < 0.9  # noqa: S311
