"""Blacklists of others are taken over: Simple JWT's own tables, and keys of a project's own in a cache."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import redis
from django.conf import settings
from django.core.cache import caches
from django.core.management import CommandError, call_command
from django.test import override_settings

from jwt_redis import recovery, sessions
from jwt_redis.models import Revocation
from jwt_redis.store import gate, markers
from jwt_redis.takeover import Listing, take_over
from jwt_redis.testing.servers import RedisServer
from jwt_redis.tokens import RefreshToken, UntypedToken
from tests.support.legacy import ADOPT, access_token, refresh_token
from tests.support.shop import Shop, a_shop
from tests.support.topology import Cluster, pointed_at

# Within a test's own transaction nothing would ever count as committed.
pytestmark = pytest.mark.django_db(transaction=True)


# Simple JWT's tables -----------------------------------------------------------------------------------------------

MANY = 3000
# What stands there: many refresh tokens, and the odd ones.
FILL = f"""
import time, uuid, json
from datetime import datetime, timedelta, timezone
from django.contrib.auth.models import User
from rest_framework_simplejwt.tokens import RefreshToken, SlidingToken
from rest_framework_simplejwt.token_blacklist.models import BlacklistedToken, OutstandingToken

now = datetime.now(tz=timezone.utc)
user = User.objects.get(username="user0")
later, before = now + timedelta(days=1), now - timedelta(days=1)
def row(jti, expires_at=later, text="", user=user):
    return OutstandingToken(jti=jti, token=text, user=user, created_at=now, expires_at=expires_at)
rows = [row(f"many{{n}}") for n in range({MANY})]
rows += [row(f"old{{n}}", before) for n in range(7)]
rows += [row("nobodys", user=None), row("two\\nlines")]
sliding = SlidingToken.for_user(user)
refresh = RefreshToken.for_user(user)
OutstandingToken.objects.bulk_create(rows)
OutstandingToken.objects.filter(jti=sliding["jti"]).update(expires_at=before)
free = RefreshToken.for_user(user)
listed = OutstandingToken.objects.exclude(jti=free["jti"])
BlacklistedToken.objects.bulk_create([BlacklistedToken(token=one) for one in listed], ignore_conflicts=True)
print(json.dumps([str(sliding), str(refresh), str(free)]))
"""
EXPLAIN = """
import json, sys
from jwt_redis import sessions
print(json.dumps([sessions.explain(token).reason for token in json.loads('%s')]))
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with a_shop(tmp_path_factory.mktemp("shop")) as made:
        made.manage("switched", "migrate", "jwt_redis", "--verbosity", "0")
        yield made


@pytest.mark.slow
def test_what_simple_jwt_has_blacklisted_is_refused_without_it(shop: Shop) -> None:
    tokens = shop.script("settings", FILL).strip()
    # Killed on its way, and begun again: it goes on where it was.
    command = [sys.executable, "-W", "ignore", "-m", "django", "jwt_import_blacklist", "--batch", "10"]
    environment = shop.environment("switched")
    process = subprocess.Popen(command, cwd=shop.folder, env=environment, stdout=subprocess.DEVNULL)
    with shop.redis.client() as store:
        deadline = time.monotonic() + 30
        while not store.keys("jwt:{!many*") and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
        done = len(store.keys("jwt:{!many*"))
    assert 0 < done < MANY
    first = json.loads(shop.manage("switched", "jwt_import_blacklist", "--json"))
    assert first["is_done"] and first["seen"] == MANY + 11
    assert (first["imported"] + first["known"], first["expired"], first["unusable"]) == (MANY + 3, 7, 1)
    assert first["known"] >= done - 10
    again = json.loads(shop.manage("switched", "jwt_import_blacklist", "--json"))
    assert (again["imported"], again["known"]) == (0, MANY + 3)
    assert (
        json.loads(shop.manage("switched", "jwt_import_blacklist", "--json", "--after", str(first["position"])))["seen"]
        == 0
    )
    refused = ["token_blacklisted", "token_blacklisted", None]
    assert json.loads(shop.script("enforced", EXPLAIN % tokens)) == refused
    # The journal has it too.
    with shop.redis.client() as store:
        store.flushall()
    assert json.loads(shop.script("enforced", EXPLAIN % tokens)) == refused
    with shop.redis.client() as store:
        assert len(store.keys("jwt:{!many*")) == MANY


