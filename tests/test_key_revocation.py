"""A leaked key is retired: whatever it signed or will sign is refused, in every process, and stays so."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
import redis
from django.conf import settings
from django.test import override_settings
from rest_framework.test import APIClient
from rest_framework_simplejwt import state
from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.tokens import UntypedToken as StockUntypedToken

from jwt_redis import decoding, near_cache, sessions, signals, status_list
from jwt_redis.exceptions import NoSigningKey, NotReplicated, RevocationUnavailable, RevokedToken
from jwt_redis.models import Revocation
from jwt_redis.near_cache.memory import Memory
from jwt_redis.sessions.publishing import hear_of_keys
from jwt_redis.signing import backends, key_files
from jwt_redis.signing.keys import make_key
from jwt_redis.store import client, commands, gate, markers
from jwt_redis.store.commands import LogEntry
from jwt_redis.store.conversation import conversation
from jwt_redis.testing.servers import RedisServer
from jwt_redis.tokens import AccessToken, RefreshToken
from jwt_redis.verdicts import NO_KID, read_claims
from tests.support.every_worker import until_all_write
from tests.support.server import http_server
from tests.support.topology import pointed_at
from tests.support.waiting import wait_for
from tests.test_near_cache import start_following
from tests.test_redis_failure import bearer

pytestmark = pytest.mark.django_db(transaction=True)

MARKER, LOG = "jwt:{log}:marker", "jwt:{log}"
SECRETS = {
    "stolen": "a secret that somebody has taken along, long enough for HS256",
    "other": "a secret that nobody has taken along, long enough for HS256",
}
KEYS = {kid: {"alg": "HS256", "key": secret} for kid, secret in SECRETS.items()}
http = APIClient()


def signed_by(kid: str | None, **more: Any) -> Any:
    made = {"keys": KEYS, "signing": kid}
    return override_settings(JWT_REDIS={**settings.JWT_REDIS, "KEYS": made, **more})


@pytest.fixture(params=["whitelist", "blacklist"])
def strategy(request: pytest.FixtureRequest) -> Iterator[str]:
    with signed_by("other", STRATEGY=request.param):
        yield request.param


def forge(user: Any, sid: str | None, key: str | None = "stolen", **claims: Any) -> str:
    """As a thief does who holds the key: any claim is free."""
    now = int(time.time())
    body = {"token_type": "access", "user_id": str(user.pk), "jti": "forged", "sid": sid, "iat": now, "exp": now + 250}
    secret = SECRETS[key] if key else settings.SECRET_KEY
    return jwt.encode({**body, **claims}, secret, headers={"kid": key} if key else None)


def status(token: Any, path: str = "/stateless/") -> tuple[int, str | None]:
    response = http.get(path, **bearer(token))
    return response.status_code, response.json().get("reason")


def heard_by_nobody() -> None:
    """Another process revoked it, and this one has not read the marker since."""
    backends.refuse(frozenset())


def test_all_that_the_key_signed_is_refused_and_nothing_else(strategy: str, alice: Any, bob: Any) -> None:
    mine = sessions.open_session(alice)
    access, refresh = str(mine.access_token), str(mine)
    with signed_by("stolen", STRATEGY=strategy):
        theirs = sessions.open_session(bob)
        stolen, stolen_refresh = str(theirs.access_token), str(theirs)
    forged = forge(bob, theirs["sid"], auth_time=int(time.time()))
    assert status(stolen) == status(forged) == (200, None)
    heard: list[dict[str, Any]] = []

    def receiver(**facts: Any) -> None:
        heard.append(facts)

    signals.key_revoked.connect(receiver)
    try:
        assert sessions.revoke_key("stolen")
        assert not sessions.revoke_key("stolen")
    finally:
        signals.key_revoked.disconnect(receiver)
    assert [(facts["kid"], facts["reason"]) for facts in heard] == [("stolen", "key_leaked")]
    ahead = forge(bob, theirs["sid"], iat=int(time.time()) - 1, exp=int(time.time()) + 10**8)
    anybody = forge(alice, mine["sid"], auth_time=int(time.time()))
    # Here it is not even verified any more.
    for token in (stolen, forged, ahead, anybody):
        assert status(token)[0] == 401
        with pytest.raises(TokenError):
            StockUntypedToken(token)
        with pytest.raises(TokenError):
            decoding.decode_to_end(token)
    assert http.post("/auth/token/refresh/", {"refresh": stolen_refresh}).status_code == 401
    # In a process that has not heard of it the verdict says so.
    for token in (stolen, forged, ahead, anybody):
        heard_by_nobody()
        assert status(token) == (401, "key_revoked")
    heard_by_nobody()
    markers.reset()
    assert sessions.explain(stolen).reason == "key_revoked"
    heard_by_nobody()
    markers.reset()
    response = http.post("/auth/token/refresh/", {"refresh": stolen_refresh})
    assert (response.status_code, response.json()["reason"]) == (401, "key_revoked")
    # Who was signed in by another key stays so.
    assert status(access) == (200, None)
    assert http.post("/auth/token/refresh/", {"refresh": refresh}).status_code == 200


async def test_so_it_is_in_async_code(django_user_model: Any) -> None:
    alice = await django_user_model.objects.acreate(username="carol")
    with signed_by("stolen"):
        mine = await sessions.aopen_session(alice)
        token = AccessToken(str(mine.access_token))
        assert (await sessions.acheck(token)).allowed
        assert await sessions.arevoke_key("stolen", reason="by_hand")
        assert (await sessions.acheck(token)).reason == "key_revoked"
        with pytest.raises(RevokedToken, match="key_revoked"):
            await sessions.arotate(mine, alice)


def test_the_key_of_tokens_without_a_kid_is_one_like_others(alice: Any, store: redis.Redis) -> None:
    before = sessions.open_session(alice)
    plain = str(before.access_token)
    with signed_by("other"):
        named = str(sessions.open_session(alice).access_token)
        assert status(plain) == (200, None)
        sessions.revoke_key(NO_KID)
        assert status(plain)[0] == 401
        heard_by_nobody()
        assert status(plain) == (401, "key_revoked")
        assert status(forge(alice, before["sid"], None))[0] == 401
        assert status(named) == (200, None)
    # Nor in a process that was not switched over yet; there a token that is minted would be refused.
    assert status(plain) == (401, "key_revoked")
    with signed_by(None):
        assert status(plain)[0] == 401
        with pytest.raises(NoSigningKey):
            str(sessions.open_session(alice))
        assert http.post("/auth/token/", {"username": "alice", "password": "correct horse"}).status_code == 503


def test_a_refresh_token_of_the_key_is_not_exchanged_by_a_process_that_knows_nothing_yet(
    alice: Any, store: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(markers, "MAX_AGE", 60.0)
    with signed_by("stolen"):
        mine = sessions.open_session(alice)
        refresh = RefreshToken(str(mine))
    with signed_by("other"):
        assert sessions.rotate(RefreshToken(str(sessions.open_session(alice))), alice)
        assert markers.known() is not None
        # By somebody else: the copy of the marker is a second old at most, and the script looks for itself.
        store.hset(MARKER, "refused_keys", "elsewhere,stolen")
        with pytest.raises(RevokedToken, match="key_revoked"):
            sessions.rotate(refresh, alice)
        assert len(sessions.list_sessions(alice)) == 2


@pytest.mark.parametrize("left", [[], [["session", "a" * 22, "2000000000", "refresh_token_reused", ""]]])
def test_in_cluster_what_an_attempt_has_ended_is_logged_although_the_next_one_is_refused(
    left: list[list[str]], alice: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own log entries did not get through, and then came the end of the key."""
    monkeypatch.setattr(markers, "MAX_AGE", 60.0)
    token = sessions.open_session(alice)
    sessions.check(token, directly=True)
    claims, marker = decoding.claims_of(token), markers.known()
    assert marker is not None
    rotate = commands.rotate(
        claims, lifetime=60, nonce="abcdef", fingerprints=(), device="", marker=marker, rotating=True
    )
    talk = conversation((rotate,), True, "a store", [*left])
    sent = [next(talk)]
    with pytest.raises(StopIteration) as done:
        sent.append(talk.send([["a store", claims.key, None]]))
        talk.send([[1]])
    assert done.value.value[0].reason == "key_revoked"
    assert [words[0] for wire in sent for words in wire] == ["HMGET", *["EVALSHA"] * len(left)]
    assert all("a" * 22 in str(wire) for wire in sent[1:])


