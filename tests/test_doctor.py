"""manage.py jwt_doctor and jwt_sync against real servers that are as they should be, and as they should not."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import override_settings
from django.utils import timezone

from jwt_redis import journal, keys, recovery, sessions
from jwt_redis.diagnosis import Diagnosis, Finding, clocks, diagnose, memory, replication, rights
from jwt_redis.diagnosis.findings import ok, problem
from jwt_redis.diagnosis.nodes import nodes
from jwt_redis.diagnosis.sizes import counted, size, span
from jwt_redis.exceptions import RevocationUnavailable
from jwt_redis.management.commands import jwt_sync
from jwt_redis.models import Revocation
from jwt_redis.recovery import rows
from jwt_redis.testing.servers import RedisServer
from tests.support.topology import PATIENT, Cluster, acl_server
from tests.test_redis_failure import pointed_at as pointed_at_with
from tests.test_redis_failure import wait_for

pytestmark = pytest.mark.django_db

PASSWORD = {**PATIENT, "CONNECTION_POOL_KWARGS": {"password": "secret"}}


def pointed_at(url: str, **options: Any) -> Any:
    """As long as a busy machine may need: it is not how long Redis is waited for that is looked at here."""
    return pointed_at_with(url, **{**PATIENT, **options})


@pytest.fixture
def own() -> Iterator[RedisServer]:
    """As good as a server can be: an append-only file and a password, on loopback."""
    with RedisServer(options={"appendonly": "yes"}) as server:
        with server.client() as client:
            client.config_set("requirepass", "secret")
        server.reach = {"password": "secret"}
        with pointed_at(server.url, **PASSWORD):
            yield server


def found(code: str, **options: Any) -> Finding:
    (one,) = [finding for finding in diagnose(**options).findings if finding.code == code]
    return one


def level(code: str) -> str:
    return found(code).level


def bad() -> dict[str, str]:
    return {one.code: one.level for one in diagnose().findings if one.level in ("warning", "problem")}


def doctor(*args: str) -> tuple[str, int]:
    out = io.StringIO()
    try:
        call_command("jwt_doctor", *args, stdout=out, no_color=True)
    except SystemExit as exit_info:
        return out.getvalue(), int(str(exit_info.code))
    return out.getvalue(), 0


def setting(server: RedisServer, name: str, value: str) -> None:
    with server.client() as client:
        client.config_set(name, value)


# The command -------------------------------------------------------------------------------------------------------


def test_a_good_deployment_is_fine(own: RedisServer, alice: Any) -> None:
    sessions.open_session(alice)
    out, status = doctor()
    assert status == 0 and "0 warnings, 0 problems" in out
    report = json.loads(doctor("--json")[0])
    assert set(report) == {"status", "exit_status", "findings", "memory"}
    assert report["status"] == "ok" and report["exit_status"] == 0
    assert {"code": "role", "level": "ok", "found": "A primary.", "advice": "", "server": ""} in report["findings"]
    codes = [one["code"] for one in report["findings"]]
    assert len(codes) == len(set(codes))
    assert {"reachable", "version", "eviction", "persistence", "replicas", "tls", "password", "rights"} <= set(codes)
    assert {"clock_redis", "clock_database", "store", "trust", "journal", "pending", "memory"} <= set(codes)


def test_a_store_that_nobody_has_used_yet_is_no_reason_to_worry(own: RedisServer, db: None) -> None:
    out, status = doctor()
    assert status == 0 and "no marker" in out and "no sessions yet" in out


def test_warnings_are_1_and_problems_are_2(own: RedisServer, alice: Any) -> None:
    sessions.open_session(alice)
    setting(own, "appendonly", "no")
    out, status = doctor()
    assert status == 1 and "warning  persistence" in out and "→ appendonly yes." in out
    setting(own, "maxmemory-policy", "allkeys-lru")
    out, status = doctor("--json")
    assert status == 2 and json.loads(out)["status"] == "problem"


def test_it_changes_nothing(own: RedisServer, alice: Any) -> None:
    sessions.open_session(alice)
    with own.client() as client:
        before = client.info()["rdb_changes_since_last_save"], Revocation.objects.count()
        doctor()
        assert (client.info()["rdb_changes_since_last_save"], Revocation.objects.count()) == before


def test_the_password_is_never_said(own: RedisServer, alice: Any) -> None:
    assert "secret" not in doctor("--json")[0]
    own.kill()
    assert "secret" not in doctor("--json")[0]


def test_a_dead_server_is_a_problem_and_the_journal_is_still_looked_at(own: RedisServer, alice: Any) -> None:
    sessions.open_session(alice)
    own.kill()
    with pytest.raises(RevocationUnavailable):
        sessions.end_all_sessions(alice)
    out, status = doctor()
    assert status == 2 and "Redis does not answer" in out and "1 revocation pending" in out


def test_a_server_that_hangs_is_a_problem_too(own: RedisServer, db: None) -> None:
    own.pause()
    try:
        assert level("reachable") == "problem"
    finally:
        own.resume()


def test_bad_settings_are_findings(db: None) -> None:
    with override_settings(JWT_REDIS={"NOPE": 1}):
        assert doctor()[1] == 2
        assert [(one.code, one.level) for one in diagnose().findings] == [("settings", "problem")]
    with override_settings(CACHES={}):
        assert level("settings") == "problem"
    with pytest.raises(CommandError, match="--users"):
        doctor("--users", "-1")


# The server --------------------------------------------------------------------------------------------------------


def test_eviction_is_a_problem_under_both_strategies(own: RedisServer, db: None) -> None:
    setting(own, "maxmemory-policy", "volatile-ttl")
    assert "signed out" in found("eviction").found and level("eviction") == "problem"
    with override_settings(JWT_REDIS={"ALIAS": "sessions", "STRATEGY": "blacklist"}):
        assert "503" in found("eviction").found


def test_keys_that_were_evicted_are_counted(own: RedisServer, db: None) -> None:
    with own.client() as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        client.set("x", "y")
        client.config_set("maxmemory", "1")
        wait_for(lambda: client.info()["evicted_keys"])
        client.config_set("maxmemory", "0")
        client.config_set("maxmemory-policy", "noeviction")
    assert level("eviction") == "ok" and level("evicted") == "warning"


def test_a_server_that_is_nearly_full(own: RedisServer, db: None) -> None:
    with own.client() as client:
        client.config_set("maxmemory", str(int(client.info()["used_memory"]) + 200_000))
    assert level("eviction") == "warning"


def test_persistence_is_judged_by_what_the_journal_makes_good(own: RedisServer, db: None) -> None:
    without = override_settings(JWT_REDIS={"ALIAS": "sessions", "JOURNAL": False})
    assert level("persistence") == "ok"
    with without:
        assert level("persistence") == "warning" and level("journal") == "warning"
    setting(own, "appendfsync", "always")
    with without:
        assert level("persistence") == "ok"
    setting(own, "appendonly", "no")
    assert level("persistence") == "warning"
    with without:
        assert level("persistence") == "problem"


def test_a_snapshot_that_failed(db: None) -> None:
    with RedisServer(options={"dbfilename": "taken"}) as server, pointed_at(server.url), server.client() as client:
        assert level("snapshot") == "ok"
        # A folder stands where the file should go.
        (server.folder / "taken").mkdir()
        client.bgsave()
        wait_for(lambda: client.info()["rdb_last_bgsave_status"] == "err")
        assert level("snapshot") == "problem"


def test_without_a_password(db: None) -> None:
    with RedisServer() as server, pointed_at(server.url):
        assert level("password") == "warning" and level("tls") == "ok"


def test_a_replica_and_its_primary(own: RedisServer, db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    # So as not to wait for ten.
    monkeypatch.setattr(replication, "_SECONDS", 3)
    wanting = override_settings(JWT_REDIS={"ALIAS": "sessions", "WAIT_REPLICAS": 1})
    assert level("replicas") == "ok" and "No replicas" in found("replicas").found
    with wanting:
        assert level("replicas") == "problem"
    with RedisServer(options={"masterauth": "secret", "repl-diskless-sync-delay": "0"}) as replica:
        with replica.client() as client:
            client.execute_command("REPLICAOF", "127.0.0.1", own.port)
            wait_for(lambda: client.info()["master_link_status"] == "up")
        wait_for(lambda: level("replicas") == "ok")
        assert str(replica.port) in found("replicas").found
        assert level("failover") == "ok"
        with override_settings(JWT_REDIS={"ALIAS": "sessions", "JOURNAL": False}):
            assert level("failover") == "warning"
        # A primary that is cut off from it would go on answering.
        assert level("min_replicas") == "warning"
        setting(own, "min-replicas-to-write", "1")
        assert level("min_replicas") == "ok"
        setting(own, "min-replicas-to-write", "2")
        assert level("min_replicas") == "problem"
        with wanting:
            # One that was not let run for three seconds is behind, and comes again.
            wait_for(lambda: level("replicas") == "ok")
            # The link is up, and the replica hangs: nothing is confirmed any more.
            replica.pause()
            try:
                wait_for(lambda: level("replicas") != "ok", seconds=20)
            finally:
                replica.resume()
        with pointed_at(replica.url):
            assert level("role") == "problem"


def test_whoever_shares_the_database(own: RedisServer, alice: Any) -> None:
    assert level("shared_database") == "ok"
    here = {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": own.url, "OPTIONS": PASSWORD}
    with override_settings(CACHES={"sessions": here, "default": here}):
        sessions.open_session(alice)
        with own.client() as client:
            # As with SIGN_IN_NOTICE.
            client.hset(keys.known_key(str(alice.pk)), "device:0123456789abcdef", "1.2")
            # As with STATUS_LIST, and with OPENID_PROVIDERS.
            for name in (keys.status_key(), keys.status_list_key("a.b"), keys.once_key("a logout token")):
                client.set(name, "x")
            assert "foreign_keys" not in {one.code for one in diagnose().findings}
            client.set("neighbour", "x")
            for name in ("{log}", "{log}ger", "{no digest}:once"):
                client.set(name if name == "{log}" else f"jwt:{name}", "x")
        assert level("shared_database") == "warning" and "'default'" in found("shared_database").found
        assert found("foreign_keys").found.startswith("Of 10 keys looked at 4 are none")


# Rights ------------------------------------------------------------------------------------------------------------

MODERN = "/usr/bin/redis-server"
needs_dryrun = pytest.mark.skipif(
    not Path(MODERN).exists() or b" v=6." in subprocess.run([MODERN, "--version"], capture_output=True).stdout,
    reason="ACL DRYRUN came with 7.0",
)


def rule() -> str:
    return rights.advice().removeprefix("ACL SETUSER needs at least: ")


def as_user(server: Any) -> Any:
    return pointed_at(server.url, CONNECTION_POOL_KWARGS={"username": server.user, "password": server.password})


def test_the_rights_that_are_advised_are_enough(alice: Any) -> None:
    with acl_server(rule()) as server, as_user(server):
        kept, ended = sessions.open_session(alice), sessions.open_session(alice)
        sessions.revoke_token(kept.access_token)
        sessions.revoke_token(ended)
        sessions.end_other_sessions(alice, kept["sid"])
        assert sessions.explain(str(kept)).allowed and not sessions.explain(str(ended)).allowed
        sessions.revoke_everything()
        call_command("jwt_cleanup", stdout=io.StringIO())
        # What may not be asked is a notice, and the rest is still looked at.
        assert level("rights") == "notice" and level("persistence") == "warning" and level("memory") == "ok"


@needs_dryrun
def test_each_right_that_is_missing_is_named() -> None:
    asking = f"{rule()} +acl|whoami +acl|dryrun"
    with acl_server(asking, binary=MODERN) as server, as_user(server):
        assert level("rights") == "ok"
        for name in rights.needed():
            if name in ("INFO", "SCAN", "DBSIZE", "TIME"):
                continue
            server.change(f"-{name.lower()}")
            assert name in found("rights").found and level("rights") == "problem", name
            server.change(f"+{name.lower()}")
        server.change("resetkeys", "~other:*")
        assert level("rights") == "problem"


def test_questions_that_are_refused_are_notices(db: None) -> None:
    for refused, code in (("-time", "clock_redis"), ("-dbsize", "memory"), ("-memory", "memory"), ("-scan", "memory")):
        with acl_server(f"~* +@all {refused}") as server, as_user(server):
            with server.client() as client:
                client.hset(keys.user_key("1"), "a", "b")
            assert level(code) == "notice", refused
    with acl_server("~jwt:* +@all -hgetall") as server, as_user(server):
        assert level("store") == "notice"
    closed = acl_server("~jwt:* +@all -config")
    closed.options["appendonly"] = "yes"
    with closed, as_user(closed):
        assert level("persistence") == "notice"


def test_without_info_nothing_works(db: None) -> None:
    with acl_server("~* +@all -info") as server, as_user(server):
        assert found("rights").level == "problem" and "info" in found("rights").found


def test_a_wrong_password_is_a_problem(own: RedisServer, db: None) -> None:
    with pointed_at(own.url.replace("secret", "wrong")):
        assert level("reachable") == "problem"


# The store, the clocks, the journal --------------------------------------------------------------------------------


def test_a_restarted_server_is_not_trusted_until_somebody_has_asked(own: RedisServer, alice: Any) -> None:
    token = sessions.open_session(alice)
    assert level("trust") == "ok"
    own.reach = {}
    own.kill()
    own.start()
    own.reach = {"password": "secret"}
    with pointed_at(own.url.replace(":secret@", "")):
        assert level("trust") == "notice"
        assert sessions.explain(str(token)).allowed
        assert level("trust") == "ok" and "2 servers trusted" in found("store").found


def test_everything_revoked_is_said(own: RedisServer, alice: Any) -> None:
    sessions.revoke_everything()
    assert "let in" in found("everything").found


def test_clocks_that_differ(own: RedisServer, db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert level("clock_redis") == "ok" and level("clock_database") == "ok"
    for ahead, expected in ((-70, "problem"), (-5, "warning"), (70, "warning")):
        with monkeypatch.context() as patch:
            # This host's clock is the one that can be moved.
            patch.setattr(clocks, "time", type("Clock", (), {"time": staticmethod(lambda a=ahead: time.time() + a)}))
            assert level("clock_redis") == expected, ahead
            assert level("clock_database") == ("warning" if abs(ahead) > 60 else "ok")


def test_rows_that_are_pending(own: RedisServer, alice: Any) -> None:
    journal.begin([journal.Entry(Revocation.Kind.USER, "7", reason="revoked")])
    assert level("pending") == "warning" and bad() == {"pending": "warning"}
    Revocation.objects.update(created_at=timezone.now() - timedelta(minutes=5))
    assert level("pending") == "problem" and "5 min" in found("pending").found


def test_a_journal_whose_table_is_missing(own: RedisServer, db: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE jwt_redis_revocation RENAME TO elsewhere")
    assert level("journal") == "problem" and "migrate" in found("journal").advice
    assert level("clock_database") == "notice"


# Memory ------------------------------------------------------------------------------------------------------------


def test_memory_is_measured_and_forecast(own: RedisServer, django_user_model: Any, rf: Any) -> None:
    for number in range(30):
        user = django_user_model.objects.create(username=f"user{number}", is_active=number < 10)
        for _ in range(2):
            sessions.open_session(user, rf.get("/", HTTP_USER_AGENT="x" * 100))
    with own.client() as client:
        truth = sum(client.memory_usage(name, samples=0) or 0 for name in client.keys("*"))
    report = json.loads(doctor("--json")[0])["memory"]
    assert report["users"] == 30 and report["sessions"] == 60
    assert report["store_bytes"] == pytest.approx(truth, rel=0.05)
    assert report["forecast_users"] == 10
    each = report["user_bytes"] / 30
    assert report["forecast_bytes"] == pytest.approx(10 * each + report["shared_bytes"], abs=1)
    assert found("forecast", users=1_000_000).level == "ok"
    with own.client() as client:
        client.config_set("maxmemory", "100mb")
    assert found("forecast", users=1_000_000).level == "warning"


def test_a_sample_stands_for_the_rest(own: RedisServer, monkeypatch: pytest.MonkeyPatch, db: None) -> None:
    with own.client() as client:
        for number in range(3000):
            client.hset(keys.user_key(str(number)), keys.SESSION + "a" * 22, "x" * 50)
        truth = sum(client.memory_usage(name) or 0 for name in client.keys("*"))
    monkeypatch.setattr(memory, "_KEYS", 500)
    monkeypatch.setattr(memory, "_STEP", 100)
    with nodes() as (client, each):
        some = memory.sample(client, each)
    assert 500 <= some.seen < 700 and some.total == 3000
    assert some.store_bytes == pytest.approx(truth, rel=0.1)


def test_numbers_for_people() -> None:
    assert [size(n) for n in (0, 1023, 1024, 5 << 20, 3 << 30, 2 << 40)] == [
        "0 B",
        "1023 B",
        "1.0 KB",
        "5.0 MB",
        "3.0 GB",
        "2.0 TB",
    ]
    assert [span(s) for s in (-1, 59, 90, 7200, 200_000)] == ["0 s", "59 s", "1 min", "2 h", "2 d"]
    assert counted(1, "row") == "1 row" and counted(0, "row") == "0 rows"
    assert Diagnosis([]).status == "ok"
    assert Diagnosis([ok("a", ""), problem("b", "", "")]).status == "problem"


# Cluster -----------------------------------------------------------------------------------------------------------


def test_each_primary_of_a_cluster_is_looked_at(alice: Any, bob: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with Cluster(replicas=0, options={"appendonly": "yes"}) as cluster:
        for name, value in cluster.environment.items():
            monkeypatch.setenv(name, value)
        with override_settings(JWT_REDIS={"CLIENT_FACTORY": "tests.support.topology.cluster_client"}):
            for user in (alice, bob):
                sessions.open_session(user)
            odd = cluster.owner_of(keys.user_key(str(alice.pk)))
            setting(odd, "maxmemory-policy", "allkeys-lru")
            result = diagnose()
            roles = [one.server for one in result.findings if one.code == "role"]
            assert roles == sorted(f"127.0.0.1:{server.port}" for server in cluster.primaries())
            evicting = [one.server for one in result.findings if one.code == "eviction" and one.level == "problem"]
            assert evicting == [f"127.0.0.1:{odd.port}"]
            assert result.sample is not None and result.sample.users == 2 and result.sample.shared_bytes > 0
            assert [one.level for one in result.findings if one.code == "trust"] == ["ok"]


# jwt_sync ----------------------------------------------------------------------------------------------------------


def sync(*args: str) -> str:
    out = io.StringIO()
    call_command("jwt_sync", *args, stdout=out, no_color=True)
    return out.getvalue()


def in_another_process() -> None:
    """This process forgets what it knows, as one that has just started."""
    from jwt_redis.store import client, gate, markers

    client.reset()
    gate.reset()
    markers.reset(setting="JWT_REDIS")
    recovery.reset(setting="JWT_REDIS")


def test_sync_applies_what_is_pending_once_redis_is_back(own: RedisServer, alice: Any, bob: Any) -> None:
    tokens = [sessions.open_session(user) for user in (alice, bob)]
    setting(own, "requirepass", "")
    with pointed_at(own.url.replace(":secret@", "")):
        in_another_process()
        own.kill()
        with pytest.raises(RevocationUnavailable):
            sessions.end_all_sessions(alice)
        with pytest.raises(CommandError, match=r"Redis does not answer .* 1 revocation is pending.*jwt_sync"):
            sync()
        own.reach = {}
        own.start()
        assert "Would apply 1 revocation." in sync("--dry-run")
        in_another_process()
        out = sync()
        assert "Applied 1 revocation from the journal." in out and "Nothing is pending." in out
        # Asked of the server itself, so that nothing is applied on the way.
        with own.client() as client:
            states = [
                client.hget(keys.user_key(str(u.pk)), keys.SESSION + t["sid"])
                for u, t in zip((alice, bob), tokens, strict=True)
            ]
        assert states[0].startswith("ended.") and not states[1].startswith("ended.")
        assert "Applied 0 revocations" in sync()


def test_sync_applies_to_an_older_snapshot_what_it_lacks(alice: Any) -> None:
    with RedisServer() as server, pointed_at(server.url):
        token = sessions.open_session(alice)
        with server.client() as client:
            client.save()
        sessions.end_session(alice, token["sid"])
        server.kill()
        server.start()
        in_another_process()
        assert "Applied 1 revocation " in sync()
        with server.client() as client:
            assert client.hget(keys.user_key(str(alice.pk)), keys.SESSION + token["sid"]).startswith("ended.")


def test_sync_without_a_journal_or_its_table(own: RedisServer, db: None) -> None:
    with (
        override_settings(JWT_REDIS={"ALIAS": "sessions", "JOURNAL": False}),
        pytest.raises(CommandError, match="JOURNAL"),
    ):
        sync()
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE jwt_redis_revocation RENAME TO elsewhere")
    with pytest.raises(CommandError, match="migrate jwt_redis"):
        sync()


def test_sync_waits_for_another_process_that_is_at_it(
    own: RedisServer, alice: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "PATIENCE", 0.05)
    in_another_process()
    with own.client() as client:
        # Half a second, until it is given up.
        client.set(keys.lock_key(), "somebody", px=500)
    assert "Applied 0" in sync()
    monkeypatch.setattr(jwt_sync, "_PATIENCE", 0.2)
    in_another_process()
    with own.client() as client:
        client.hdel(keys.marker_key(), *[f for f in client.hkeys(keys.marker_key()) if ":" in f])
        client.set(keys.lock_key(), "somebody", px=60_000)
    with pytest.raises(CommandError, match="Redis does not answer"):
        sync()


# migrate -----------------------------------------------------------------------------------------------------------


def test_the_check_does_not_stand_in_the_way_of_migrate(tmp_path: Path) -> None:
    environment = {**os.environ, "JWT_REDIS_TEST_DB": str(tmp_path / "db"), "DJANGO_SETTINGS_MODULE": "tests.settings"}

    def manage(*args: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "django", *args]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    before = manage("check", "--database", "default")
    assert before.returncode == 0 and "jwt_redis.W104" in before.stderr
    done = manage("migrate", "--verbosity", "0")
    assert done.returncode == 0, done.stderr
    assert "jwt_redis.W104" not in manage("check", "--database", "default").stderr
