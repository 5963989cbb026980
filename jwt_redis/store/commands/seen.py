"""What was there before: what may be used once, and what a user was seen with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jwt_redis import keys
from jwt_redis.store.commands.command import Command, load_script
from jwt_redis.store.commands.replies import is_number


def use_once(what: str, nonce: str, milliseconds: int) -> Command[bool]:
    """Note that something is used, for so long. False where somebody else has, under another ``nonce``.

    With the same one it may be done again: a reply that was lost is no second use, and the time is the new one.
    """
    key = keys.once_key(what)
    script = load_script("take_lock", False)
    return Command((key,), (nonce, milliseconds), lambda reply: bool(reply), script, proves_primary=True)


def drop_use(what: str, nonce: str) -> Command[bool]:
    """It was not used after all."""
    return Command((keys.once_key(what),), (nonce,), lambda reply: bool(reply), load_script("drop_lock", False))


@dataclass(frozen=True, slots=True)
class Remembered:
    """What was known before: since when the thing itself, in ms, or None; and how many others of its kind."""

    since_ms: int | None
    others: int


def remember(user: str, field: str, *, seconds: int, at_ms: int | None = None) -> Command[Remembered]:
    """Keep for so many ``seconds`` that something was there, a device or a link that was used, since ``at_ms``.

    What is known from that very moment, now if None, or a later one does not count as known before.
    """

    def parse(reply: Any) -> Remembered:
        return Remembered(int(reply[0]) if reply[0] else None, int(reply[1]))

    args = (field, seconds, "" if at_ms is None else at_ms)
    return Command((keys.known_key(user),), args, parse, load_script("remember", False))


def read_known(user: str, field: str) -> Command[int | None]:
    """Since when that is known (HGET), in ms; None if it is not."""
    key = keys.known_key(user)
    return Command((key,), ("HGET", key, field), _since)


def _since(reply: str | None) -> int | None:
    since = (reply or "").partition(".")[0]
    return int(since) if is_number(since) else None