def test_names_that_are_part_of_one_another_are_told_apart(alice: Any, store: redis.Redis) -> None:
    with signed_by("stolen"):
        token = RefreshToken(str(sessions.open_session(alice)))
        for kid in ("stole", "tolen", "stolen2"):
            assert sessions.revoke_key(kid)
        assert store.hget(MARKER, "refused_keys") == "stole,tolen,stolen2"
        assert sessions.rotate(token, alice)
    with pytest.raises(ValueError, match="kid"):
        sessions.revoke_key("a,b")


@pytest.mark.parametrize("lost", ["everything", "the field", "a replica's state"])
def test_what_redis_forgets_comes_back_from_the_journal(
    strategy: str, lost: str, alice: Any, bob: Any, store: redis.Redis
) -> None:
    sessions.open_session(alice)
    sessions.revoke_key("stolen")
    Revocation.objects.update(created_at="2020-01-01T00:00:00Z")
    if lost == "everything":
        store.flushall()
    elif lost == "the field":
        servers = [name for name in store.hkeys(MARKER) if name.startswith("trusted:")]
        store.hdel(MARKER, "refused_keys", *servers)
    else:
        store.hdel(MARKER, "refused_keys")
        store.hset(MARKER, "revocations", 0)
    client.reset()
    gate.reset()
    heard_by_nobody()
    markers.reset()
    sessions.check(AccessToken(forge(bob, "s" * 22, "other")))
    opened = sessions.open_session(bob)
    assert store.hget(MARKER, "refused_keys") == "stolen"
    assert status(str(opened.access_token)) == (200, None)
    heard_by_nobody()
    markers.reset()
    assert status(forge(bob, opened["sid"], auth_time=int(time.time()))) == (401, "key_revoked")


