"""Forged, truncated, odd and damaged: each gets a clear refusal, none a 500, and nothing half-written."""

from __future__ import annotations

import base64
import json
import logging
import time
from typing import Any

import jwt
import pytest
import redis
from django.conf import settings
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from rest_framework.test import APIClient
from rest_framework_simplejwt.state import token_backend

from jwt_redis import journal, sessions
from jwt_redis.models import Revocation

pytestmark = pytest.mark.django_db

http = APIClient(raise_request_exception=True)
SID = "s" * 22
# Not behind Simple JWT's own class, whose get_user() lets a ValueError out.
PROTECTED = ["/whoami/", "/stateless/", "/auth/sessions/"]
POSTS = ["/auth/token/refresh/", "/auth/token/verify/", "/auth/token/blacklist/", "/auth/logout/"]


def forge(key: str = settings.SECRET_KEY, algorithm: str = "HS256", **changes: Any) -> str:
    now = int(time.time())
    payload = {
        "token_type": "access",
        "exp": now + 300,
        "iat": now,
        "jti": "abc",
        "user_id": "1",
        "sid": SID,
        "auth_time": now,
        **changes,
    }
    return jwt.encode({k: v for k, v in payload.items() if v is not ...}, key, algorithm=algorithm)


def raw(payload: str) -> str:
    """A signed token whose payload is not what a JSON encoder would write."""

    def b64(data: bytes) -> bytes:
        return base64.urlsafe_b64encode(data).rstrip(b"=")

    signing_input = b64(b'{"alg":"HS256","typ":"JWT"}') + b"." + b64(payload.encode())
    algorithm = jwt.get_algorithm_by_name("HS256")
    key = algorithm.prepare_key(settings.SECRET_KEY)
    return (signing_input + b"." + b64(algorithm.sign(signing_input, key))).decode()


def ask_everywhere(token: str, store: redis.Redis) -> list[Any]:
    """Send it wherever a token may be sent. Nothing may be accepted, nothing may break, nothing may be written."""
    before = snapshot(store)
    answers = [http.get(path, HTTP_AUTHORIZATION=f"Bearer {token}") for path in PROTECTED]
    answers += [http.post(path, {"refresh": token, "token": token}, format="json") for path in POSTS]
    answers.append(http.post("/auth/logout/", HTTP_AUTHORIZATION=f"Bearer {token}"))
    plain = http.get("/plain/", HTTP_AUTHORIZATION=f"Bearer {token}")
    assert plain.status_code == 200 and plain.json()["anonymous"]
    assert snapshot(store) == before
    return answers


def snapshot(store: redis.Redis) -> dict[str, Any]:
    return {key: store.hgetall(key) for key in store.scan_iter() if not key.startswith("jwt:{log}")}


def assert_refused(token: str, store: redis.Redis, *statuses: int) -> None:
    for answer in ask_everywhere(token, store):
        assert answer.status_code in (statuses or (400, 401)), (answer.status_code, answer.content)
        body = answer.json()
        assert body.get("detail") or body.get("non_field_errors") or body.get("refresh") or body.get("token"), body


WRONG_KINDS: list[Any] = [1, 0, True, ["a"], {"a": 1}, 1.5, ""]
ODD_TEXTS = ["x" * 10_000, "a:b", "a*b", "a{b}c", "a\nb", "a\x00b", "\ud83d\ude00", " ", "é" * 30]


@pytest.mark.parametrize("kind", ["access", "refresh", "sliding", "other", 1, None])
@pytest.mark.parametrize("missing", ["jti", "sid", "user_id", "exp", "token_type"])
def test_a_missing_claim_is_refused(alice: Any, store: redis.Redis, missing: str, kind: Any) -> None:
    changes = {"token_type": kind, "rotation": 0, missing: ...}
    # Blacklisting one that the server signed and nobody has is no error.
    for answer in ask_everywhere_but_writes(forge(**changes), store):
        assert answer.status_code in (400, 401), answer.content


def ask_everywhere_but_writes(token: str, store: redis.Redis) -> list[Any]:
    answers = [http.get(path, HTTP_AUTHORIZATION=f"Bearer {token}") for path in PROTECTED]
    return answers + [http.post(path, {"refresh": token, "token": token}, format="json") for path in POSTS[:2]]


