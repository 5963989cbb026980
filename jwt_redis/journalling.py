"""What surrounds a revocation: into the journal before Redis is told, and marked there when it has been."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from contextvars import copy_context
from typing import Any

from django.db import Error as DatabaseError
from django.db import connections

from jwt_redis import journal, recovery
from jwt_redis.exceptions import JournalUnavailable, RevocationUnavailable
from jwt_redis.journal import Entry
from jwt_redis.store import markers
from jwt_redis.store.gate import UntrustedStore

__all__ = ["begin", "end"]

_LATER_SECONDS = 60.0
_LATER_EVERY = 0.25

logger = logging.getLogger(__name__)


def begin(entries: Sequence[Entry]) -> Exception | None:
    """Write the rows. A database that fails is no reason not to tell Redis: its error is for :func:`end`."""
    new = [entry for entry in entries if not entry.is_written]
    if not new or not journal.is_on():
        return None
    try:
        if _are_independent(entries):
            journal.outside_transaction(lambda: journal.begin(new))
            return None
        keys = journal.begin(new)
        # Within a transaction: once more on commit, for until then nobody else could have applied the rows.
        journal.on_commit(lambda: _again(keys))
    except DatabaseError as error:
        logger.error(
            "The journal cannot be written: %s: %s (was `manage.py migrate jwt_redis` run?)",
            type(error).__name__,
            error,
            extra={"event": "journal_unavailable"},
        )
        if _are_independent(entries):
            # SQLite has one writer, and that may be the transaction which this must not be part of. The context holds
            # who has asked for it.
            arguments = (_later, new)
            threading.Thread(target=copy_context().run, args=arguments, name="jwt_redis-journal", daemon=True).start()
        return error
    return None


def end(entries: Sequence[Entry], result: Any, error: Exception | None) -> None:
    """Redis was told. ``result`` is what it said, ``error`` what :func:`begin` met.

    :raises JournalUnavailable: when the journal could not be written.
    """
    markers.note(result.written.store_id, result.written.number)
    if not journal.is_on():
        return
    if error is not None:
        raise JournalUnavailable from error
    keys = tuple(entry.key for entry in entries)
    try:
        if _are_independent(entries):
            journal.outside_transaction(lambda: journal.mark_applied(keys, result.written))
            return
        is_final = not journal.is_in_transaction()
        journal.mark_applied(keys, result.written, is_final=is_final)
    except DatabaseError as failed:
        # The rows are there, and pending: applying them once more changes nothing.
        logger.error("The journal cannot be written: %s", failed, extra={"event": "journal_unavailable"})
        return
    if is_final:
        _look_after_others()


def _later(entries: Sequence[Entry]) -> None:
    """Write them once the database lets us; as pending rows, which are applied then."""
    deadline = time.monotonic() + _LATER_SECONDS
    while time.monotonic() < deadline:
        time.sleep(_LATER_EVERY)
        try:
            journal.begin(entries)
        except DatabaseError:
            continue
        else:
            recovery.note_failure(has_left_rows=True)
            return
        finally:
            connections.close_all()


def _are_independent(entries: Sequence[Entry]) -> bool:
    return any(entry.is_independent for entry in entries)


def _again(keys: tuple[str, ...]) -> None:
    """After the commit. It cannot fail any more: what does not reach Redis now stays pending."""
    try:
        recovery.trusted(lambda: recovery.apply_rows(keys))
    except (RevocationUnavailable, DatabaseError) as error:
        recovery.note_failure(has_left_rows=True)
        logger.warning("A revocation stays pending: %s", error, extra={"event": "revocation_pending"})


def _look_after_others() -> None:
    try:
        recovery.sweep_now_and_then()
    except (RevocationUnavailable, UntrustedStore) as error:
        # This revocation is done; the next one looks again.
        logger.info("Pending revocations were not looked for: %s", error, extra={"event": "sweep_put_off"})
