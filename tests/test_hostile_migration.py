"""What an attack on adoption, OBSERVE and the imports found: each of these let something through once."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import redis
from django.contrib.auth import get_user_model
from django.core.cache import caches
from django.core.management import call_command
from django.test import Client, override_settings
from rest_framework_simplejwt import settings as simplejwt
from rest_framework_simplejwt.utils import get_md5_hash_password

from jwt_redis import sessions
from jwt_redis.decoding import claims_of
from jwt_redis.diagnosis import diagnose
from jwt_redis.fingerprints import fingerprints
from jwt_redis.keys import NOBODY, marker_key, user_key
from jwt_redis.models import Revocation
from jwt_redis.signing import backends
from jwt_redis.store import commands, markers
from jwt_redis.store.client import execute
from jwt_redis.takeover import Listing, take_over
from jwt_redis.tokens import RefreshToken, SlidingToken, UntypedToken
from jwt_redis.verdicts import NO_KID, adopted_sid, read_claims
from tests.support.legacy import ADOPT, access_token, refresh_token, sliding_token
from tests.support.shop import a_shop

# Within a test's own transaction nothing would ever count as committed.
pytestmark = pytest.mark.django_db(transaction=True)

STRATEGIES = ("whitelist", "blacklist")


@pytest.fixture(params=STRATEGIES)
def strategy(request: pytest.FixtureRequest) -> Iterator[str]:
    with override_settings(JWT_REDIS={**ADOPT, "STRATEGY": request.param}):
        yield request.param


@pytest.fixture
def simple_jwt(monkeypatch: pytest.MonkeyPatch) -> Any:
    def put(**values: Any) -> None:
        for name, value in values.items():
            monkeypatch.setattr(simplejwt.api_settings, name, value, raising=False)

    return put


def refresh(client: Client, token: Any, path: str = "/auth/token/refresh/", field: str = "refresh") -> Any:
    return client.post(path, {field: str(token)}, "application/json")


def ask(client: Client, token: Any, path: str = "/whoami/") -> int:
    status: int = client.get(path, headers={"Authorization": f"Bearer {token}"}).status_code
    return status


# The password ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("observe", [False, True])
@pytest.mark.parametrize("claim", ["former", None])
def test_a_token_of_a_former_password_is_not_renewed(
    alice: Any, client: Client, strategy: str, simple_jwt: Any, observe: bool, claim: str | None
) -> None:
    """With CHECK_REVOKE_TOKEN, Simple JWT takes none of its access tokens: that is so after the switch, too."""
    simple_jwt(CHECK_REVOKE_TOKEN=True)
    pair, sliding = refresh_token(alice), sliding_token(alice)
    assert pair["hash_password"] == get_md5_hash_password(alice.password)
    good = str(pair)
    if claim is None:
        del pair.payload["hash_password"], sliding.payload["hash_password"]
    else:
        # Nobody was told: it was before there was anybody to tell.
        get_user_model().objects.filter(pk=alice.pk).update(password="md5$a$another")
    with override_settings(JWT_REDIS={**ADOPT, "STRATEGY": strategy, "OBSERVE": observe}):
        for answer in (refresh(client, pair), refresh(client, sliding, "/auth/sliding/refresh/", "token")):
            assert answer.status_code == 401, answer.content
            assert answer.json()["code"] == "password_changed"
        assert not sessions.list_sessions(alice)
        if claim is None:
            # The others are renewed as ever.
            answer = refresh(client, good)
            assert answer.status_code == 200 and ask(client, answer.json()["access"]) == 200


def test_observing_a_former_password_stays_the_former_one(
    alice: Any, client: Client, strategy: str, simple_jwt: Any
) -> None:
    """Simple JWT copies the claim as it is, and then takes none of the access tokens."""
    simple_jwt(CHECK_REVOKE_TOKEN=True)
    observing = {**ADOPT, "STRATEGY": strategy, "OBSERVE": True}
    with override_settings(JWT_REDIS=observing):
        token = str(sessions.open_session(alice))
        answer = refresh(client, token)
        assert ask(client, answer.json()["access"]) == 200
        get_user_model().objects.filter(pk=alice.pk).update(password="md5$a$another")
        answer = refresh(client, answer.json()["refresh"])
        assert answer.status_code == 200 and ask(client, answer.json()["access"]) == 401
    assert refresh(client, answer.json()["refresh"]).status_code == 401


# Imports -----------------------------------------------------------------------------------------------------------


def test_a_token_that_is_found_with_a_later_end_is_refused_until_then(store: redis.Redis) -> None:
    soon = int(time.time()) + 100
    for exp in (soon, soon + 1000, soon):
        take_over([Listing("copied", exp)])
    assert int(store.get("jwt:{!copied}")) == soon + 1000 and store.ttl("jwt:{!copied}") > 1000


def test_each_row_of_a_batch_lasts_as_long_as_its_own_token(alice: Any, client: Client) -> None:
    soon, late = int(time.time()) + 100, int(time.time()) + 40 * 86400
    ours = sessions.open_session(alice)
    take_over([Listing("legacy", late, NOBODY), Listing(ours["jti"], soon, str(alice.pk))])
    until = {row.target: int(row.until.timestamp()) for row in Revocation.objects.filter(reason="imported")}
    assert until == {"legacy": late, ours["jti"]: soon}


@pytest.mark.parametrize("value", ["refuse", "bound"])
def test_what_was_imported_stays_refused_when_adoption_is_over(
    alice: Any, client: Client, store: redis.Redis, strategy: str, value: str
) -> None:
    """The blacklist takes access tokens without a session, then as before."""
    access, other = access_token(alice), access_token(alice)
    take_over([Listing(access["jti"], access["exp"])])
    assert ask(client, access) == 401 and ask(client, other) == 200
    # Redis was there before them.
    store.hset(marker_key(), "born_ms", 1)
    markers.reset()
    legacy = {"adopt": datetime.now(tz=UTC) - timedelta(hours=1)} if value == "bound" else value
    with override_settings(JWT_REDIS={**ADOPT, "STRATEGY": strategy, "LEGACY_TOKENS": legacy}):
        for path in ("/whoami/", "/stateless/"):
            assert ask(client, access, path) == 401
        assert sessions.explain(str(access)).reason == (
            "token_blacklisted" if strategy == "blacklist" else "no_session"
        )
        assert ask(client, other) == (200 if strategy == "blacklist" else 401)


@pytest.mark.usefixtures("strategy")
def test_a_refresh_token_with_a_session_that_old_code_has_listed_is_refused(alice: Any, client: Client) -> None:
    """While workers of both kinds run, one of the old ones may be signed out from with what a new one has issued."""
    ours, other = sessions.open_session(alice), sessions.open_session(alice)
    caches["sessions"].set(f"blacklist:jti:{ours['jti']}", 1, 1000)
    call_command("jwt_import_keys", "blacklist:jti:*", alias="sessions", stdout=StringIO(), stderr=StringIO())
    assert refresh(client, ours).json()["reason"] == "token_blacklisted"
    assert refresh(client, other).status_code == 200


@pytest.mark.usefixtures("strategy")
def test_keys_without_an_end_are_in_the_journal_once(alice: Any) -> None:
    cache = caches["sessions"]
    cache.set("blacklist:jti:forever", 1, None)
    for _ in range(2):
        call_command("jwt_import_keys", "blacklist:jti:*", alias="sessions", stdout=StringIO(), stderr=StringIO())
        time.sleep(1.1)
    assert Revocation.objects.filter(target="forever").count() == 1


# What is lost ------------------------------------------------------------------------------------------------------


def test_without_a_journal_no_token_is_adopted_that_is_older_than_the_store(
    alice: Any, client: Client, strategy: str
) -> None:
    token, sliding = refresh_token(alice), sliding_token(alice)
    with override_settings(JWT_REDIS={**ADOPT, "STRATEGY": strategy, "JOURNAL": False}):
        assert refresh(client, token).json()["reason"] == "store_lost"
        assert refresh(client, sliding, "/auth/sliding/refresh/", "token").status_code == 401
        assert not sessions.list_sessions(alice)


@pytest.mark.usefixtures("strategy")
def test_a_key_that_could_not_be_read_adopts_nothing_the_second_time_either(
    alice: Any, client: Client, store: redis.Redis
) -> None:
    token = refresh_token(alice)
    access = access_token(alice)
    store.set(user_key(str(alice.pk)), "x")
    for _ in range(3):
        assert refresh(client, token).status_code == 401
        assert store.ttl(user_key(str(alice.pk))) > 0
    # Nor when the user has signed in, upon which the key is what it should be.
    ours = sessions.open_session(alice)
    assert sessions.check(RefreshToken(str(ours))).allowed
    assert refresh(client, token).status_code == 401
    assert sessions.check(UntypedToken(str(access))).reason == "user_revoked"


@pytest.mark.usefixtures("strategy")
def test_a_token_without_a_session_is_judged_by_its_iat_alone(alice: Any, client: Client, store: redis.Redis) -> None:
    """Whatever else it says: a claim of that name may be a project's own."""
    before, behind = refresh_token(alice), refresh_token(alice)
    sessions.end_all_sessions(alice)
    moment = int(store.hget(user_key(str(alice.pk)), "not_before")) // 1000
    before["auth_time"], behind["auth_time"] = moment + 1000, 1
    behind["iat"] = moment + 1
    while time.time() < behind["iat"]:
        time.sleep(0.05)
    assert sessions.check(UntypedToken(str(before))).reason == "user_revoked"
    assert refresh(client, before).status_code == 401
    assert sessions.check(UntypedToken(str(behind))).allowed
    assert refresh(client, behind).status_code == 200


