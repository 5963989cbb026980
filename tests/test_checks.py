"""manage.py check, and with --deploy against live servers."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import connection
from django.test import override_settings
from rest_framework_simplejwt import settings as simplejwt

from jwt_redis.checks import check_deployment, check_journal, check_settings
from jwt_redis.testing.servers import RedisServer, free_port
from tests.support.server import ROOT
from tests.support.topology import PATIENT
from tests.test_redis_failure import wait_for

# With --deploy the journal is looked for, too.
pytestmark = pytest.mark.django_db


def ids(messages: Any) -> list[str]:
    return sorted(message.id for message in messages)


def cache(url: str, **options: Any) -> dict[str, Any]:
    return {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": url, "OPTIONS": {**PATIENT, **options}}


HERE = cache("redis://127.0.0.1:6390/1")


def test_all_is_well_here() -> None:
    assert check_settings() == []
    call_command("check", "--fail-level", "WARNING")


@pytest.mark.parametrize(
    ("value", "expected"),
    [({"NOPE": 1}, "jwt_redis.E001"), ({"STRATEGY": 5}, "jwt_redis.E002"), ([], "jwt_redis.E002")],
)
def test_settings_that_are_wrong(value: Any, expected: str) -> None:
    with override_settings(JWT_REDIS=value):
        assert ids(check_settings()) == [expected]
        assert check_deployment() == []


def test_they_are_said_by_check_and_not_by_a_crash_before_it() -> None:
    """In a process that starts with them: nothing may look at the settings while it is imported."""
    code = """
