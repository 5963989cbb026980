"""The thread that follows the revocation log, and the lease that says for how long it may be believed.

A lease is counted from *before* Redis was asked. So neither a stalled network nor an interpreter that is busy with
other threads can make an answer older than the lease: what was acknowledged before the question is in the answer.
"""

from __future__ import annotations

import logging
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
from jwt_redis.log_reading import PAGE, Crowd, Pace, Position, Questions, clock, read_on
from jwt_redis.near_cache.memory import CLOCK_DIFFERENCE, Memory
from jwt_redis.observers import Observer
from jwt_redis.records import Marker, SessionRecord
from jwt_redis.recovery import trusted
from jwt_redis.store import client, commands, gate
from jwt_redis.store.commands import LogEntry, LogPage
from jwt_redis.store.waker import Waker

__all__ = ["Follower", "clock"]

logger = logging.getLogger(__name__)


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
        self._position: Position | None = None
        # How often trust had been established by then: another server may have other entries under the same numbers.
        self._epoch = 0
        self._pace = Pace(settings)
        self._questions = Questions(settings.lease)
        # When the primary last proved what is believed, or when it began. Whether the lease was held since.
        self._known_at = clock()
        self._has_lease = False
        self._was_busy = False
        self._was_hinted = False
        self._stopping = threading.Event()
        self._waker: Waker | None = None
        self._crowd = Crowd(settings.max_waiting)
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
                    self._stopping.wait(self._pace.after_failures(failures))
                    failures += 1
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
        """The lease counts from when the primary was last proven."""
        entries = commands.read_log_end() if after == _END else commands.read_log(after, PAGE)
        page = self._questions.answered(client.execute(*self._questions.next(entries)))
        # Before an answer rests on it. The log may have been trimmed since.
        self.memory.refuse_keys(_present(page.marker).refused_keys)
        return page

    def _read_on(self, position: Position) -> None:
        page = self._ask(position[0])
        # Before anything is missed: what was heard is true in any case.
        self.memory.hear(page.entries)
        read, wrong = read_on(position, page, PAGE)
        if not wrong and self._epoch != gate.established():
            wrong = "the store or its server is another one"
        if wrong:
            return self._resync(wrong)
        self._position = read
        if self._was_hinted and not page.entries:
            # It waits at a server that knows more than the primary; and whoever is told so must not ask at once, again.
            self._close_waker()
        self._was_busy = bool(page.entries) or self._was_hinted
        if len(page.entries) < PAGE:
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
            self._known_at = self._questions.proven_at
            self._has_lease = True
            self.believed_until = self._questions.proven_at + self._settings.lease

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
        self._questions.proven_at = float("-inf")
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
        self._position = Position(last.id if last else "0", number, marker.store_id)
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
            self._stopping.wait(self._pace.between(self._questions.asked_at))
        if not self._waits_for_news():
            self._stopping.wait(self._pace.until_next_look())

    def _waits_for_news(self) -> bool:
        """Wait until there is something new, if this is one of the processes that do. It need not be right: it is
        the next question that counts."""
        self._was_hinted = False
        if client.is_cluster() or (self._crowd.is_polling and not self._crowd.is_due()):
            return False
        try:
            if self._waker is None:
                self._waker = Waker(self._pace.longest_wait)
            if self._crowd.is_due():
                self._crowd.counting()
                self._crowd.choose(self._waker.waiting())
            if self._crowd.is_polling:
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


# In place of an entry's id: the log's last.
_END: Final = "$"
# What follows is complete from the store's birth on.
_FROM_BIRTH: Final = 0.0


def _present(marker: Marker | None) -> Marker:
    # markers.seen has refused a store without one.
    assert marker is not None  # noqa: S101
    return marker
