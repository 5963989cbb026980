"""Answers from a process's own memory, for as long as its lease holds: ``JWT_REDIS["NEAR_CACHE"]``.

It never says that a token is refused, only that nothing was revoked that could concern it. Everything else is asked of
Redis. How it keeps its bound is in docs/explanation/near-cache.md.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
from collections.abc import Iterable
from typing import Any

from django.core.signals import setting_changed

from jwt_redis.conf import config
from jwt_redis.journal import Entry
from jwt_redis.keys import user_tag
from jwt_redis.near_cache.follower import Follower, clock
from jwt_redis.records import SessionRecord
from jwt_redis.recovery import is_blocked, is_due
from jwt_redis.verdicts import Claims

__all__ = ["clock", "is_following", "is_fresh", "note", "note_sessions", "record_of", "remember", "stop", "vouches_for"]

logger = logging.getLogger(__name__)

_lock = threading.Lock()
_follower: Follower | None = None
# By the clock: no new thread before that moment.
_next_start = 0.0
# Seconds between two threads, should they not stay alive.
_PAUSE = 1.0


def vouches_for(claims: Claims) -> bool:
    """Is it known that nothing was revoked that could concern this token? False is no answer: ask Redis.

    The first call in a process starts the thread that follows the log.
    """
    follower = _follower
    if follower is None or clock() >= follower.believed_until:
        if config().near_cache is not None:
            _follow()
        return False
    # What this process has not been able to tell Redis is in nobody's log.
    return follower.memory.is_silent_on(claims) and not is_due() and not is_blocked(claims.user)


def record_of(claims: Claims) -> SessionRecord | None:
    """The record of the token's session as it was when Redis was last asked for it; None if it is not remembered."""
    follower = _follower
    return None if follower is None or claims.sid is None else follower.record_of(claims.sid)


def remember(claims: Claims, record: SessionRecord | None) -> None:
    """Keep the record of a session that is alive."""
    follower = _follower
    if follower is not None and record is not None and claims.sid is not None:
        follower.remember(claims.sid, record)


def note(entries: Iterable[Entry]) -> None:
    """What this process revokes counts here at once, whether Redis takes it or not."""
    follower = _follower
    if follower is not None:
        for entry in entries:
            follower.memory.add(entry.kind, user_tag(entry.user) if entry.user else "", entry.target)


def note_sessions(sids: Iterable[str]) -> None:
    """Sessions that a script has ended on its way."""
    follower = _follower
    if follower is not None:
        for sid in sids:
            follower.memory.add("session", "", sid)


def is_fresh() -> bool:
    """Would this process answer from memory now?"""
    follower = _follower
    return follower is not None and clock() < follower.believed_until


def is_following() -> bool:
    """Has this process a thread that follows the log?"""
    follower = _follower
    return follower is not None and follower.is_alive()


def _follow() -> None:
    """See to it that there is a thread, of the settings that are in force."""
    global _follower, _next_start
    follower, settings = _follower, config()
    if follower is not None and follower.config is settings and (follower.is_alive() or clock() < _next_start):
        return
    with _lock:
        if follower is not _follower or settings.near_cache is None:
            return  # another thread was quicker
        if follower is not None:
            follower.stop()
        _next_start = clock() + _PAUSE
        _follower = Follower(settings, settings.near_cache)
        try:
            _follower.start()
        except RuntimeError as error:
            # A limit of processes, perhaps. Each check asks Redis meanwhile.
            logger.warning("The near cache has no thread: %s", error, extra={"event": "near_cache_stopped"})


def stop(wait: float = 0.0) -> None:
    """Follow no longer, and forget; ``wait``: for how many seconds for the thread to end."""
    global _follower
    with _lock:
        follower, _follower = _follower, None
    if follower is not None:
        follower.stop(wait)


def _reset(**kwargs: Any) -> None:
    # SIMPLE_JWT has the lifetimes, and with them how much has to be remembered.
    if kwargs.get("setting") in ("JWT_REDIS", "CACHES", "SIMPLE_JWT"):
        stop()


setting_changed.connect(_reset, dispatch_uid="jwt_redis.near_cache.reset")


def _after_fork() -> None:
    """A child has the memory, but no thread to keep it: it begins anew."""
    global _lock, _follower, _next_start
    _lock, _follower, _next_start = threading.Lock(), None, 0.0


os.register_at_fork(after_in_child=_after_fork)
# A thread that waits notices it within half a second; one that does not ends with the process.
atexit.register(stop, 0.5)
