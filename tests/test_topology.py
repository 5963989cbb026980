"""The package on Redis as people run it: each version, TLS, an ACL user, a unix socket, Sentinel, Cluster."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from io import StringIO
from typing import Any

import pytest
import redis
from django.conf import settings
from django.core.management import call_command
from django.test import override_settings
from rest_framework.test import APIClient

from jwt_redis import near_cache, sessions
from jwt_redis.checks import check_deployment
from jwt_redis.exceptions import RevocationUnavailable, RevokedToken
from jwt_redis.sessions.once import drop_use, use_once
from jwt_redis.signing import backends
from jwt_redis.store import client, markers
from jwt_redis.testing.servers import RedisServer
from jwt_redis.verdicts import NO_KID
from tests.support.topology import (
    PATIENT,
    AclServer,
    Binary,
    Cluster,
    Sentinels,
    acl_server,
    ask,
    find_binaries,
    make_certificates,
    pointed_at,
    settings_for,
    tls_server,
    unix_server,
)
from tests.support.waiting import wait_for

# Revocations go to the database too, and count when they are committed.
pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]

# What the application's Redis user needs, and no more: the keys, what they are read with, and what the scripts call.
KEYS = ["~jwt:{*}", "~jwt:{*}:devices", "~jwt:{log}:marker", "~jwt:{log}:lock"]
READING = ["hget", "hgetall", "hmget", "info", "time", "eval", "evalsha"]
SCRIPTS = ["del", "expireat", "get", "hdel", "hincrby", "hset", "set", "type", "xadd"]
COMMANDS = READING + SCRIPTS
# jwt_cleanup walks the store.
CLEANUP = ["scan", "dbsize", "hkeys"]

# A breaker leaves a server alone for half a second; the rest is for a busy machine.
RECOVERY = 3.0


def rights(*commands: str) -> str:
    return " ".join(("resetchannels", "-@all", *KEYS, *(f"+{name}" for name in commands)))


def ask_with(access: str) -> tuple[int, str | None]:
    """The status, and the reason where there is one."""
    response = APIClient().get("/stateless/", HTTP_AUTHORIZATION=f"Bearer {access}")
    return response.status_code, response.json().get("reason")


def key_of(user: Any) -> str:
    return f"jwt:{{{user.pk}}}"


def refresh(token: str) -> Any:
    return APIClient().post("/auth/token/refresh/", {"refresh": token}, format="json")


def assert_lives(access: str) -> None:
    assert ask_with(access) == (200, None)


def assert_refused(access: str, reason: str, seconds: float = 0) -> None:
    wait_for(lambda: ask_with(access)[0] == 401, "it is refused", seconds)
    assert ask_with(access) == (401, reason)


def sign_in(user: Any) -> tuple[str, str, str]:
    """The session's id, an access token, the refresh token."""
    token = sessions.open_session(user)
    return token.payload["sid"], str(token.access_token), str(token)


def assert_everything_works(user: Any) -> None:
    sessions.end_all_sessions(user)
    sid, access, token = sign_in(user)
    assert_lives(access)
    answer = refresh(token)
    assert answer.status_code == 200
    rotated = answer.json()
    assert_lives(rotated["access"])
    assert [session.sid for session in sessions.list_sessions(user)] == [sid]

    assert sessions.end_session(user, sid)
    assert_refused(access, "session_ended")
    assert_refused(rotated["access"], "session_ended")
    assert refresh(rotated["refresh"]).status_code == 401
    assert sessions.list_sessions(user) == []

    _, one, _ = sign_in(user)
    _, two, _ = sign_in(user)
    assert sessions.end_all_sessions(user) == 2
    assert_refused(one, "session_ended")
    assert_refused(two, "session_ended")

    _, access, token = sign_in(user)
    assert_lives(access)
    time.sleep(0.01)  # a session of the very same millisecond counts as older
    sessions.revoke_everything()
    assert_refused(access, "all_revoked", seconds=1)
    assert refresh(token).status_code == 401
    time.sleep(0.01)
    assert_lives(sign_in(user)[1])