@pytest.mark.usefixtures("strategy")
@pytest.mark.parametrize("everybody", [False, True])
def test_the_second_of_a_revocation_counts_as_before_it(
    alice: Any, client: Client, store: redis.Redis, everybody: bool
) -> None:
    token, access = refresh_token(alice), access_token(alice)
    sessions.revoke_everything() if everybody else sessions.end_all_sessions(alice)
    moment = store.hget(marker_key() if everybody else user_key(str(alice.pk)), "not_before")
    token["iat"] = access["iat"] = int(moment) // 1000
    reason = "all_revoked" if everybody else "user_revoked"
    for one in (token, access):
        assert sessions.check(UntypedToken(str(one))).reason == reason
    assert refresh(client, token).json()["reason"] == reason


@pytest.mark.usefixtures("strategy")
def test_a_sliding_token_keeps_its_id(alice: Any, client: Client) -> None:
    """As with Simple JWT: what is listed by it, by whomever, is every copy."""
    token = sliding_token(alice)
    answer = refresh(client, token, "/auth/sliding/refresh/", "token")
    later = SlidingToken(answer.json()["token"])
    assert later["sid"] == adopted_sid(token["jti"]) and sessions.check(later).allowed
    sessions.revoke_jti(alice, token["jti"])
    for copy in (later, token):
        assert sessions.check(UntypedToken(str(copy))).reason == "token_blacklisted"


