"""What a near cache remembers: whatever happens, it vouches for nothing that was revoked within its reach."""

from __future__ import annotations

from dataclasses import replace

from django.conf import settings
from django.test import override_settings
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from jwt_redis.keys import user_tag
from jwt_redis.near_cache.memory import CLOCK_DIFFERENCE, Memory
from jwt_redis.verdicts import Claims, read_claims

LIFETIME, HORIZON, NOW = 300, 300 + CLOCK_DIFFERENCE, 1_800_000_000
GOOD = Claims(user="7", jti="jti", sid="S" * 22, exp=NOW + LIFETIME, iat=NOW, auth_time=NOW, rotation=None)


def memory(*, needs_session: bool = True, complete_from: float = 0) -> Memory:
    made = Memory(HORIZON, LIFETIME, needs_session=needs_session, now=0)
    made.is_complete_from(complete_from)
    return made


def test_it_vouches_for_a_token_that_nobody_revoked() -> None:
    assert memory().is_silent_on(GOOD)
    assert memory(needs_session=False).is_silent_on(replace(GOOD, sid=None))


def test_before_the_log_was_read_it_vouches_for_nobody() -> None:
    assert not Memory(HORIZON, LIFETIME, needs_session=True, now=0).is_silent_on(GOOD)


def test_what_it_does_not_speak_for() -> None:
    for other in (
        replace(GOOD, owns_session=True),
        replace(GOOD, is_unasked=True),
        replace(GOOD, sid=None),
        replace(GOOD, exp=NOW + LIFETIME + 2),
        replace(GOOD, iat=0),
    ):
        assert not memory().is_silent_on(other), other
    edge = NOW - CLOCK_DIFFERENCE
    assert not memory(complete_from=edge).is_silent_on(GOOD)
    assert memory(complete_from=edge - 1).is_silent_on(GOOD)


def test_each_kind_concerns_whom_it_concerns() -> None:
    for kind, user, target, silent in (
        ("session", "7", "S" * 22, False),
        ("session", "7", "T" * 22, True),
        ("token", "7", "jti", False),
        ("token", "7", "other", True),
        ("user", "7", "", False),
        ("user", "8", "", True),
        ("others", "7", "T" * 22, False),
        ("all", "", "", False),
        # Of a version that is yet to come.
        ("tenant", "", "acme", False),
        ("device", "7", "x", False),
        ("device", "8", "x", True),
    ):
        known = memory()
        known.add(kind, user, target)
        assert known.is_silent_on(GOOD) == silent, (kind, user, target)


def test_a_user_whose_id_is_no_plain_word() -> None:
    known = memory()
    known.add("user", user_tag("a{b}/c"), "")
    assert not known.is_silent_on(replace(GOOD, user="a{b}/c"))


IDS = st.sampled_from([f"{letter}" * 22 for letter in "ABCDEF"])


@hypothesis_settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.floats(0, 200),
            st.sampled_from(["session", "token", "user", "others", "all"]),
            st.sampled_from(["1", "2"]),
            IDS,
        ),
        max_size=40,
    ),
    st.floats(0, 400),
    IDS,
    IDS,
    st.sampled_from(["1", "2"]),
)
def test_nothing_is_forgotten_within_the_horizon(
    history: list[tuple[float, str, str, str]], later: float, sid: str, jti: str, user: str
) -> None:
    known, now = memory(), 0.0
    heard = []
    for pause, kind, whose, target in history:
        now += pause
        known.forget(now)
        known.add(kind, "" if kind == "all" else whose, target)
        heard.append((now, kind, whose, target))
    now += later
    known.forget(now)
    token = replace(GOOD, sid=sid, jti=jti, user=user)
    concerned = any(
        moment > now - HORIZON
        and (
            (kind == "session" and target == sid)
            or (kind == "token" and target == jti)
            or (kind in ("user", "others") and whose == user)
            or kind == "all"
        )
        for moment, kind, whose, target in heard
    )
    if concerned:
        assert not known.is_silent_on(token)
    if not heard or now - heard[-1][0] > 2 * HORIZON:
        known.forget(now)
        assert known.is_silent_on(token)


def test_what_is_older_is_forgotten() -> None:
    known = memory()
    for second in range(0, 40_000, 10):
        known.forget(second)
        known.add("session", "7", f"{second:022}")
    # A horizon and two of its parts, at most.
    assert len(known) <= HORIZON * 5 / 3 / 10 + 2


def test_without_types_no_token_proves_what_it_is() -> None:
    payload = {"user_id": "7", "jti": "jti", "sid": "S" * 22, "exp": NOW + LIFETIME, "iat": NOW, "token_type": "access"}
    assert memory().is_silent_on(read_claims(payload))
    assert not memory().is_silent_on(read_claims({**payload, "rotation": 3}))
    with override_settings(SIMPLE_JWT={**settings.SIMPLE_JWT, "TOKEN_TYPE_CLAIM": None}):
        assert not memory().is_silent_on(read_claims(payload))


def test_what_was_heard_after_a_long_silence_is_not_forgotten_with_it() -> None:
    """The thread may stand still for longer than a horizon, and then hears of everything at once."""
    known = memory()
    known.add("session", "7", GOOD.sid or "")
    known.forget(10 * HORIZON)
    assert not known.is_silent_on(GOOD)
    known.forget(11 * HORIZON - 1)
    assert not known.is_silent_on(GOOD)
    known.forget(12 * HORIZON)
    assert known.is_silent_on(GOOD)


def test_a_token_from_before_there_were_sessions_is_vouched_for_under_the_blacklist_alone() -> None:
    legacy = replace(GOOD, sid=None, legacy_until=NOW + 1000)
    assert not memory().is_silent_on(legacy)
    remembering = memory(needs_session=False)
    assert remembering.is_silent_on(legacy)
    remembering.add("token", "!", legacy.jti)
    assert not remembering.is_silent_on(legacy)


def test_an_adoption_refuses_nothing() -> None:
    remembering = memory()
    remembering.add("adopted", user_tag(GOOD.user), GOOD.sid or "")
    remembering.add("adopted", "!", "")
    assert remembering.is_silent_on(GOOD)