async def assert_everything_works_async(user: Any) -> None:
    await sessions.aend_all_sessions(user)
    token = await sessions.aopen_session(user)
    access = token.access_token
    assert (await sessions.acheck(access)).allowed
    record = await sessions.arotate(token, user)
    assert record.rotation == 1
    assert [session.sid for session in await sessions.alist_sessions(user)] == [token.payload["sid"]]
    assert await sessions.aend_session(user, token.payload["sid"])
    assert (await sessions.acheck(access)).reason == "session_ended"

    access = (await sessions.aopen_session(user)).access_token
    assert await sessions.aend_all_sessions(user) == 1
    assert (await sessions.acheck(access)).reason == "session_ended"

    access = (await sessions.aopen_session(user)).access_token
    await asyncio.sleep(0.01)
    await sessions.arevoke_everything()
    assert (await sessions.acheck(access)).reason == "all_revoked"
    await asyncio.sleep(0.01)
    assert (await sessions.acheck((await sessions.aopen_session(user)).access_token)).allowed


def assert_commands_work(user: Any) -> None:
    """What an operator types."""
    assert "jwt_redis.E101" not in [message.id for message in check_deployment()]
    sid, _, _ = sign_in(user)
    out = StringIO()
    call_command("jwt_sessions", str(user.pk), stdout=out)
    assert sid in out.getvalue()
    call_command("jwt_cleanup", stdout=out, stderr=StringIO())
    assert "Dropped 0 expired fields" in out.getvalue()


@contextlib.asynccontextmanager
async def closing_client() -> Any:
    """The client of a loop has connections to close before the loop is gone."""
    try:
        yield
    finally:
        await client.aclient().aclose()


async def until_available(question: Callable[[], Any], seconds: float = RECOVERY) -> Any:
    """The first answer that is no RevocationUnavailable."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return await question()
        except RevocationUnavailable:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.05)


# Versions ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("binary", find_binaries(), ids=str)
def test_each_server_that_is_here(alice: Any, binary: Binary) -> None:
    with RedisServer(binary=binary.path) as server, pointed_at(server):
        assert server.process is not None and ask(server, "INFO", "server")["process_id"] == server.process.pid
        assert_everything_works(alice)
        assert_commands_work(alice)


@pytest.mark.parametrize("binary", find_binaries(), ids=str)
async def test_each_server_that_is_here_over_asyncio(alice: Any, binary: Binary) -> None:
    with RedisServer(binary=binary.path) as server, pointed_at(server):
        async with closing_client():
            await assert_everything_works_async(alice)


# TLS ---------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tls() -> Iterator[RedisServer]:
    with tls_server() as server:
        yield server


def test_tls_with_client_certificates(alice: Any, tls: RedisServer) -> None:
    ask(tls, "FLUSHALL")
    with pointed_at(tls):
        assert tls.url.startswith("rediss://")
        assert_everything_works(alice)
        assert_commands_work(alice)


async def test_tls_with_client_certificates_over_asyncio(alice: Any, tls: RedisServer) -> None:
    ask(tls, "FLUSHALL")
    with pointed_at(tls):
        async with closing_client():
            await assert_everything_works_async(alice)


def test_who_has_no_good_certificate_reaches_nothing(alice: Any, tls: RedisServer, tmp_path: Any) -> None:
    """Neither the client without one, nor the client that the server cannot prove itself to."""
    with pointed_at(tls):
        _, access, _ = sign_in(alice)
    strange = make_certificates(tmp_path)
    anonymous = {"ssl_certfile": None, "ssl_keyfile": None}
    stranger = {"ssl_certfile": str(strange.client), "ssl_keyfile": str(strange.client_key)}
    for pool in (anonymous, stranger, {"ssl_ca_certs": str(strange.ca)}):
        with pointed_at(tls, options={"CONNECTION_POOL_KWARGS": pool}):
            assert ask_with(access)[0] == 503
    # Nor does anybody without TLS.
    with pytest.raises((redis.ConnectionError, redis.TimeoutError)), tls.client(ssl=False, socket_timeout=2) as plain:
        plain.ping()


# ACL ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def acl() -> Iterator[AclServer]:
    with acl_server(rights(*COMMANDS)) as server:
        assert isinstance(server, AclServer)
        yield server


def assert_outlives_a_crash(user: Any, server: RedisServer) -> None:
    """What was revoked behind the snapshot is applied again from the journal, which takes rights of its own."""
    _, access, _ = sign_in(user)
    sid, ended, _ = sign_in(user)
    ask(server, "SAVE")
    assert sessions.end_session(user, sid)
    server.kill()
    server.start()
    wait_for(lambda: ask_with(access)[0] == 200, "it lives on", RECOVERY)
    assert_refused(ended, "session_ended")


def test_the_least_rights_suffice(alice: Any, acl: AclServer) -> None:
    with pointed_at(acl):
        assert_everything_works(alice)
        assert_outlives_a_crash(alice, acl)
        acl.change(*(f"+{name}" for name in CLEANUP))
        assert_commands_work(alice)


async def test_the_least_rights_suffice_over_asyncio(alice: Any, acl: AclServer) -> None:
    with pointed_at(acl):
        async with closing_client():
            await assert_everything_works_async(alice)


def test_each_of_them_is_needed(alice: Any, acl: AclServer) -> None:
    superfluous = []
    # What is taken away, and how.
    lesser = {name: [f"-{name}"] for name in COMMANDS}
    lesser |= {pattern: ["resetkeys", *(other for other in KEYS if other != pattern)] for pattern in KEYS}
    for right, changes in lesser.items():
        ask(acl, "FLUSHALL")
        ask(acl, "SCRIPT FLUSH")
        acl.change(*changes)
        with pointed_at(acl):
            try:
                assert_everything_works(alice)
                assert_outlives_a_crash(alice, acl)
                superfluous.append(right)
            except (AssertionError, RevocationUnavailable, TimeoutError):
                pass
        acl.change("resetkeys", *KEYS, *(f"+{name}" for name in COMMANDS))
    assert superfluous == []


def test_what_is_good_once_needs_a_key_of_its_own(acl: AclServer) -> None:
    """A logout token of an OpenID provider, a client's assertion."""
    with pointed_at(acl):
        with pytest.raises(RevocationUnavailable):
            use_once("a", "one", 60)
        acl.change("~jwt:{*}:once")
        client.reset()
        assert [use_once("a", nonce, 60) for nonce in ("one", "one", "two")] == [True, True, False]
        assert [drop_use("a", nonce) for nonce in ("two", "one")] == [False, True]


