"""The near cache: when it answers, when it must not, and what becomes of its thread."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from django.conf import settings as django_settings
from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import make_password
from django.test import RequestFactory, override_settings
from rest_framework.test import APIClient
from rest_framework_simplejwt.tokens import RefreshToken as StockRefreshToken

from jwt_redis import log_reading, near_cache, recovery, sessions
from jwt_redis.authentication import JWTStatelessUserAuthentication
from jwt_redis.decoding import claims_of
from jwt_redis.exceptions import RevocationUnavailable
from jwt_redis.middleware import JWTAuthenticationMiddleware
from jwt_redis.near_cache import follower as following
from jwt_redis.store import client, commands, gate
from jwt_redis.testing.servers import RedisServer
from jwt_redis.tokens import AccessToken, RefreshToken
from tests.support.topology import pointed_at
from tests.support.waiting import wait_for, when_it_can
from tests.urls import WhoAmI

pytestmark = pytest.mark.django_db(transaction=True)

MARKER, LOG = "jwt:{log}:marker", "jwt:{log}"
# One that is not over before a test is: what is refused then is refused because it was heard of.
LEASE = 30.0


@contextlib.contextmanager
def near_cache_of(strategy: str = "whitelist", **kwargs: Any) -> Iterator[None]:
    with override_settings(JWT_REDIS={**django_settings.JWT_REDIS, "STRATEGY": strategy, "NEAR_CACHE": kwargs}):
        try:
            yield
        finally:
            near_cache.stop(5)


@pytest.fixture(params=["whitelist", "blacklist"])
def near(request: pytest.FixtureRequest, store: redis.Redis) -> Iterator[str]:
    with near_cache_of(request.param, lease=LEASE, poll=0.05):
        follow(store)
        yield request.param


@pytest.fixture
def near_whitelist(store: redis.Redis) -> Iterator[None]:
    with near_cache_of(lease=LEASE, poll=0.05):
        follow(store)
        yield


def follow(store: redis.Redis) -> None:
    """In a store that is old enough for tokens of today to be judged by its log."""
    sessions.list_sessions(1)
    store.hset(MARKER, "born_ms", 1)
    start_following()


def start_following() -> None:
    near_cache.stop(5)
    sessions.check(AccessToken.for_user(get_user_model()(pk=999_999)))
    wait_for(near_cache.is_fresh, "the near cache answers", 5)


def access_of(user: Any) -> Any:
    return sessions.open_session(user).access_token


def is_from_memory(token: Any) -> bool:
    verdict = sessions.check(token)
    assert verdict.allowed
    return verdict.from_memory


def asked_meanwhile(store: redis.Redis, user: Any, work: Callable[[], Any]) -> int:
    """How often Redis was asked about a user."""
    with store.monitor() as monitor:
        work()
        store.echo("that was all")
        count = 0
        while "that was all" not in (command := next(monitor.listen())["command"]):
            count += f"jwt:{{{user.pk}}}" in command
    return count


# When it answers ---------------------------------------------------------------------------------------------------


def test_a_check_asks_redis_nothing(near: str, alice: Any, store: redis.Redis) -> None:
    token = access_of(alice)
    assert is_from_memory(token)
    assert asked_meanwhile(store, alice, lambda: [sessions.check(token) for _ in range(20)]) == 0
    with near_cache_of(near):
        assert asked_meanwhile(store, alice, lambda: sessions.check(token, directly=True)) == 1


async def test_nor_does_an_async_one(near: str, django_user_model: Any) -> None:
    user = await django_user_model.objects.acreate(username="carol")
    token = (await sessions.aopen_session(user)).access_token
    assert (await sessions.acheck(token)).from_memory
    await sessions.aend_all_sessions(user)
    assert (await sessions.acheck(token)).reason == "session_ended"


def test_without_the_setting_there_is_no_thread(alice: Any) -> None:
    assert not is_from_memory(access_of(alice)) and not near_cache.is_following()


def test_what_was_revoked_before_it_began_is_read_in_the_log(near: str, alice: Any, bob: Any) -> None:
    mine, others = access_of(alice), access_of(bob)
    sessions.end_all_sessions(alice)
    start_following()
    assert sessions.check(mine).reason == "session_ended"
    assert is_from_memory(others)


# What is revoked ---------------------------------------------------------------------------------------------------

REVOKING: dict[str, Callable[[Any, Any], Any]] = {
    "a session": lambda user, token: sessions.end_session(user, token["sid"]),
    "the other sessions": lambda user, token: sessions.end_other_sessions(user, "A" * 22),
    "all of a user's sessions": lambda user, token: sessions.end_all_sessions(user),
    "a token": lambda user, token: sessions.revoke_token(str(token)),
    "a token by its id": lambda user, token: sessions.revoke_jti(user, token["jti"]),
    "everything": lambda user, token: sessions.revoke_everything(),
}


@pytest.mark.parametrize("what", REVOKING)
def test_what_this_process_revokes_counts_at_once(
    near: str, alice: Any, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = access_of(alice)
    assert is_from_memory(token)
    # Also when the thread is not quick, or not at all.
    monkeypatch.setattr(following.Follower, "_look", lambda self: time.sleep(0.05))
    assert REVOKING[what](alice, token)
    assert not sessions.check(token).allowed


@pytest.mark.parametrize("what", REVOKING)
def test_what_others_revoke_is_heard_of(near: str, alice: Any, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    token = access_of(alice)
    assert is_from_memory(token)
    # As in another process: nothing tells this one but the log.
    monkeypatch.setattr(near_cache, "note", lambda entries: None)
    assert REVOKING[what](alice, token)
    wait_for(lambda: not sessions.check(token).allowed, "the token is refused", LEASE / 3)


def test_a_session_that_had_to_make_room_is_heard_of(near: str, alice: Any) -> None:
    token = access_of(alice)
    with override_settings(JWT_REDIS={**django_settings.JWT_REDIS, "MAX_SESSIONS": 1}):
        start_following()
        assert is_from_memory(token)
        access_of(alice)
        assert sessions.check(token).reason == "session_ended"


def test_a_copied_refresh_token_ends_the_session_here_too(
    near: str, alice: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    refresh = sessions.open_session(alice)
    token = refresh.access_token
    for _ in range(2):
        refresh = refresh.successor(sessions.rotate(refresh, alice))  # type: ignore[attr-defined]
    assert is_from_memory(token)
    monkeypatch.setattr(following.Follower, "_look", lambda self: time.sleep(0.05))
    refresh.payload["rotation"] = 0
    with pytest.raises(Exception, match="blacklisted"):
        sessions.rotate(refresh, alice)
    assert sessions.check(token).reason == "session_ended"


@pytest.mark.parametrize("what", ["a session", "the other sessions", "all of a user's sessions"])
def test_also_a_session_that_redis_has_evicted(
    near_whitelist: None, alice: Any, what: str, store: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    # There is nothing left to end; but the memory still vouches for it.
    token = access_of(alice)
    store.delete(f"jwt:{{{alice.pk}}}")
    assert is_from_memory(token)
    monkeypatch.setattr(near_cache, "note", lambda entries: None)
    REVOKING[what](alice, token)
    wait_for(lambda: not sessions.check(token).allowed, "the token is refused", LEASE / 3)


def test_others_are_not_concerned(near: str, alice: Any, bob: Any, store: redis.Redis) -> None:
    mine, others = access_of(alice), access_of(bob)
    sessions.end_all_sessions(bob)
    assert is_from_memory(mine)
    assert not sessions.check(others).allowed


def test_a_session_after_all_were_ended_is_asked_for_and_good(near: str, alice: Any) -> None:
    sessions.end_all_sessions(alice)
    assert not is_from_memory(access_of(alice))


# What it does not speak for ----------------------------------------------------------------------------------------


def test_a_token_that_is_older_than_the_memory_reaches(near: str, alice: Any, store: redis.Redis) -> None:
    token = access_of(alice)
    store.hset(MARKER, "born_ms", int(time.time() * 1000) - 5000)
    start_following()
    # Within a minute of the birth clocks may differ.
    assert not is_from_memory(token)


def test_a_token_that_lives_longer_than_others(near: str, alice: Any) -> None:
    token = access_of(alice)
    token.payload["iat"] -= 10
    assert not is_from_memory(token)


def test_a_refresh_token_and_a_sliding_one(near: str, alice: Any) -> None:
    from jwt_redis.tokens import SlidingToken

    assert not is_from_memory(sessions.open_session(alice))
    sliding = SlidingToken.for_user(alice)
    sessions.register(sliding)
    assert not is_from_memory(sliding)


def test_a_token_of_an_ended_session_that_nobody_asked_about(near: str, alice: Any) -> None:
    """The session's end may be forgotten by then, and the token is young."""
    refresh = str(sessions.open_session(alice))
    assert not is_from_memory(RefreshToken(refresh).access_token)
    # Simple JWT's own class copies the count.
    assert not is_from_memory(StockRefreshToken(refresh).access_token)


