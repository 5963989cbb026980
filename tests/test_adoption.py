"""Tokens from before there were sessions: they live on, get one session each, and die as all others do."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from io import StringIO
from itertools import product
from typing import Any

import jwt
import pytest
import redis
from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.core.management import call_command
from django.test import Client, RequestFactory, override_settings
from rest_framework_simplejwt.exceptions import TokenError

from jwt_redis import sessions, signals
from jwt_redis.exceptions import RevocationUnavailable, RevokedToken
from jwt_redis.keys import user_key
from jwt_redis.models import Revocation, Sample
from jwt_redis.serializers import TokenObtainPairSerializer
from jwt_redis.testing.servers import RedisServer
from jwt_redis.tokens import AccessToken, RefreshToken, SlidingToken, UntypedToken
from jwt_redis.verdicts import adopted_sid, is_adopted
from tests.support.legacy import ADOPT, access_token, aged, refresh_token, sliding_token
from tests.support.topology import pointed_at
from tests.support.waiting import wait_for

# Within a test's own transaction nothing would ever count as committed.
pytestmark = pytest.mark.django_db(transaction=True)

ADOPTING: dict[str, Any] = {"LEGACY_TOKENS": "adopt"}
STRATEGIES = ("whitelist", "blacklist")


@pytest.fixture(autouse=True, params=STRATEGIES)
def strategy(request: pytest.FixtureRequest) -> Iterator[str]:
    with override_settings(JWT_REDIS={**ADOPT, "STRATEGY": request.param}):
        yield request.param


def verdict(token: Any) -> str:
    """What is said of a token of any type."""
    found = sessions.check(UntypedToken(str(token)))
    assert found.reason == sessions.explain(str(token)).reason
    return found.reason or "allowed"


def refresh(client: Client, token: Any) -> Any:
    return client.post("/auth/token/refresh/", {"refresh": str(token)}, "application/json")


def ask(client: Client, token: Any, path: str = "/whoami/") -> int:
    status: int = client.get(path, headers={"Authorization": f"Bearer {token}"}).status_code
    return status


def payload(token: str) -> dict[str, Any]:
    made: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return made


def adopted(client: Client, token: Any) -> tuple[Any, Any]:
    """Access and refresh token of the session that it got."""
    answer = refresh(client, token)
    assert answer.status_code == 200, answer.content
    return AccessToken(answer.json()["access"]), RefreshToken(answer.json()["refresh"])


# They live on -----------------------------------------------------------------------------------------------------


def test_tokens_from_before_are_accepted(alice: Any, client: Client) -> None:
    access = access_token(alice)
    for path in ("/whoami/", "/stateless/", "/fail-closed/"):
        assert ask(client, access, path) == 200
    for token in (access, refresh_token(alice), sliding_token(alice)):
        assert verdict(token) == "allowed"
        assert client.post("/auth/token/verify/", {"token": str(token)}).status_code == 200


@pytest.mark.parametrize("value", ["refuse", {"adopt": datetime.now(tz=UTC) - timedelta(hours=1)}])
def test_they_are_not_where_nobody_wants_them(alice: Any, client: Client, strategy: str, value: Any) -> None:
    token = refresh_token(alice)
    with override_settings(JWT_REDIS={**ADOPT, "STRATEGY": strategy, "LEGACY_TOKENS": value}):
        assert refresh(client, token).json()["reason"] == "no_session"
        if strategy == "whitelist":
            assert ask(client, access_token(alice)) == 401
        assert verdict(token) == "no_session"


def test_a_bound_leaves_those_that_were_issued_before(alice: Any, client: Client, strategy: str) -> None:
    bound = datetime.now(tz=UTC) - timedelta(seconds=120)
    with override_settings(JWT_REDIS={**ADOPT, "LEGACY_TOKENS": {"adopt": bound}}):
        assert ask(client, access_token(alice, age=130)) == 200
        assert ask(client, access_token(alice, age=110)) == 401
        assert refresh(client, refresh_token(alice, age=130)).status_code == 200
        assert refresh(client, refresh_token(alice, age=110)).status_code == 401


def test_none_lives_longer_than_revocations_are_remembered(alice: Any) -> None:
    long = timedelta(days=400)
    assert verdict(refresh_token(alice, age=89 * 86400, lifetime=long)) == "allowed"
    old = refresh_token(alice, age=91 * 86400, lifetime=long)
    assert verdict(old) == "session_expired"
    with pytest.raises(RevokedToken, match="session_expired"):
        sessions.rotate(RefreshToken(str(old)), alice)


def test_what_this_package_has_issued_never_passes_as_one(alice: Any, client: Client, strategy: str) -> None:
    with override_settings(JWT_REDIS={**ADOPT, "STRATEGY": strategy, "LEGACY_TOKENS": "refuse"}):
        ours = sessions.open_session(alice)
        access = str(ours.access_token)
    sessions.end_session(alice, ours["sid"])
    assert ask(client, access) == 401
    assert refresh(client, str(ours)).status_code == 401
    # Nor one that was made of one from before, without asking.
    made = RefreshToken(str(refresh_token(alice))).access_token
    assert is_adopted(made["sid"]) and ask(client, str(made)) == 401


def test_without_token_types_a_refresh_token_is_used_once(alice: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from rest_framework_simplejwt import settings as simplejwt

    monkeypatch.setattr(simplejwt.api_settings, "TOKEN_TYPE_CLAIM", None, raising=False)
    token = refresh_token(alice)
    token.payload.pop(None)
    assert verdict(token) == "allowed"
    sessions.rotate(RefreshToken(str(token)), alice)
    assert verdict(token) == "token_blacklisted"


# They get a session -----------------------------------------------------------------------------------------------


def test_a_refresh_token_gets_one_session(alice: Any, client: Client, store: redis.Redis) -> None:
    token = refresh_token(alice)
    access, successor = adopted(client, token)
    assert access["sid"] == successor["sid"] == adopted_sid(token["jti"])
    assert ask(client, access) == 200
    (session,) = sessions.list_sessions(alice)
    assert session.sid == access["sid"] and int(session.created_at.timestamp()) == token["iat"]
    assert verdict(token) == "token_blacklisted"
    # In grace the same successor comes again; and it is rotated as any other.
    assert payload(adopted(client, token)[1].token)["jti"] == successor["jti"]
    assert adopted(client, successor)[1]["jti"] == f"{access['sid']}.2"
    assert [row.kind for row in Revocation.objects.exclude(kind="store")] == ["adopted"]


def test_a_second_use_after_the_grace_is_reuse(alice: Any, client: Client, strategy: str) -> None:
    with override_settings(JWT_REDIS={**ADOPT, "STRATEGY": strategy, "REFRESH_GRACE": 0}):
        token = refresh_token(alice)
        access, successor = adopted(client, token)
        assert refresh(client, token).json()["reason"] == "session_ended"
        assert ask(client, access) == 401
        assert refresh(client, successor).status_code == 401
        assert refresh(client, token).status_code == 401


def test_without_rotation_the_token_stays_good_until_its_session_ends(
    alice: Any, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rest_framework_simplejwt import settings as simplejwt

    monkeypatch.setattr(simplejwt.api_settings, "ROTATE_REFRESH_TOKENS", False, raising=False)
    token = refresh_token(alice)
    answers = [refresh(client, token) for _ in range(3)]
    assert [set(answer.json()) for answer in answers] == [{"access"}] * 3
    assert {payload(answer.json()["access"])["sid"] for answer in answers} == {adopted_sid(token["jti"])}
    assert Revocation.objects.filter(kind="adopted").count() == 1
    assert verdict(token) == "allowed"
    sessions.end_session(alice, adopted_sid(token["jti"]))
    assert refresh(client, token).status_code == 401
    assert ask(client, answers[0].json()["access"]) == 401


def test_many_at_once_make_one_session(alice: Any, store: redis.Redis) -> None:
    """Threads with a connection each: no lock but the script."""
    for _ in range(5):
        token = refresh_token(alice)

        def use(_: int, token: Any = token) -> str:
            try:
                presented = RefreshToken(str(token))
                return str(presented.successor(sessions.rotate(presented, alice))["jti"])
            except RevocationUnavailable:
                return "unavailable"  # SQLite in memory has one writer

        with ThreadPoolExecutor(8) as pool:
            jtis = Counter(pool.map(use, range(16)))
        assert set(jtis) - {"unavailable"} == {f"{adopted_sid(token['jti'])}.1"}
        assert store.hget(user_key(str(alice.pk)), f"sid:{adopted_sid(token['jti'])}").startswith("1.")
    assert len(sessions.list_sessions(alice)) == 5


def test_a_sliding_token_gets_a_session(alice: Any, client: Client) -> None:
    token = sliding_token(alice)
    answer = client.post("/auth/sliding/refresh/", {"token": str(token)}, "application/json")
    assert answer.status_code == 200, answer.content
    ours = SlidingToken(answer.json()["token"])
    assert ours["sid"] == adopted_sid(token["jti"])
    assert verdict(ours) == verdict(token) == "allowed"
    again = client.post("/auth/sliding/refresh/", {"token": str(ours)}, "application/json")
    assert again.status_code == 200
    sessions.end_session(alice, ours["sid"])
    assert verdict(ours) == verdict(token) == "session_ended"
    for dead in (token, ours):
        assert client.post("/auth/sliding/refresh/", {"token": str(dead)}, "application/json").status_code == 401


def test_the_oldest_session_makes_room(alice: Any, client: Client, strategy: str) -> None:
    with override_settings(JWT_REDIS={**ADOPT, "STRATEGY": strategy, "MAX_SESSIONS": 2}):
        first = sessions.open_session(alice)
        time.sleep(0.01)  # of two in one millisecond any may be the older one
        second = sessions.open_session(alice)
        access, _ = adopted(client, refresh_token(alice))
        assert {session.sid for session in sessions.list_sessions(alice)} == {second["sid"], access["sid"]}
        assert Revocation.objects.filter(kind="session", target=first["sid"], reason="max_sessions").exists()


async def test_async_too(alice: Any) -> None:
    token = refresh_token(alice)
    presented = RefreshToken(str(token))
    assert (await sessions.acheck(presented)).allowed
    record = await sessions.arotate(presented, alice)
    assert presented.successor(record)["sid"] == adopted_sid(token["jti"])
    assert (await sessions.acheck(UntypedToken(str(access_token(alice))))).allowed
    await sessions.aend_all_sessions(alice)
    assert (await sessions.acheck(UntypedToken(str(access_token(alice))))).reason == "user_revoked"


# They die ---------------------------------------------------------------------------------------------------------


def set_password(user: Any) -> None:
    user.set_password("another one")
    user.save()


def set_unusable_password(user: Any) -> None:
    user.set_unusable_password()
    user.save()


def assign_password(user: Any) -> None:
    user.password = make_password("another one")
    user.save(update_fields=["password"])


def deactivate(user: Any) -> None:
    user.is_active = False
    user.save()


WAYS = {
    "all of a user's": sessions.end_all_sessions,
    "the others": lambda user: sessions.end_other_sessions(user, "s" * 22),
    "everything": lambda user: sessions.revoke_everything(),
    "password": set_password,
    "unusable password": set_unusable_password,
    "assigned password": assign_password,
    "deactivated": deactivate,
    "deleted": lambda user: user.delete(),
}


@pytest.mark.parametrize("way", WAYS)
def test_what_ends_all_of_a_users_sessions_ends_them(alice: Any, bob: Any, client: Client, way: str) -> None:
    unused, used = refresh_token(alice), refresh_token(alice)
    access, sliding = access_token(alice), sliding_token(alice)
    adopted_access, successor = adopted(client, used)
    bobs = access_token(bob)
    WAYS[way](alice)
    for token in (unused, used, access, sliding, adopted_access, successor):
        assert verdict(token) != "allowed"
        assert ask(client, token) == 401
    for token in (unused, used, successor):
        assert refresh(client, token).status_code == 401
    assert verdict(bobs) == ("all_revoked" if way == "everything" else "allowed")


def test_a_save_that_changes_no_password_ends_nothing(alice: Any, client: Client) -> None:
    alice.first_name = "Alice"
    alice.save()
    alice.refresh_from_db()
    alice.save(update_fields=["password"])
    assert ask(client, access_token(alice)) == 200


def test_a_password_that_is_hashed_anew_ends_nothing(alice: Any, client: Client) -> None:
    token = access_token(alice)
    hashers = ["django.contrib.auth.hashers.ScryptPasswordHasher", *settings.PASSWORD_HASHERS]
    with override_settings(PASSWORD_HASHERS=hashers):
        before = alice.password
        assert alice.check_password("correct horse")
        alice.refresh_from_db()
        assert alice.password != before
    assert ask(client, token) == 200


@pytest.mark.parametrize("endpoint", ["/auth/logout/", "/auth/token/blacklist/"])
@pytest.mark.parametrize("is_used", [False, True])
def test_logout_ends_a_refresh_token_for_good(
    alice: Any, client: Client, store: redis.Redis, endpoint: str, is_used: bool
) -> None:
    token = refresh_token(alice)
    if is_used:
        adopted(client, token)
    assert client.post(endpoint, {"refresh": str(token)}, "application/json").status_code == 200
    assert refresh(client, token).json()["reason"] == "session_ended"
    # What is left lasts for as long as the token could.
    key = user_key(str(alice.pk))
    until = int(store.hget(key, f"sid:{adopted_sid(token['jti'])}").split(".")[1])
    assert until >= token["exp"] and store.ttl(key) > token["exp"] - datetime.now(tz=UTC).timestamp()


def test_a_jti_that_is_listed_is_refused(alice: Any, client: Client) -> None:
    for token in (refresh_token(alice), access_token(alice)):
        sessions.revoke_jti(alice, token["jti"])
        assert verdict(token) == "token_blacklisted"
        assert refresh(client, token).status_code == 401


def test_everything_is_refused_at_once_whoever_has_revoked_it(alice: Any, client: Client, store: redis.Redis) -> None:
    """The marker is not this process's copy of it."""
    access, token = access_token(alice), refresh_token(alice)
    sessions.check(sessions.open_session(alice))
    assert verdict(access) == "allowed"
    store.hset("jwt:{log}:marker", "not_before", int(time.time() * 1000))
    assert sessions.check(UntypedToken(str(access))).reason == "all_revoked"
    assert refresh(client, token).json()["reason"] == "all_revoked"