# While the app is still installed.
BESIDE = """
import json
from django.contrib.auth.models import User
from django.test import Client, override_settings
from django.utils import timezone
from jwt_redis import sessions
from rest_framework_simplejwt.tokens import RefreshToken, SlidingToken
from rest_framework_simplejwt.token_blacklist.models import BlacklistedToken, OutstandingToken

user = User.objects.get(username="user3")
ask = Client()
def me(token):
    return ask.get("/me/", headers={"Authorization": f"Bearer {token}"}).status_code
def post(path, **data):
    return ask.post(path, data, "application/json")
def is_listed(token):
    return BlacklistedToken.objects.filter(token__jti=token["jti"]).exists()

facts = {}
ours = sessions.open_session(user)
access = str(ours.access_token)
before = me(access)
RefreshToken(str(ours)).blacklist()
facts["by its api"] = [before, me(access), post("/token/refresh/", refresh=str(ours)).status_code]

old = RefreshToken.for_user(user)
rows = OutstandingToken.objects.filter(jti=old["jti"])
BlacklistedToken.objects.bulk_create([BlacklistedToken(token=row) for row in rows])
answer = post("/token/refresh/", refresh=str(old))
facts["by a row"] = [answer.status_code, answer.json()["reason"], post("/token/verify/", token=str(old)).status_code]

gone, ended = RefreshToken.for_user(user), sessions.open_session(user)
facts["signed out here"] = [post("/token/blacklist/", refresh=str(one)).status_code for one in (gone, ended)]
facts["listed there"] = [is_listed(gone), is_listed(ended)]

odd = RefreshToken()
odd["user_id"] = "abc"
facts["odd"] = post("/token/blacklist/", refresh=str(odd)).status_code
print(json.dumps(facts))
"""
SLIDING = """
import json
from django.contrib.auth.models import User
from django.test import Client
from rest_framework_simplejwt.tokens import SlidingToken
from rest_framework_simplejwt.token_blacklist.models import BlacklistedToken, OutstandingToken

token = SlidingToken.for_user(User.objects.get(username="user4"))
ask = lambda: Client().get("/me/", headers={"Authorization": f"Bearer {token}"}).status_code
facts = [ask()]
rows = OutstandingToken.objects.filter(jti=token["jti"])
BlacklistedToken.objects.bulk_create([BlacklistedToken(token=row) for row in rows])
print(json.dumps([*facts, ask()]))
"""


@pytest.mark.slow
def test_while_its_app_is_installed_its_rows_count(shop: Shop) -> None:
    assert json.loads(shop.script("switched", BESIDE)) == {
        "by its api": [200, 401, 401],
        "by a row": [401, "token_blacklisted", 400],
        "signed out here": [200, 200],
        "listed there": [True, True],
        "odd": 200,
    }
    sliding = 'from shop.switched import *\nSIMPLE_JWT["AUTH_TOKEN_CLASSES"] = ["jwt_redis.tokens.SlidingToken"]\n'
    (shop.folder / "shop/sliding.py").write_text(sliding)
    assert json.loads(shop.script("sliding", SLIDING)) == [200, 401]


@pytest.mark.slow
def test_where_it_would_be_in_vain_it_says_so(shop: Shop, tmp_path: Path) -> None:
    assert "is not in INSTALLED_APPS" in shop.manage("enforced", "jwt_import_blacklist", ok=False)
    assert "--batch" in shop.manage("switched", "jwt_import_blacklist", "--batch", "0", ok=False)
    assert "--database" in shop.manage("switched", "jwt_import_blacklist", "--database", "nope", ok=False)


@pytest.mark.slow
def test_redis_that_does_not_answer(shop: Shop) -> None:
    shop.script(
        "settings", FILL.replace("many", "more").replace("old", "older").replace("nobodys", "n2").replace("two", "2")
    )
    shop.redis.stop()
    try:
        said = shop.manage("switched", "jwt_import_blacklist", ok=False)
        assert "Redis does not answer" in said and "pending" in said
    finally:
        shop.redis.start()
    assert json.loads(shop.manage("switched", "jwt_import_blacklist", "--json"))["is_done"]


# Keys of a project's own --------------------------------------------------------------------------------------------


@pytest.fixture
def old() -> Iterator[redis.Redis]:
    """The Redis of the cache ``old``, and the settings to go with it."""
    with RedisServer() as server:
        made = {
            "old": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": server.url},
            "django": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": server.url},
        }
        with override_settings(CACHES={**settings.CACHES, **made}, JWT_REDIS=ADOPT), server.client() as client:
            yield client


def import_keys(*args: str) -> dict[str, Any]:
    out = StringIO()
    call_command("jwt_import_keys", *args, "--json", stdout=out)
    facts: dict[str, Any] = json.loads(out.getvalue())
    return facts


