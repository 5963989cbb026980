"""What the journal knows and Redis does not is brought into Redis, before anybody is told that a token is good.

Two occasions. A *store* that this process does not trust yet: a server that was restarted, promoted, emptied, or set
back; :func:`establish` applies what it may lack. And *pending* rows: revocations that were journalled while Redis
could not be reached; :func:`sweep` applies those.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from typing import Any, Final, Literal, TypeVar

import redis
from asgiref.sync import sync_to_async
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.db import Error as DatabaseError
from django.db import connections

from jwt_redis import journal, observers
from jwt_redis.conf import config
from jwt_redis.exceptions import NotReplicated, RevocationUnavailable, StoreNotReady
from jwt_redis.keys import NOBODY, SEEN, TRUSTED, UserTag, user_tag
from jwt_redis.models import Revocation
from jwt_redis.observers import Observer
from jwt_redis.records import Marker
from jwt_redis.store import client, commands, gate, markers
from jwt_redis.store.commands import Command, Written

__all__ = [
    "apply_rows",
    "atrusted",
    "establish",
    "is_blocked",
    "is_due",
    "note_failure",
    "reset",
    "sweep",
    "sweep_now_and_then",
    "trusted",
    "under_way",
]

logger = logging.getLogger(__name__)

T = TypeVar("T")
Send = Callable[[Command[Any]], Any]
Kind = Revocation.Kind

BATCH: Final = 500
# Milliseconds after which the lock of a process that died is free again. It is renewed with each batch.
LOCK_MS: Final = 5000
# Seconds that a request waits for whoever is at it already; then it is answered with 503.
PATIENCE: Final = 0.5
# Seconds between two looks at what others have left pending, where a process revokes anyway.
SWEEP_EVERY: Final = 5.0
# Seconds between two looks at the server's eviction policy, where absence accepts.
LOOK_EVERY: Final = 10.0
# Seconds between two attempts to apply what this process has left pending.
RETRY_EVERY: Final = 0.25

# By how many ids a row may be committed later than a newer one.
_OUT_OF_ORDER: Final = 1000
# A store may be lost again while it is mended; more often than this is for the next request.
_TRIES: Final = 3

_lock = threading.Lock()
# How often this process has failed to reach Redis, and how often by the last look at the journal: where the one is
# more than the other, this process or another may have left rows.
_failures = 0
_looked_at = 0
# Up to which row this process has held the journal against the store, and which store that was.
_caught_up: tuple[str, int] | None = None
# Rows that are still to be applied, although nobody has to wait for them.
_is_incomplete = False
_token: tuple[int, str] | None = None
# Users with rows that Redis answers with an error; "" for everybody.
_blocked: frozenset[str] = frozenset()
# Rows whose own commands this process is about to run: were they applied here, it would find nothing left to do.
_under_way: set[str] = set()
_keeper_lock = threading.Lock()
_keeper: threading.Thread | None = None
_next_sweep = 0.0
_next_look = 0.0
# How often trust was established: who has waited for another thread to do so has nothing left to do.
_established = 0


@contextlib.contextmanager
def under_way(keys: tuple[str, ...]) -> Iterator[None]:
    """These rows are applied by whoever calls this, and until then by nobody else of this process."""
    _under_way.update(keys)
    try:
        yield
    finally:
        _under_way.difference_update(keys)


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
        time.sleep(RETRY_EVERY)
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


def _must_look() -> bool:
    """Has Redis been told to evict meanwhile? The gate asks only once, and where absence accepts it cannot be had."""
    return config().accepts_by_absence and time.monotonic() >= _next_look


def reset(**kwargs: Any) -> None:
    """Forget what is pending: it was of another store, or of another test."""
    global _looked_at, _next_sweep, _next_look, _blocked, _is_incomplete
    if kwargs.get("setting", "JWT_REDIS") in ("JWT_REDIS", "CACHES"):
        _looked_at = _failures
        _blocked = frozenset()
        _is_incomplete = False
        _next_sweep = _next_look = 0.0


setting_changed.connect(reset, dispatch_uid="jwt_redis.recovery.reset")


def _after_fork() -> None:
    """A child has what its parent's threads held at that moment, and not the threads."""
    global _lock, _keeper_lock, _keeper
    _lock, _keeper_lock, _keeper = threading.Lock(), threading.Lock(), None
    _under_way.clear()


os.register_at_fork(after_in_child=_after_fork)


# Rows into Redis --------------------------------------------------------------------------------------------------


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


