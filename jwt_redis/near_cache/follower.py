"""The thread that follows the revocation log, and the lease that says for how long it may be believed.

A lease is counted from *before* Redis was asked. So neither a stalled network nor an interpreter that is busy with
other threads can make an answer older than the lease: what was acknowledged before the question is in the answer.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import OrderedDict
from typing import Final

import redis
from django.core.exceptions import ImproperlyConfigured
from django.db import Error as DatabaseError
from django.db import connections

from jwt_redis import observers
from jwt_redis.conf import Config, NearCache, leeway_seconds, longest_access_lifetime
from jwt_redis.exceptions import RevocationUnavailable
from jwt_redis.near_cache.memory import CLOCK_DIFFERENCE, Memory
from jwt_redis.observers import Observer
from jwt_redis.records import Marker, SessionRecord
from jwt_redis.recovery import trusted
from jwt_redis.store import client, commands, gate, markers
from jwt_redis.store.commands import LogEntry, LogPage
from jwt_redis.store.waker import Waker

__all__ = ["Follower", "clock"]

logger = logging.getLogger(__name__)

# Entries that one question may bring.
PAGE: Final = 2000
# Parts of a lease: how long to wait for something new, and how often to have it proven who the primary is.
WAITING: Final = 0.4
# Seconds, at most: a thread that is to end notices it in between.
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


class Follower:
    """One process's near cache: its memory, its lease, its thread.

    ``believed_until`` is by :func:`clock`: until then the memory lacks nothing that was acknowledged a lease ago.
    """

    def __init__(self, config: Config, settings: NearCache) -> None:
        self.config = config
        self._settings = settings
        self.believed_until = 0.0
        access = longest_access_lifetime()
        self.memory = Memory(
            access + leeway_seconds() + CLOCK_DIFFERENCE,
            access,
            needs_session=config.strategy == "whitelist",
            now=clock(),
        )
        self._records: OrderedDict[str, SessionRecord] = OrderedDict()
        # The last entry that was heard, its number, and the store that it was in. None: all is to be read anew.
        self._position: tuple[str, int, str] | None = None
        # How often trust had been established by then: another server may have other entries under the same numbers.
        self._epoch = 0
        self._proven_at = float("-inf")
        # The same moment by time.monotonic(), from which the copy of the marker counts.
        self._marker_from = float("-inf")
        self._asked_at = 0.0
        # When the primary last proved what is believed, or when it began. Whether the lease was held since.
        self._known_at = clock()
        self._has_lease = False
        self._was_busy = False
        self._was_hinted = False
        self._stopping = threading.Event()
        self._waker: Waker | None = None
        self._is_polling = False
        self._next_count = 0.0
        self._thread = threading.Thread(target=self._run, name="jwt_redis-near-cache", daemon=True)

    def start(self) -> None:
        """Begin to follow. Until the first answer nothing is believed."""
        self._thread.start()

    def stop(self, wait: float = 0.0) -> None:
        """Nothing is believed any more; the thread ends, which is waited for for so many seconds."""
        self._stopping.set()
        self.believed_until = 0.0
        if wait and self._thread.ident is not None:
            self._thread.join(wait)

    def is_alive(self) -> bool:
        """Has it a thread?"""
        return self._thread.is_alive()

    # Records of sessions, for who compares them with the user's row ---------------------------------------------

    def record_of(self, sid: str) -> SessionRecord | None:
        """The record of a session as Redis had it when it was last asked."""
        return self._records.get(sid)

    def remember(self, sid: str, record: SessionRecord) -> None:
        """What Redis has said of a session that is alive."""
        records = self._records
        records[sid] = record
        while len(records) > self._settings.records:
            try:
                records.popitem(last=False)
            except KeyError:  # another thread was quicker
                break

    # The thread --------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        failures = 0
        try:
            while not self._stopping.is_set():
                try:
                    trusted(self._look)
                    failures = 0
                except (RevocationUnavailable, DatabaseError, ImproperlyConfigured) as error:
                    logger.debug("The revocation log cannot be followed: %s", error)
                    self._tell()
                    # The client has logged why, and need not do so four times a second for ever.
                    self._stopping.wait(min(self._settings.poll * 2**failures, LONGEST_PAUSE))
                    failures = min(failures + 1, 10)
                    continue
                finally:
                    # This thread's own, which nobody else closes: recovery reads the journal.
                    connections.close_all()
                self._wait()
        except Exception:
            # Whoever asks next starts another; until then each check asks Redis.
            logger.exception("The near cache has stopped.", extra={"event": "near_cache_stopped"})
        finally:
            self.believed_until = 0.0
            self._tell()
            self._close_waker()

    def _look(self) -> None:
        # Before anything is heard that it might drop.
        self.memory.forget(clock())
        epoch = gate.established()
        if self._position is None:
            self._epoch = epoch
            self._read_all()
        else:
            self._read_on(self._position)

    def _ask(self, after: str) -> LogPage:
        """``_asked_at`` is from before the question; the lease counts from when the primary was last proven."""
        self._asked_at = clock()
        # A direct check rests on the same proof, and may do so for a second, however long the lease.
        proves = self._asked_at - self._proven_at >= min(PROVING * self._settings.lease, markers.MAX_AGE / 2)
        asked_at = time.monotonic()
        # In that order: what came in between is in the log and not yet counted. The other way round it would be missed.
        (marker, now), entries = client.execute(
            commands.read_moment(proves_primary=proves),
            commands.read_log_end(proves_primary=proves)
            if after == _END
            else commands.read_log(after, PAGE, proves_primary=proves),
        )
        page = LogPage(marker, now, entries)
        markers.seen(page.marker, asked_at if proves else self._marker_from)
        if proves:
            self._proven_at, self._marker_from = self._asked_at, asked_at
        return page

    def _read_on(self, position: tuple[str, int, str]) -> None:
        after, number, store_id = position
        page = self._ask(after)
        marker = _present(page.marker)
        # Before anything is missed: what was heard is true in any case.
        self.memory.hear(page.entries)
        for entry in page.entries:
            number += 1
            if entry.number != number:
                return self._resync("an entry is missing")
        is_all = len(page.entries) < PAGE
        if marker.store_id != store_id or self._epoch != gate.established():
            return self._resync("the store or its server is another one")
        if is_all and marker.revocations > number:
            return self._resync("entries are missing")
        self._position = (page.entries[-1].id if page.entries else after, number, store_id)
        if self._was_hinted and not page.entries:
            # It waits at a server that knows more than the primary; and whoever is told so must not ask at once, again.
            self._close_waker()
        self._was_busy = bool(page.entries) or self._was_hinted
        if is_all:
            self._believe()
        return None

    def _resync(self, why: str) -> None:
        logger.warning("The revocation log is read anew: %s.", why, extra={"event": "near_cache_resync"})
        self.believed_until = 0.0
        self._position = None
        self._tell()

    def _believe(self) -> None:
        if not self._stopping.is_set():
            self._tell()
            self._known_at = self._proven_at
            self._has_lease = True
            self.believed_until = self._proven_at + self._settings.lease

    def _tell(self) -> None:
        """Observers hear how old what is known has become, and of a lease that was held and is over, once."""
        if self._stopping.is_set():
            return
        now = clock()
        observers.tell(Observer.followed, now - self._known_at)
        if self._has_lease and now >= self.believed_until:
            self._has_lease = False
            observers.tell(Observer.lease_lapsed)

    def _read_all(self) -> None:
        """The whole log; and from which moment on it lacks nothing."""
        self._proven_at = float("-inf")
        if client.is_cluster():
            # A log that has moved to another node may lack what the users' nodes have.
            page = self._ask(_END)
            complete_from = page.now
            last = page.entries[-1] if page.entries else None
        else:
            last, complete_from = self._read_pages()
            page = self._ask(last.id if last else "0")
            last, complete_from = self._heard(page.entries, last, complete_from)
            if len(page.entries) == PAGE:
                return None  # more was written meanwhile than is read at once: again
        marker = _present(page.marker)
        if last is None and marker.revocations == 0:
            complete_from = min(complete_from, marker.born_ms / 1000)
        elif last is None or last.number < marker.revocations:
            # The end is missing: trimmed, evicted, or deleted.
            complete_from = page.now
        elif complete_from == _FROM_BIRTH:
            complete_from = marker.born_ms / 1000
        if self._epoch != gate.established():
            return None  # the server has changed meanwhile: again
        # Tokens are told by the clock of this side, should it be ahead.
        complete_from += max(0.0, time.time() - page.now)
        number = max(last.number if last else 0, marker.revocations)
        self._position = (last.id if last else "0", number, marker.store_id)
        self.memory.is_complete_from(complete_from)
        self._believe()
        return None

    def _read_pages(self) -> tuple[LogEntry | None, float]:
        last: LogEntry | None = None
        complete_from = float("inf")
        while not self._stopping.is_set():
            entries = client.execute(commands.read_log(last.id if last else "0", PAGE))
            last, complete_from = self._heard(entries, last, complete_from)
            if len(entries) < PAGE:
                break
        return last, complete_from

    def _heard(
        self, entries: tuple[LogEntry, ...], last: LogEntry | None, complete_from: float
    ) -> tuple[LogEntry | None, float]:
        self.memory.hear(entries)
        for entry in entries:
            if last is None:
                # The first that there ever was, or what was before has been trimmed.
                complete_from = _FROM_BIRTH if entry.number == 1 else entry.moment
            elif entry.number != last.number + 1:
                complete_from = entry.moment
            last = entry
        return last, complete_from

    # Waiting -----------------------------------------------------------------------------------------------------

    def _wait(self) -> None:
        if self._position is None or self._stopping.is_set():
            return
        if self._was_busy:
            self._stopping.wait(max(0.0, SPACING - (clock() - self._asked_at)))
        if not self._waits_for_news():
            # Not all at once.
            self._stopping.wait(self._settings.poll * random.uniform(0.8, 1.0))  # noqa: S311

    def _waits_for_news(self) -> bool:
        """Wait until there is something new, if this is one of the processes that do. It need not be right: it is
        the next question that counts."""
        self._was_hinted = False
        if client.is_cluster() or not self._settings.max_waiting:
            return False
        if self._is_polling and clock() < self._next_count:
            return False
        try:
            if self._waker is None:
                self._waker = Waker(min(WAITING * self._settings.lease, LONGEST_WAIT))
            if clock() >= self._next_count:
                self._next_count = clock() + COUNTING * random.uniform(0.8, 1.2)  # noqa: S311
                self._choose(self._waker.waiting())
            if self._is_polling:
                # A connection less, until the next count.
                self._close_waker()
                return False
            self._was_hinted = self._waker.wait((self._position or ("0",))[0])
        except redis.RedisError as error:
            logger.debug("Nothing wakes the near cache: %s", error)
            self._close_waker()
            return False
        return True

    def _close_waker(self) -> None:
        if self._waker is not None:
            self._waker.close()
        self._waker = None

    def _choose(self, waiting: int) -> None:
        """By lot, so that not all of too many change at once."""
        most = self._settings.max_waiting
        if not self._is_polling:
            self._is_polling = waiting > most and random.random() < (waiting - most) / waiting  # noqa: S311
        elif waiting < most // 2:
            self._is_polling = random.random() < 0.9  # noqa: S311


# In place of an entry's id: the log's last.
_END: Final = "$"
# What follows is complete from the store's birth on.
_FROM_BIRTH: Final = 0.0


def _present(marker: Marker | None) -> Marker:
    # markers.seen has refused a store without one.
    assert marker is not None  # noqa: S101
    return marker