def test_a_near_cache_needs_to_read_the_log(alice: Any, acl: AclServer) -> None:
    near = {**settings_for(acl)["JWT_REDIS"], "NEAR_CACHE": {"lease": 1.0}}
    with pointed_at(acl), override_settings(JWT_REDIS=near):
        token = sessions.open_session(alice).access_token
        acl.change("+xread")
        sessions.check(token)
        # Without the other it never knows anything, and each check asks.
        assert not becomes_fresh()
        assert sessions.check(token).allowed
        acl.change("+xrange", "-xread")
        # Without this one nothing wakes it, and it looks now and then.
        assert becomes_fresh(20)
        near_cache.stop(5)


def becomes_fresh(seconds: float = 2) -> bool:
    try:
        wait_for(near_cache.is_fresh, "the near cache answers", seconds)
    except TimeoutError:
        return False
    return True


def test_status_lists_need_to_be_written(alice: Any, acl: AclServer) -> None:
    publishing = {**settings_for(acl)["JWT_REDIS"], "STATUS_LIST": {"uri": "https://example.com/status/"}}
    keys, commands = "~jwt:{log}:status*", ("+setbit", "+strlen", "+ttl", "+expire")

    def works() -> None:
        ask(acl, "FLUSHALL")
        with pointed_at(acl), override_settings(JWT_REDIS=publishing):
            token = sessions.open_session(alice)
            sessions.rotate(token, alice)
            list_id = token["status"]["status_list"]["uri"].rpartition("/")[2]
            assert sessions.status_list_token(list_id) is not None
            sessions.end_session(alice, token["sid"])

    for missing in (keys, *commands):
        acl.change("resetkeys", *KEYS, *(right for right in (keys, *commands) if right != missing))
        if missing != keys:
            acl.change(f"-{missing[1:]}")
        with pytest.raises(RevocationUnavailable):
            works()
    acl.change(keys, *commands)
    works()


def test_another_database_needs_select_too(alice: Any, acl: AclServer) -> None:
    caches = settings_for(acl)["CACHES"]
    caches["sessions"]["LOCATION"] = acl.url.removesuffix("0") + "1"
    with override_settings(CACHES=caches):
        with pytest.raises(RevocationUnavailable):
            sign_in(alice)
        acl.change("+select")
        client.reset()
        assert_lives(sign_in(alice)[1])