@pytest.mark.parametrize("alias", ["old", "django"])
def test_keys_of_a_cache_are_taken_over_with_their_time(
    alice: Any, old: redis.Redis, store: redis.Redis, alias: str
) -> None:
    refresh, access, raw, eternal = (
        make(alice) for make in (refresh_token, access_token, refresh_token, refresh_token)
    )
    fine = refresh_token(alice)
    cache = caches[alias]
    cache.set(f"blacklist:jti:{refresh['jti']}", True, 100)
    cache.set(f"blacklist:jti:{access['jti']}", "x", 200, version=2)
    cache.set(f"blacklist:jti:{eternal['jti']}", 1, None)
    cache.set("other:jti:1", 1, 100)
    old.set(f"blacklist:jti:{raw['jti']}", 1, ex=300)
    before = sorted(old.keys())
    dry = import_keys("blacklist:jti:*", "--alias", alias, "--dry-run")
    assert (dry["imported"], store.keys("jwt:{!*")) == (4, [])
    assert import_keys("blacklist:jti:*", "--alias", alias)["imported"] == 4
    assert sorted(old.keys()) == before
    for token, left in ((refresh, 100), (access, 200), (raw, 300)):
        assert sessions.explain(str(token)).reason == "token_blacklisted"
        assert left <= store.ttl(f"jwt:{{!{token['jti']}}}") <= left + 70
    assert sessions.explain(str(eternal)).reason == "token_blacklisted"
    assert sessions.explain(str(fine)).allowed and sessions.explain(str(sessions.open_session(alice))).allowed
    assert import_keys("blacklist:jti:*", "--alias", alias)["imported"] <= 4
    with pytest.raises(Exception, match="blacklisted"):
        sessions.rotate(RefreshToken(str(refresh)), alice)
    # Nothing that looks after the store takes them away.
    call_command("jwt_cleanup", stdout=StringIO())
    assert sessions.explain(str(refresh)).reason == "token_blacklisted"
    store.flushall()
    markers.reset()
    assert sessions.explain(str(access)).reason == "token_blacklisted"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["blacklist"], "one \\*"),
        (["*:*"], "one \\*"),
        (["*"], "every key"),
        (["a:*", "--alias", "nope"], "no 'nope'"),
        (["a:*", "--alias", "default"], "no Redis cache"),
        (["a:*", "--batch", "0"], "--batch"),
    ],
)
def test_what_cannot_be_meant(old: redis.Redis, args: list[str], message: str) -> None:
    with pytest.raises(CommandError, match=message):
        import_keys(*args)


@pytest.mark.parametrize("value", [{"LEGACY_TOKENS": "refuse"}, {"JOURNAL": False}])
def test_settings_under_which_it_would_be_in_vain(old: redis.Redis, value: dict[str, Any]) -> None:
    with override_settings(JWT_REDIS={**ADOPT, **value}), pytest.raises(CommandError, match=next(iter(value))):
        import_keys("blacklist:jti:*", "--alias", "old")


def test_names_that_are_no_ids(old: redis.Redis) -> None:
    old.set(b"blacklist:jti:\xff\xfe", 1, ex=100)
    old.set("blacklist:jti:" + "x" * 300, 1, ex=100)
    old.set("blacklist:jti:a\nb", 1, ex=100)
    old.set("blacklist:jti:{odd} * ?", 1, ex=100)
    facts = import_keys("blacklist:jti:*", "--alias", "old")
    assert facts["unusable"] >= 2 and facts["is_done"]
    assert take_over([Listing("{odd} * ?", int(time.time()) + 50)]).added == 0


def test_the_old_redis_is_not_there() -> None:
    with RedisServer() as server:
        url = server.url
    made = {"old": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": url}}
    here = override_settings(CACHES={**settings.CACHES, **made}, JWT_REDIS=ADOPT)
    with here, pytest.raises(CommandError, match="does not answer"):
        import_keys("a:*", "--alias", "old")


def test_a_pending_row_concerns_nobody_else(alice: Any, bob: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis is full in the middle of an import: whoever has a session goes on, whoever has none has to wait."""
    from jwt_redis.exceptions import RevocationUnavailable

    with RedisServer() as server, pointed_at(server, LEGACY_TOKENS="adopt"):
        token = UntypedToken(str(sessions.open_session(alice).access_token))
        legacy = UntypedToken(str(access_token(bob)))
        assert sessions.check(token).allowed and sessions.check(legacy).allowed
        with server.client() as client:
            client.config_set("maxmemory", "1")
            with pytest.raises(RevocationUnavailable):
                take_over([Listing("one", int(time.time()) + 100)])
            assert sessions.check(token).allowed
            with pytest.raises(RevocationUnavailable):
                sessions.check(legacy)
            client.config_set("maxmemory", "0")
        recovery.trusted(recovery.sweep)
        assert sessions.check(legacy).allowed
        assert not Revocation.objects.filter(applied_at=None).exists()


def test_in_a_cluster(alice: Any) -> None:
    with Cluster() as cluster, pointed_at(cluster, LEGACY_TOKENS="adopt"):
        gate.reset()
        refused, taken = refresh_token(alice), refresh_token(alice)
        exp = int(time.time()) + 1000
        listings = [Listing(refused["jti"], exp), *(Listing(f"jti{n}", exp) for n in range(20))]
        assert take_over(listings).added == 21
        assert take_over(listings).added == 0
        assert sessions.explain(str(refused)).reason == "token_blacklisted"
        record = sessions.rotate(RefreshToken(str(taken)), alice)
        assert record.rotation == 1 and sessions.explain(str(taken)).reason == "token_blacklisted"
        sessions.end_all_sessions(alice)
        assert sessions.explain(str(access_token(alice))).reason == "user_revoked"