def _apply(found: list[Revocation], send: Send) -> bool:
    """Each row's own command; the rows are marked with what the store said to it. Whether none has to come again."""
    if not found:
        return True
    is_complete = True
    now_ms = send(commands.read_clock())
    again: list[Revocation] = []
    imported: list[Revocation] = []
    written: Written | None = None
    for row in found:
        if row.applied_at is None and row.key in _under_way:
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
    if not _apply(journal.rows(keys), client.execute):
        raise NotReplicated


def sweep(*, only_if_due: bool = False) -> int:
    """Apply all pending rows. How many there were. ``only_if_due``: unless another thread has done so meanwhile.

    What others have committed counts, whatever transaction the caller is in.

    :raises RevocationUnavailable: when Redis or the database does not answer; what is not applied stays pending.
    """
    try:
        return journal.outside_transaction(lambda: _sweep(only_if_due))
    except DatabaseError as error:
        raise _journal_failed(error) from error


def _sweep(only_if_due: bool) -> int:
    global _looked_at, _next_sweep, _blocked, _is_incomplete
    if client.is_known_dead():
        raise RevocationUnavailable
    if not _lock.acquire(timeout=PATIENCE):
        raise StoreNotReady
    try:
        if only_if_due and not is_due():
            return 0
        # Before anything is read: what fails meanwhile is looked at next time.
        failures = _failures
        # Rows are looked for after Redis has answered: what others could not write before that is there by now.
        client.execute(commands.read_clock())
        count, is_complete = 0, True
        try:
            for found in _batches(journal.pending):
                is_complete &= _apply(found, client.execute)
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
    finally:
        _lock.release()


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
    for found in _batches(lambda after, limit: journal.missing_from(history, None, max(after, since), limit)):
        _apply([row for row in found if row.applied_at is not None], client.execute)
    _caught_up = (marker.store_id, newest)


def sweep_now_and_then() -> None:
    """:func:`sweep`, at most every few seconds: for a process that revokes anyway."""
    if time.monotonic() >= _next_sweep:
        sweep()


def _batches(read: Callable[[int, int], list[Revocation]]) -> Iterator[list[Revocation]]:
    after = 0
    while found := read(after, BATCH):
        yield found
        after = found[-1].pk


def _journal_failed(error: Exception) -> StoreNotReady:
    logger.error(
        "The journal cannot be read or written: %s: %s (was `manage.py migrate jwt_redis` run?)",
        type(error).__name__,
        error,
        extra={"event": "journal_unavailable"},
    )
    return StoreNotReady()


# Stores -----------------------------------------------------------------------------------------------------------


def establish() -> None:
    """Come to trust the store: apply what it may lack, or give birth to it anew.

    One process does so, under a lock in Redis; the others wait a moment, and answer 503 if that is not enough. What
    others have committed counts, whatever transaction the caller is in.

    :raises RevocationUnavailable: when it is not done yet, or Redis or the database does not answer.
    """
    try:
        journal.outside_transaction(_establish_once)
    except DatabaseError as error:
        raise _journal_failed(error) from error


def _establish_once() -> None:
    global _established, _next_look
    before = _established
    if not _lock.acquire(timeout=PATIENCE):
        raise StoreNotReady
    try:
        if _established != before:
            return
        with client.link() as link:
            _establish(link)
        _established += 1
        _next_look = time.monotonic() + LOOK_EVERY
    finally:
        _lock.release()


def _lock_token() -> str:
    """This process's, so that a lock whose reply was lost is its own at the next attempt."""
    global _token
    if _token is None or _token[0] != os.getpid():
        _token = (os.getpid(), commands.new_id())
    return _token[1]


def _establish(link: client.Link) -> None:
    deadline = time.monotonic() + PATIENCE
    token = _lock_token()
    # Before anything is read: what other threads see meanwhile is no sign of a rollback.
    known = markers.trusted_store()
    while True:
        servers, marker, state = _look(link, known)
        if marker is not None and state is None:
            break
        if link(commands.take_lock(token, LOCK_MS)):
            try:
                # Once more: somebody else may have been at it until now.
                servers, marker, state = _look(link, known)
                if marker is None or state is not None:
                    marker = _mend(link, token, servers, marker, state or "lost")
            finally:
                link(commands.drop_lock(token))
            break
        if time.monotonic() > deadline:
            raise StoreNotReady
        time.sleep(0.02)
    if config().journal and state is None and known is not None and known[0] != marker.store_id:
        # This process comes from another history, and may have revoked there what this store has never heard of.
        _replay(link, token, link(commands.read_history()), marker, is_locked=False)
    if config().journal and config().strategy == "blacklist":
        # One that was born before there was a journal, or under the whitelist, counts from now on.
        journal.note_birth(marker.store_id, link(commands.read_clock()))
    gate.trust(servers)
    markers.trust(marker)