def test_a_token_without_a_session(near: str, alice: Any) -> None:
    token = AccessToken.for_user(alice)
    verdict = sessions.check(token)
    assert (verdict.allowed, verdict.from_memory) == ((False, False) if near == "whitelist" else (True, True))
    if near == "blacklist":
        # One that is made afterwards may be of the next second, and good.
        sessions.end_all_sessions(alice)
        assert sessions.check(token).reason == "user_revoked"


def test_while_something_is_pending_redis_is_asked(near: str, alice: Any, store: redis.Redis) -> None:
    token = access_of(alice)
    assert is_from_memory(token)
    # Not the follower is to look for it, before anybody asks.
    with paused(near_cache._follower):
        recovery.note_failure()
        assert not is_from_memory(token)
        assert is_from_memory(token)


def test_explain_always_asks_redis(near: str, alice: Any, store: redis.Redis) -> None:
    token = access_of(alice)
    assert asked_meanwhile(store, alice, lambda: sessions.explain(token)) == 1


# The password's witness --------------------------------------------------------------------------------------------


def get(token: Any) -> Any:
    return APIClient().get("/whoami/", headers={"Authorization": f"Bearer {token}"})


def test_with_the_user_row_the_record_is_read_once(near_whitelist: None, alice: Any, store: redis.Redis) -> None:
    token = access_of(alice)
    assert asked_meanwhile(store, alice, lambda: get(token)) == 1
    assert asked_meanwhile(store, alice, lambda: [get(token) for _ in range(3)]) == 0
    assert get(token).status_code == 200