def test_a_user_whose_rights_are_gone_is_503_and_not_401(alice: Any, acl: AclServer) -> None:
    with pointed_at(acl):
        _, access, token = sign_in(alice)
        acl.change("-@all")
        assert ask_with(access)[0] == 503 and refresh(token).status_code == 503
        acl.change(*(f"+{name}" for name in COMMANDS))
        wait_for(lambda: ask_with(access)[0] == 200, "it is let in again", RECOVERY)
        acl.change("off")
        client.reset()
        assert ask_with(access)[0] == 503


def test_the_user_reaches_nothing_else(acl: AclServer) -> None:
    with acl.client(username=acl.user, password=acl.password) as app:
        for command in (("FLUSHALL",), ("HGETALL", "other"), ("HSET", "jwt:other", "a", "b"), ("PUBLISH", "a", "b")):
            with pytest.raises(redis.exceptions.NoPermissionError):
                app.execute_command(*command)
    with pytest.raises(redis.AuthenticationError), acl.client(username=None, password=None) as nobody:
        nobody.ping()


# Unix socket ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def unix() -> Iterator[RedisServer]:
    with unix_server() as server, pointed_at(server):
        yield server


def test_a_unix_socket(alice: Any, unix: RedisServer) -> None:
    assert_everything_works(alice)
    assert_commands_work(alice)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", unix.port), timeout=1)


async def test_a_unix_socket_over_asyncio(alice: Any, unix: RedisServer) -> None:
    async with closing_client():
        await assert_everything_works_async(alice)


def test_a_unix_socket_that_nobody_listens_on_is_503(alice: Any, unix: RedisServer) -> None:
    _, access, _ = sign_in(alice)
    unix.kill()
    assert ask_with(access)[0] == 503
    unix.start()
    wait_for(lambda: ask_with(access)[0] == 401, "the new, empty server is asked", RECOVERY)


# Sentinel ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def steady_sentinels() -> Iterator[Sentinels]:
    """For tests that let the primary live."""
    with Sentinels() as place:
        yield place


@pytest.fixture
def sentinels(steady_sentinels: Sentinels) -> Iterator[Sentinels]:
    steady_sentinels.flush()
    with pointed_at(steady_sentinels, options=PATIENT):
        yield steady_sentinels


@pytest.fixture
def own_sentinels() -> Iterator[Sentinels]:
    """For those that do not."""
    with Sentinels() as place, pointed_at(place, options=PATIENT):
        yield place


def test_behind_sentinel(alice: Any, sentinels: Sentinels) -> None:
    assert_everything_works(alice)
    assert_commands_work(alice)
    # All of it was the primary's work.
    assert int(ask(sentinels.primary(), "DBSIZE")) > 0


async def test_behind_sentinel_over_asyncio(alice: Any, sentinels: Sentinels) -> None:
    async with closing_client():
        await assert_everything_works_async(alice)


def test_the_factory_of_the_whole_project_does_as_well(alice: Any, steady_sentinels: Sentinels) -> None:
    """django-redis knows DJANGO_REDIS_CONNECTION_FACTORY, and CONNECTION_FACTORY of an alias."""
    alias = steady_sentinels.alias()
    factory = alias["OPTIONS"].pop("CONNECTION_FACTORY")
    with override_settings(CACHES={"sessions": alias}, DJANGO_REDIS_CONNECTION_FACTORY=factory):
        assert_lives(sign_in(alice)[1])


def test_a_replica_that_lags_is_not_asked(alice: Any, sentinels: Sentinels) -> None:
    sid, access, _ = sign_in(alice)
    sentinels.wait_until_replicated()
    stalled = [sentinels.stall_replica(index) for index in range(2)]
    before = ask(sentinels.primary(), "HGETALL", key_of(alice))
    try:
        sessions.end_session(alice, sid)
        for _ in range(20):
            assert_refused(access, "session_ended")
        # They do lag: there the session lives on.
        for replica in stalled:
            assert ask(replica, "HGETALL", key_of(alice)) == before
        assert ask(sentinels.primary(), "HGETALL", key_of(alice)) != before
    finally:
        for replica in stalled:
            sentinels.release_replica(replica)