# Redis forgets -----------------------------------------------------------------------------------------------------


REVOCATIONS = {
    "logout": lambda user, token: sessions.revoke_token(RefreshToken(str(token))),
    "a jti": lambda user, token: sessions.revoke_jti(user, token["jti"]),
    "all of a user's": lambda user, token: sessions.end_all_sessions(user),
    "everything": lambda user, token: sessions.revoke_everything(),
}


@pytest.mark.parametrize("how", ["flush", "restart", "marker"])
@pytest.mark.parametrize(("way", "is_used"), [*product(REVOCATIONS, (False, True)), ("used", True)])
def test_what_was_revoked_stays_so_when_redis_is_emptied(
    alice: Any, bob: Any, client: Client, strategy: str, how: str, way: str, is_used: bool
) -> None:
    with RedisServer() as server, pointed_at(server, **ADOPTING, STRATEGY=strategy, REFRESH_GRACE=0):
        token, bobs = refresh_token(alice), refresh_token(bob)
        assert verdict(token) == "allowed"
        if is_used:
            adopted(client, token)
        if way != "used":
            REVOCATIONS[way](alice, token)
        if how == "restart":
            server.kill()
            server.start()
        else:
            with server.client() as connection:
                connection.flushall() if how == "flush" else connection.delete("jwt:{log}:marker")
        _forget_the_marker()
        assert refresh(client, token).status_code == 401
        assert verdict(token) != "allowed"
        # And whom nothing was revoked of has not noticed anything.
        if way != "everything":
            assert ask(client, access_token(bob)) == 200
            assert refresh(client, bobs).status_code == 200