def test_a_key_that_is_refused_once_more_is_so_before_anybody_is_answered(
    strategy: str, alice: Any, store: redis.Redis, monkeypatch: Any
) -> None:
    sessions.open_session(alice)
    assert sessions.revoke_key("stolen") is True
    Revocation.objects.update(created_at="2020-01-01T00:00:00Z")
    store.flushall()
    found: list[Any] = []
    real = markers.trust

    def trust(marker: Any) -> None:
        found.append(store.hget(MARKER, "refused_keys"))
        real(marker)

    monkeypatch.setattr(markers, "trust", trust)
    # Were it killed now, nobody would tell Redis any more: the row is there, and not pending.
    assert sessions.revoke_key("stolen") is False
    assert found == ["stolen"]


def test_the_row_is_never_past(alice: Any) -> None:
    from django.core.management import call_command

    sessions.revoke_key("stolen")
    row = Revocation.objects.get(kind="key")
    assert (row.target, row.user, row.reason) == ("stolen", "", "key_leaked")
    assert row.until.year == 9999 or row.until.year > 9000
    call_command("jwt_cleanup")
    assert Revocation.objects.filter(kind="key").exists()


def test_while_redis_is_away_it_waits_in_the_journal_and_nobody_is_let_in(alice: Any) -> None:
    with RedisServer(options={"appendonly": "yes"}) as server, pointed_at(server), signed_by("stolen"):
        token = str(sessions.open_session(alice).access_token)
        assert status(token) == (200, None)
        server.kill()
        with pytest.raises(RevocationUnavailable):
            sessions.revoke_key("stolen")
        assert status(token)[0] == 503
        server.start()
        with signed_by("other"):
            heard_by_nobody()
            wait_for(lambda: status(token)[0] != 503, "Redis is asked again", 15)
            assert Revocation.objects.get(kind="key").applied_at is not None
            heard_by_nobody()
            assert status(token) == (401, "key_revoked")


def test_fail_open_lets_through_nothing_of_a_key_that_was_heard_of(alice: Any) -> None:
    with RedisServer() as server, pointed_at(server), signed_by("other", ON_REDIS_FAILURE="allow"):
        good = str(sessions.open_session(alice).access_token)
        sid = AccessToken(good)["sid"]
        bad = AccessToken(forge(alice, sid))
        sessions.revoke_key("stolen")
        assert sessions.check(bad).reason == "key_revoked"
        server.kill()
        assert sessions.check(AccessToken(good)).allowed
        with pytest.raises(RevocationUnavailable):
            sessions.check(bad)
        assert status(forge(alice, sid))[0] == 401