def test_a_failover(alice: Any, own_sentinels: Sentinels) -> None:
    _, access, token = sign_in(alice)
    ended, ended_access, ended_token = sign_in(alice)
    sessions.end_session(alice, ended)
    own_sentinels.wait_until_replicated()
    former = own_sentinels.kill_primary()
    assert ask_with(access)[0] == 503
    own_sentinels.wait_for_failover(former)
    wait_for(lambda: ask_with(access)[0] == 200, "the new primary is asked", RECOVERY)
    assert_refused(ended_access, "session_ended")
    assert refresh(token).status_code == 200
    assert refresh(ended_token).status_code == 401
    assert_everything_works(alice)
    # The former one is back, as a replica of the new one, and nobody is led to it.
    own_sentinels.rejoin(former)
    assert former in own_sentinels.replicas()
    assert_everything_works(alice)


async def test_a_failover_over_asyncio(alice: Any, own_sentinels: Sentinels) -> None:
    async with closing_client():
        token = await sessions.aopen_session(alice)
        own_sentinels.wait_until_replicated()
        former = own_sentinels.kill_primary()
        with pytest.raises(RevocationUnavailable):
            await sessions.acheck(token.access_token)
        own_sentinels.wait_for_failover(former)
        assert (await until_available(lambda: sessions.acheck(token.access_token))).allowed
        assert await sessions.aend_all_sessions(alice) == 1
        await assert_everything_works_async(alice)


def test_a_former_primary_that_comes_back_is_asked_for_no_longer_than_a_second(
    alice: Any, own_sentinels: Sentinels
) -> None:
    """It answers on the connections that it had, and believes to be the primary until a sentinel tells it otherwise."""
    sid, access, _ = sign_in(alice)
    own_sentinels.wait_until_replicated()
    assert_lives(access)
    former = own_sentinels.primary()
    former.pause()
    own_sentinels.wait_for_failover(former)
    # What another process does meanwhile.
    until = int(time.time()) + 300
    ask(own_sentinels.primary(), "HSET", key_of(alice), f"sid:{sid}", f"ended.{until}.logout")
    former.resume()
    markers.reset()  # a second has passed
    statuses: list[int] = []
    wait_for(lambda: statuses.append(ask_with(access)[0]) or statuses[-1] == 401, "it is refused", RECOVERY)
    assert 200 not in statuses


def test_what_no_replica_has_heard_of_is_gone_after_a_failover() -> None:
    """Of the fixture: this is how a test loses a write that was acknowledged."""
    with Sentinels() as place:
        ask(place.primary(), "SET", "key", "replicated")
        place.wait_until_replicated()
        for index in range(2):
            place.stall_replica(index)
        assert ask(place.primary(), "SET", "key", "acknowledged")
        with pytest.raises(TimeoutError):
            place.wait_until_replicated(1, seconds=0.2)
        former = place.kill_primary()
        place.wait_for_failover(former)
        assert place.primary() is not former
        assert ask(place.primary(), "GET", "key") == "replicated"


# Cluster -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def steady_cluster() -> Iterator[Cluster]:
    """For tests that let the nodes live."""
    with Cluster() as place:
        yield place


@pytest.fixture
def cluster(steady_cluster: Cluster) -> Iterator[Cluster]:
    steady_cluster.flush()
    with pointed_at(steady_cluster):
        yield steady_cluster


@pytest.fixture
def own_cluster() -> Iterator[Cluster]:
    """For those that do not."""
    with Cluster() as place, pointed_at(place):
        yield place


def test_in_cluster(alice: Any, cluster: Cluster) -> None:
    assert_everything_works(alice)
    assert_commands_work(alice)


async def test_in_cluster_over_asyncio(alice: Any, cluster: Cluster) -> None:
    async with closing_client():
        await assert_everything_works_async(alice)


@pytest.fixture
def users(django_user_model: Any) -> list[Any]:
    """So many that each node has some."""
    return [django_user_model.objects.create_user(f"user{number}") for number in range(12)]


def refuse_elsewhere(cluster: Cluster, kid: str) -> None:
    """As another process does, of which this one has heard nothing: its copy of the marker is good for a while."""
    ask(cluster.owner_of("{log}"), "HSET", "jwt:{log}:marker", "refused_keys", kid)


