"""manage.py jwt_revoke, jwt_sessions, jwt_cleanup and jwt_why against a real Redis."""

from __future__ import annotations

import io
import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis
from django.core.management import CommandError, call_command
from django.test import override_settings

from jwt_redis import keys, sessions
from jwt_redis.testing.servers import free_port

pytestmark = pytest.mark.django_db


def run(*args: str) -> str:
    out = io.StringIO()
    call_command(*args, stdout=out, no_color=True)
    return out.getvalue()


def is_good(token: Any) -> bool:
    return sessions.explain(str(token)).allowed


# Naming a user -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["pk", "username", "id"])
def test_a_user_is_named_by_primary_key_username_or_id(alice: Any, how: str) -> None:
    sessions.open_session(alice)
    name = {"pk": str(alice.pk), "username": "alice", "id": f"id:{alice.pk}"}[how]
    assert len(json.loads(run("jwt_sessions", name, "--json"))) == 1


def test_an_unknown_user_is_an_error_that_says_what_to_do(db: None) -> None:
    with pytest.raises(CommandError, match=r"no user .*'nobody'.*id:nobody"):
        run("jwt_sessions", "nobody")


def test_a_name_that_is_also_a_primary_key_is_asked_back(alice: Any, django_user_model: Any) -> None:
    other = django_user_model.objects.create_user(username=str(alice.pk))
    with pytest.raises(CommandError, match=f"id:{alice.pk}, id:{other.pk}"):
        run("jwt_sessions", str(alice.pk))


def test_a_deleted_user_is_still_reached_by_id(alice: Any) -> None:
    pk = alice.pk
    with override_settings(JWT_REDIS={"ALIAS": "sessions", "REVOKE_ON": []}):
        token = sessions.open_session(alice)
        alice.delete()
    assert is_good(token)
    run("jwt_revoke", "--user", f"id:{pk}")
    assert not is_good(token)


# jwt_revoke --------------------------------------------------------------------------------------------------------


def test_revoking_an_access_token_leaves_its_session(alice: Any) -> None:
    refresh = sessions.open_session(alice)
    access = str(refresh.access_token)
    assert "is revoked" in run("jwt_revoke", "--token", access)
    assert sessions.explain(access).reason == "token_blacklisted"
    assert is_good(refresh)
    assert "before" in run("jwt_revoke", "--token", access)


def test_revoking_a_refresh_token_ends_its_session(alice: Any) -> None:
    refresh = sessions.open_session(alice)
    access = refresh.access_token
    run("jwt_revoke", "--token", str(refresh), "--reason", "stolen_laptop")
    assert sessions.explain(access).reason == "session_ended"
    assert "stolen_laptop" in sessions.explain(access).rule


def test_a_token_is_read_from_standard_input(alice: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    refresh = sessions.open_session(alice)
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{refresh}\n"))
    run("jwt_revoke", "--token", "-")
    assert not is_good(refresh)


def test_one_session_one_jti_and_all_but_one(alice: Any, bob: Any) -> None:
    first, second, third = (sessions.open_session(alice) for _ in range(3))
    others = sessions.open_session(bob)
    access = second.access_token
    assert "ended" in run("jwt_revoke", "--session", first["sid"], "--user", "alice")
    assert "no such live session" in run("jwt_revoke", "--session", first["sid"], "--user", "alice")
    run("jwt_revoke", "--jti", access["jti"], "--user", "alice")
    assert [is_good(t) for t in (first, second, access, third)] == [False, True, False, True]
    assert "Ended 1 session of" in run("jwt_revoke", "--user", "alice", "--except", third["sid"])
    assert [is_good(t) for t in (second, third, others)] == [False, True, True]


def test_everything_is_asked_first(alice: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    token = sessions.open_session(alice)
    monkeypatch.setattr("builtins.input", lambda prompt: "y")
    with pytest.raises(CommandError, match="Nothing was revoked"):
        run("jwt_revoke", "--all")
    assert is_good(token)
    monkeypatch.setattr("builtins.input", lambda prompt: "yes")
    run("jwt_revoke", "--all")
    assert sessions.explain(token).reason == "all_revoked"


def test_everything_before_a_moment(alice: Any) -> None:
    old = sessions.open_session(alice)
    time.sleep(0.01)
    moment = datetime.now(tz=UTC)
    time.sleep(0.01)
    new = sessions.open_session(alice)
    run("jwt_revoke", "--all", "--before", moment.isoformat(), "--no-input")
    assert [is_good(old), is_good(new)] == [False, True]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "Say what to revoke"),
        (["--session", "x" * 22], "--session needs --user"),
        (["--jti", "abc"], "--jti needs --user"),
        (["--token", "a", "--all"], "Only one of --token, --all"),
        (["--token", "abc"], "Token is invalid"),
        (["--token", "abc", "--user", "alice"], "--user does not go with --token"),
        (["--all", "--except", "abc"], "--except does not go with --all"),
        (["--user", "alice", "--before", "2026-01-01"], "--before does not go with --user"),
        (["--all", "--before", "yesterday"], "no ISO 8601"),
        (["--all", "--before", "2026-13-01T00:00"], "--before"),
        (["--all", "--before", "2026-01-01T00:00"], "add the time zone"),
        (["--all", "--before", "2999-01-01T00:00+00:00"], "yet to come"),
        (["--user", "alice", "--reason", "two words"], "letters, digits and underscores"),
        (["--user", "alice", "--except", "x" * 22], "no live session"),
        (["--user", "alice", "--session", "short"], "not a session id"),
        (["--user", "alice", "--jti", "x" * 300], "not a token id"),
        (["--user", "id:"], "is missing"),
    ],
)
def test_bad_arguments_are_errors_that_name_what_is_wrong(alice: Any, args: list[str], message: str) -> None:
    token = sessions.open_session(alice)
    with pytest.raises(CommandError, match=message):
        run("jwt_revoke", "--no-input", *args)
    assert is_good(token)