def test_observing_lets_nothing_of_the_key_through(alice: Any) -> None:
    with signed_by("stolen", OBSERVE=True):
        mine = sessions.open_session(alice)
        access, refresh = str(mine.access_token), RefreshToken(str(mine))
        sessions.end_session(alice, mine["sid"])
        assert status(access) == (200, None)
        sessions.revoke_key("stolen")
        heard_by_nobody()
        with signed_by("other", OBSERVE=True):
            assert status(access) == (401, "key_revoked")
            with pytest.raises(RevokedToken, match="key_revoked"):
                sessions.rotate(refresh, alice)


@pytest.mark.parametrize("is_listed", [False, True])
def test_observing_exchanges_no_token_of_the_key_that_has_no_session(
    is_listed: bool, alice: Any, store: redis.Redis
) -> None:
    legacy = {"LEGACY_TOKENS": "adopt"} if is_listed else {}
    with signed_by("other", OBSERVE=True, **legacy):
        forged: Any = {"token_type": "refresh", "exp": int(time.time()) + 1000}
        refresh = RefreshToken(forge(alice, None, **forged))
        if is_listed:
            store.set("jwt:{!forged}", refresh["exp"])
        assert sessions.rotate(RefreshToken(forge(alice, None, "other", **forged)), alice)
        sessions.revoke_key("stolen")
        heard_by_nobody()
        with pytest.raises(RevokedToken, match="key_revoked"):
            sessions.rotate(refresh, alice)


def test_observing_while_redis_is_away_exchanges_none_either(alice: Any) -> None:
    with RedisServer() as server, pointed_at(server), signed_by("stolen", OBSERVE=True):
        mine = sessions.open_session(alice)
        refresh = RefreshToken(str(mine))
        sessions.revoke_key("stolen")
        server.kill()
        with pytest.raises(RevocationUnavailable):
            sessions.rotate(refresh, alice)


def test_an_answer_that_was_long_on_its_way_takes_nothing_back(alice: Any) -> None:
    """Who follows the log had asked before the key was revoked, and hears the answer after who asked later."""
    with signed_by("other"):
        sid = sessions.open_session(alice)["sid"]
        bad = AccessToken(forge(alice, sid))
        asked_at, known = time.monotonic(), markers.trusted_store()
        late = client.execute(commands.read_marker())
        sessions.revoke_key("stolen")
        assert sessions.check(bad).reason == "key_revoked"
        markers.seen(late, asked_at, known)
        assert backends.refused() == {"stolen"}
        assert sessions.check(bad).reason == "key_revoked"


def test_a_token_from_before_there_were_sessions_is_not_adopted(alice: Any, store: redis.Redis) -> None:
    now = int(time.time())
    claims = {"token_type": "refresh", "user_id": str(alice.pk), "jti": "before", "iat": now - 100, "exp": now + 1000}
    token = jwt.encode(claims, settings.SECRET_KEY)
    with signed_by("other", LEGACY_TOKENS="adopt"):
        assert http.post("/auth/token/refresh/", {"refresh": token}).status_code == 200
        another = jwt.encode({**claims, "jti": "another"}, settings.SECRET_KEY)
        sessions.revoke_key(NO_KID)
        heard_by_nobody()
        response = http.post("/auth/token/refresh/", {"refresh": another})
        assert (response.status_code, response.json()["reason"]) == (401, "key_revoked")
        assert len(sessions.list_sessions(alice)) == 1


# The status list --------------------------------------------------------------------------------------------------


def with_lists(kid: str | None, **more: Any) -> Any:
    return signed_by(kid, STATUS_LIST={"uri": "https://example.com/status/"}, **more)


def list_of(token: Any) -> str:
    return str(token.payload["status"]["status_list"]["uri"].rpartition("/")[2])


def signer_of(found: Any) -> str | None:
    return jwt.get_unverified_header(found.token).get("kid")


def refuse_elsewhere(store: redis.Redis, kid: str) -> None:
    """As another process does, of which this one has heard nothing."""
    refused = store.hget(MARKER, "refused_keys")
    store.hset(MARKER, "refused_keys", f"{refused},{kid}" if refused else kid)