def test_a_token_that_is_refused_makes_nobody_make_room(alice: Any, client: Client, strategy: str) -> None:
    with override_settings(JWT_REDIS={**ADOPT, "STRATEGY": strategy, "MAX_SESSIONS": 1}):
        ours, token = sessions.open_session(alice), refresh_token(alice)
        sessions.revoke_jti(alice, token["jti"])
        assert refresh(client, token).status_code == 401
        assert [one.sid for one in sessions.list_sessions(alice)] == [ours["sid"]]


@pytest.mark.usefixtures("strategy")
def test_adoption_hears_of_what_was_revoked_since_the_marker_was_read(alice: Any) -> None:
    token = RefreshToken(str(refresh_token(alice)))
    claims = claims_of(token)
    assert sessions.check(token).allowed
    marker = execute(commands.prove_marker())
    assert marker is not None and claims.sid is not None
    sessions.revoke_everything()
    prints = fingerprints(alice, claims.sid)
    more: dict[str, Any] = {"device": "", "marker": marker, "rotating": True, "legacy_end": token["exp"]}
    found = execute(commands.rotate(claims, lifetime=1000, nonce="abcdef", fingerprints=prints, **more))
    assert (found.outcome, found.reason) == ("gone", "all_revoked")


@pytest.mark.usefixtures("strategy")
def test_a_session_is_not_opened_in_the_future(alice: Any) -> None:
    """As by a token from a server whose clock is ahead by less than LEEWAY: what is revoked now would not end it."""
    token = refresh_token(alice)
    assert sessions.check(UntypedToken(str(token))).allowed
    claims = read_claims({**token.payload, "iat": int(time.time()) + 30})
    marker = execute(commands.prove_marker())
    assert marker is not None and claims.sid is not None
    prints = fingerprints(alice, claims.sid)
    more: dict[str, Any] = {"device": "", "marker": marker, "rotating": True, "legacy_end": token["exp"]}
    assert execute(commands.rotate(claims, lifetime=1000, nonce="abcdef", fingerprints=prints, **more)).is_adopted
    assert sessions.end_all_sessions(alice) == 1


