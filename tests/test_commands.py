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
from django.db import OperationalError, connection
from django.test import override_settings

from jwt_redis import journal, keys, sessions
from jwt_redis.exceptions import NotReplicated
from jwt_redis.journal import Entry
from jwt_redis.management.base import columns, table
from jwt_redis.models import Revocation
from jwt_redis.testing.servers import RedisServer, free_port
from tests.support.topology import PATIENT
from tests.test_redis_failure import pointed_at

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


def test_where_nobody_can_be_asked_nothing_is_revoked(alice: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    token = sessions.open_session(alice)
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    with pytest.raises(CommandError):
        run("jwt_revoke", "--all")
    assert is_good(token)


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


def test_a_revocation_while_redis_is_down_is_kept_in_the_journal(alice: Any) -> None:
    with RedisServer(options={"appendonly": "yes"}) as server, pointed_at(server.url, **PATIENT):
        token = sessions.open_session(alice)
        server.kill()
        with pytest.raises(CommandError, match=r"In the journal 1 revocation is pending.*jwt_sync"):
            run("jwt_revoke", "--user", "alice", "--reason", "stolen")
        (row,) = journal.history(str(alice.pk))
        assert row.applied_at is None and row.reason == "stolen" and row.actor.startswith("manage.py jwt_revoke (")
        with pytest.raises(CommandError, match="Redis does not answer"):
            run("jwt_revoke", "--user", "alice", "--except", token["sid"])
        server.start()
        assert "Applied 1 revocation " in run("jwt_sync")
        assert not is_good(token)


def test_replicas_that_do_not_confirm_are_an_error(alice: Any) -> None:
    sessions.open_session(alice)
    with override_settings(JWT_REDIS={"ALIAS": "sessions", "WAIT_REPLICAS": (1, 0.05)}):
        with pytest.raises(CommandError, match="only 0 of 1 replicas") as caught:
            run("jwt_revoke", "--user", "alice")
        assert isinstance(caught.value.__cause__, NotReplicated)
    assert "Applied 1 revocation " in run("jwt_sync")


def test_a_journal_that_cannot_be_written_is_told_from_a_redis_that_is_down(
    alice: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = sessions.open_session(alice)

    def refuse(entries: Any) -> None:
        raise OperationalError("gone away")

    with monkeypatch.context() as patch:
        patch.setattr(journal, "begin", refuse)
        with pytest.raises(CommandError, match=r"journal cannot be .*gone away.*in Redis alone"):
            run("jwt_revoke", "--user", "alice")
    assert not is_good(token)


def test_who_revoked_is_written_down(alice: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "operator")
    run("jwt_revoke", "--user", "alice")
    assert journal.history(str(alice.pk))[0].actor == "manage.py jwt_revoke (operator)"

    def nobody() -> str:
        raise KeyError("no such uid")

    monkeypatch.setattr("getpass.getuser", nobody)
    run("jwt_revoke", "--user", "alice")
    assert journal.history(str(alice.pk))[0].actor == "manage.py jwt_revoke (?)"


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


@pytest.mark.django_db(transaction=True)
def test_the_history_says_what_was_revoked_why_and_by_whom(alice: Any, bob: Any) -> None:
    token, other = sessions.open_session(alice), sessions.open_session(bob)
    run("jwt_revoke", "--session", token["sid"], "--user", "alice", "--reason", "stolen_laptop")
    sessions.end_session(bob, other["sid"])
    journal.begin([Entry(Revocation.Kind.USER, str(alice.pk), reason="waiting")])
    table = run("jwt_sessions", "alice", "--history")
    first, second = table.splitlines()[2:]
    assert "waiting" in first and first.endswith("pending")
    assert all(text in second for text in (token["sid"], "one session", "stolen_laptop", "manage.py jwt_revoke"))
    assert other["sid"] not in table
    rows = json.loads(run("jwt_sessions", "alice", "--history", "--json"))
    assert [row["reason"] for row in rows] == ["waiting", "stolen_laptop"]
    assert set(rows[0]) == {"created_at", "kind", "target", "reason", "actor", "applied_at", "until"}
    assert rows[0]["applied_at"] is None and rows[1]["applied_at"] is not None


def test_the_history_needs_no_redis_but_a_journal(alice: Any) -> None:
    with pointed_at(f"redis://127.0.0.1:{free_port()}/0"):
        assert "Nothing was revoked" in run("jwt_sessions", "alice", "--history")
    with override_settings(JWT_REDIS={"ALIAS": "sessions", "JOURNAL": False}):
        with pytest.raises(CommandError, match="JOURNAL"):
            run("jwt_sessions", "alice", "--history")
        assert "no live session" in run("jwt_sessions", "alice")
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE jwt_redis_revocation RENAME TO elsewhere")
    with pytest.raises(CommandError, match="migrate jwt_redis"):
        run("jwt_sessions", "alice", "--history")


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


def write_rows(count: int, *, days: int, applied: bool) -> None:
    keys_of = journal.begin([Entry(Revocation.Kind.USER, str(n), reason="revoked") for n in range(count)])
    moment = datetime.now(tz=UTC)
    until = moment + timedelta(days=days)
    for first in range(0, count, 500):
        rows = Revocation.objects.filter(key__in=keys_of[first : first + 500])
        rows.update(until=until, applied_at=moment if applied else None)


def test_cleanup_drops_rows_past_their_end_and_never_pending_ones(
    db: None, monkeypatch: pytest.MonkeyPatch, django_assert_max_num_queries: Any
) -> None:
    # Those that stay lie in the midst of a batch.
    write_rows(12, days=-2, applied=True)
    write_rows(2, days=2, applied=True)
    write_rows(3, days=-2, applied=False)
    write_rows(11, days=-2, applied=True)
    assert "Would drop 23 rows of the journal" in run("jwt_cleanup", "--dry-run")
    assert Revocation.objects.exclude(kind="store").count() == 28
    monkeypatch.setattr("jwt_redis.management.commands.jwt_cleanup._ROWS", 10)
    # Three batches of a SELECT and a DELETE: no row is loaded.
    with django_assert_max_num_queries(20):
        assert "Dropped 23 rows of the journal" in run("jwt_cleanup")
    left = Revocation.objects.exclude(kind="store")
    assert left.filter(applied_at=None).count() == 3 and left.count() == 5
    assert "Dropped 0 rows of the journal" in run("jwt_cleanup")


def test_cleanup_of_a_journal_that_was_switched_off(alice: Any) -> None:
    write_rows(1, days=-2, applied=True)
    with override_settings(JWT_REDIS={"ALIAS": "sessions", "JOURNAL": False}):
        assert "Dropped 1 row of the journal" in run("jwt_cleanup")
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE jwt_redis_revocation RENAME TO elsewhere")
        assert "journal" not in run("jwt_cleanup")
    with pytest.raises(CommandError, match="migrate jwt_redis"):
        run("jwt_cleanup")


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


# For scripts, and for terminals ------------------------------------------------------------------------------------


def test_each_command_that_changes_something_tells_a_script_what(alice: Any, store: redis.Redis) -> None:
    for _ in range(3):
        sessions.open_session(alice)
    end = ("jwt_revoke", "--user", "alice", "--json")
    assert json.loads(run(*end, "--dry-run"))["count"] == 3
    done = json.loads(run(*end))
    assert (done["count"], done["dry_run"]) == (3, False)
    assert json.loads(run(*end))["count"] == 0
    everything = json.loads(run("jwt_revoke", "--all", "--no-input", "--json"))
    assert everything["count"] is None and datetime.fromisoformat(everything["before"])
    assert json.loads(run("jwt_sync", "--json")) == {"dry_run": False, "applied": 0, "pending": 0}
    assert json.loads(run("jwt_sync", "--json", "--dry-run")) == {"dry_run": True, "pending": 0}
    store.hset(keys.devices_key("77"), "sid:x", "y")
    assert json.loads(run("jwt_cleanup", "--json"))["devices"] == 1


def test_a_script_is_not_asked(alice: Any) -> None:
    token = sessions.open_session(alice)
    with pytest.raises(CommandError, match="--no-input"):
        run("jwt_revoke", "--all", "--json")
    assert is_good(token)


def test_what_a_client_calls_itself_does_not_steer_the_terminal(alice: Any, rf: Any) -> None:
    sessions.open_session(alice, rf.get("/", headers={"User-Agent": "\x1b[2J\x07Evil\u202e\u200b\x9b31m browser"}))
    said = run("jwt_sessions", "alice")
    assert "Evil" in said and not {"\x1b", "\x07", "\u202e", "\u200b", "\x9b"} & set(said)


def test_columns_of_wide_characters_are_aligned() -> None:
    lines = table(("NAME", "NEXT"), [("日本語", "x"), ("abc", "x"), ("e\u0301te\u0301", "x")])
    assert [columns(line[: line.index("x")]) for line in lines[2:]] == [8, 8, 8]


def test_a_table_for_which_the_terminal_is_too_narrow_is_turned(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [("日" * 5, "本" * 20), ("a", "b")]
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "52")
    assert table(("ONE", "THE OTHER"), rows)[3] == "a           b"
    monkeypatch.setenv("COLUMNS", "51")
    assert table(("ONE", "THE OTHER"), rows, str.lower) == [
        f"one        {'日' * 5}",
        f"the other  {'本' * 20}",
        "",
        "one        a",
        "the other  b",
    ]


@pytest.mark.parametrize("value", ["1", ""])
def test_no_colours_where_the_environment_wants_none(alice: Any, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """https://no-color.org: unless it is empty. Colours that were asked for are there all the same."""
    sessions.open_session(alice)
    monkeypatch.setenv("NO_COLOR", value)
    monkeypatch.setattr("django.core.management.color.supports_color", lambda: True)
    assert ("\x1b[" in coloured()) is not bool(value)
    assert "\x1b[" in coloured(force_color=True)


def coloured(**options: Any) -> str:
    out = io.StringIO()
    call_command("jwt_sessions", "alice", stdout=out, **options)
    return out.getvalue()


def test_what_an_unknown_client_calls_itself_does_not_fill_the_terminal(alice: Any, rf: Any) -> None:
    sessions.open_session(alice, rf.get("/", headers={"User-Agent": "日" * 200}))
    assert f"{'日' * 29}…" in run("jwt_sessions", "alice")
    assert json.loads(run("jwt_sessions", "alice", "--json"))[0]["user_agent"] == "日" * 200