@pytest.mark.parametrize("observing", [False, True])
def test_a_leaked_keys_refresh_token_is_exchanged_in_no_slot(
    observing: bool, cluster: Cluster, users: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(markers, "MAX_AGE", 60.0)
    with override_settings(JWT_REDIS={**settings.JWT_REDIS, "OBSERVE": observing}):
        used = [sessions.open_session(user) for user in users]
        fresh = [sessions.open_session(user) for user in users]
        refuse_elsewhere(cluster, "no-kid2,elsewhere")
        assert {sessions.rotate(token, user).rotation for token, user in zip(used, users, strict=True)} == {1}
        refuse_elsewhere(cluster, f"elsewhere,{NO_KID}")
        before = [ask(cluster.owner_of(key_of(user)), "HGETALL", key_of(user)) for user in users]
        # Of one that was used a moment ago there would be grace.
        for token, user in [*zip(used, users, strict=True), *zip(fresh, users, strict=True)]:
            assert markers.known() is not None and not backends.refused() & {NO_KID}
            with pytest.raises(RevokedToken, match="key_revoked"):
                sessions.rotate(token, user)
        assert [ask(cluster.owner_of(key_of(user)), "HGETALL", key_of(user)) for user in users] == before


async def test_nor_over_asyncio(alice: Any, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(markers, "MAX_AGE", 60.0)
    async with closing_client():
        token = await sessions.aopen_session(alice)
        assert (await sessions.arotate(token, alice)).rotation == 1
        refuse_elsewhere(cluster, NO_KID)
        with pytest.raises(RevokedToken, match="key_revoked"):
            await sessions.arotate(token, alice)


@pytest.mark.parametrize("strategy", ["whitelist", "blacklist"])
def test_once_everything_is_revoked_no_token_is_exchanged_in_any_slot(
    strategy: str, cluster: Cluster, users: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(markers, "MAX_AGE", 60.0)
    with override_settings(JWT_REDIS={**settings.JWT_REDIS, "STRATEGY": strategy}):
        tokens = [sessions.open_session(user) for user in users]
        assert {sessions.rotate(token, user).rotation for token, user in zip(tokens, users, strict=True)} == {1}
        moment = int(time.time() * 1000)
        ask(cluster.owner_of("{log}"), "HSET", "jwt:{log}:marker", "not_before", moment)
        for token, user in zip(tokens, users, strict=True):
            copy = markers.known()
            assert copy is not None and copy.not_before_ms < moment
            # Of one that was used a moment ago there would be grace.
            with pytest.raises(RevokedToken, match="all_revoked"):
                sessions.rotate(token, user)
        later = sessions.open_session(users[0])
        assert sessions.rotate(later, users[0]).rotation == 1


def test_what_is_good_once_is_so_in_whichever_slot(cluster: Cluster) -> None:
    uses = [[use_once(f"token {number}", nonce, 60) for nonce in ("one", "two")] for number in range(30)]
    assert uses == [[True, False]] * 30
    assert all(drop_use(f"token {number}", "one") for number in range(30))


def test_users_on_every_node(cluster: Cluster, users: list[Any]) -> None:
    assert {cluster.owner_of(key_of(user)).port for user in users} == {node.port for node in cluster.primaries()}
    for user in users:
        sid, access, token = sign_in(user)
        assert_lives(access)
        assert refresh(token).status_code == 200
        assert sessions.end_session(user, sid)
        assert_refused(access, "session_ended")


async def test_many_on_every_node_are_asked_about_at_once(cluster: Cluster, django_user_model: Any) -> None:
    async with closing_client():
        made = [await sessions.aopen_session(django_user_model(pk=number)) for number in range(12)]
        await sessions.aend_session("3", made[3]["sid"])
        tokens = [token.access_token for token in made]
        expected = [None if number != 3 else "session_ended" for number in range(12)]
        for answers in (await sessions.acheck_many(tokens), await asyncio.to_thread(sessions.check_many, tokens)):
            assert [verdict.reason for verdict in answers] == expected  # type: ignore[union-attr]


def test_a_slot_that_has_moved(alice: Any, cluster: Cluster) -> None:
    _, access, token = sign_in(alice)
    former = cluster.owner_of(key_of(alice))
    home = cluster.move_slot(key_of(alice))
    assert cluster.owner_of(key_of(alice)) is home is not former
    # The client still believes in the former one; and the new one has never seen the scripts.
    assert_lives(access)
    token = refresh(token).json()["refresh"]
    cluster.move_slot(key_of(alice), former)
    assert refresh(token).status_code == 200
    assert_everything_works(alice)


async def test_a_slot_that_has_moved_over_asyncio(alice: Any, cluster: Cluster) -> None:
    async with closing_client():
        token = await sessions.aopen_session(alice)
        cluster.move_slot(key_of(alice))
        assert (await sessions.acheck(token.access_token)).allowed
        cluster.move_slot(key_of(alice))
        assert await sessions.aend_session(alice, token.payload["sid"])
        assert (await sessions.acheck(token.access_token)).reason == "session_ended"


def test_while_a_slot_moves_nobody_is_taken_for_another(alice: Any, cluster: Cluster) -> None:
    """A write may have to wait: of its two keys one may be here and the other there. No answer is ever wrong."""
    http = APIClient(HTTP_USER_AGENT="a device, so that there is a second key")
    credentials = {"username": "alice", "password": "correct horse"}
    answer = http.post("/auth/token/", credentials, format="json").json()
    access, token = answer["access"], answer["refresh"]
    sid, ended, _ = sign_in(alice)
    sessions.end_session(alice, sid)

    def look() -> None:
        nonlocal token
        for good, status in ((access, 200), (ended, 401)):
            wait_for(lambda good=good, status=status: ask_with(good)[0] == status, f"it is {status}", RECOVERY)
        answer = refresh(token)
        assert answer.status_code in (200, 503)
        if answer.status_code == 200:
            token = answer.json()["refresh"]

    home = cluster.begin_move(key_of(alice))
    look()
    assert cluster.move_keys(key_of(alice), home, key_of(alice)) == 1
    look()
    assert cluster.move_keys(key_of(alice), home) == 1
    look()
    cluster.end_move(key_of(alice), home)
    wait_for(lambda: ask_with(access)[0] == 200, "it is asked again", RECOVERY)
    assert refresh(token).status_code == 200


def test_a_primary_of_the_cluster_is_killed(alice: Any, own_cluster: Cluster) -> None:
    _, access, token = sign_in(alice)
    sid, ended, ended_token = sign_in(alice)
    sessions.end_session(alice, sid)
    own_cluster.wait_until_replicated()
    former = own_cluster.kill_primary_of(key_of(alice))
    assert ask_with(access)[0] == 503
    own_cluster.wait_for_failover(key_of(alice), former)
    wait_for(lambda: ask_with(access)[0] == 200, "the new primary is asked", RECOVERY)
    assert_refused(ended, "session_ended")
    assert refresh(token).status_code == 200
    assert refresh(ended_token).status_code == 401
    assert_everything_works(alice)
    own_cluster.rejoin(former)
    assert former in own_cluster.replicas_of(own_cluster.owner_of(key_of(alice)))
    assert_everything_works(alice)


async def test_a_primary_of_the_cluster_is_killed_over_asyncio(alice: Any, own_cluster: Cluster) -> None:
    async with closing_client():
        token = await sessions.aopen_session(alice)
        own_cluster.wait_until_replicated()
        former = own_cluster.kill_primary_of(key_of(alice))
        with pytest.raises(RevocationUnavailable):
            await sessions.acheck(token.access_token)
        own_cluster.wait_for_failover(key_of(alice), former)
        assert (await until_available(lambda: sessions.acheck(token.access_token))).allowed
        assert await sessions.aend_all_sessions(alice) == 1
        await assert_everything_works_async(alice)


def test_a_primary_that_hangs_is_replaced_and_comes_back_as_a_replica(alice: Any, own_cluster: Cluster) -> None:
    sid, access, _ = sign_in(alice)
    own_cluster.wait_until_replicated()
    former = own_cluster.owner_of(key_of(alice))
    former.pause()
    # Never refused; and after the client's own time limits another may have taken over already.
    assert ask_with(access)[0] in (200, 503)
    own_cluster.wait_for_failover(key_of(alice), former)
    own_cluster.wait_until_ok(without=[former])
    wait_for(lambda: ask_with(access)[0] == 200, "the new primary is asked", RECOVERY)
    assert sessions.end_session(alice, sid)
    former.resume()
    own_cluster.wait_until_ok()
    assert_refused(access, "session_ended")
    assert ask(former, "ROLE")[0] == "slave"
