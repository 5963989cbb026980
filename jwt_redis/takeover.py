"""Tokens that somebody else has blacklisted are refused here too: many at once, for the commands that import them.

As with any revocation the rows are in the journal before Redis is told, and are marked there afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from jwt_redis import journal, near_cache, recovery
from jwt_redis.journal import Entry
from jwt_redis.keys import NOBODY
from jwt_redis.recovery import trusted, under_way
from jwt_redis.store import commands, markers
from jwt_redis.store.client import execute, is_cluster
from jwt_redis.store.commands import Command, Listed, ListedTokens, Written

__all__ = ["REASON", "Listing", "Taken", "take_over"]

#: Why these tokens are refused, in the journal.
REASON = "imported"


@dataclass(frozen=True, slots=True)
class Listing:
    """A token that is refused until ``exp``, in seconds of the epoch. ``user``: the user-id claim's value, where the
    token has a session: it is looked for among that user's."""

    jti: str
    exp: int
    user: str = NOBODY


@dataclass(frozen=True, slots=True)
class Taken:
    """How many are refused from now on, and how many were before."""

    added: int
    known: int


def take_over(listings: Sequence[Listing]) -> Taken:
    """Refuse these tokens. Doing it again changes nothing, and costs one query where all of them are known.

    :raises RevocationUnavailable: when Redis did not answer; what is in the journal by then is applied later.
    :raises DatabaseError: when the journal cannot be written.
    """
    entries = {_entry(one).key: one for one in listings}
    known = journal.applied(tuple(entries)) if journal.is_on() else frozenset()
    new = {key: one for key, one in entries.items() if key not in known}
    if not new:
        return Taken(0, len(listings))
    if journal.is_on():
        journal.begin([_entry(one) for one in new.values()])
    try:
        with under_way(tuple(new)):
            added, last = trusted(lambda: _tell(list(new.values())), revokes=True)
    except BaseException:
        recovery.note_failure(has_left_rows=True)
        raise
    near_cache.note([_entry(one) for one in new.values()])
    if journal.is_on() and last is not None:
        # Each lasts as long as its own token, which the last of them does not tell.
        journal.mark_applied(tuple(new), replace(last, use_until=0))
    return Taken(added, len(listings) - added)


def _entry(one: Listing) -> Entry:
    return Entry.of_token(one.user, one.jti, one.exp, REASON)


def _tell(listings: Sequence[Listing]) -> tuple[int, Written | None]:
    tokens = [(one.jti, one.exp) for one in listings if one.user == NOBODY]
    # Not by user, although that is often known: a user's hash is read whole at each refresh, and who has rotated for
    # weeks has thousands of them.
    batches = [[one] for one in tokens] if is_cluster() else [tokens] if tokens else []
    steps: list[Command[ListedTokens] | Command[Listed]]
    steps = [commands.refuse_tokens(some, reason=REASON) for some in batches]
    # But for those that have a session, of whom a user has few.
    steps += [
        commands.blacklist_token(one.user, one.jti, one.exp, reason=REASON) for one in listings if one.user != NOBODY
    ]
    added = 0
    last: Written | None = None
    for step in steps:
        done: ListedTokens | Listed = execute(step)
        added += done.added
        # Behind the last one they all stand.
        last = done.written
        markers.note(last.store_id, last.number)
    return added, last