def _forget_the_marker() -> None:
    from jwt_redis.store import markers

    # It is a second old by then.
    markers.reset()


def test_without_a_journal_nobody_is_let_in_who_is_older_than_the_store(alice: Any, client: Client) -> None:
    with override_settings(JWT_REDIS={**ADOPT, "JOURNAL": False}):
        assert verdict(access_token(alice)) == "store_lost"


def test_a_pending_revocation_comes_first(alice: Any, client: Client, strategy: str) -> None:
    """Of a process that could not reach Redis; the token is tried in one that could all the time."""
    with RedisServer() as server, pointed_at(server, **ADOPTING, STRATEGY=strategy):
        token = refresh_token(alice)
        server.kill()
        with pytest.raises(RevocationUnavailable):
            sessions.end_all_sessions(alice)
        server.start()
        answers: list[int] = []
        wait_for(lambda: answers.append(refresh(client, token).status_code) or answers[-1] != 503, "an answer")
        assert answers[-1] == 401


def test_a_session_that_was_adopted_before_the_row_was_applied_ends_with_it(alice: Any, client: Client) -> None:
    """It counts as opened when its token was issued."""
    from jwt_redis.store import commands
    from jwt_redis.store.client import execute

    token = refresh_token(alice)
    moment_ms = (token["iat"] + 1) * 1000
    access, _ = adopted(client, token)
    execute(commands.end_all_sessions(str(alice.pk), reason="late", before_ms=moment_ms))
    assert verdict(access) == "session_ended"