from django.conf import settings
settings.JWT_REDIS = {"NOPE": 1}
import django
django.setup()
from django.core.management import call_command
call_command("check")
"""
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"}
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
    assert "SystemCheckError" in done.stderr and "(jwt_redis.E001)" in done.stderr, done.stderr


def test_tokens_need_an_id(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simplejwt.api_settings, "JTI_CLAIM", None, raising=False)
    assert ids(check_settings()) == ["jwt_redis.E003"]


@pytest.mark.parametrize(
    "caches",
    [
        {},
        {"sessions": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}},
        {"sessions": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "redis://127.0.0.1"}},
        {"sessions": {"BACKEND": "django_redis.cache.RedisCache"}},
    ],
)
def test_an_alias_that_is_not_django_redis(caches: Any) -> None:
    with override_settings(CACHES=caches):
        assert ids(check_settings()) == ["jwt_redis.E004"]
        assert check_deployment() == []


def test_a_client_factory_needs_no_alias() -> None:
    with override_settings(CACHES={}, JWT_REDIS={"CLIENT_FACTORY": dict}):
        assert check_settings() == []


def test_an_alias_that_ignores_exceptions() -> None:
    with override_settings(CACHES={"sessions": cache("redis://127.0.0.1:6390/1", IGNORE_EXCEPTIONS=True)}):
        assert ids(check_settings()) == ["jwt_redis.E005"]
    with override_settings(CACHES={"sessions": HERE}, DJANGO_REDIS_IGNORE_EXCEPTIONS=True):
        assert ids(check_settings()) == ["jwt_redis.E005"]


@pytest.mark.parametrize(
    "name",
    [
        "AUTH_TOKEN_CLASSES",
        "TOKEN_OBTAIN_SERIALIZER",
        "TOKEN_REFRESH_SERIALIZER",
        "TOKEN_VERIFY_SERIALIZER",
        "TOKEN_BLACKLIST_SERIALIZER",
        "SLIDING_TOKEN_OBTAIN_SERIALIZER",
        "SLIDING_TOKEN_REFRESH_SERIALIZER",
    ],
)
def test_each_of_simple_jwts_own_classes_left_in_place(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    default = simplejwt.DEFAULTS[name]
    if name in simplejwt.IMPORT_STRINGS:
        from rest_framework_simplejwt.tokens import AccessToken

        default = (AccessToken,)
    monkeypatch.setattr(simplejwt.api_settings, name, default, raising=False)
    (message,) = check_settings()
    assert message.id == "jwt_redis.E006" and name in message.msg
    monkeypatch.setattr(simplejwt.api_settings, name, "no.such.path", raising=False)
    assert "cannot be imported" in check_settings()[0].msg


def test_token_blacklist_still_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    # Not by override_settings, which would load the apps anew.
    apps = settings.INSTALLED_APPS
    monkeypatch.setattr(settings, "INSTALLED_APPS", [*apps, "rest_framework_simplejwt.token_blacklist"])
    assert ids(check_settings()) == ["jwt_redis.W001"]


@pytest.mark.parametrize(
    ("neighbour", "shared"),
    [
        (cache("redis://127.0.0.1:6390/1"), True),
        (cache("redis://localhost:6390/1"), True),
        (cache("redis://localhost:6390?db=1"), True),
        (cache("redis://localhost:6390", CONNECTION_POOL_KWARGS={"db": 1}), True),
        ({"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "redis://127.0.0.1:6390/1"}, True),
        (cache("redis://10.0.0.1:6379/0,redis://127.0.0.1:6390/1"), True),
        (cache("redis://127.0.0.1:6390/2"), False),
        (cache("redis://127.0.0.1:6391/1"), False),
        (cache("unix:///tmp/redis.sock?db=1"), False),
        ({"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}, False),
    ],
)
def test_a_shared_database(neighbour: Any, shared: bool) -> None:
    with override_settings(CACHES={"sessions": HERE, "default": neighbour}):
        assert ids(check_settings()) == (["jwt_redis.W002"] if shared else [])


def test_a_blacklist_that_nothing_but_redis_remembers() -> None:
    for strategy, journal, expected in (
        ("blacklist", False, ["jwt_redis.W003"]),
        ("blacklist", True, []),
        ("whitelist", False, []),
    ):
        with override_settings(JWT_REDIS={"ALIAS": "sessions", "STRATEGY": strategy, "JOURNAL": journal}):
            assert ids(check_settings()) == expected


# With --database ---------------------------------------------------------------------------------------------------


def test_a_journal_whose_table_is_missing() -> None:
    assert check_journal(databases=["default"]) == []
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE jwt_redis_revocation RENAME TO elsewhere")
    (message,) = check_journal(databases=["default"])
    assert message.id == "jwt_redis.W104" and "migrate" in message.hint
    # Not where the database is not to be asked, and not where nobody needs the table.
    assert check_journal() == [] and check_journal(databases=["other"]) == []
    with override_settings(JWT_REDIS={"ALIAS": "sessions", "JOURNAL": False}):
        assert check_journal(databases=["default"]) == []
    assert deployed(GOOD) == ["jwt_redis.E106"]
    assert deployed(GOOD, JOURNAL=False) == []


def test_a_journal_whose_database_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    from django.db import OperationalError

    from jwt_redis import journal

    def refuse() -> bool:
        raise OperationalError("gone away")

    monkeypatch.setattr(journal, "has_table", refuse)
    (message,) = check_journal(databases=["default"])
    assert "gone away" in message.msg
    assert deployed(GOOD) == ["jwt_redis.E106"]


# With --deploy -----------------------------------------------------------------------------------------------------

GOOD = {"appendonly": "yes", "maxmemory-policy": "noeviction", "requirepass": "secret"}


def deployed(options: dict[str, str], **jwt_redis: Any) -> list[str]:
    with RedisServer(options={k: v for k, v in options.items() if k != "requirepass"}) as server:
        url = server.url
        if "requirepass" in options:
            import redis

            with redis.Redis(port=server.port) as client:
                client.config_set("requirepass", options["requirepass"])
            url = url.replace("redis://", f"redis://:{options['requirepass']}@")
        with override_settings(CACHES={"sessions": cache(url)}, JWT_REDIS={"ALIAS": "sessions", **jwt_redis}):
            return ids(check_deployment())


def test_a_good_server() -> None:
    assert deployed(GOOD) == []


def test_a_server_as_it_comes() -> None:
    assert deployed({}) == ["jwt_redis.W101", "jwt_redis.W103"]


def test_without_a_file_the_journal_makes_the_difference() -> None:
    for journal, lost in ((True, "are in the journal"), (False, "may work again")):
        with RedisServer() as server:
            settings_here = {"ALIAS": "sessions", "JOURNAL": journal}
            with override_settings(CACHES={"sessions": cache(server.url)}, JWT_REDIS=settings_here):
                (message,) = [one for one in check_deployment() if one.id == "jwt_redis.W103"]
                assert lost in message.msg


def test_fewer_replicas_than_are_waited_for() -> None:
    assert deployed(GOOD, WAIT_REPLICAS=1) == ["jwt_redis.W105"]
    with RedisServer(options={"appendonly": "yes"}) as server, server.client() as client:
        replica = RedisServer(options={"replicaof": f"127.0.0.1 {server.port}", "repl-diskless-sync-delay": "0"})
        waiting = {"ALIAS": "sessions", "WAIT_REPLICAS": 1}
        with replica, override_settings(CACHES={"sessions": cache(server.url)}, JWT_REDIS=waiting):
            wait_for(lambda: int(client.info()["connected_slaves"]) == 1)
            assert ids(check_deployment()) == ["jwt_redis.W101"]


def test_a_server_that_evicts() -> None:
    options = {**GOOD, "maxmemory-policy": "allkeys-lru"}
    assert deployed(options) == ["jwt_redis.E105"]
    assert deployed(options, STRATEGY="blacklist") == ["jwt_redis.E104"]


def test_a_replica() -> None:
    assert deployed({**GOOD, "replicaof": "127.0.0.1 1"}) == ["jwt_redis.E103"]


def test_a_server_that_is_not_there() -> None:
    with override_settings(CACHES={"sessions": cache(f"redis://127.0.0.1:{free_port()}/0")}):
        (message,) = check_deployment()
    assert message.id == "jwt_redis.E101" and "refused" in message.msg


def test_a_wrong_password() -> None:
    import redis

    with RedisServer() as server:
        with redis.Redis(port=server.port) as client:
            client.config_set("requirepass", "right")
        with override_settings(CACHES={"sessions": cache(server.url.replace("redis://", "redis://:wrong@"))}):
            assert ids(check_deployment()) == ["jwt_redis.E101"]


def test_an_old_server_and_no_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    from jwt_redis.checks import servers

    # No server that old, nor one off loopback, can be had here: the functions that judge are asked directly.
    assert servers._check_version({"redis_version": "6.0.16"}) is not None
    assert servers._check_version({"redis_version": "6.2.0"}) is None
    assert servers._check_version({"redis_version": "255.255.255"}) is None
    with override_settings(CACHES={"sessions": cache("redis://redis.example:6379/0", PASSWORD="x")}):
        assert ids(servers._check_connection()) == ["jwt_redis.W102"]
    with override_settings(CACHES={"sessions": cache("redis://10.0.0.1:6379/0", PASSWORD="x")}):
        assert ids(servers._check_connection()) == ["jwt_redis.W102"]
    for url in ("rediss://redis.example/0", "redis://localhost/0", "redis://127.0.0.1/0", "unix:///tmp/r.sock"):
        with override_settings(CACHES={"sessions": cache(url, PASSWORD="x")}):
            assert servers._check_connection() == []
