"""Rows of the journal into Redis: each by its own command, and marked with what the store said to it."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Final

from jwt_redis import journal, observers
from jwt_redis.conf import config
from jwt_redis.exceptions import NotReplicated, StoreNotReady
from jwt_redis.keys import NOBODY, UserTag
from jwt_redis.models import Revocation
from jwt_redis.observers import Observer
from jwt_redis.store import client, commands
from jwt_redis.store.commands import Command, Written

# One name for all of it.
logger = logging.getLogger(__package__)

Send = Callable[[Command[Any]], Any]
Kind = Revocation.Kind

BATCH: Final = 500
# Seconds that a request waits for whoever is at it already; then it is answered with 503.
PATIENCE: Final = 0.5

_lock = threading.Lock()
# Rows whose own commands this process is about to run: were they applied here, it would find nothing left to do.
_under_way: set[str] = set()


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """One thread of a process at a time brings rows.

    :raises StoreNotReady: when another one is at it, and for longer than a request waits.
    """
    lock = _lock
    if not lock.acquire(timeout=PATIENCE):
        raise StoreNotReady
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def under_way(keys: tuple[str, ...]) -> Iterator[None]:
    """These rows are applied by whoever calls this, and until then by nobody else of this process."""
    _under_way.update(keys)
    try:
        yield
    finally:
        _under_way.difference_update(keys)


def is_under_way(row: Revocation) -> bool:
    """Is its own command about to run in this process?"""
    return row.key in _under_way


def _after_fork() -> None:
    """A child has what its parent's threads held at that moment, and not the threads."""
    global _lock
    _lock = threading.Lock()
    _under_way.clear()


os.register_at_fork(after_in_child=_after_fork)


def _command(row: Revocation, now_ms: int) -> Command[Any]:
    """What tells Redis of a row. ``now_ms``: Redis' clock when the row was read."""
    user = UserTag(row.user)
    # Only differences are taken of the database's clock.
    moment_ms = row.moment_ms if row.moment_ms is not None else now_ms - int(journal.seconds_since(row) * 1000)
    if row.kind == Kind.ADOPTED:
        return commands.note_adopted(user, row.target)
    if row.kind == Kind.TOKEN and user == NOBODY:
        return commands.refuse_tokens([(row.target, journal.exp_of(row))], reason=row.reason)
    if row.kind == Kind.TOKEN:
        return commands.blacklist_token(user, row.target, journal.exp_of(row), reason=row.reason)
    if row.kind == Kind.SESSION:
        lasting = config().accepts_by_absence
        return commands.end_sessions(user, (row.target,), reason=row.reason, unknown_too=lasting)
    if row.kind == Kind.OTHERS:
        return commands.end_other_sessions(user, row.target, reason=row.reason, before_ms=moment_ms)
    if row.kind == Kind.USER:
        return commands.end_all_sessions(user, reason=row.reason, before_ms=moment_ms)
    if row.kind == Kind.KEY:
        return commands.refuse_key(row.target, reason=row.reason)
    return commands.revoke_everything(moment_ms, reason=row.reason)


def apply(found: list[Revocation], send: Send) -> bool:
    """Each row's own command; the rows are marked with what the store said to it. Whether none has to come again."""
    if not found:
        return True
    is_complete = True
    now_ms = send(commands.read_clock())
    again: list[Revocation] = []
    imported: list[Revocation] = []
    written: Written | None = None
    for row in found:
        if row.applied_at is None and is_under_way(row):
            is_complete = False
            continue
        if row.kind == Kind.TOKEN and row.user == NOBODY and not client.is_cluster():
            imported.append(row)
            continue
        try:
            written = send(_command(row, now_ms)).written
        except NotReplicated:
            # Redis refuses the token; that it will not forget is what the row waits for.
            is_complete = False
            continue
        if row.moment_ms is None:
            journal.mark_applied((row.key,), written)
            logger.warning("Applied from the journal: %s", row, extra={"event": "revocation_applied"})
            observers.tell(Observer.happened, "revocation_applied", {"user": row.user})
        else:
            again.append(row)
    if imported:
        # There may be very many, and nobody is answered meanwhile.
        try:
            tokens = [(row.target, journal.exp_of(row)) for row in imported]
            written = send(commands.refuse_tokens(tokens, reason=imported[0].reason)).written
            journal.mark_applied([row.key for row in imported if row.moment_ms is None], replace(written, use_until=0))
            again += [row for row in imported if row.moment_ms is not None]
        except NotReplicated:
            is_complete = False
    if written is not None and again:
        journal.mark_replayed(again, written)
    return is_complete


def apply_rows(keys: tuple[str, ...]) -> None:
    """Once more, after the transaction that wrote the rows.

    :raises RevocationUnavailable: when Redis does not answer; the rows stay pending.
    """
    if not apply(journal.rows(keys), client.execute):
        raise NotReplicated


def batches(read: Callable[[int, int], list[Revocation]]) -> Iterator[list[Revocation]]:
    after = 0
    while found := read(after, BATCH):
        yield found
        after = found[-1].pk


def journal_failed(error: Exception) -> StoreNotReady:
    logger.error(
        "The journal cannot be read or written: %s: %s (was `manage.py migrate jwt_redis` run?)",
        type(error).__name__,
        error,
        extra={"event": "journal_unavailable"},
    )
    return StoreNotReady()
