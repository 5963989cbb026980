"""Over HTTP: signing in, refreshing, verifying, signing out; Simple JWT's own views and ours alike."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import jwt
import pytest
import redis
from django.conf import settings
from django.contrib.auth import user_logged_in
from django.db import connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from jwt_redis import sessions, tokens
from jwt_redis.models import Revocation
from jwt_redis.store import markers

pytestmark = pytest.mark.django_db

http = APIClient()
BLACKLIST = {"ALIAS": "sessions", "STRATEGY": "blacklist"}


@pytest.fixture(params=["/auth", "/stock"])
def base(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["whitelist", "blacklist"])
def strategy(request: pytest.FixtureRequest, settings: Any) -> str:
    settings.JWT_REDIS = {"ALIAS": "sessions", "STRATEGY": request.param}
    return str(request.param)


def post(path: str, **body: Any) -> Any:
    return http.post(path, body, format="json")


def bearer(token: Any) -> dict[str, str]:
    return {"HTTP_AUTHORIZATION": f"Bearer {token}"}


def login(base: str = "/auth", name: str = "alice", password: str = "correct horse", **extra: str) -> Any:
    response = http.post(f"{base}/token/", {"username": name, "password": password}, format="json", **extra)
    assert response.status_code == 200, response.content
    return response.json()


def claims(token: str) -> dict[str, Any]:
    payload: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return payload


def everything_in(store: redis.Redis) -> str:
    found = []
    for key in sorted(store.scan_iter()):
        kind = store.type(key)
        found.append(f"{key} {store.hgetall(key) if kind == 'hash' else store.xrange(key)}")
    return "\n".join(found)


# Signing in --------------------------------------------------------------------------------------------------------


def test_a_login_is_in_redis_before_its_reply(alice: Any, store: redis.Redis, base: str) -> None:
    pair = login(base)
    access, refresh = claims(pair["access"]), claims(pair["refresh"])
    assert access["sid"] == refresh["sid"] and access["jti"] != refresh["jti"]
    assert access["auth_time"] == refresh["auth_time"] == refresh["iat"]
    assert "rotation" not in access and refresh["rotation"] == 0
    assert set(store.hgetall(f"jwt:{{{alice.pk}}}")) == {f"sid:{refresh['sid']}"}
    # The refresh token's day, and a minute.
    assert abs(store.ttl(f"jwt:{{{alice.pk}}}") - 86460) <= 30


def test_the_device_is_kept_cut_short_and_cleaned(alice: Any, store: redis.Redis) -> None:
    pair = login(HTTP_USER_AGENT="Agent\r\n\x00" + "x" * 5000, HTTP_X_FORWARDED_FOR="6.6.6.6", REMOTE_ADDR="::1")
    (session,) = sessions.list_sessions(alice)
    assert session.sid == claims(pair["refresh"])["sid"]
    assert session.user_agent.startswith("Agent") and len(session.user_agent) <= 256
    assert session.user_agent.isprintable() and session.ip == "::1"
    assert store.ttl(f"jwt:{{{alice.pk}}}:devices") > 86000


def test_a_wrong_password_and_an_inactive_user_write_nothing(alice: Any, store: redis.Redis, base: str) -> None:
    expected = {"detail": "No active account found with the given credentials"}
    wrong = post(f"{base}/token/", username="alice", password="wrong")
    alice.is_active = False
    alice.save()
    store.flushall()
    inactive = post(f"{base}/token/", username="alice", password="correct horse")
    for response in (wrong, inactive):
        assert (response.status_code, response.json()) == (401, expected)
        assert response["WWW-Authenticate"] == 'Bearer realm="api"'
    assert store.dbsize() == 0


def test_django_hears_of_a_login(alice: Any) -> None:
    heard = []

    def receiver(**kwargs: Any) -> None:
        heard.append((kwargs["user"], kwargs["request"].META["REMOTE_ADDR"]))

    user_logged_in.connect(receiver)
    login()
    user_logged_in.disconnect(receiver)
    assert heard == [(alice, "127.0.0.1")]


def test_the_oldest_session_makes_room(alice: Any) -> None:
    with override_settings(JWT_REDIS={"ALIAS": "sessions", "MAX_SESSIONS": 2}):
        pairs = [login() for _ in range(3)]
        sids = {session.sid for session in sessions.list_sessions(alice)}
    assert sids == {claims(pair["refresh"])["sid"] for pair in pairs[1:]}
    assert sessions.explain(pairs[0]["access"]).reason == "session_ended"


def test_nothing_secret_is_in_redis(alice: Any, store: redis.Redis) -> None:
    seen: list[str] = [settings.SECRET_KEY, alice.password, alice.get_session_auth_hash(), "correct horse"]
    for _ in range(3):
        pair = login(HTTP_USER_AGENT="a browser")
        seen += [part for token in pair.values() for part in token.split(".")]
        pair = post("/auth/token/refresh/", refresh=pair["refresh"]).json()
        seen += [part for token in pair.values() for part in token.split(".")]
    sessions.revoke_token(pair["access"])
    post("/auth/logout/", refresh=pair["refresh"])
    kept = everything_in(store)
    assert "a browser" in kept
    header = seen[4]
    for secret in {*seen} - {header}:
        assert secret not in kept
        # Nor a good part of one.
        assert secret[:20] not in kept and secret[-20:] not in kept
    assert header not in kept


# Refreshing --------------------------------------------------------------------------------------------------------


def test_a_refresh_gives_a_new_pair_of_the_same_session(alice: Any, base: str, strategy: str) -> None:
    first = login(base)
    second = post(f"{base}/token/refresh/", refresh=first["refresh"])
    assert second.status_code == 200 and set(second.json()) == {"access", "refresh"}
    old, new = claims(first["refresh"]), claims(second.json()["refresh"])
    assert (new["sid"], new["auth_time"], new["rotation"]) == (old["sid"], old["auth_time"], 1)
    assert new["jti"] != old["jti"] and new["exp"] >= old["exp"]
    assert http.get("/whoami/", **bearer(second.json()["access"])).json() == {"user": str(alice.pk)}
    assert http.get("/whoami/", **bearer(first["access"])).status_code == 200


def test_reuse_ends_the_session_and_says_so(alice: Any, base: str, strategy: str, settings: Any, caplog: Any) -> None:
    settings.JWT_REDIS = {**settings.JWT_REDIS, "REFRESH_GRACE": 0}
    first = login(base)
    second = post(f"{base}/token/refresh/", refresh=first["refresh"]).json()
    reused = post(f"{base}/token/refresh/", refresh=first["refresh"])
    assert reused.status_code == 401
    assert reused.json() == {
        "detail": "Token is blacklisted",
        "code": "token_not_valid",
        "reason": "session_ended",
    }
    assert reused["WWW-Authenticate"] == 'Bearer realm="api"'
    assert post(f"{base}/token/refresh/", refresh=second["refresh"]).status_code == 401
    for pair in (first, second):
        assert http.get("/stateless/", **bearer(pair["access"])).json()["reason"] == "session_ended"
    (record,) = [r for r in caplog.records if getattr(r, "event", "") == "refresh_token_reused"]
    assert record.levelname == "WARNING" and record.jwt_user == str(alice.pk)
    assert record.jwt_sid == claims(first["refresh"])["sid"]


def test_within_the_grace_the_predecessor_gets_the_same_successor(alice: Any, base: str) -> None:
    first = login(base)
    answers = [post(f"{base}/token/refresh/", refresh=first["refresh"]).json() for _ in range(3)]
    assert len({answer["refresh"] for answer in answers}) == 1
    assert len({answer["access"] for answer in answers}) == 3


def test_a_refresh_is_one_query_and_one_script(alice: Any, base: str, monitor: Any) -> None:
    pair = post(f"{base}/token/refresh/", refresh=login(base)["refresh"]).json()
    seen = monitor()
    with CaptureQueriesContext(connection) as queries:
        assert post(f"{base}/token/refresh/", refresh=pair["refresh"]).status_code == 200
    assert len(queries) == 1
    assert names(seen.commands()) == ["EVALSHA"]


def test_a_login_is_one_script(alice: Any, base: str, monitor: Any) -> None:
    login(base)
    seen = monitor()
    login(base)
    assert names(seen.commands()) == ["EVALSHA"]


def names(commands: list[str]) -> list[str]:
    return [command.partition(" ")[0] for command in commands]


def test_a_session_ends_at_its_greatest_age_however_often_refreshed(alice: Any, settings: Any) -> None:
    settings.JWT_REDIS = {"ALIAS": "sessions", "SESSION_MAX_AGE": timedelta(minutes=2)}
    pair = login()
    end = claims(pair["refresh"])["auth_time"] + 120
    for _ in range(3):
        for token in pair.values():
            assert abs(claims(token)["exp"] - end) <= 1
        pair = post("/auth/token/refresh/", refresh=pair["refresh"]).json()


def test_a_longer_life_that_the_project_gave_is_kept(alice: Any) -> None:
    token = tokens.RefreshToken.for_user(alice)
    token.set_exp(lifetime=timedelta(days=365))
    pair = post("/auth/token/refresh/", refresh=str(token)).json()
    pair = post("/auth/token/refresh/", refresh=pair["refresh"]).json()
    refreshed = claims(pair["refresh"])
    assert abs(refreshed["exp"] - refreshed["auth_time"] - 365 * 86400) <= 2


def test_deleted_and_inactive_users_do_not_refresh(alice: Any, bob: Any, base: str) -> None:
    with override_settings(JWT_REDIS={"ALIAS": "sessions", "REVOKE_ON": []}):
        pairs = [login(base), login(base, "bob", "battery staple")]
        alice.delete()
        bob.is_active = False
        bob.save()
    for pair in pairs:
        answer = post(f"{base}/token/refresh/", refresh=pair["refresh"])
        assert answer.status_code == 401
        assert answer.json() == {"detail": "No active account found for the given token."}


def test_an_access_token_does_not_refresh_nor_the_reverse(alice: Any, base: str) -> None:
    pair = login(base)
    answer = post(f"{base}/token/refresh/", refresh=pair["access"])
    assert (answer.status_code, answer.json()) == (401, {"detail": "Token has wrong type", "code": "token_not_valid"})
    answer = http.get("/whoami/", **bearer(pair["refresh"]))
    assert answer.status_code == 401
    assert answer.json()["messages"] == [
        {"token_class": "AccessToken", "token_type": "access", "message": "Token has wrong type"}
    ]


# Verifying ---------------------------------------------------------------------------------------------------------


def test_verify_knows_what_was_revoked(alice: Any, base: str, strategy: str) -> None:
    pair = login(base)
    for token in pair.values():
        assert post(f"{base}/token/verify/", token=token).json() == {}
    sessions.revoke_token(pair["access"])
    sessions.revoke_token(pair["refresh"])
    for token, reason in ((pair["access"], "token_blacklisted"), (pair["refresh"], "session_ended")):
        answer = post(f"{base}/token/verify/", token=token)
        assert answer.status_code == 400
        assert answer.json() == {"non_field_errors": ["Token is blacklisted"], "reason": [reason]}


def test_verify_knows_a_refresh_token_that_was_used(alice: Any, base: str) -> None:
    pair = login(base)
    post(f"{base}/token/refresh/", refresh=pair["refresh"])
    assert post(f"{base}/token/verify/", token=pair["refresh"]).json()["reason"] == ["token_blacklisted"]


# Signing out -------------------------------------------------------------------------------------------------------


def test_a_revoked_access_token_is_refused_in_simple_jwts_words(alice: Any, strategy: str) -> None:
    pair = login()
    sessions.revoke_token(pair["access"])
    for path in ("/whoami/", "/stateless/"):
        answer = http.get(path, **bearer(pair["access"]))
        assert answer.status_code == 401 and answer["WWW-Authenticate"] == 'Bearer realm="api"'
        assert answer.json() == {
            "detail": "Given token not valid for any token type",
            "code": "token_not_valid",
            "messages": [{"token_class": "AccessToken", "token_type": "access", "message": "Token is blacklisted"}],
            "reason": "token_blacklisted",
        }


def test_blacklisting_ends_the_session_again_and_again(alice: Any, base: str, strategy: str) -> None:
    pair = login(base)
    for _ in range(2):
        answer = post(f"{base}/token/blacklist/", refresh=pair["refresh"])
        assert (answer.status_code, answer.json()) == (200, {})
    assert http.get("/stateless/", **bearer(pair["access"])).json()["reason"] == "session_ended"
    assert post(f"{base}/token/refresh/", refresh=pair["refresh"]).json()["reason"] == "session_ended"


def test_blacklisting_an_access_token_is_the_wrong_type(alice: Any, base: str) -> None:
    answer = post(f"{base}/token/blacklist/", refresh=login(base)["access"])
    assert (answer.status_code, answer.json()) == (401, {"detail": "Token has wrong type", "code": "token_not_valid"})


def test_logout_by_refresh_token_works_with_an_expired_access_token(alice: Any, strategy: str) -> None:
    pair = login()
    expired = tokens.AccessToken(pair["access"])
    expired.set_exp(lifetime=timedelta(seconds=-10))
    for ended in (1, 0):
        answer = http.post("/auth/logout/", {"refresh": pair["refresh"]}, format="json", **bearer(expired))
        assert (answer.status_code, answer.json()) == (200, {"sessions_ended": ended})
    assert http.get("/stateless/", **bearer(pair["access"])).status_code == 401


def test_logout_by_access_token_ends_its_session(alice: Any, strategy: str) -> None:
    pair = login()
    for ended in (1, 0):
        answer = http.post("/auth/logout/", **bearer(pair["access"]))
        assert (answer.status_code, answer.json()) == (200, {"sessions_ended": ended})
    assert post("/auth/token/refresh/", refresh=pair["refresh"]).status_code == 401


def test_anonymous_and_expired_logouts_are_401_and_write_nothing(alice: Any, store: redis.Redis) -> None:
    pair = login()
    expired = tokens.AccessToken(pair["access"])
    expired.set_exp(lifetime=timedelta(seconds=-10))
    before = everything_in(store)
    for extra in ({}, bearer(expired), bearer("forged")):
        answer = http.post("/auth/logout/", **extra)
        assert answer.status_code == 401 and answer["WWW-Authenticate"] == 'Bearer realm="api"'
    for path in ("/auth/logout/others/", "/auth/logout/all/"):
        assert http.post(path).status_code == 401
    assert http.get("/auth/sessions/").status_code == 401
    assert everything_in(store) == before


def test_logout_others_and_all(alice: Any, bob: Any, strategy: str) -> None:
    here, there, elsewhere = (login() for _ in range(3))
    other = login("/auth", "bob", "battery staple")
    assert http.post("/auth/logout/others/", **bearer(here["access"])).json() == {"sessions_ended": 2}
    assert http.post("/auth/logout/others/", **bearer(here["access"])).json() == {"sessions_ended": 0}
    states = [http.get("/stateless/", **bearer(p["access"])).status_code for p in (here, there, elsewhere, other)]
    assert states == [200, 401, 401, 200]
    assert http.post("/auth/logout/all/", **bearer(here["access"])).json() == {"sessions_ended": 1}
    assert http.post("/auth/logout/all/", **bearer(here["access"])).status_code == 401
    assert http.get("/stateless/", **bearer(other["access"])).status_code == 200


# The list of sessions ----------------------------------------------------------------------------------------------


def test_the_list_shows_each_session_and_which_one_asks(alice: Any, bob: Any) -> None:
    agent = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:130.0) Gecko/20100101 Firefox/130.0"
    first = login(HTTP_USER_AGENT=agent)
    second = login()
    login("/auth", "bob", "battery staple")
    rows = http.get("/auth/sessions/", **bearer(first["access"])).json()
    assert [row["sid"] for row in rows] == [claims(p["refresh"])["sid"] for p in (second, first)]
    assert [row["current"] for row in rows] == [False, True]
    assert set(rows[1]) == {
        "sid",
        "current",
        "created_at",
        "last_refreshed_at",
        "expires_at",
        "ip",
        "location",
        "user_agent",
        "device",
        "label",
    }
    assert rows[1]["user_agent"] == agent and rows[1]["device"] == "Firefox on Windows"
    assert rows[0]["device"] == "" and rows[1]["ip"] == "127.0.0.1"


def test_one_session_is_ended_from_another(alice: Any, strategy: str) -> None:
    here, there = login(), login()
    sid = claims(there["refresh"])["sid"]
    for _ in range(2):
        assert http.delete(f"/auth/sessions/{sid}/", **bearer(here["access"])).status_code == 204
    assert http.get("/stateless/", **bearer(there["access"])).status_code == 401
    assert http.get("/stateless/", **bearer(here["access"])).status_code == 200


def test_nobody_ends_somebody_elses_session(alice: Any, bob: Any, store: redis.Redis, strategy: str) -> None:
    mine, theirs = login(), login("/auth", "bob", "battery staple")
    before = everything_in(store)
    sid = claims(theirs["refresh"])["sid"]
    # Nothing is acknowledged, and nothing is written: neither in Redis nor in the journal, however often.
    assert http.delete(f"/auth/sessions/{sid}/", **bearer(mine["access"])).status_code == 404
    assert http.get("/stateless/", **bearer(theirs["access"])).status_code == 200
    assert http.delete(f"/auth/sessions/{'x' * 22}/", **bearer(mine["access"])).status_code == 404
    for malformed in ("short", "x" * 65, "a*b" + "x" * 20, "%7B%7D" + "x" * 20, "%0A" + "x" * 20, "%00" + "x" * 20):
        assert http.delete(f"/auth/sessions/{malformed}/", **bearer(mine["access"])).status_code == 404
    assert everything_in(store) == before and not Revocation.objects.exclude(kind="store").exists()


def test_ones_own_session_is_ended_even_where_the_store_has_lost_it(
    alice: Any, store: redis.Redis, settings: Any
) -> None:
    settings.JWT_REDIS = {"ALIAS": "sessions", "STRATEGY": "blacklist"}
    pair = login()
    sid = claims(pair["refresh"])["sid"]
    store.hset("jwt:{log}:marker", "born_ms", 1)
    store.delete(f"jwt:{{{alice.pk}}}")
    markers.reset()
    assert http.get("/stateless/", **bearer(pair["access"])).status_code == 200
    assert http.delete(f"/auth/sessions/{sid}/", **bearer(pair["access"])).status_code == 204
    assert http.get("/stateless/", **bearer(pair["access"])).status_code == 401
