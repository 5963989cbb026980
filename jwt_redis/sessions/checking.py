"""Is a token still good, and why not?"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.tokens import Token

from jwt_redis import near_cache, observers, signals
from jwt_redis.conf import FailurePolicy, config, leeway_seconds
from jwt_redis.decoding import claims_of, decode
from jwt_redis.exceptions import RevocationUnavailable, StoreNotReady
from jwt_redis.keys import NOBODY
from jwt_redis.near_cache import vouches_for
from jwt_redis.observers import Observer
from jwt_redis.operations import Done, Event, Operation, UseCase, apublish, arun, publish, run, unavailable
from jwt_redis.records import EndedSession, Marker, UserState
from jwt_redis.recovery import atrusted, is_blocked, note_failure, trusted
from jwt_redis.sessions.observing import UNAVAILABLE, observed
from jwt_redis.sessions.parts import marker_command, with_marker
from jwt_redis.signing import backends
from jwt_redis.store import commands, markers
from jwt_redis.store.client import aexecute, execute
from jwt_redis.store.commands import Command
from jwt_redis.verdicts import KEY_REVOKED, Claims, Verdict, decide

__all__ = ["RULES", "Explanation", "acheck", "acheck_many", "aexplain", "check", "check_many", "explain"]


@dataclass(frozen=True, slots=True)
class Explanation:
    """What the check says of a token and why. ``reason`` is ``token_not_valid`` where it was never ours to judge."""

    allowed: bool
    reason: str | None
    rule: str
    claims: Claims | None = None
    state: UserState | None = None


RULES: Final = {
    None: "The session is alive, and nothing that would refuse the token was found.",
    "token_blacklisted": "The token itself is on the blacklist, or it is a refresh token that was used already.",
    "session_ended": "The session was ended.",
    "session_expired": "The session has run out: its refresh token was not used in time, or it is too old.",
    "user_revoked": "All of the user's tokens from before a moment were revoked, and this one is older.",
    "all_revoked": "Everything from before a moment was revoked, and this token's session is older.",
    "no_session": "The store knows no such session, and the whitelist accepts no token without one.",
    "store_lost": "The token is older than the store: Redis was emptied or rolled back since.",
    "key_revoked": "The key that the token was signed with was revoked: it may be in somebody else's hands.",
    "token_not_valid": "The token is not good whatever the store says.",
}


_WITHOUT_SESSION: Final = "Nothing was found that would refuse the token, and it needs no session."


def _judge(claims: Claims, state: UserState, marker: Marker) -> Verdict:
    settings = config()
    verdict = decide(claims, state, marker, settings.strategy, time.time(), leeway_seconds(), settings.journal)
    if verdict.allowed and (is_blocked(claims.user) or (_is_by_itself(claims) and is_blocked(NOBODY))):
        raise StoreNotReady
    return verdict


def _is_by_itself(claims: Claims) -> bool:
    """Has the token no session that it would be judged by? It may be one of those that were imported."""
    return claims.legacy_until is not None or claims.sid is None


def _marker_at_hand(claims: Claims) -> Marker | None:
    """The copy of the marker, which is up to a second old. Where absence accepts, it must be of the same moment."""
    return markers.known() if config().strategy == "whitelist" and claims.legacy_until is None else None


def _ask(claims: Claims) -> Verdict | None:
    """What running :func:`_read` comes to while the marker is at hand, said straight: most checks go this way."""
    marker = _marker_at_hand(claims)
    if marker is None:
        return None
    try:
        state = execute(commands.read_state(claims))
    except RevocationUnavailable:
        note_failure()
        raise
    return _judge(claims, state, marker)


async def _aask(claims: Claims) -> Verdict | None:
    """:func:`_ask` over ``redis.asyncio``."""
    marker = _marker_at_hand(claims)
    if marker is None:
        return None
    try:
        state = await aexecute(commands.read_state(claims))
    except RevocationUnavailable:
        note_failure()
        raise
    return _judge(claims, state, marker)


def _read(claims: Claims) -> Operation[tuple[UserState, Verdict]]:
    def judge(state: UserState, marker: Marker) -> Done[tuple[UserState, Verdict]]:
        return Done((state, _judge(claims, state, marker)))

    marker = _marker_at_hand(claims)
    if marker is not None:
        return Operation((commands.read_state(claims),), lambda state: judge(state, marker))
    asked_at = time.monotonic()

    def finish(state: UserState, read: Marker | None, is_refused: bool = False) -> Done[tuple[UserState, Verdict]]:
        known = replace(state, blacklisted=True) if is_refused else state
        done: Done[tuple[UserState, Verdict]] = with_marker(lambda found: judge(known, found), asked_at)(read)
        return done

    asked: tuple[Command[Any], ...] = (commands.read_state(claims), marker_command())
    if _is_by_itself(claims):
        asked = (*asked, commands.read_refused(claims.jti))
    return Operation(asked, finish)


def _unchecked(
    claims: Claims, error: RevocationUnavailable, policy: FailurePolicy | None, began: float
) -> Done[Verdict]:
    # "allow" is for a Redis that cannot be asked, not for one that is known to lack something.
    is_refused = claims.key in backends.refused()
    is_observing = config().observe and not is_refused
    is_open = (policy or config().on_redis_failure) == "allow" and not isinstance(error, StoreNotReady)
    # What was heard before Redis went away counts on.
    is_open = is_open and not is_refused
    if observers.installed:
        verdict, took = "allowed" if is_open else "unavailable", time.perf_counter() - began
        observers.tell(Observer.checked, verdict, observers.UNCHECKED, took)
    if not is_open and is_observing:
        passes = Verdict(True, checked=False, observed=UNAVAILABLE)
        return Done(passes, (observed(claims.user, claims.sid, UNAVAILABLE, "check"),))
    if not is_open:
        return unavailable(_case("check", claims), error)
    facts = {"user": claims.user, "sid": claims.sid, "error": error}
    event = Event(signals.check_failed_open, facts, "check_failed_open", logging.WARNING)
    return Done(Verdict(True, checked=False), (event,))


def _passing(claims: Claims, verdict: Verdict) -> Done[Verdict]:
    """The token would be refused, were it not for ``OBSERVE``. What a stolen key signs is refused with it too."""
    if verdict.reason in (None, KEY_REVOKED) or not config().observe:
        return Done(verdict)
    passes = Verdict(True, observed=verdict.reason)
    return Done(passes, (observed(claims.user, claims.sid, verdict.reason, "check"),))


def _case(name: str, claims: Claims) -> UseCase:
    return UseCase(name, claims.user, claims.sid)


def _tell(verdict: Verdict, began: float) -> None:
    took = time.perf_counter() - began
    observers.tell(Observer.checked, verdict.reason or "allowed", observers.REDIS, took)


# Made once: it is the answer to most requests.
_VOUCHED: Final = Verdict(True, from_memory=True)


def _with_record(claims: Claims) -> Verdict | None:
    """The near cache vouches for the token; None where it has no record of the session."""
    if claims.sid is None:
        return _VOUCHED
    record = near_cache.record_of(claims)
    return None if record is None else Verdict(True, session=record, from_memory=True)


def check(
    token: Token, *, on_redis_failure: FailurePolicy | None = None, needs_record: bool = False, directly: bool = False
) -> Verdict:
    """Is a verified token still good? One HMGET in one round trip, or the near cache.

    ``on_redis_failure`` takes the place of the setting: "allow" lets the token pass while Redis cannot be asked.
    ``needs_record``: the verdict shall have the session's record. ``directly``: Redis is to be asked in any case.

    :raises TokenError: when the token lacks what a verdict needs.
    """
    claims = claims_of(token)
    if not directly and vouches_for(claims):
        vouched = _with_record(claims) if needs_record else _VOUCHED
        if vouched is not None:
            if observers.installed:
                observers.tell(Observer.checked, "allowed", observers.MEMORY, None)
            return vouched
    with observers.watching("check"):
        began = time.perf_counter()
        try:
            verdict = trusted(partial(_ask, claims)) or run(lambda: _read(claims))[1]
        except RevocationUnavailable as error:
            return publish(_unchecked(claims, error, on_redis_failure, began))
        if observers.installed:
            _tell(verdict, began)
    if needs_record:
        near_cache.remember(claims, verdict.session)
    return verdict if verdict.allowed else publish(_passing(claims, verdict))


async def acheck(
    token: Token, *, on_redis_failure: FailurePolicy | None = None, needs_record: bool = False, directly: bool = False
) -> Verdict:
    """:func:`check` over ``redis.asyncio``."""
    claims = claims_of(token)
    if not directly and vouches_for(claims):
        vouched = _with_record(claims) if needs_record else _VOUCHED
        if vouched is not None:
            if observers.installed:
                observers.tell(Observer.checked, "allowed", observers.MEMORY, None)
            return vouched
    with observers.watching("check"):
        began = time.perf_counter()
        try:
            verdict = await atrusted(partial(_aask, claims)) or (await arun(lambda: _read(claims)))[1]
        except RevocationUnavailable as error:
            return await apublish(_unchecked(claims, error, on_redis_failure, began))
        if observers.installed:
            _tell(verdict, began)
    if needs_record:
        near_cache.remember(claims, verdict.session)
    return verdict if verdict.allowed else await apublish(_passing(claims, verdict))


def _read_many(many: Sequence[Claims], directly: bool) -> Operation[list[Verdict | RevocationUnavailable]]:
    is_at_hand = not directly and all(_marker_at_hand(claims) is not None for claims in many)
    at_hand = markers.known() if is_at_hand else None
    # Of one session many may ask, and of one user's: each thing is asked for once.
    asked: dict[tuple[Any, ...], Command[Any]] = {}
    for claims in many:
        wanted = (commands.read_state(claims), *([commands.read_refused(claims.jti)] if _is_by_itself(claims) else ()))
        asked.update((command.args, command) for command in wanted)

    def finish(*results: Any) -> Any:
        replies = dict(zip(asked, results, strict=True))

        def judge(marker: Marker) -> Done[list[Verdict | RevocationUnavailable]]:
            return Done([_judged(claims, replies, marker) for claims in many])

        if at_hand is not None:
            return judge(at_hand)
        # Behind them: whatever was lost before they were read shows in it. In Cluster a script is sent alone.
        return Operation((marker_command(),), with_marker(judge, time.monotonic()))

    return Operation(tuple(asked.values()), finish)


def _judged(claims: Claims, replies: dict[tuple[Any, ...], Any], marker: Marker) -> Verdict | RevocationUnavailable:
    state = replies[commands.read_state(claims).args]
    if _is_by_itself(claims) and replies[commands.read_refused(claims.jti).args]:
        state = replace(state, blacklisted=True)
    try:
        return _judge(claims, state, marker)
    except RevocationUnavailable as error:
        return error


def _told(
    many: Sequence[Claims], verdicts: Sequence[Verdict | RevocationUnavailable], began: float
) -> list[Done[Verdict] | RevocationUnavailable]:
    if observers.installed:
        for verdict in verdicts:
            if isinstance(verdict, Verdict):
                _tell(verdict, began)
    return [
        _passing(claims, verdict) if isinstance(verdict, Verdict) else verdict
        for claims, verdict in zip(many, verdicts, strict=True)
    ]


def check_many(tokens: Sequence[Token], *, directly: bool = False) -> list[Verdict | RevocationUnavailable]:
    """What Redis says of each, in one round trip for all, for who has to ask about very many at once.

    In place of a verdict there is the exception where something is pending about that user alone. ``directly``: that
    everything was revoked, or a key, is asked for too, in a second round trip; otherwise that may be a second old.

    :raises RevocationUnavailable: when Redis cannot be asked.
    """
    many = [claims_of(token) for token in tokens]
    began = time.perf_counter()
    verdicts = run(lambda: _read_many(many, directly), UseCase("check_many")) if many else []
    answers: list[Verdict | RevocationUnavailable] = []
    for one in _told(many, verdicts, began):
        if isinstance(one, Done):
            verdict = publish(one)
            answers.append(verdict)
        else:
            answers.append(one)
    return answers


async def acheck_many(tokens: Sequence[Token], *, directly: bool = False) -> list[Verdict | RevocationUnavailable]:
    """:func:`check_many` over ``redis.asyncio``."""
    many = [claims_of(token) for token in tokens]
    began = time.perf_counter()
    verdicts = await arun(lambda: _read_many(many, directly), UseCase("check_many")) if many else []
    answers: list[Verdict | RevocationUnavailable] = []
    for one in _told(many, verdicts, began):
        if isinstance(one, Done):
            verdict = await apublish(one)
            answers.append(verdict)
        else:
            answers.append(one)
    return answers


def _explained(claims: Claims, state: UserState, verdict: Verdict) -> Explanation:
    rule = RULES[verdict.reason] if verdict.reason or verdict.session else _WITHOUT_SESSION
    if isinstance(state.session, EndedSession):
        rule += f" Why: {state.session.why}."
    if verdict.reason not in (None, KEY_REVOKED) and config().observe:
        rule += " OBSERVE is on, so it passes all the same."
    return Explanation(verdict.allowed, verdict.reason, rule, claims, state)


def _claims_or_why_not(token: str | Token) -> Claims | Explanation:
    try:
        return claims_of(decode(token))
    except TokenError as error:
        return Explanation(False, "token_not_valid", f"{RULES['token_not_valid']} {error.args[0]}.")


def explain(token: str | Token) -> Explanation:
    """What :func:`check` says of a token of any type, and which rule says it."""
    claims = _claims_or_why_not(token)
    if isinstance(claims, Explanation):
        return claims
    return _explained(claims, *run(lambda: _read(claims), _case("explain", claims)))


async def aexplain(token: str | Token) -> Explanation:
    """:func:`explain` over ``redis.asyncio``."""
    claims = _claims_or_why_not(token)
    if isinstance(claims, Explanation):
        return claims
    return _explained(claims, *await arun(lambda: _read(claims), _case("explain", claims)))