State = Literal["behind", "astray", "lost"]


def _look(link: client.Link, known: tuple[str, int] | None) -> tuple[frozenset[str], Marker | None, State | None]:
    servers = frozenset(server.identity for server in link.servers())
    marker: Marker | None = link(commands.prove_marker())
    return servers, marker, _judge(link, servers, marker, known)


def _judge(
    link: client.Link, servers: frozenset[str], marker: Marker | None, known: tuple[str, int] | None
) -> State | None:
    """What is wrong with a store; None when it can be trusted."""
    if marker is None:
        return "lost"
    is_rolled_back = markers.is_rolled_back(marker, known)
    if is_rolled_back and not config().journal:
        # Nobody knows what is missing: nobody from before is trusted.
        return "lost"
    if marker.is_mending or not _are_trusted(link, servers):
        # In Cluster the number is kept in another slot than the users.
        return "astray" if link.is_cluster else "behind"
    if is_rolled_back or _is_behind_journal(link, marker):
        # Set back within one run of the server, and others have written to it since: its number says nothing.
        return "astray"
    if _lacks_rows(link, marker):
        return "behind"
    return None


def _lacks_rows(link: client.Link, marker: Marker) -> bool:
    """Has another server that was a primary, too, been told what this one was not?"""
    if not config().journal or link.is_cluster:
        return False
    history = link(commands.read_history())
    return any(row.applied_at is not None for row in journal.missing_from(history, _born_ms(marker), 0, 1))


def _born_ms(marker: Marker | None) -> int | None:
    # What another store had before this one was born went with its sessions.
    return marker.born_ms if marker is not None and not config().accepts_by_absence else None


def _is_behind_journal(link: client.Link, marker: Marker) -> bool:
    """As when a virtual machine was set back, with its memory: to a process that is new nothing else tells."""
    return config().journal and not link.is_cluster and marker.revocations < journal.highest_number(marker.store_id)


def _field(identity: str) -> str:
    return (TRUSTED if config().journal else SEEN) + identity


def _are_trusted(link: client.Link, servers: frozenset[str]) -> bool:
    return all(link(commands.read_field(_field(identity))) for identity in servers)


def _mend(link: client.Link, token: str, servers: frozenset[str], found: Marker | None, state: State) -> Marker:
    store_id = found.store_id if found is not None else ""
    count = 0
    # Without a journal there is nothing to apply, and a new id would hide from others that it was set back.
    if config().journal or state == "lost":
        born_ms = None
        if config().journal and config().strategy == "blacklist" and state == "lost":
            # The journal knows of every revocation since then: nobody need be refused for being older than the store.
            born_ms = journal.origin_ms()
        history = link(commands.begin_mending(token, store_id, state, born_ms))
        if history is None:
            raise StoreNotReady  # somebody else is at it
        store_id = history.store_id
        # Where absence accepts nothing, what was revoked is lost with the store.
        if config().journal and (state != "lost" or config().accepts_by_absence):
            count = _replay(link, token, history, found)
    if config().journal:
        # Whatever was lost, and however long ago that was: a stolen key does not expire.
        for row in journal.of_keys():
            if row.key not in _under_way:
                link(commands.refuse_key(row.target, reason=row.reason))
    marker = link(commands.trust_store(token, store_id, [_field(identity) for identity in sorted(servers)]))
    if marker is None:
        raise StoreNotReady
    logger.log(
        logging.WARNING if state == "lost" or count else logging.INFO,
        "%s Redis store %s; %s revocations were applied again.",
        "A new" if state == "lost" else "A restarted or promoted",
        marker.store_id,
        count,
        extra={"event": "store_established"},
    )
    observers.tell(Observer.happened, "store_established", {"found": state, "revocations": count})
    return marker


def _replay(
    link: client.Link,
    token: str,
    history: commands.History | None,
    found: Marker | None,
    *,
    is_locked: bool = True,
) -> int:
    """Apply what the store may lack, batch by batch, while the lock is ours."""
    born_ms = _born_ms(found)
    count = 0
    for rows in _batches(lambda after, limit: journal.missing_from(history, born_ms, after, limit)):
        if is_locked and not link(commands.take_lock(token, LOCK_MS)):
            raise StoreNotReady
        _apply(rows, link)
        count += len(rows)
    return count


def _prepare() -> None:
    if _must_look():
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
            if not revokes and (is_due() or _must_look()):
                await sync_to_async(_prepare)()
            return await work()
        except gate.UntrustedStore:
            await sync_to_async(establish)()
    raise StoreNotReady