@pytest.mark.parametrize("claim", ["jti", "sid", "user_id", "rotation", "iat", "auth_time", "exp"])
@pytest.mark.parametrize("kind", ["access", "refresh"])
def test_claims_of_the_wrong_kind_are_refused(alice: Any, store: redis.Redis, claim: str, kind: str) -> None:
    for value in [*WRONG_KINDS, *ODD_TEXTS, None, -1, 2**70]:
        token = forge(**{"token_type": kind, "rotation": 0, claim: value})
        for answer in ask_everywhere_but_writes(token, store):
            assert answer.status_code in (400, 401), (claim, value, answer.content)
        assert http.get("/plain/", HTTP_AUTHORIZATION=f"Bearer {token}").json()["anonymous"]


def test_odd_but_possible_ids_live_and_die_like_any_other(alice: Any, store: redis.Redis) -> None:
    from jwt_redis import recovery
    from jwt_redis.store import commands
    from jwt_redis.store.client import execute

    recovery.establish()

    for user in ["1", "a b", "a{b}", "{log}", "log", "x:y", "ü", "a" * 500, "%7B", "~abc", "0f8fad5b-d9cb-469f-a165"]:
        execute(commands.open_session(user, SID, lifetime=60, nonce="n", fingerprint="", device=""))
        for jti in ["a:b", "a*b", "a{b}", "ü"]:
            token = forge(user_id=user, jti=jti)
            assert http.get("/stateless/", HTTP_AUTHORIZATION=f"Bearer {token}").status_code == 200, user
            sessions.revoke_token(token)
            assert http.get("/stateless/", HTTP_AUTHORIZATION=f"Bearer {token}").status_code == 401
        sessions.end_all_sessions(user)
        assert http.get("/stateless/", HTTP_AUTHORIZATION=f"Bearer {forge(user_id=user)}").status_code == 401
    assert store.type("jwt:{log}") == "stream"


@pytest.mark.parametrize("user", ["abc", "-1", "0", str(2**64), "1.5", "\x00", "999999"])
def test_an_id_that_no_row_has_is_not_found(alice: Any, store: redis.Redis, user: str) -> None:
    from jwt_redis import recovery
    from jwt_redis.store import commands
    from jwt_redis.store.client import execute

    recovery.establish()

    execute(commands.open_session(user, SID, lifetime=60, nonce="n", fingerprint="", device=""))
    answer = http.get("/whoami/", HTTP_AUTHORIZATION=f"Bearer {forge(user_id=user)}")
    assert (answer.status_code, answer.json()["code"]) == (401, "user_not_found")
    refresh = forge(user_id=user, token_type="refresh", rotation=0)
    answer = http.post("/auth/token/refresh/", {"refresh": refresh}, format="json")
    assert answer.status_code == 401
    assert answer.json() == {"detail": "No active account found for the given token."}


def test_foreign_signatures_are_refused(alice: Any, store: redis.Redis) -> None:
    good = str(sessions.open_session(alice).access_token)
    head, body, signature = good.split(".")
    none = base64.urlsafe_b64encode(b'{"alg":"none","typ":"JWT"}').rstrip(b"=").decode()
    for token in [
        forge(key="another key that is long enough for HS256, as it has to be"),
        forge(algorithm="HS512"),
        jwt.encode({"user_id": "1"}, "", algorithm="none"),
        f"{none}.{body}.",
        f"{none}.{body}.{signature}",
        f"{head}.{body}.",
        f"{head}.{body}.{signature[:-1]}",
        f"{head}.{body[:-1]}.{signature}",
        f".{body}.{signature}",
        f"{good}.{signature}",
        f"{good}x",
        good[1:],
        good.upper(),
        "a.b.c",
        "..",
        ".",
        "é.é.é",
        "\x80\x81",
    ]:
        assert_refused(token, store)
    for length in range(0, len(good), 17):
        assert_refused(good[:length] or ".", store)


def test_another_audience_or_issuer_is_refused(alice: Any, store: redis.Redis, monkeypatch: Any) -> None:
    for name in ("audience", "issuer"):
        with monkeypatch.context() as patched:
            patched.setattr(token_backend, name, "ours")
            for token in (forge(), forge(aud="theirs", iss="theirs"), forge(aud=["a", 1])):
                assert_refused(token, store)