@pytest.mark.usefixtures("strategy")
def test_without_rotation_a_session_ends_with_its_token(alice: Any, client: Client, simple_jwt: Any) -> None:
    simple_jwt(ROTATE_REFRESH_TOKENS=False)
    token = refresh_token(alice)
    assert refresh(client, token).status_code == 200
    assert [int(one.expires_at.timestamp()) for one in sessions.list_sessions(alice)] == [token["exp"]]


@pytest.mark.usefixtures("strategy")
def test_the_note_of_an_adoption_lasts_and_counts(alice: Any, client: Client, store: redis.Redis) -> None:
    """As long as the token could come again; and a store that lacks it is told of it."""
    token = refresh_token(alice, lifetime=timedelta(days=30))
    assert sessions.check(UntypedToken(str(token))).allowed
    before = int(store.hget(marker_key(), "revocations") or 0)
    assert refresh(client, token).status_code == 200
    row = Revocation.objects.get(kind="adopted")
    assert row.until.timestamp() >= token["exp"] and row.number == before + 1
    sessions.end_all_sessions(alice)
    assert sessions.explain(str(token)).reason == "session_ended"


@pytest.mark.usefixtures("strategy")
def test_a_session_does_not_help_a_refresh_token_that_is_listed(alice: Any, client: Client) -> None:
    ours = sessions.open_session(alice)
    sessions.revoke_jti(alice, ours["jti"])
    assert refresh(client, ours).json()["reason"] == "token_blacklisted"
    assert sessions.list_sessions(alice)


def test_what_is_no_legacy_token(alice: Any) -> None:
    bound = datetime.now(tz=UTC).replace(microsecond=0)
    with override_settings(JWT_REDIS={**ADOPT, "LEGACY_TOKENS": {"adopt": bound}}):
        claims = {**refresh_token(alice).payload, "iat": int(bound.timestamp()) - 1}
        assert read_claims(claims).legacy_until is not None
        for odd in ({"iat": int(bound.timestamp())}, {"rotation": 0}, {"sid": "a" * 22, "rotation": 0}):
            assert read_claims({**claims, **odd}).legacy_until is None


# OBSERVE -----------------------------------------------------------------------------------------------------------


def test_observing_a_token_without_iat_gets_no_long_life(alice: Any, client: Client, strategy: str) -> None:
    token = refresh_token(alice)
    del token.payload["iat"]
    with override_settings(JWT_REDIS={**ADOPT, "STRATEGY": strategy, "OBSERVE": True}):
        answer = refresh(client, token)
        assert answer.status_code == 200
        successor = RefreshToken(answer.json()["refresh"])
        assert successor["exp"] <= time.time() + 86400 + 1


@pytest.mark.parametrize("legacy", ["adopt", "refuse"])
def test_observing_nothing_of_a_revoked_key_is_exchanged(
    alice: Any, client: Client, strategy: str, legacy: str
) -> None:
    """Not what is listed, not what has no session; in a process that has not heard of it."""
    observing = {**ADOPT, "STRATEGY": strategy, "OBSERVE": True, "LEGACY_TOKENS": legacy}
    with override_settings(JWT_REDIS=observing):
        listed, other = refresh_token(alice), refresh_token(alice)
        take_over([Listing(listed["jti"], listed["exp"])])
        for token in (listed, other):
            assert refresh(client, token).status_code == 200
        sessions.revoke_key(NO_KID)
        for token in (listed, refresh_token(alice)):
            backends.refuse(frozenset())
            assert refresh(client, token).json()["reason"] == "key_revoked"