def test_a_password_that_was_changed_without_a_signal_is_noticed(
    near_whitelist: None, alice: Any, store: redis.Redis
) -> None:
    token = access_of(alice)
    assert get(token).status_code == 200
    get_user_model().objects.filter(pk=alice.pk).update(password=make_password("another"))
    response = get(token)
    assert (response.status_code, response.json()["reason"]) == (401, "session_ended")
    assert sessions.explain(token).reason == "session_ended"


def test_a_hash_that_was_upgraded_elsewhere_ends_nothing(near_whitelist: None, alice: Any) -> None:
    token = access_of(alice)
    assert get(token).status_code == 200
    former = get_user_model().objects.get(pk=alice.pk)
    alice.password = make_password("correct horse")
    get_user_model().objects.filter(pk=alice.pk).update(password=alice.password)
    sessions.rebind_sessions(former, alice)
    assert get(token).status_code == 200
    assert get(token).status_code == 200


def test_only_so_many_records_are_kept(store: redis.Redis, alice: Any) -> None:
    with near_cache_of(lease=LEASE, records=2):
        follow(store)
        tokens = [access_of(alice) for _ in range(3)]
        for token in tokens:
            get(token)
        assert asked_meanwhile(store, alice, lambda: get(tokens[2])) == 0
        assert asked_meanwhile(store, alice, lambda: get(tokens[0])) == 1