def test_a_server_that_evicts_is_not_asked(alice: Any, strategy: str) -> None:
    full = {"maxmemory": "64mb", "maxmemory-policy": "allkeys-lru"}
    with (
        RedisServer(options=full) as server,
        pointed_at(server, **ADOPTING, STRATEGY=strategy),
        pytest.raises(RevocationUnavailable),
    ):
        sessions.check(UntypedToken(str(access_token(alice))))


# Forgeries ---------------------------------------------------------------------------------------------------------


def test_only_a_token_with_a_good_signature_counts(alice: Any, client: Client) -> None:
    claims = refresh_token(alice).payload
    forged = jwt.encode(claims, "another key that is just as long as the right one is", "HS256")
    assert refresh(client, forged).status_code == 401
    assert refresh(client, str(refresh_token(alice))[:-2]).status_code == 401
    with pytest.raises(TokenError):
        RefreshToken(forged)


@pytest.mark.parametrize("user_id", ["abc", "{1}", "a" * 300, "\ud800", "1 OR 1=1"])
def test_odd_user_ids_are_401(alice: Any, client: Client, user_id: str) -> None:
    token = refresh_token(alice)
    token["user_id"] = user_id
    assert refresh(client, token).status_code == 401


def test_a_token_from_the_future_and_one_without_iat(alice: Any, client: Client) -> None:
    token = refresh_token(alice)
    del token.payload["iat"]
    assert refresh(client, token).status_code == 401
    assert verdict(aged(refresh_token(alice, age=0), 1)) == "allowed"


