"""What refuses tokens from now on: a session's end, a token, a key, everything."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from jwt_redis import keys
from jwt_redis.conf import config
from jwt_redis.store.commands.command import Command, load_script, policy, revocation_on_user
from jwt_redis.store.commands.replies import Written, read_written

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Ended:
    """Sessions that this call ended; those that were over before are not among them."""

    sids: tuple[str, ...]
    written: Written


@dataclass(frozen=True, slots=True)
class Listed:
    """One token, or all of one key, is refused; ``added`` if it was not before."""

    added: bool
    written: Written


@dataclass(frozen=True, slots=True)
class ListedTokens:
    """Tokens are refused; ``added``: how many of them were not before."""

    added: int
    written: Written


@dataclass(frozen=True, slots=True)
class Everything:
    """Nobody from before ``before_ms`` is trusted."""

    before_ms: int
    written: Written


def _ended(reply: Any) -> Ended:
    return Ended(tuple(reply[1]), read_written(reply[0]))


def end_sessions(user: str, sids: Sequence[str], *, reason: str, unknown_too: bool = False) -> Command[Ended]:
    """End the sessions named. ``unknown_too``: leave a tombstone also where the store knows no such session."""
    return revocation_on_user("end_session", user, (reason, int(unknown_too), *sids), _ended)


def end_other_sessions(user: str, sid: str, *, reason: str, before_ms: int | None = None) -> Command[Ended]:
    """End all of a user's sessions but ``sid``, or of those opened up to a moment."""
    before = "" if before_ms is None else before_ms
    return revocation_on_user("end_other_sessions", user, (reason, sid, before), _ended)


def end_all_sessions(user: str, *, reason: str, before_ms: int | None = None) -> Command[Ended]:
    """End all of a user's sessions; the user's older tokens without a session are refused too.

    ``before_ms``: only those up to that moment, now if None.
    """
    return revocation_on_user("end_all_sessions", user, (reason, "" if before_ms is None else before_ms), _ended)


def note_adopted(user: str, sid: str) -> Command[Listed]:
    """A token from before there were sessions was given this one, and will not be given it again: where it is not there
    any more, its tombstone is."""
    return revocation_on_user(
        "note_adopted", user, (sid,), lambda reply: Listed(bool(reply[1]), read_written(reply[0]))
    )


def blacklist_token(user: str, jti: str, exp: int, *, reason: str, sid: str = "") -> Command[Listed]:
    """Refuse one token until ``exp``. ``sid``: its session, whose place in the status lists is given up; where it is
    not known, all of the user's are."""
    return revocation_on_user(
        "blacklist_token", user, (jti, exp, reason, sid), lambda reply: Listed(bool(reply[1]), read_written(reply[0]))
    )


def refuse_tokens(tokens: Sequence[tuple[str, int]], *, reason: str) -> Command[ListedTokens]:
    """Refuse tokens, pairs of ``jti`` and ``exp``, whosever they are. In Cluster one at a time."""
    # What comes behind the first two keys is left out there.
    told = [*tokens, *tokens] if len(tokens) == 1 else tokens
    keep, horizon = policy()[:2]
    each = int(config().strategy == "blacklist")
    return Command(
        keys=(*(keys.token_key(jti) for jti, _ in told), keys.log_key(), keys.marker_key()),
        args=(len(told), keep, horizon, each, reason, *(part for pair in told for part in pair)),
        parse=lambda reply: ListedTokens(int(reply[2]), read_written(reply[1])),
        script=load_script("refuse_tokens", False),
        logs_for=keys.NOBODY,
        names_store=True,
        proves_primary=True,
        is_revocation=True,
    )


def read_refused(jti: str) -> Command[bool]:
    """Is a token refused, whosever it is (GET)?"""
    key = keys.token_key(jti)
    return Command((key,), ("GET", key), lambda reply: reply is not None)


def refuse_key(kid: str, *, reason: str) -> Command[Listed]:
    """Refuse all that a key has signed, and will sign."""
    return _of_everybody("refuse_key", (kid, reason), lambda reply: Listed(bool(reply[2]), read_written(reply[1])))


def revoke_everything(before_ms: int | None, *, reason: str) -> Command[Everything]:
    """Trust nobody from before a moment, now if None; and the moment in force afterwards."""
    args = ("" if before_ms is None else before_ms, reason)
    return _of_everybody("revoke_everything", args, lambda reply: Everything(int(reply[2]), read_written(reply[1])))


def _of_everybody(name: str, args: Sequence[str | int], parse: Callable[[Any], T]) -> Command[T]:
    return Command(
        keys=(keys.log_key(), keys.marker_key()),
        args=(policy()[1], *args),
        parse=parse,
        script=load_script(name, False),
        names_store=True,
        proves_primary=True,
        is_revocation=True,
    )