def test_a_header_nested_too_deep_is_refused(store: redis.Redis, db: None) -> None:
    """It needs no key: the header is read before the signature."""
    deep = base64.urlsafe_b64encode(b'{"a":' * 100_000 + b"1" + b"}" * 100_000).rstrip(b"=").decode()
    for path in POSTS:
        answer = http.post(path, {"refresh": f"{deep}.e30.x", "token": f"{deep}.e30.x"}, format="json")
        assert answer.status_code == 401, answer.content
    answer = http.get("/stateless/", HTTP_AUTHORIZATION=f"Bearer {deep}.e30.x")
    assert answer.status_code == 401


@pytest.mark.parametrize("exp", ["1e400", "-1e400", "NaN", "1" * 400, "10e17", '"soon"', "[]", "{}", "null", "true"])
def test_an_exp_out_of_this_world_is_refused(alice: Any, store: redis.Redis, exp: str) -> None:
    now = int(time.time())
    for kind in ("access", "refresh"):
        body = f'"token_type":"{kind}","iat":{now},"jti":"a","user_id":"1","sid":"{SID}","rotation":0'
        assert_refused(raw(f'{{{body},"exp":{exp}}}'), store)


def test_an_exp_in_the_far_future_does_not_outlive_the_session(alice: Any) -> None:
    token = sessions.open_session(alice)
    access = forge(exp=int(time.time()) + 10**9, user_id=str(alice.pk), sid=token["sid"])
    assert http.get("/stateless/", HTTP_AUTHORIZATION=f"Bearer {access}").status_code == 200
    sessions.end_session(alice, token["sid"])
    assert http.get("/stateless/", HTTP_AUTHORIZATION=f"Bearer {access}").status_code == 401


@pytest.mark.parametrize(
    "header",
    ["Bearer", "Bearer ", "Bearer a b", "Bearer a, Bearer b", "bearer x", "Token x", " ", "Bearer \xff\xfe", "é"],
)
def test_odd_headers_are_401(db: None, header: str) -> None:
    for path in ("/whoami/", "/stateless/", "/auth/sessions/", "/auth/logout/all/"):
        method = http.post if "logout" in path else http.get
        assert method(path, HTTP_AUTHORIZATION=header).status_code == 401
    assert http.get("/plain/", HTTP_AUTHORIZATION=header).json()["anonymous"]
    assert http.post("/auth/logout/", HTTP_AUTHORIZATION=header).status_code == 401


BODIES = ["[]", '["a"]', '"text"', "null", "1", "{", "", "{}", '{"refresh": [], "token": []}', "\xff"] + [
    f'{{"refresh": {value}, "token": {value}}}' for value in ("1", "null", "{}", '""', '"\\ud800"', '"\\u0000"', "true")
]


@pytest.mark.parametrize("body", BODIES)
def test_odd_bodies_are_400_or_401(db: None, store: redis.Redis, body: str) -> None:
    for path in [*POSTS, "/auth/token/", "/auth/sliding/refresh/"]:
        answer = http.generic("POST", path, body.encode("latin-1"), content_type="application/json")
        assert answer.status_code in (400, 401), (path, answer.content)
    assert store.dbsize() == 0


# Damage in Redis ---------------------------------------------------------------------------------------------------

GARBAGE = ["", "garbage", b"\xff\xfe\x00", "1.2.3", "0.x.0.1.1.n.f", "-1.1.0.1.1.n.f", "ended.x.y", "9" * 1000]


@pytest.mark.parametrize("strategy", ["whitelist", "blacklist"])
@pytest.mark.parametrize("value", GARBAGE)
def test_a_damaged_session_is_no_session(
    alice: Any, store: redis.Redis, settings: Any, caplog: Any, strategy: str, value: Any
) -> None:
    settings.JWT_REDIS = {"ALIAS": "sessions", "STRATEGY": strategy}
    token = sessions.open_session(alice)
    access = str(token.access_token)
    store.hset(f"jwt:{{{alice.pk}}}", f"sid:{token['sid']}", value)
    with caplog.at_level(logging.ERROR):
        answer = http.get("/whoami/", HTTP_AUTHORIZATION=f"Bearer {access}")
    assert (answer.status_code, answer.json()["reason"]) in ((401, "no_session"), (401, "store_lost"))
    assert any(getattr(record, "event", "") == "damaged_value" for record in caplog.records)
    answer = http.post("/auth/token/refresh/", {"refresh": str(token)}, format="json")
    assert (answer.status_code, answer.json()["reason"]) == (401, "no_session")
    assert_a_login_works(alice)


