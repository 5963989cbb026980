"""The decision itself: each reason, both strategies, each boundary."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from jwt_redis.records import EndedSession, Marker, SessionRecord, UserState, parse_session, parse_user_state
from jwt_redis.verdicts import Claims, decide, read_claims

NOW = 1_800_000_000
MARKER = Marker("id", (NOW - 1000) * 1000, 0)
SESSION = SessionRecord(2, (NOW - 100) * 1000, (NOW - 50) * 1000, NOW + 100, NOW + 1000, "n", "f")
ACCESS = Claims("1", "jti", "s" * 22, NOW + 60, NOW - 10, NOW - 100, None)
REFRESH = replace(ACCESS, rotation=2, owns_session=True)
FOREIGN = replace(ACCESS, sid=None, auth_time=0)
LIVE = UserState(SESSION)
NOTHING = UserState()


def reason(claims: Claims, state: UserState, strategy: Any = "whitelist", marker: Marker = MARKER, **kw: Any) -> Any:
    verdict = decide(claims, state, marker, strategy, kw.pop("now", NOW), **kw)
    assert verdict.allowed is (verdict.reason is None)
    return verdict.reason


@pytest.mark.parametrize("strategy", ["whitelist", "blacklist"])
@pytest.mark.parametrize("claims", [ACCESS, REFRESH])
def test_a_live_session_in_both_strategies(claims: Claims, strategy: str) -> None:
    def ask(state: UserState, **kwargs: Any) -> Any:
        return reason(claims, state, strategy, **kwargs)

    assert ask(LIVE) is None
    assert ask(replace(LIVE, blacklisted=True)) == "token_blacklisted"
    assert ask(UserState(EndedSession(NOW, "logout"))) == "session_ended"
    assert ask(LIVE, now=SESSION.expires_at - 0.001) is None
    assert ask(LIVE, now=SESSION.expires_at) == "session_expired"
    assert ask(LIVE, now=SESSION.expires_at, leeway=1) is None
    assert ask(LIVE, marker=replace(MARKER, not_before_ms=SESSION.opened_ms - 1)) is None
    assert ask(LIVE, marker=replace(MARKER, not_before_ms=SESSION.opened_ms)) == "all_revoked"
    assert ask(LIVE, marker=replace(MARKER, born_ms=SESSION.opened_ms)) is None
    assert ask(LIVE, marker=replace(MARKER, born_ms=SESSION.opened_ms + 1)) == "store_lost"
    # The user's not-before is for tokens without a session: ending lists each session.
    assert ask(replace(LIVE, not_before_ms=NOW * 1000)) is None


def test_a_refresh_token_that_is_not_the_current_one() -> None:
    for rotation in (0, 1, 3):
        assert reason(replace(REFRESH, rotation=rotation), LIVE) == "token_blacklisted"


def test_absence_refuses_in_the_whitelist_and_accepts_in_the_blacklist() -> None:
    assert reason(ACCESS, NOTHING) == "no_session"
    assert reason(FOREIGN, NOTHING) == "no_session"
    assert reason(ACCESS, NOTHING, "blacklist") is None
    assert reason(FOREIGN, NOTHING, "blacklist") is None
    assert reason(REFRESH, NOTHING, "blacklist") == "no_session"


def test_what_cannot_be_read_accepts_nobody() -> None:
    damaged = UserState(damaged=True)
    assert reason(ACCESS, damaged) == reason(ACCESS, damaged, "blacklist") == "no_session"


@pytest.mark.parametrize("claims", [ACCESS, FOREIGN])
def test_without_a_record_whole_seconds_decide_and_the_same_second_is_too_old(claims: Claims) -> None:
    began = claims.auth_time if claims.sid else claims.iat

    def ask(state: UserState = NOTHING, **changes: int) -> Any:
        return reason(claims, state, "blacklist", replace(MARKER, **changes))

    assert ask(UserState(not_before_ms=began * 1000 - 1)) is None
    assert ask(UserState(not_before_ms=began * 1000)) == "user_revoked"
    assert ask(UserState(not_before_ms=began * 1000 + 999)) == "user_revoked"
    assert ask(not_before_ms=began * 1000 - 1) is None
    assert ask(not_before_ms=began * 1000) == "all_revoked"
    assert ask(born_ms=began * 1000 - 1) is None
    assert ask(born_ms=began * 1000) == "store_lost"


def test_a_token_that_does_not_say_when_it_began_is_older_than_everything() -> None:
    unknown = replace(FOREIGN, iat=0)
    assert reason(unknown, UserState(not_before_ms=1000), "blacklist") == "user_revoked"
    assert reason(unknown, NOTHING, "blacklist") == "store_lost"


# Reading -----------------------------------------------------------------------------------------------------------


def test_records() -> None:
    text = f"2.{SESSION.opened_ms}.50000.200.1100.n.f"
    assert parse_session(text) == SESSION
    assert parse_session("ended.5.logout") == EndedSession(5, "logout")
    for damaged in ("", "2", text + ".x", text[:-4], "ended.x.y", "ended.5.", "-" + text, "\u0662" + text[1:]):
        assert parse_session(damaged) is None


def test_user_state() -> None:
    assert parse_user_state([None, None, None]) == UserState()
    assert parse_user_state([None, "5", "7"]) == UserState(None, True, 7)
    assert parse_user_state(["x", None, None]).damaged
    assert parse_user_state([None, None, "x"]).damaged
    assert parse_user_state([None, None, "\u0667"]).damaged


def test_claims_are_named_when_they_are_missing() -> None:
    payload = {"token_type": "refresh", "exp": 5, "jti": "a", "user_id": 1, "sid": "s" * 22, "rotation": 0}
    assert read_claims(payload).user == "1"
    for claim, message in (
        ("exp", "'exp'"),
        ("jti", "no id"),
        ("user_id", "user identification"),
        ("rotation", "'rot"),
    ):
        with pytest.raises(ValueError, match=message):
            read_claims({k: v for k, v in payload.items() if k != claim})
    # One without a session needs no counter.
    assert read_claims({k: v for k, v in payload.items() if k not in ("sid", "rotation")}).rotation == 0