def test_claims_that_are_set_anew_do_not_say_that_the_user_signed_in(
    alice: Any, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rest_framework_simplejwt import settings as simplejwt

    path = "tests.test_adoption.Obtain"
    monkeypatch.setattr(simplejwt.api_settings, "TOKEN_OBTAIN_SERIALIZER", path, raising=False)
    token = refresh_token(alice)
    token["old"] = 1
    access, successor = adopted(client, token)
    for ours in (access, successor):
        assert ours["colour"] == "red" and "old" not in ours and "auth_time" not in ours
        assert ours["sid"] == adopted_sid(token["jti"])
    assert ask(client, access, "/fresh/") == 401


class Obtain(TokenObtainPairSerializer):
    @classmethod
    def get_token(cls, user: Any) -> Any:
        token = super().get_token(user)
        token["colour"] = "red"
        return token


@pytest.mark.parametrize("damage", ["key", "sid", "not_before", "blacklist"])
def test_what_cannot_be_read_in_redis_adopts_nothing(
    alice: Any, client: Client, store: redis.Redis, damage: str
) -> None:
    token = refresh_token(alice)
    assert verdict(token) == "allowed"
    key = user_key(str(alice.pk))
    if damage == "key":
        store.set(key, "x")
    else:
        field = {"sid": f"sid:{adopted_sid(token['jti'])}", "blacklist": f"blacklist:{token['jti']}"}
        store.hset(key, field.get(damage, damage), "x")
    assert verdict(token) != "allowed"
    assert refresh(client, token).status_code == 401


def test_nobody_is_told_of_a_new_device(alice: Any, client: Client, strategy: str) -> None:
    told: list[str] = []

    def receive(sender: str, sid: str, **kwargs: Any) -> None:
        told.append(sid)

    signals.new_device_signed_in.connect(receive)
    notice = {"base_url": "https://example.com", "send": None}
    try:
        with override_settings(JWT_REDIS={**ADOPT, "STRATEGY": strategy, "SIGN_IN_NOTICE": notice}):
            for age, agent in ((90, "curl/8.5.0"), (60, "Wget/1.21"), (30, "HTTPie/3.2")):
                answer = client.post(
                    "/auth/token/refresh/",
                    {"refresh": str(refresh_token(alice, age))},
                    "application/json",
                    headers={"User-Agent": agent},
                )
                assert answer.status_code == 200
            # But it is of one that signs in.
            request = RequestFactory().get("/", headers={"User-Agent": "Lynx/2.9"})
            signed_in = sessions.open_session(alice, request)["sid"]
    finally:
        signals.new_device_signed_in.disconnect(receive)
    assert told == [signed_in]


def test_cleaning_up_counts_adopted_sessions(alice: Any, client: Client) -> None:
    adopted(client, refresh_token(alice))
    call_command("jwt_cleanup", stdout=StringIO())
    assert Sample.objects.get().sessions == 1