@pytest.mark.parametrize("strategy", ["whitelist", "blacklist"])
def test_a_key_of_the_wrong_type_is_no_session(
    alice: Any, store: redis.Redis, settings: Any, caplog: Any, strategy: str
) -> None:
    settings.JWT_REDIS = {"ALIAS": "sessions", "STRATEGY": strategy}
    token = sessions.open_session(alice)
    for key in (f"jwt:{{{alice.pk}}}", f"jwt:{{{alice.pk}}}:devices"):
        store.delete(key)
        store.rpush(key, "x")
    answer = http.get("/whoami/", HTTP_AUTHORIZATION=f"Bearer {token.access_token}")
    assert answer.status_code == 401 and "wrong type" in caplog.text
    assert sessions.list_sessions(alice) == []
    assert_a_login_works(alice)


@pytest.mark.parametrize("strategy", ["whitelist", "blacklist"])
@pytest.mark.parametrize("damage", ["born_ms", "not_before", "revocations", "store_id", "no birth", "type", "gone"])
def test_a_damaged_marker_trusts_nobody_from_before(
    alice: Any, store: redis.Redis, settings: Any, strategy: str, damage: str
) -> None:
    from jwt_redis.store import markers

    settings.JWT_REDIS = {"ALIAS": "sessions", "STRATEGY": strategy}
    token = sessions.open_session(alice)
    time.sleep(0.005)
    if damage in ("type", "gone"):
        store.delete("jwt:{log}:marker")
        if damage == "type":
            store.set("jwt:{log}:marker", "x")
    elif damage == "no birth":
        store.hdel("jwt:{log}:marker", "born_ms")
    elif damage == "store_id":
        store.hdel("jwt:{log}:marker", "store_id", "born_ms")
    else:
        store.hset("jwt:{log}:marker", damage, "garbage")
    markers.reset()
    answer = http.get("/whoami/", HTTP_AUTHORIZATION=f"Bearer {token.access_token}")
    if strategy == "blacklist" and damage != "not_before":
        # The journal knows of each revocation since before that token: nobody need be refused.
        assert answer.status_code == 200
    else:
        assert answer.status_code == 401 and answer.json()["reason"] in ("store_lost", "all_revoked")
    time.sleep(0.005)
    assert_a_login_works(alice)


def assert_a_login_works(alice: Any) -> None:
    answer = http.post("/auth/token/", {"username": "alice", "password": "correct horse"}, format="json")
    assert answer.status_code == 200, answer.content
    assert http.get("/whoami/", HTTP_AUTHORIZATION=f"Bearer {answer.json()['access']}").status_code == 200
    answer = http.post("/auth/token/refresh/", {"refresh": answer.json()["refresh"]}, format="json")
    assert answer.status_code == 200


# Anything ----------------------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
CLAIMS = ["token_type", "exp", "iat", "jti", "user_id", "sid", "auth_time", "rotation", "nbf", "aud", "iss"]


@hypothesis_settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)
@given(changes=st.dictionaries(st.sampled_from(CLAIMS), JSON, max_size=4), kind=st.sampled_from(["access", "refresh"]))
def test_no_signed_payload_is_a_500_or_lets_anybody_in(alice: Any, changes: dict[str, Any], kind: str) -> None:
    now = int(time.time())
    base = {"token_type": kind, "exp": now + 300, "iat": now, "jti": "a", "user_id": "1", "sid": SID, "rotation": 0}
    token = raw(json.dumps({**base, **changes}))
    for path in PROTECTED:
        assert http.get(path, HTTP_AUTHORIZATION=f"Bearer {token}").status_code == 401
    for path in POSTS:
        assert http.post(path, {"refresh": token, "token": token}, format="json").status_code < 500


@pytest.mark.parametrize("user", ["\ud800", "a\x00b"])
def test_a_user_id_that_no_database_takes_is_written_in_another_way(alice: Any, user: str) -> None:
    mine = sessions.open_session(alice)
    pair = sessions.open_session(alice)
    pair.payload["user_id"] = user
    signed = pair.get_token_backend().encode(pair.payload)
    for where in ("/auth/logout/", "/auth/token/blacklist/"):
        assert http.post(where, {"refresh": signed}, format="json").status_code in (200, 204)
    assert sessions.explain(str(mine)).allowed
    with journal.acting_as(user):
        sessions.end_session(alice, mine["sid"])
    assert Revocation.objects.get(target=mine["sid"]).actor == "".join(c if c.isalpha() else "?" for c in user)
