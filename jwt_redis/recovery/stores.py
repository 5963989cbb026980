"""A store that this process does not trust yet: a server that was restarted, promoted, emptied, or set back."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from typing import Final, Literal

from django.db import Error as DatabaseError

from jwt_redis import journal, observers
from jwt_redis.conf import config
from jwt_redis.exceptions import NotReplicated, StoreNotReady
from jwt_redis.keys import SEEN, TRUSTED
from jwt_redis.observers import Observer
from jwt_redis.records import Marker
from jwt_redis.recovery import rows
from jwt_redis.recovery.rows import alone, apply, batches, is_under_way, journal_failed
from jwt_redis.signing import backends
from jwt_redis.store import client, commands, gate, markers

# One name for all of it.
logger = logging.getLogger(__package__)

State = Literal["behind", "astray", "lost"]

# Milliseconds after which the lock of a process that died is free again. It is renewed with each batch.
LOCK_MS: Final = 5000
# Seconds between two looks at the server's eviction policy, where absence accepts.
LOOK_EVERY: Final = 10.0

_next_look = 0.0
_token: tuple[int, str] | None = None
# How often trust was established: who has waited for another thread to do so has nothing left to do.
_established = 0


def must_look() -> bool:
    """Has Redis been told to evict meanwhile? The gate asks only once, and where absence accepts it cannot be had."""
    return config().accepts_by_absence and time.monotonic() >= _next_look


def look_again() -> None:
    """At the next occasion, however short a time ago that was done."""
    global _next_look
    _next_look = 0.0


def establish() -> None:
    """Come to trust the store: apply what it may lack, or give birth to it anew.

    One process does so, under a lock in Redis; the others wait a moment, and answer 503 if that is not enough. What
    others have committed counts, whatever transaction the caller is in.

    :raises RevocationUnavailable: when it is not done yet, or Redis or the database does not answer.
    """
    try:
        journal.outside_transaction(_establish_once)
    except DatabaseError as error:
        raise journal_failed(error) from error


def _establish_once() -> None:
    global _established, _next_look
    before = _established
    with alone():
        if _established != before:
            return
        with client.link() as link:
            _establish(link)
        _established += 1
        _next_look = time.monotonic() + LOOK_EVERY


def _lock_token() -> str:
    """This process's, so that a lock whose reply was lost is its own at the next attempt."""
    global _token
    if _token is None or _token[0] != os.getpid():
        _token = (os.getpid(), commands.new_id())
    return _token[1]


def _establish(link: client.Link) -> None:
    deadline = time.monotonic() + rows.PATIENCE
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
    if not config().journal:
        marker = _remind(link, marker)
    if config().journal and config().strategy == "blacklist":
        # One that was born before there was a journal, or under the whitelist, counts from now on.
        journal.note_birth(marker.store_id, link(commands.read_clock()))
    gate.trust(servers)
    markers.trust(marker)


def _remind(link: client.Link, marker: Marker) -> Marker:
    """Without a journal nobody but the processes that run knows which signing keys the store had refused."""
    forgotten = backends.refused() - marker.refused_keys
    for kid in sorted(forgotten):
        _refuse_key(link, kid, "key_leaked")
    found = link(commands.prove_marker()) if forgotten else marker
    if found is None:
        raise StoreNotReady
    return found


def _refuse_key(link: client.Link, kid: str, reason: str) -> None:
    # Redis refuses it then; a replica that is away holds up nobody who asks.
    with contextlib.suppress(NotReplicated):
        link(commands.refuse_key(kid, reason=reason))


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
            # One that Redis has had is to be there before anybody is answered, also while it is refused once more.
            if row.applied_at is not None or not is_under_way(row):
                _refuse_key(link, row.target, row.reason)
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
    for missing in batches(lambda after, limit: journal.missing_from(history, born_ms, after, limit)):
        if is_locked and not link(commands.take_lock(token, LOCK_MS)):
            raise StoreNotReady
        apply(missing, link)
        count += len(missing)
    return count