@pytest.mark.parametrize("is_withdrawn", [False, True])
def test_a_list_that_a_leaked_key_signed_is_signed_anew_at_once(
    is_withdrawn: bool, alice: Any, store: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(markers, "MAX_AGE", 60.0)
    with with_lists("stolen"):
        list_id = list_of(sessions.open_session(alice))
        if is_withdrawn:
            sessions.revoke_everything()
        first = sessions.status_list_token(list_id)
        assert signer_of(first) == "stolen"
        (key,) = store.keys("*:withdrawn" if is_withdrawn else "*:signed")
        assert store.get(key).split("|")[1:] == ["stolen", first.token]
    with with_lists("other"):
        # It is kept, whoever signs now: nothing is wrong with it.
        assert sessions.status_list_token(list_id).token == first.token
        refuse_elsewhere(store, "stole")
        refuse_elsewhere(store, "stolen2")
        assert sessions.status_list_token(list_id).token == first.token
        # Somebody is at it already, and may be for long: what is refused is not served meanwhile.
        store.set(key.rpartition(":")[0] + ":signing", "1")
        refuse_elsewhere(store, "stolen")
        assert markers.known() is not None
        assert signer_of(sessions.status_list_token(list_id)) == "other"
        assert store.get(key).split("|")[1] == "other"
        again = sessions.status_list_token(list_id).token
        assert sessions.status_list_token(list_id).token == again


def test_a_list_as_it_was_kept_before_keys_were_named_is_signed_anew(alice: Any, store: redis.Redis) -> None:
    with with_lists("other"):
        list_id = list_of(sessions.open_session(alice))
        sessions.status_list_token(list_id)
        (key,) = store.keys("*:signed")
        moment, _, token = store.get(key).split("|")
        store.set(key, f"{moment}|{token}")
        assert signer_of(sessions.status_list_token(list_id)) == "other"
        assert store.get(key).split("|")[1] == "other"


async def test_nor_is_it_served_by_async_code(django_user_model: Any, store: redis.Redis) -> None:
    alice = await django_user_model.objects.acreate(username="carol")
    with with_lists("stolen"):
        list_id = list_of(await sessions.aopen_session(alice))
        await sessions.astatus_list_token(list_id)
        refuse_elsewhere(store, "stolen")
        with pytest.raises(NoSigningKey):
            await sessions.astatus_list_token(list_id)


@pytest.mark.parametrize("kid", ["stolen", None])
def test_no_list_is_signed_by_a_refused_key_not_even_by_a_process_that_has_not_heard(
    kid: str | None, alice: Any, store: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(markers, "MAX_AGE", 60.0)
    with with_lists(kid):
        list_id = list_of(sessions.open_session(alice))
        hear_of_keys()
        refuse_elsewhere(store, kid or NO_KID)
        assert markers.known() is not None and not backends.refused()
        with pytest.raises(NoSigningKey):
            sessions.status_list_token(list_id)
        assert not store.keys("*:signed")
        # Nobody is told that all is well, and nobody keeps it.
        with override_settings(ROOT_URLCONF="tests.projects.status_urls"):
            answer = http.get(f"/status/{list_id}")
        assert (answer.status_code, answer["Cache-Control"]) == (503, "no-store")
        assert int(answer["Retry-After"]) > 0


def test_nor_by_simple_jwts_own_where_there_are_no_others(alice: Any, store: redis.Redis) -> None:
    with override_settings(JWT_REDIS={**settings.JWT_REDIS, "STATUS_LIST": {"uri": "https://example.com/status/"}}):
        list_id = list_of(sessions.open_session(alice))
        assert signer_of(sessions.status_list_token(list_id)) is None
        assert store.get(store.keys("*:signed")[0]).split("|")[1] == NO_KID
        refuse_elsewhere(store, NO_KID)
        with pytest.raises(NoSigningKey):
            sessions.status_list_token(list_id)
        # By now this process has heard of it, for whatever else is to be signed.
        with pytest.raises(NoSigningKey):
            backends.signs_with()


def test_a_list_that_was_being_signed_when_the_key_was_refused_is_served_to_nobody_else(
    alice: Any, store: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign = status_list.sign

    def overtaken(payload: Any) -> str:
        made = sign(payload)
        refuse_elsewhere(store, "stolen")
        return made

    with with_lists("stolen"):
        list_id = list_of(sessions.open_session(alice))
        monkeypatch.setattr(status_list, "sign", overtaken)
        assert signer_of(sessions.status_list_token(list_id)) == "stolen"
        monkeypatch.setattr(status_list, "sign", sign)
    with with_lists("other"):
        assert signer_of(sessions.status_list_token(list_id)) == "other"


# Without a journal ------------------------------------------------------------------------------------------------


WHO_KNOWS_NOTHING = """
import django
django.setup()
from django.conf import settings
from django.test import override_settings
from jwt_redis import sessions
with override_settings(JWT_REDIS={**settings.JWT_REDIS, "JOURNAL": False}):
    sessions.list_sessions(1)
"""


@pytest.mark.parametrize("who", ["this process finds it empty", "another one did"])
def test_without_a_journal_a_process_that_runs_reminds_the_store(
    strategy: str, who: str, alice: Any, store: redis.Redis
) -> None:
    with signed_by("other", STRATEGY=strategy, JOURNAL=False):
        sessions.open_session(alice)
        sessions.revoke_key("stolen")
        sessions.revoke_key("another")
        store.flushall()
        if who == "another one did":
            env = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"}
            subprocess.run([sys.executable, "-W", "ignore", "-c", WHO_KNOWS_NOTHING], env=env, check=True)
            assert store.exists(MARKER) and not store.hexists(MARKER, "refused_keys")
        mine = sessions.open_session(alice)
        assert status(str(mine.access_token)) == (200, None)
        assert store.hget(MARKER, "refused_keys") == "another,stolen"
        assert backends.refused() == {"stolen", "another"}
        heard_by_nobody()
        markers.reset()
        assert status(forge(alice, mine["sid"], auth_time=int(time.time()))) == (401, "key_revoked")


@pytest.mark.parametrize("journal", [True, False])
def test_a_replica_that_is_away_holds_nobody_up_while_the_keys_are_told_again(
    journal: bool, alice: Any, store: redis.Redis
) -> None:
    with signed_by("other", JOURNAL=journal, WAIT_REPLICAS=(1, 0.02)):
        sessions.open_session(alice)
        with pytest.raises(NotReplicated):
            sessions.revoke_key("stolen")
        heard_by_nobody()
        sessions.list_sessions(alice)
        markers.reset()
        sessions.open_session(alice)
        assert backends.refused() == {"stolen"}
        store.flushall()
        if journal:
            heard_by_nobody()
        mine = sessions.open_session(alice)
        assert status(str(mine.access_token)) == (200, None)
        assert store.hget(MARKER, "refused_keys") == "stolen"
        markers.reset()
        assert status(forge(alice, mine["sid"], auth_time=int(time.time())))[0] == 401


def test_while_no_key_signs_no_token_is_used_up_and_no_session_makes_room(alice: Any) -> None:
    alice.set_password("secret")
    alice.save()
    more = {"REFRESH_GRACE": 0, "MAX_SESSIONS": 1}
    sign_in = {"username": alice.username, "password": "secret"}
    with signed_by("other", **more):
        refresh = str(sessions.open_session(alice))
    with signed_by("stolen", **more):
        sessions.revoke_key("stolen")
        assert http.post("/auth/token/", sign_in).status_code == 503
        assert http.post("/auth/token/refresh/", {"refresh": refresh}).status_code == 503
    with signed_by("other", **more):
        assert http.post("/auth/token/refresh/", {"refresh": refresh}).status_code == 200
        assert http.post("/auth/token/refresh/", {"refresh": refresh}).status_code == 401


async def test_nor_in_async_code(django_user_model: Any) -> None:
    alice = await django_user_model.objects.acreate_user("alice")
    more = {"REFRESH_GRACE": 0, "MAX_SESSIONS": 1}
    with signed_by("other", **more):
        refresh = RefreshToken(str(await sessions.aopen_session(alice)))
    with signed_by("stolen", **more):
        await sessions.arevoke_key("stolen")
        with pytest.raises(NoSigningKey):
            await sessions.aopen_session(alice)
        with pytest.raises(NoSigningKey):
            await sessions.arotate(refresh, alice)
    with signed_by("other", **more):
        assert (await sessions.arotate(refresh, alice)).rotation == 1


# The near cache ---------------------------------------------------------------------------------------------------


def test_the_memory_is_silent_on_all_but_the_keys_tokens() -> None:
    memory = Memory(400, 300, needs_session=True, now=0)
    memory.is_complete_from(0)
    now = int(time.time())
    payload = {"user_id": "7", "jti": "j", "sid": "s" * 22, "iat": now, "exp": now + 300, "token_type": "access"}
    assert memory.is_silent_on(read_claims(payload, "stolen"))
    memory.hear([LogEntry("1-0", 1, "key", "", "stolen")])
    for moment in (100.0, 1000.0, 10_000.0, 100_000.0):
        assert not memory.is_silent_on(read_claims(payload, "stolen"))
        assert memory.is_silent_on(read_claims(payload, "other"))
        assert memory.is_silent_on(read_claims(payload))
        memory.forget(moment)
    memory.add("key", "", NO_KID)
    assert not memory.is_silent_on(read_claims(payload))


def test_others_are_answered_from_memory_on(alice: Any, store: redis.Redis) -> None:
    with signed_by("stolen", NEAR_CACHE={"lease": 30.0, "poll": 0.05}):
        sessions.list_sessions(1)
        store.hset(MARKER, "born_ms", 1)
        start_following()
        try:
            stolen = AccessToken(str(sessions.open_session(alice).access_token))
            other = AccessToken(forge(alice, stolen["sid"], "other"))
            assert sessions.check(stolen).from_memory
            assert sessions.check(other).from_memory
            # As another process does it.
            store.hset(MARKER, "refused_keys", "stolen")
            number = store.hincrby(MARKER, "revocations", 1)
            fields = {"number": number, "kind": "key", "user": "", "id": "stolen", "until": 0, "reason": "key_leaked"}
            store.xadd(LOG, fields)
            wait_for(lambda: sessions.check(stolen).reason == "key_revoked", "it is heard of", 10)
            assert sessions.check(other).from_memory
            # One that begins to follow when the log has long been trimmed reads it in the marker.
            store.xtrim(LOG, maxlen=0, approximate=False)
            start_following()
            assert sessions.check(stolen).reason == "key_revoked"
        finally:
            near_cache.stop(5)


# Many processes ---------------------------------------------------------------------------------------------------


def make_keys(folder: Path) -> tuple[str, Any]:
    with key_files.changing(str(folder)) as change:
        kid = change.create("ES256", "HS256")
        change.activate(kid)
        change.create("ES256", "HS256")
    return kid, make_key(kid, "ES256", (folder / f"{kid}.jwk").read_bytes())


def ask(base: str, path: str, token: str) -> tuple[int, dict[str, Any]]:
    request = urllib.request.Request(base + path, headers={"Authorization": f"Bearer {token}"})  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=20) as response:  # noqa: S310
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def post(base: str, path: str, body: dict[str, str]) -> tuple[int, dict[str, Any]]:
    data = json.dumps(body).encode()
    request = urllib.request.Request(base + path, data, {"Content-Type": "application/json"})  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=20) as response:  # noqa: S310
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


@pytest.mark.parametrize(
    ("lease", "strategy"), [("1.0", "whitelist"), ("", "whitelist"), pytest.param("1.0", "blacklist")]
)
def test_a_thief_who_mints_while_the_key_is_retired(tmp_path: Path, lease: str, strategy: str) -> None:
    """The servers have a directory of their own, which still has the key: only Redis tells them."""
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    kid, key = make_keys(theirs)
    shutil.copytree(theirs, ours)
    environment = {"JWT_REDIS_TEST_LEASE": lease, "JWT_REDIS_TEST_STRATEGY": strategy}
    serving = http_server(
        tmp_path, workers=3, settings="tests.projects.keys_settings", JWT_REDIS_TEST_KEYS=str(theirs), **environment
    )
    credentials = {"username": "alice", "password": "correct horse"}
    with serving as base:
        until_all_write(base, 3)
        good = post(base, "/auth/token/", credentials)[1]
        sid = jwt.decode(good["access"], options={"verify_signature": False})["sid"]
        stop = threading.Event()
        seen: list[tuple[float, int]] = []

        def steal(number: int) -> None:
            count = 0
            while not stop.is_set():
                count += 1
                now = int(time.time())
                claims = {
                    "token_type": "access",
                    "user_id": "1",
                    "jti": f"{number}-{count}",
                    "sid": sid,
                    "iat": now,
                    "auth_time": now,
                    "exp": now + 299,
                }
                token = jwt.encode(claims, key.signing, algorithm="ES256", headers={"kid": kid})
                began = time.monotonic()
                seen.append((began, ask(base, "/stateless/", token)[0]))

        thieves = [threading.Thread(target=steal, args=(number,)) for number in range(4)]
        for thief in thieves:
            thief.start()
        try:
            wait_for(lambda: len([one for one in list(seen) if one[1] == 200]) > 50, "the thief is let in", 20)
            env = {
                **os.environ,
                "DJANGO_SETTINGS_MODULE": "tests.projects.keys_settings",
                "JWT_REDIS_TEST_KEYS": str(ours),
                "JWT_REDIS_TEST_DB": str(tmp_path / "db.sqlite3"),
                **environment,
            }
            command = [sys.executable, "-m", "django", "jwt_keys", "retire", kid, "--leaked", "--no-input", "--json"]
            done = subprocess.run(command, env=env, check=True, capture_output=True, text=True)
            acknowledged = time.monotonic()
            assert json.loads(done.stdout)["state"] == "leaked"
            # Twice the lease, and as long as it takes until there is enough to judge by.
            bound = acknowledged + 1.0
            time.sleep(2.5)
            wait_for(lambda: len([began for began, _ in list(seen) if began >= bound]) > 30, "the thief goes on", 20)
        finally:
            stop.set()
            for thief in thieves:
                thief.join()
        late = [code for began, code in seen if began >= bound]
        assert len(late) > 30
        assert set(late) == {401}
        assert {code for began, code in seen if began < acknowledged} >= {200}
        # Every way in is closed, to what the user got by that key too; the servers cannot sign until they get the next.
        assert ask(base, "/whoami/", good["access"])[0] == 401
        assert post(base, "/auth/token/refresh/", {"refresh": good["refresh"]})[0] == 401
        assert post(base, "/auth/token/verify/", {"token": good["access"]})[0] in (400, 401)
        assert post(base, "/auth/token/", credentials)[0] == 503
        for file in ours.iterdir():
            shutil.copy(file, theirs)
        (theirs / f"{kid}.jwk").unlink()
        wait_for(lambda: post(base, "/auth/token/", credentials)[0] == 200, "the next key signs", 10)
        anew = post(base, "/auth/token/", credentials)[1]
        assert {ask(base, "/whoami/", anew["access"])[0] for _ in range(20)} == {200}


def test_a_change_of_keys_under_load_logs_nobody_out(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    folder.mkdir()
    serving = http_server(
        tmp_path,
        workers=3,
        settings="tests.projects.keys_settings",
        JWT_REDIS_TEST_KEYS=str(folder),
        JWT_REDIS_TEST_LEASE="1.0",
    )
    with serving as base:
        until_all_write(base, 3)
        stop = threading.Event()
        seen: list[tuple[str, int]] = []
        kids: set[str | None] = set()

        def live(name: str, password: str) -> None:
            pair = post(base, "/auth/token/", {"username": name, "password": password})[1]
            while not stop.is_set():
                seen.append(("access", ask(base, "/whoami/", pair["access"])[0]))
                code, answer = post(base, "/auth/token/refresh/", {"refresh": pair["refresh"]})
                seen.append(("refresh", code))
                if code == 200:
                    pair = answer
                    kids.add(jwt.get_unverified_header(pair["access"]).get("kid"))

        users = [("alice", "correct horse"), ("bob", "battery staple")] * 2
        threads = [threading.Thread(target=live, args=user) for user in users]
        for thread in threads:
            thread.start()
        made: list[str] = []
        try:
            for alg in ("ES256", "HS256", "EdDSA"):
                wait_for(lambda: (made[-1] if made else None) in kids, "the key signs", 20)
                with key_files.changing(str(folder)) as change:
                    made.append(change.create(alg, "HS256"))
                    # At once: whoever has not heard of it looks when a token names it.
                    change.activate(made[-1])
            wait_for(lambda: made[-1] in kids, "the last key signs", 20)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        assert kids == {None, *made}
        assert {code for _, code in seen} == {200}
        assert len(seen) > 50


def test_the_backend_of_this_run_is_simple_jwts_own() -> None:
    assert not isinstance(state.token_backend, backends.KeyedBackend)