def test_a_middleware_that_looks_at_no_record_does_not_spare_the_view_from_it(near_whitelist: None, alice: Any) -> None:
    token = access_of(alice)

    class Stateless(JWTAuthenticationMiddleware):
        authentication_class = JWTStatelessUserAuthentication

    def view(request: Any) -> Any:
        assert request.user.is_authenticated
        return WhoAmI.as_view()(request)

    def ask() -> int:
        return int(Stateless(view)(RequestFactory().get("/", headers={"Authorization": f"Bearer {token}"})).status_code)

    assert ask() == 200
    assert is_from_memory(token)
    get_user_model().objects.filter(pk=alice.pk).update(password=make_password("another"))
    assert ask() == 401


# When the log is not what it was -----------------------------------------------------------------------------------


def resynced(caplog: pytest.LogCaptureFixture) -> bool:
    return any(getattr(record, "event", "") == "near_cache_resync" for record in caplog.records)


@pytest.mark.parametrize("damage", ["deleted", "trimmed", "type", "an entry", "added by hand"])
def test_a_log_with_a_gap_is_read_anew(
    near: str, alice: Any, bob: Any, damage: str, store: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    tokens = [access_of(user) for user in (alice, bob)]
    sessions.end_session(alice, access_of(alice)["sid"])
    assert all(is_from_memory(token) for token in tokens)
    near_cache.stop(5)
    near_cache.vouches_for(claims_of(tokens[0]))
    wait_for(near_cache.is_fresh, "the near cache answers", 5)
    follower = near_cache._follower
    with paused(follower):
        # What was revoked meanwhile is nowhere to be read.
        client.execute(commands.end_sessions(str(alice.pk), [tokens[0]["sid"]], reason="test"))
        if damage == "deleted":
            store.delete(LOG)
        elif damage == "trimmed":
            store.xtrim(LOG, maxlen=0, approximate=False)
        elif damage == "type":
            store.set(LOG, "text")
        elif damage == "an entry":
            store.xdel(LOG, store.xrevrange(LOG, count=1)[0][0])
            client.execute(commands.end_sessions(str(bob.pk), ["A" * 22], reason="test"))
        else:
            store.xadd(LOG, {"kind": "session"})
    wait_for(lambda: not sessions.check(tokens[0]).allowed, "the token is refused", LEASE / 3)
    if damage != "added by hand":
        wait_for(lambda: near_cache.is_fresh() or damage == "type", "it goes on", 5)
    assert resynced(caplog)
    # From before the gap: only Redis can tell.
    assert not is_from_memory(tokens[1])


@contextlib.contextmanager
def paused(follower: Any) -> Iterator[None]:
    """It looks at nothing meanwhile; its lease goes on."""
    gate, is_waiting = threading.Event(), threading.Event()
    look = follower._look

    def wait() -> None:
        is_waiting.set()
        gate.wait(20)
        look()

    follower._look = wait
    assert is_waiting.wait(5)
    try:
        yield
    finally:
        follower._look = look
        gate.set()


def test_a_store_that_was_emptied_vouches_for_nobody_from_before(
    near_whitelist: None, alice: Any, store: redis.Redis
) -> None:
    token = access_of(alice)
    assert is_from_memory(token)
    store.flushall()
    wait_for(lambda: sessions.check(token).reason is not None, "the token is refused", LEASE / 3)
    assert sessions.check(token).reason in ("store_lost", "no_session")


def test_under_the_blacklist_an_emptied_store_gets_the_journal_before_it_vouches(
    alice: Any, bob: Any, store: redis.Redis
) -> None:
    with near_cache_of("blacklist", lease=LEASE, poll=0.05):
        # Older than the second that the tokens are of: they are judged by what the journal says.
        sessions.list_sessions(1)
        time.sleep(1.1)
        follow(store)
        gone, kept = access_of(alice), access_of(bob)
        sessions.end_session(alice, gone["sid"])
        first = store.hget(MARKER, "store_id")
        store.flushall()
        wait_for(lambda: store.hget(MARKER, "store_id") not in (None, first), "the store is another one", LEASE / 3)
        # Redis is asked about it: the new log does not say what was before.
        assert when_it_can(lambda: sessions.check(kept)).allowed
        assert when_it_can(lambda: sessions.check(gone)).reason == "session_ended"


def test_many_entries_are_read_in_pages(
    near_whitelist: None, alice: Any, store: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, kept = access_of(alice), access_of(alice)
    sessions.end_session(alice, token["sid"])
    monkeypatch.setattr(following, "PAGE", 7)
    for number in range(40):
        client.execute(commands.end_sessions("1", [f"{number:022}"], reason="test"))
    start_following()
    assert not sessions.check(token).allowed and is_from_memory(kept)
    with paused(near_cache._follower):
        for number in range(40):
            client.execute(commands.end_sessions("1", [f"B{number:022}"], reason="test"))
        client.execute(commands.end_sessions(str(alice.pk), [kept["sid"]], reason="test"))
    wait_for(lambda: not sessions.check(kept).allowed, "the last of many is heard of", LEASE / 3)


# The lease ---------------------------------------------------------------------------------------------------------


def test_when_redis_falls_silent_the_lease_runs_out(alice: Any) -> None:
    with RedisServer() as server, pointed_at(server), near_cache_of(lease=0.3):
        with server.client() as outside:
            follow(outside)
        token = access_of(alice)
        # The lease may have run out just now: on a busy machine it is as short as a stall.
        wait_for(lambda: is_from_memory(token), "it is believed")
        server.pause()
        try:
            wait_for(lambda: not near_cache.is_fresh(), "nothing is believed", 5)
            with pytest.raises(RevocationUnavailable):
                sessions.check(token)
        finally:
            server.resume()
        wait_for(lambda: _is_good_again(token), "it is believed again", 10)


def _is_good_again(token: Any) -> bool:
    try:
        return is_from_memory(token)
    except RevocationUnavailable:
        return False


def test_the_lease_counts_from_before_the_question(
    near_whitelist: None, alice: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    follower = near_cache._follower
    assert follower is not None
    # When it asked, and until when it believed what it had then.
    asked: list[tuple[float, float]] = []
    execute = client.execute

    def slow(*many: Any) -> Any:
        if threading.current_thread() is follower._thread:
            asked.append((following.clock(), follower.believed_until))
            time.sleep(0.3)
        return execute(*many)

    monkeypatch.setattr(client, "execute", slow)
    follower._questions.proven_at = float("-inf")
    follower._position = None
    wait_for(lambda: len(asked) > 3, "it has asked again", 10)
    (asked_at, _), (_, believed_until) = asked[2:4]
    assert asked_at < believed_until <= asked_at + LEASE


def test_another_server_is_read_from_the_beginning(near: str, alice: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Under the numbers that were heard it may have other entries."""
    token = access_of(alice)
    assert is_from_memory(token)
    gate.trust(gate._trusted)
    wait_for(lambda: resynced(caplog), "the log is read anew", 5)
    wait_for(lambda: is_from_memory(token), "it goes on", 5)


def test_everything_is_told_also_where_the_moment_does_not_move(
    near: str, alice: Any, store: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis' clock was ahead when everything was revoked for the last time."""
    token = access_of(alice)
    assert is_from_memory(token)
    store.hset(MARKER, "not_before", int(time.time() * 1000) + 3_600_000)
    monkeypatch.setattr(near_cache, "note", lambda entries: None)
    sessions.revoke_everything()
    wait_for(lambda: sessions.check(token).reason == "all_revoked", "the token is refused", LEASE / 3)


# The thread --------------------------------------------------------------------------------------------------------


def test_it_waits_for_news_or_looks_now_and_then(store: redis.Redis, alice: Any) -> None:
    for most, waits in ((200, True), (0, False)):
        with near_cache_of(lease=1.0, poll=0.05, max_waiting=most):
            follow(store)
            store.config_resetstat()
            if waits:
                wait_for(lambda: "cmdstat_xread" in store.info("commandstats"), "it waits")
            else:
                wait_for(lambda: store.info("commandstats").get("cmdstat_xrange", {}).get("calls", 0) > 5, "it looks")
                assert "cmdstat_xread" not in store.info("commandstats")


def test_too_many_that_wait_look_now_and_then_instead(near_whitelist: None, monkeypatch: pytest.MonkeyPatch) -> None:
    follower = near_cache._follower
    assert follower is not None
    monkeypatch.setattr(random, "random", lambda: 0.5)
    for waiting, is_polling in ((200, False), (300, False), (401, True), (150, True)):
        follower._crowd.choose(waiting)
        assert follower._crowd.is_polling == is_polling, waiting
    monkeypatch.setattr(random, "random", lambda: 0.95)
    follower._crowd.choose(150)
    assert follower._crowd.is_polling
    follower._crowd.choose(99)
    assert not follower._crowd.is_polling


def test_settings_that_change_end_it(near: str, alice: Any) -> None:
    (thread,) = _threads()
    with override_settings(JWT_REDIS={**django_settings.JWT_REDIS, "NEAR_CACHE": None}):
        thread.join(5)
        assert not thread.is_alive()
        assert not is_from_memory(access_of(alice)) and not near_cache.is_following()


def test_it_ends_when_it_is_told_to(near: str) -> None:
    (thread,) = _threads()
    near_cache.stop(5)
    assert not thread.is_alive() and not near_cache.is_following() and not near_cache.is_fresh()


def test_one_thread_however_many_ask(store: redis.Redis, alice: Any) -> None:
    with near_cache_of(lease=LEASE):
        follow(store)
        token = access_of(alice)
        near_cache.stop(5)
        askers = [threading.Thread(target=near_cache.vouches_for, args=(claims_of(token),)) for _ in range(20)]
        for asker in askers:
            asker.start()
        for asker in askers:
            asker.join()
        assert len(_threads()) == 1


def test_one_that_has_died_is_replaced(
    near: str, alice: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    token = access_of(alice)
    (thread,) = _threads()
    with monkeypatch.context() as patched:
        patched.setattr(following.Follower, "_look", lambda self: 1 / 0)
        thread.join(15)
    assert not thread.is_alive()
    assert "The near cache has stopped." in caplog.text
    assert not near_cache.is_fresh()
    wait_for(lambda: is_from_memory(token), "another thread follows", 10)


def test_where_no_thread_can_be_had_redis_is_asked(
    store: redis.Redis, alice: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    token = access_of(alice)
    with near_cache_of(lease=LEASE):
        monkeypatch.setattr(threading.Thread, "start", refuse)
        assert not is_from_memory(token)
        assert "The near cache has no thread" in caplog.text
        near_cache.stop(0.1)


def test_one_that_waits_at_another_server_does_not_busy_the_primary(
    near_whitelist: None, alice: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[float] = []
    look = following.Follower._look
    monkeypatch.setattr(following.Waker, "wait", lambda self, after: True)
    monkeypatch.setattr(following.Follower, "_look", lambda self: (looks.append(time.monotonic()), look(self))[1])
    wait_for(lambda: len(looks) > 10, "it looks", 5)
    # A pause behind each: a machine that is slow makes it longer.
    assert looks[10] - looks[0] >= 9 * log_reading.SPACING


def _threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "jwt_redis-near-cache"]
