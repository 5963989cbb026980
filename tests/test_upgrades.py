"""What earlier versions have left behind is read by this one, and what this one writes can be read by them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import redis
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.test import Client, RequestFactory, override_settings

import jwt_redis
from jwt_redis import near_cache, sessions, signals
from jwt_redis.decoding import claims_of
from jwt_redis.models import Revocation
from jwt_redis.near_cache.memory import Memory
from jwt_redis.notices import read_link
from jwt_redis.store import client, commands, gate, markers
from jwt_redis.testing.servers import free_port
from jwt_redis.tokens import AccessToken, RefreshToken, SlidingToken
from tests.support.server import ROOT
from tests.support.waiting import wait_for
from tests.upgrades import settings as lasting

FOLDER = ROOT / "tests/upgrades"
STATES = sorted(FOLDER.glob("state-*.json"))
TYPES = {"access": AccessToken, "refresh": RefreshToken, "sliding": SlidingToken}

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(params=STATES, ids=lambda path: path.stem)
def state(request: pytest.FixtureRequest) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(request.param.read_text())
    return found


@pytest.fixture(params=["whitelist", "blacklist"])
def strategy(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def left(state: dict[str, Any], store: redis.Redis) -> Iterator[dict[str, Any]]:
    """A new version on a server that was set up from the old one's data, with the old one's database."""
    get_user_model().objects.bulk_create(get_user_model()(**row) for row in state["users"])
    Revocation.objects.bulk_create(Revocation(**row) for row in state["journal"])
    _fill(store, state)
    with override_settings(SIMPLE_JWT=lasting.SIMPLE_JWT, ROOT_URLCONF=lasting.ROOT_URLCONF):
        yield state


def _fill(store: redis.Redis, state: dict[str, Any]) -> None:
    for key, value in state["redis"].items():
        holds = value["holds"]
        if value["type"] == "hash":
            store.hset(key, mapping=holds)
        elif value["type"] == "stream":
            for entry, fields in holds:
                store.xadd(key, fields, id=entry)
        else:
            raise AssertionError(f"{key}: a {value['type']} is not expected")
        if value["expires_ms"] is not None:
            store.pexpireat(key, value["expires_ms"])
    markers.reset()
    client.reset()
    gate.reset()


def using(strategy: str, **more: Any) -> Any:
    return override_settings(JWT_REDIS={**lasting.JWT_REDIS, "STRATEGY": strategy, **more})


def read(raw: str) -> Any:
    return TYPES[AccessToken(raw, verify=False)["token_type"]](raw)


def asked(state: dict[str, Any], strategy: str) -> dict[str, tuple[str | None, str | None]]:
    """What is said of each token that this strategy judges, and what is to be said."""
    found = {}
    for name, kept in state["tokens"].items():
        if kept["strategy"] == strategy:
            found[name] = (sessions.check(read(kept["token"])).reason, kept["reason"])
    return found


def refresh(raw: str) -> Any:
    return Client().post("/auth/token/refresh/", {"refresh": raw}, content_type="application/json")


def whoami(raw: str) -> Any:
    return Client().get("/whoami/", headers={"authorization": f"Bearer {raw}"})


# What they have written --------------------------------------------------------------------------------------------


def test_there_is_a_state_of_this_version() -> None:
    major_minor = re.match(r"\d+\.\d+", jwt_redis.__version__)
    assert major_minor is not None
    assert FOLDER / f"state-{major_minor[0]}.json" in STATES


def test_each_token_is_judged_as_it_was(left: dict[str, Any], strategy: str) -> None:
    with using(strategy):
        said = asked(left, strategy)
    assert said
    assert {name: was for name, (was, _) in said.items()} == {name: right for name, (_, right) in said.items()}


def test_nor_does_a_store_that_was_emptied_bring_one_back(left: dict[str, Any], store: redis.Redis) -> None:
    """The rows of the old journal, into a store that has nothing."""
    store.flushall()
    with using("blacklist"):
        said = asked(left, "blacklist")
    revoked = {name for name, (_, right) in said.items() if right is not None}
    assert revoked
    assert revoked <= {name for name, (was, _) in said.items() if was is not None}


def test_a_near_cache_follows_the_old_log(left: dict[str, Any], strategy: str) -> None:
    with using(strategy, NEAR_CACHE={"lease": 30.0, "poll": 0.05}):
        try:
            live = read(_token(left, "access of a live session"))
            wait_for(lambda: sessions.check(live) and near_cache.is_fresh(), "a near cache that has read the log")
            said = asked(left, strategy)
        finally:
            near_cache.stop(5)
    assert {name: was for name, (was, _) in said.items()} == {name: right for name, (_, right) in said.items()}


def test_and_hears_of_each_revocation_in_it(left: dict[str, Any], store: redis.Redis) -> None:
    command = commands.read_log("0", 1000)
    entries = command.parse(store.xrange("jwt:{log}"))
    assert [entry.number for entry in entries] == list(range(1, len(entries) + 1))
    assert "all" in {entry.kind for entry in entries}
    age = lasting.AGES.total_seconds()
    memory = Memory(age, age, needs_session=False, now=0)
    memory.is_complete_from(0)
    # The one of everything concerns everybody.
    memory.hear(entry for entry in entries if entry.kind != "all")
    for name, kept in left["tokens"].items():
        token = read(kept["token"])
        if kept["reason"] in ("session_ended", "user_revoked", "token_blacklisted") and isinstance(token, AccessToken):
            assert not memory.is_silent_on(claims_of(token)), name
    assert memory.is_silent_on(claims_of(live := read(_token(left, "access of a live session")))), live


def test_over_http(left: dict[str, Any]) -> None:
    for name in ("access of a live session", "access of an ended session", "access that was revoked alone"):
        kept = left["tokens"][name]
        answer = whoami(kept["token"])
        assert (answer.status_code, answer.json().get("reason")) == (
            (200, None) if kept["reason"] is None else (401, kept["reason"])
        )


def test_a_session_is_listed_refreshed_and_ended(left: dict[str, Any]) -> None:
    sid, raw = left["alice"], _token(left, "refresh of a live session")
    with using("whitelist"):
        (listed,) = [session for session in sessions.list_sessions(1) if session.sid == sid]
        assert (listed.label, listed.ip) == ("Büro", "192.0.2.1")
        assert "Firefox/140.0" in listed.user_agent
        assert abs(listed.created_at - datetime.fromtimestamp(read(raw)["iat"], UTC)).total_seconds() < 2

        answer = refresh(raw)
        assert answer.status_code == 200, answer.content
        pair = answer.json()
        assert (read(pair["access"])["sid"], read(pair["refresh"])["sid"]) == (sid, sid)
        # The access token of before goes on.
        assert whoami(_token(left, "access of a live session")).status_code == 200
        assert whoami(pair["access"]).status_code == 200
        again = refresh(pair["refresh"])
        assert again.status_code == 200, again.content

        assert sessions.end_session(1, sid)
        for raw in (pair["access"], again.json()["access"], _token(left, "access of a live session")):
            assert whoami(raw).json()["reason"] == "session_ended"


def test_a_copy_of_a_refresh_token_that_was_used_ends_the_session(left: dict[str, Any]) -> None:
    with using("whitelist", REFRESH_GRACE=0):
        assert refresh(_token(left, "refresh that was used")).status_code == 401
        assert refresh(_token(left, "refresh after a refresh")).status_code == 401
        assert whoami(_token(left, "access after a refresh")).json()["reason"] == "session_ended"


def test_a_sliding_token_is_refreshed(left: dict[str, Any]) -> None:
    body = {"token": _token(left, "sliding")}
    with using("whitelist"):
        answer = Client().post("/auth/sliding/refresh/", body, content_type="application/json")
    assert answer.status_code == 200, answer.content


def test_a_password_that_is_changed_ends_the_sessions_of_before(left: dict[str, Any]) -> None:
    """The witness in the record is still the one of the row."""
    with using("whitelist"):
        assert whoami(_token(left, "access of a live session")).status_code == 200
        # Past every signal.
        get_user_model().objects.filter(pk=1).update(password="md5$another$00000000000000000000000000000000")
        assert whoami(_token(left, "access of a live session")).status_code == 401


def test_known_devices_stay_known_and_the_link_works(left: dict[str, Any]) -> None:
    if time.time() * 1000 > left["redis"]["jwt:{1}:known"]["expires_ms"]:
        pytest.skip("nothing is known of a device for longer than ten years")
    heard: list[Any] = []

    def hear(sender: Any, **facts: Any) -> None:
        heard.append(facts["ip"])

    signals.new_device_signed_in.connect(hear)
    agent = left["redis"]["jwt:{1}:devices"]["holds"][f"device:{left['alice']}"]
    try:
        with using("whitelist"):
            alice = get_user_model().objects.get(pk=1)
            for ua, ip in ((json.loads(agent)["ua"], "192.0.2.1"), ("Lynx/2.9", "192.0.2.9")):
                request = RequestFactory().get("/", HTTP_USER_AGENT=ua, REMOTE_ADDR=ip)
                sessions.register(sessions.open_session(alice, request))
            assert heard == ["192.0.2.9"]
            assert read_link(left["not_me_path"].split("/")[-2]).user == "1"
            done = Client().post(left["not_me_path"])
            assert done.status_code == 200, done.content
            assert whoami(_token(left, "access of a live session")).json()["reason"] == "session_ended"
    finally:
        signals.new_device_signed_in.disconnect(hear)


def test_the_commands_understand_it(left: dict[str, Any], store: redis.Redis) -> None:
    with using("whitelist"):
        sessions.list_sessions(1)
        before = {key: store.hgetall(key) for key in store.scan_iter(_type="HASH") if not key.endswith("marker")}
        out = StringIO()
        call_command("jwt_sessions", "id:1", "--history", "--json", stdout=out)
        assert {row["reason"] for row in json.loads(out.getvalue())} == {"logout", "revoked"}
        call_command("jwt_cleanup", stdout=StringIO())
        call_command("jwt_sync", stdout=StringIO())
        after = {key: store.hgetall(key) for key in store.scan_iter(_type="HASH") if not key.endswith("marker")}
    # All of it is of use for another fifty years.
    assert after == before
    assert Revocation.objects.filter(store_id=left["journal"][0]["store_id"]).exists()


def _token(state: dict[str, Any], name: str) -> str:
    return str(state["tokens"][name]["token"])


# What they can read ------------------------------------------------------------------------------------------------

_NUMBER = r"\d{1,15}"
_LIVE = rf"\d{{1,9}}\.{_NUMBER}\.{_NUMBER}\.\d{{1,11}}\.\d{{1,11}}\.[\w-]{{1,32}}\.[\w-]{{0,32}}"
#: Of each kind of key, what a field may be called and hold for 1.0 to read it: its own patterns, which are not to be
#: changed with the code. A field that 1.0 does not know, it leaves alone.
READ_BY_1_0 = {
    "user": {
        r"sid:[\w-]{22}": rf"{_LIVE}|ended\.\d{{1,12}}\.\w{{1,40}}",
        r"blacklist:.+": r"\d+",
        r"not_before": r"\d+",
    },
    "devices": {r"device:[\w-]{22}": r'\{("ua":"[^"]*",?)?("ip":"[^"]*")?\}', r"label:[\w-]{22}": r".{1,60}"},
    "known": {r"device:[0-9a-f]{16}": r"\d+\.\d+", r"used:[\w-]{22}": r"\d+"},
    "marker": {
        r"store_id": r"[\w-]{16}",
        r"born_ms|not_before|revocations": r"\d+",
        r"chapters": r"[^ ]*",
        r"trusted:.+": r"\d+",
    },
    "log": {
        "number|until": r"\d+",
        "kind": "session|token|user|others|all",
        "user": r"[A-Za-z0-9_.@+:,=%~-]{0,96}",
        "id": r".*",
        "reason": r"\w{1,40}",
    },
}
CLAIMS_OF_1_0 = {
    "access": {"token_type", "exp", "iat", "jti", "user_id", "sid", "auth_time"},
    "refresh": {"token_type", "exp", "iat", "jti", "user_id", "sid", "auth_time", "rotation"},
    "sliding": {"token_type", "exp", "iat", "jti", "user_id", "sid", "auth_time", "refresh_exp"},
}


@pytest.fixture(scope="module")
def today(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What this version writes."""
    out = tmp_path_factory.mktemp("today") / "state.json"
    _write(out)
    found: dict[str, Any] = json.loads(out.read_text())
    return found