def test_dry_run_changes_nothing(alice: Any, store: redis.Redis) -> None:
    token = sessions.open_session(alice)
    before = store.hgetall(keys.user_key(str(alice.pk))), store.hgetall("jwt:{log}:marker")
    for args in (
        ["--token", str(token)],
        ["--session", token["sid"], "--user", "alice"],
        ["--jti", token["jti"], "--user", "alice"],
        ["--user", "alice"],
        ["--all"],
    ):
        assert run("jwt_revoke", "--dry-run", *args).startswith("Would ")
    assert (store.hgetall(keys.user_key(str(alice.pk))), store.hgetall("jwt:{log}:marker")) == before


def test_a_dead_redis_is_a_command_error(alice: Any) -> None:
    caches = {
        "sessions": {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": f"redis://127.0.0.1:{free_port()}/0",
        }
    }
    with override_settings(CACHES=caches):
        for args in (["jwt_sessions", "alice"], ["jwt_revoke", "--user", "alice"], ["jwt_cleanup"]):
            with pytest.raises(CommandError, match="Redis does not answer"):
                run(*args)


# jwt_sessions ------------------------------------------------------------------------------------------------------


def test_the_table_and_the_json_show_the_same_sessions(alice: Any, rf: Any) -> None:
    agent = "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0"
    token = sessions.open_session(alice, rf.get("/", HTTP_USER_AGENT=agent))
    table = run("jwt_sessions", "alice")
    (row,) = json.loads(run("jwt_sessions", "alice", "--json"))
    assert token["sid"] in table and "127.0.0.1" in table and "Firefox on Linux" in table
    assert row["sid"] == token["sid"] and row["device"] == "Firefox on Linux" and row["user_agent"] == agent


def test_a_user_without_sessions(alice: Any) -> None:
    assert "no live session" in run("jwt_sessions", "alice")
    assert json.loads(run("jwt_sessions", "alice", "--json")) == []


# jwt_cleanup -------------------------------------------------------------------------------------------------------


def leave_behind(store: redis.Redis, users: int) -> None:
    long_ago = int((datetime.now(tz=UTC) - timedelta(days=100)).timestamp() * 1000)
    for user in range(1000, 1000 + users):
        key = keys.user_key(str(user))
        store.hset(key, "sid:" + "a" * 22, f"0.{long_ago}.0.86400.86400.nonce.print")
        store.hset(key, "blacklist:old", long_ago // 1000)
        store.hset(key + ":devices", "device:" + "a" * 22, "{}")


def test_cleanup_drops_what_has_run_out_and_nothing_else(alice: Any, store: redis.Redis) -> None:
    token = sessions.open_session(alice)
    leave_behind(store, 5)
    store.set("neighbour", "x")
    store.set("jwt:foreign", "x")
    before = store.dbsize()
    assert "Would drop 10 expired fields and 5 device fields of 5 users" in run("jwt_cleanup", "--dry-run")
    assert store.dbsize() == before
    assert "Dropped 10 expired fields" in run("jwt_cleanup", "--batch", "2")
    assert store.dbsize() == before - 10
    assert "Dropped 0 expired fields and 0 device fields of 0 users" in run("jwt_cleanup")
    assert is_good(token) and store.get("neighbour") == "x" and store.get("jwt:foreign") == "x"


def test_cleanup_drops_devices_whose_user_hash_is_gone(store: redis.Redis) -> None:
    store.hset("jwt:{9}:devices", "device:" + "a" * 22, "{}")
    run("jwt_cleanup")
    assert not store.exists("jwt:{9}:devices")


def test_cleanup_refuses_a_batch_of_nothing() -> None:
    with pytest.raises(CommandError, match="--batch"):
        run("jwt_cleanup", "--batch", "0")


# jwt_why -----------------------------------------------------------------------------------------------------------


def test_why_says_what_the_check_says(alice: Any) -> None:
    token = sessions.open_session(alice)
    assert run("jwt_why", str(token)).startswith("accepted")
    assert run("jwt_why", f"Bearer {token.access_token}").startswith("accepted")
    sessions.end_session(alice, token["sid"])
    out = io.StringIO()
    with pytest.raises(SystemExit) as exit_info:
        call_command("jwt_why", str(token), stdout=out, no_color=True)
    assert exit_info.value.code == 1
    assert out.getvalue().startswith("refused: session_ended")
    assert "logout" in out.getvalue()


@pytest.mark.parametrize("token", ["", "abc", "a.b.c", "\x00", "é" * 50, "x" * 10_000])
def test_why_of_no_token_is_a_refusal_too(token: str) -> None:
    out = io.StringIO()
    with pytest.raises(SystemExit):
        call_command("jwt_why", token, "--json", stdout=out)
    assert json.loads(out.getvalue())["reason"] == "token_not_valid"
