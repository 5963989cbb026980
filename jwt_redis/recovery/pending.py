"""Revocations that Redis does not have yet, and that nobody is answered before: :func:`trusted`."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import redis
from asgiref.sync import sync_to_async
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.db import Error as DatabaseError
from django.db import connections

from jwt_redis import journal
from jwt_redis.conf import config
from jwt_redis.exceptions import RevocationUnavailable, StoreNotReady
from jwt_redis.keys import user_tag
from jwt_redis.recovery.rows import alone, apply, batches, journal_failed
from jwt_redis.recovery.stores import establish, look_again, must_look
from jwt_redis.store import client, commands, gate

# One name for all of it.
logger = logging.getLogger(__package__)

T = TypeVar("T")

# Seconds between two looks at what others have left pending, where a process revokes anyway.
SWEEP_EVERY: Final = 5.0
# Seconds between two attempts to apply what this process has left pending.
RETRY_EVERY: Final = 0.25

# By how many ids a row may be committed later than a newer one.
_OUT_OF_ORDER: Final = 1000
# A store may be lost again while it is mended; more often than this is for the next request.
_TRIES: Final = 3

# How often this process has failed to reach Redis, and how often by the last look at the journal: where the one is
# more than the other, this process or another may have left rows.
_failures = 0
_looked_at = 0
# Up to which row this process has held the journal against the store, and which store that was.
_caught_up: tuple[str, int] | None = None
# Rows that are still to be applied, although nobody has to wait for them.
_is_incomplete = False
# Users with rows that Redis answers with an error; "" for everybody.
_blocked: frozenset[str] = frozenset()
_keeper_lock = threading.Lock()
_keeper: threading.Thread | None = None
# Set where nobody should wait for the next attempt.
_hurry = threading.Event()
_next_sweep = 0.0


def note_failure(*, has_left_rows: bool = False) -> None:
    """Redis could not be reached. Before the next answer the journal is looked at.

    ``has_left_rows``: a revocation stays pending. Other processes, which may not have noticed anything, must not wait
    until somebody asks this one.
    """
    global _failures
    _failures += 1
    # What a transaction has left is not there yet, or never will be; its end sees to it.
    if has_left_rows and config().journal and not journal.is_in_transaction():
        _keep_trying()


def is_blocked(user: str) -> bool:
    """Is something pending about this user that Redis does not take? ``user`` as from ``keys.user_id``."""
    return bool(_blocked) and (user_tag(user) in _blocked or "" in _blocked)


def _keep_trying() -> None:
    global _keeper
    with _keeper_lock:
        # A forked child has the name of a thread that it does not have.
        if _keeper is None or not _keeper.is_alive():
            _keeper = threading.Thread(target=_try_until_applied, name="jwt_redis-journal", daemon=True)
            _keeper.start()


def _try_until_applied() -> None:
    global _keeper
    while True:
        _hurry.wait(RETRY_EVERY)
        with _keeper_lock:
            if not is_due() and not _blocked and not _is_incomplete:
                _keeper = None
                return
        try:
            trusted(sweep)
        except (RevocationUnavailable, DatabaseError, ImproperlyConfigured) as error:
            logger.debug("Revocations stay pending: %s", error)
        except Exception:
            # Nobody else may be there to bring the rows: whatever it was, they are tried again.
            logger.exception("Revocations stay pending.", extra={"event": "sweep_failed"})
        finally:
            # This thread's own, which nobody else closes.
            connections.close_all()


def is_due() -> bool:
    """Is there reason to look for pending rows before anything is answered?"""
    return _failures != _looked_at and config().journal


def reset(**kwargs: Any) -> None:
    """Forget what is pending: it was of another store, or of another test."""
    global _looked_at, _next_sweep, _blocked, _is_incomplete
    if kwargs.get("setting", "JWT_REDIS") in ("JWT_REDIS", "CACHES"):
        _looked_at = _failures
        _blocked = frozenset()
        _is_incomplete = False
        _next_sweep = 0.0
        look_again()


setting_changed.connect(reset, dispatch_uid="jwt_redis.recovery.reset")


def wait_for_keeper(seconds: float) -> None:
    """Until the thread that tries to apply what is pending is over. After :func:`reset`, which leaves it nothing."""
    with _keeper_lock:
        keeper = _keeper
    if keeper is not None:
        _hurry.set()
        keeper.join(seconds)
        _hurry.clear()


def _after_fork() -> None:
    """A child does not have its parent's threads."""
    global _keeper_lock, _keeper, _hurry
    _keeper_lock, _keeper, _hurry = threading.Lock(), None, threading.Event()


