"""Which store this is and what it has; and to mend one, under a lock."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from jwt_redis import keys
from jwt_redis.records import Marker
from jwt_redis.store.commands.command import Command, load_script
from jwt_redis.store.commands.replies import is_number, read_names


def new_id() -> str:
    """Of a store, or of whoever holds the lock."""
    return secrets.token_urlsafe(12)


def read_marker() -> Command[Marker | None]:
    """The global record (HMGET); None where the store has none: it is new, or was lost."""
    key = keys.marker_key()
    fields = ("store_id", "born_ms", "not_before", "revocations", "mending", keys.REFUSED_KEYS)
    return Command((key,), ("HMGET", key, *fields), _marker)


def prove_marker() -> Command[Marker | None]:
    """:func:`read_marker`, refused by a server that takes no writes: a replica, or a primary without enough of them."""
    return Command(
        (keys.marker_key(),), (), lambda reply: _marker(reply[1:]), load_script("marker", False), proves_primary=True
    )


def read_moment(*, proves_primary: bool) -> Command[tuple[Marker | None, float]]:
    """The marker and Redis' clock (seconds of the epoch). Any server that is asked proves to take writes;
    ``proves_primary``: and Sentinel is asked whether it is the one."""

    def parse(reply: Any) -> tuple[Marker | None, float]:
        return _marker(reply[1:]), int(reply[0]) / 1000

    return Command((keys.marker_key(),), (), parse, load_script("marker", False), proves_primary=proves_primary)


def read_field(field: str) -> Command[str | None]:
    """One field of the marker (HGET)."""
    return Command((keys.marker_key(),), ("HGET", keys.marker_key(), field), lambda reply: reply)


def read_trust() -> Command[tuple[str | None, frozenset[str], int]]:
    """Which store it is, which signing keys are refused, and up to which moment (ms) everything is revoked (HMGET).
    None in place of the store's id where the marker is damaged."""
    key = keys.marker_key()
    fields = ("store_id", keys.REFUSED_KEYS, "not_before")

    def parse(reply: Any) -> tuple[str | None, frozenset[str], int]:
        store_id, refused, not_before = reply
        if not_before is not None and not is_number(not_before):
            return None, frozenset(), 0
        return store_id, read_names(refused), int(not_before or 0)

    return Command((key,), ("HMGET", key, *fields), parse)


def read_clock() -> Command[int]:
    """Redis' own clock (TIME), in milliseconds."""
    return Command((), ("TIME",), lambda reply: int(reply[0]) * 1000 + int(reply[1]) // 1000)


def _marker(reply: Sequence[str | None]) -> Marker | None:
    """None also for a damaged one: :func:`trust_store` mends it."""
    store_id, *numbers, mending, refused = reply
    born, not_before, revocations = numbers
    if not store_id or born is None or not all(number is None or is_number(number) for number in numbers):
        return None
    is_mending, refused_keys = mending is not None, read_names(refused)
    return Marker(store_id, int(born), int(not_before or 0), int(revocations or 0), is_mending, refused_keys)


@dataclass(frozen=True, slots=True)
class History:
    """What a store has: its own revocations up to ``number``, and those of its former ``chapters`` up to theirs."""

    store_id: str
    number: int
    chapters: tuple[tuple[str, int], ...]


def begin_mending(
    token: str, seen_id: str, how: Literal["behind", "astray", "lost"], born_ms: int | None = None
) -> Command[History | None]:
    """A new chapter of the store, by whoever holds the lock; None when that is somebody else, or the id is another.

    ``seen_id``: the store's, "" for one that has none that could be read.
    ``how``: it has what came up to its number; its number says nothing; it is lost and born anew.
    """
    args = (token, seen_id, new_id(), how, "" if born_ms is None else born_ms)
    return Command((keys.marker_key(), keys.lock_key()), args, _history, load_script("begin_mending", False))


def read_history() -> Command[History | None]:
    """The same, only read (HMGET)."""
    key = keys.marker_key()
    return Command((key,), ("HMGET", key, "store_id", "revocations", "chapters"), _history)


def _history(reply: Any) -> History | None:
    if not reply or not reply[0]:
        return None
    store_id, number, chapters = reply
    former = [chapter.rpartition(":") for chapter in (chapters or "").split(",") if chapter]
    known = tuple((name, int(count)) for name, _, count in former if is_number(count))
    return History(store_id, int(number) if is_number(number) else 0, known)


def trust_store(token: str, store_id: str, fields: Sequence[str]) -> Command[Marker | None]:
    """Mark these servers as trusted, by whoever holds the lock; None when that is somebody else."""
    script = load_script("trust_store", False)
    return Command(
        (keys.marker_key(), keys.lock_key()), (token, store_id, *fields), lambda r: _marker(r) if r else None, script
    )


def take_lock(token: str, milliseconds: int) -> Command[bool]:
    """Whether the lock is ours now, for so long: it was free, or ours already."""
    return Command(
        (keys.lock_key(),), (token, milliseconds), lambda reply: bool(reply), load_script("take_lock", False)
    )


def drop_lock(token: str) -> Command[bool]:
    """Let go of it, if it still is ours."""
    return Command((keys.lock_key(),), (token,), lambda reply: bool(reply), load_script("drop_lock", False))