def _write(out: Path) -> None:
    environment = {
        **os.environ,
        "JWT_REDIS_TEST_URL": f"redis://127.0.0.1:{free_port()}/0",
        "JWT_REDIS_TEST_DB": str(out.with_suffix(".sqlite3")),
    }
    command = [sys.executable, "-W", "ignore", "-m", "tests.upgrades.write", str(out)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize("of", [pytest.param("today", marks=pytest.mark.slow), "then"])
def test_what_stands_in_redis_is_what_1_0_reads(of: str, request: pytest.FixtureRequest) -> None:
    written = request.getfixturevalue("today") if of == "today" else json.loads(STATES[0].read_text())
    unread = [line for line in _fields(written) if not _is_read(*line)]
    assert unread == []


@pytest.mark.slow
def test_and_all_that_1_0_writes_is_still_written(today: dict[str, Any]) -> None:
    """An older process beside this one goes by it: a log without entries would leave its near cache in peace."""

    def kinds(state: dict[str, Any]) -> set[tuple[str, str]]:
        return {(kind, _pattern(kind, name)) for kind, name, _ in _fields(state)}

    assert kinds(today) >= kinds(json.loads(STATES[0].read_text()))
    assert set(today["redis"]) == set(json.loads(STATES[0].read_text())["redis"])


@pytest.mark.slow
def test_tokens_bear_the_claims_that_1_0_reads(today: dict[str, Any]) -> None:
    for name, kept in today["tokens"].items():
        claims = AccessToken(kept["token"], verify=False).payload
        needed = CLAIMS_OF_1_0[claims["token_type"]]
        if "without a session" in name or "odd user" in name:
            needed = needed - {"sid", "auth_time"}
        assert needed <= set(claims), name


def _fields(state: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Each field: of which kind of key it is, its name, its value."""
    for key, value in state["redis"].items():
        tail = re.fullmatch(r"jwt:\{([^{}]+)\}(?::(\w+))?", key)
        assert tail is not None, key
        kind = tail[2] or ("log" if tail[1] == "log" else "user")
        fields = [value["holds"]] if value["type"] == "hash" else [fields for _, fields in value["holds"]]
        for name, text in (pair for each in fields for pair in each.items()):
            yield kind, name, text


def _pattern(kind: str, name: str) -> str:
    found: Callable[..., Any] = next
    return str(found((pattern for pattern in READ_BY_1_0[kind] if re.fullmatch(pattern, name)), name))


def _is_read(kind: str, name: str, text: str) -> bool:
    pattern = READ_BY_1_0[kind].get(_pattern(kind, name))
    return pattern is None or re.fullmatch(pattern, text, re.ASCII if kind != "devices" else 0) is not None