# Beside token_blacklist --------------------------------------------------------------------------------------------

ROTATED = """
import json
from django.contrib.auth.models import User
from django.test import Client
from jwt_redis import sessions
from jwt_redis.decoding import claims_of
from jwt_redis.diagnosis import diagnose
from jwt_redis.fingerprints import fingerprints
from rest_framework_simplejwt.tokens import RefreshToken

user = User.objects.get(username="user1")
def refresh(token):
    return Client().post("/token/refresh/", {"refresh": str(token)}, "application/json")

said = []
for first in (RefreshToken.for_user(user), sessions.open_session(user)):
    second = refresh(first).json()
    third = refresh(second["refresh"])
    reason = refresh(first).json().get("reason")
    later = (first, second["refresh"], third.json()["refresh"])
    said.append([reason, *(refresh(token).status_code for token in later)])
print(json.dumps(said))
"""
BY_COOKIE = """
import json
from django.contrib.auth.models import User
from django.test import Client
from rest_framework_simplejwt.token_blacklist.models import BlacklistedToken
from rest_framework_simplejwt.tokens import RefreshToken
from jwt_redis import sessions
from jwt_redis.decoding import claims_of
from jwt_redis.diagnosis import diagnose
from jwt_redis.fingerprints import fingerprints

user = User.objects.get(username="user2")
said = []
for token in (RefreshToken.for_user(user), sessions.open_session(user)):
    client = Client()
    client.cookies["refresh_token"] = str(token)
    path = "/logout/" if said else "/token/blacklist/"
    status = client.post(path, {}, "application/json").status_code
    said.append([status, BlacklistedToken.objects.filter(token__jti=token["jti"]).exists()])
print(json.dumps(said))
"""
COOKIES = """
from shop.switched import *

ROOT_URLCONF = "jwt_redis.urls"
JWT_REDIS["COOKIE"] = {"csrf": False, "secure": False}
"""


@pytest.mark.slow
def test_beside_simple_jwts_own_blacklist(tmp_path: Path) -> None:
    with a_shop(tmp_path) as shop:
        shop.manage("switched", "migrate", "jwt_redis", "--verbosity", "0")
        (shop.folder / "shop/cookies.py").write_text(COOKIES)
        elsewhere = "from shop.switched import *\nDATABASES['default']['NAME'] = 'empty.sqlite3'\n"
        (shop.folder / "shop/elsewhere.py").write_text(elsewhere)
        late = 'from shop.observing import *\nJWT_REDIS["REFRESH_GRACE"] = 0\n'
        (shop.folder / "shop/late.py").write_text(late + 'SIMPLE_JWT["BLACKLIST_AFTER_ROTATION"] = True\n')
        # Observing, what BLACKLIST_AFTER_ROTATION would refuse is refused, and no session ends for it.
        assert json.loads(shop.script("late", ROTATED)) == [["token_blacklisted", 401, 401, 200]] * 2
        (shop.folder / "shop/late.py").write_text(late)
        assert json.loads(shop.script("late", ROTATED)) == [[None, 200, 200, 200]] * 2
        # What is missing is named: it is not the journal.
        assert "migrate token_blacklist" in shop.manage("elsewhere", "jwt_import_blacklist", ok=False)
        # Who signs out by cookie is signed out at Simple JWT's, too.
        assert json.loads(shop.script("cookies", BY_COOKIE)) == [[200, True]] * 2


def test_the_doctor_knows_the_keys_of_imported_tokens(alice: Any, store: redis.Redis) -> None:
    def found() -> set[str]:
        return {one.code for one in diagnose().findings}

    sessions.open_session(alice)
    take_over([Listing(f"jti{n}", int(time.time()) + 100) for n in range(3)])
    assert "foreign_keys" not in found()
    store.set("somebody's", 1)
    assert "foreign_keys" in found()