os.register_at_fork(after_in_child=_after_fork)


def sweep(*, only_if_due: bool = False) -> int:
    """Apply all pending rows. How many there were. ``only_if_due``: unless another thread has done so meanwhile.

    What others have committed counts, whatever transaction the caller is in.

    :raises RevocationUnavailable: when Redis or the database does not answer; what is not applied stays pending.
    """
    try:
        return journal.outside_transaction(lambda: _sweep(only_if_due))
    except DatabaseError as error:
        raise journal_failed(error) from error


def _sweep(only_if_due: bool) -> int:
    global _looked_at, _next_sweep, _blocked, _is_incomplete
    if client.is_known_dead():
        raise RevocationUnavailable
    with alone():
        if only_if_due and not is_due():
            return 0
        # Before anything is read: what fails meanwhile is looked at next time.
        failures = _failures
        # Rows are looked for after Redis has answered: what others could not write before that is there by now.
        client.execute(commands.read_clock())
        count, is_complete = 0, True
        try:
            for found in batches(journal.pending):
                is_complete &= apply(found, client.execute)
                count += len(found)
            _blocked = frozenset()
            _catch_up()
        except RevocationUnavailable as error:
            if not only_if_due or not isinstance(error.__cause__, redis.ResponseError):
                raise
            # Redis answers, but takes no writes (out of memory, disk full). Whom the rows do not concern goes on.
            _blocked = journal.pending_users()
        _looked_at, _is_incomplete = failures, not is_complete
        _next_sweep = time.monotonic() + SWEEP_EVERY
        if _blocked or _is_incomplete:
            _keep_trying()
        return count


def _catch_up() -> None:
    """Rows since the last look that another server was told, one that still took itself for the primary."""
    global _caught_up
    marker = client.execute(commands.read_marker())
    if marker is None or client.is_cluster():
        return
    newest = journal.newest_id()
    if _caught_up is None or _caught_up[0] != marker.store_id:
        # What was there before is establish's business.
        _caught_up = (marker.store_id, newest)
    since = max(0, _caught_up[1] - _OUT_OF_ORDER)
    history = client.execute(commands.read_history())
    for found in batches(lambda after, limit: journal.missing_from(history, None, max(after, since), limit)):
        apply([row for row in found if row.applied_at is not None], client.execute)
    _caught_up = (marker.store_id, newest)


def sweep_now_and_then() -> None:
    """:func:`sweep`, at most every few seconds: for a process that revokes anyway."""
    if time.monotonic() >= _next_sweep:
        sweep()


def _prepare() -> None:
    if must_look():
        establish()
    if is_due():
        sweep(only_if_due=True)


def trusted(work: Callable[[], T], *, revokes: bool = False) -> T:
    """Do ``work`` on a store that is trusted, after whatever the journal has for it.

    ``revokes``: it does not wait for that. A revocation is tried even where nothing else is.

    :raises RevocationUnavailable: when that cannot be now.
    """
    for _ in range(_TRIES):
        try:
            if not revokes:
                _prepare()
            return work()
        except gate.UntrustedStore:
            establish()
    raise StoreNotReady


async def atrusted(work: Callable[[], Awaitable[T]], *, revokes: bool = False) -> T:
    """:func:`trusted` for async work."""
    for _ in range(_TRIES):
        try:
            if not revokes and (is_due() or must_look()):
                await sync_to_async(_prepare)()
            return await work()
        except gate.UntrustedStore:
            await sync_to_async(establish)()
    raise StoreNotReady
