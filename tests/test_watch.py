"""One token, watched until its end: what ends it, and what does not."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis
from django.conf import settings as django_settings
from django.contrib.auth import get_user_model
from django.test import override_settings

from jwt_redis import log_reading, sessions
from jwt_redis.conf import NearCache, longest_session
from jwt_redis.exceptions import RevocationUnavailable, RevokedToken
from jwt_redis.revocations import REVOCATION_UNAVAILABLE, Ending, Following, Watch, hub, watch
from jwt_redis.signals import refusal_observed
from jwt_redis.store import client, commands, markers
from jwt_redis.testing.servers import RedisServer
from jwt_redis.tokens import AccessToken
from tests.support.topology import pointed_at
from tests.test_sse import until

pytestmark = pytest.mark.django_db(transaction=True)


def user_of(number: Any) -> Any:
    return get_user_model()(pk=number)


async def access_of(number: int) -> Any:
    return (await sessions.aopen_session(user_of(number))).access_token


@pytest.fixture(autouse=True)
async def _nothing_is_left() -> AsyncIterator[None]:
    """Neither a task nor an entry, whatever the test has done."""
    yield
    for _ in range(500):
        left = [one for one in (*asyncio.all_tasks(), *threading.enumerate()) if name_of(one).startswith("jwt_redis-w")]
        if not left:
            break
        await asyncio.sleep(0.01)
    assert not left
    assert asyncio.get_running_loop() not in hub._hubs


@pytest.fixture(autouse=True)
def lease(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> float:
    """Where it is not what is looked at, a Redis that stands still for some seconds ends nothing."""
    seconds: float = getattr(request, "param", 1.0 if "own" in request.fixturenames else 10.0)
    monkeypatch.setattr(hub, "NearCache", partial(NearCache, lease=seconds))
    return seconds


def of_lease(seconds: float) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("lease", [seconds], indirect=True)


def name_of(one: asyncio.Task[Any] | threading.Thread) -> str:
    return one.name if isinstance(one, threading.Thread) else one.get_name()


async def soon(watched: Watch, seconds: float = 10) -> Ending | None:
    return await watched.wait(seconds)


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("session", Ending("session_ended", "logout")),
        ("token", Ending("token_blacklisted", "revoked")),
        ("others", Ending("session_ended", "logout_others")),
        ("user", Ending("session_ended", "logout_all")),
        ("all", Ending("all_revoked", "revoked")),
    ],
)
async def test_it_ends_when_it_is_revoked(what: str, expected: Ending) -> None:
    token, other = await access_of(1), await access_of(1)
    async with watch(token) as watched:
        assert watched.ending is None and watched.position and watched.is_known
        if what == "session":
            await sessions.aend_session(user_of(1), token["sid"])
        elif what == "token":
            await sessions.arevoke_token(token)
        elif what == "others":
            await sessions.aend_other_sessions(user_of(1), other["sid"])
        elif what == "user":
            await sessions.aend_all_sessions(user_of(1))
        else:
            await sessions.arevoke_everything()
        assert await soon(watched) == expected == watched.ending


async def test_what_concerns_others_does_not_end_it() -> None:
    token, other = await access_of(1), await access_of(1)
    async with watch(token) as watched:
        await sessions.aend_session(user_of(1), other["sid"])
        await sessions.arevoke_token(other)
        await sessions.aend_all_sessions(user_of(2))
        # By its name, and not another user's to end.
        await sessions.aend_session(user_of(2), token["sid"])
        await sessions.aend_other_sessions(user_of(1), token["sid"])
        await sessions.arevoke_everything(token_time(token) - timedelta(hours=1))
        assert await watched.wait(1.0) is None
        # And one that is opened after all have been ended is good.
    await sessions.aend_all_sessions(user_of(1))
    token = await access_of(1)
    async with watch(token) as watched:
        assert await watched.wait(0.2) is None


def token_time(token: Any) -> Any:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(token["iat"], tz=UTC)


async def test_one_that_was_revoked_before_has_ended_on_the_way_in() -> None:
    token = await access_of(1)
    await sessions.aend_session(user_of(1), token["sid"])
    async with watch(token) as watched:
        assert watched.ending == Ending("session_ended")


async def test_it_ends_when_the_token_has_run_out(settings: Any) -> None:
    token = await access_of(1)
    token.payload["exp"] = int(time.time()) + 6
    async with watch(AccessToken(str(token))) as watched:
        assert await watched.wait(0.1) is None
        assert await soon(watched) == Ending("token_expired")
        # It may be renewed, unless it was revoked meanwhile.
        await sessions.aend_session(user_of(1), token["sid"])
        assert await watched.wait_for_renewal(10) == Ending("session_ended", "logout")
        with pytest.raises(ValueError, match="revoked"):
            await watched.renew(await access_of(1))


async def test_it_goes_on_with_another_token() -> None:
    first, second, third = await access_of(1), await access_of(1), await access_of(1)
    await sessions.arevoke_token(third)
    async with watch(first) as watched:
        with pytest.raises(ValueError, match="another user"):
            await watched.renew(await access_of(2))
        with pytest.raises(RevokedToken):
            await watched.renew(third)
        assert watched.token is first and watched.ending is None
        await watched.renew(second)
        await sessions.aend_session(user_of(1), first["sid"])
        assert await watched.wait(0.5) is None
        await sessions.aend_session(user_of(1), second["sid"])
        assert await soon(watched) == Ending("session_ended", "logout")


async def test_renewed_in_time_it_has_not_run_out() -> None:
    token = await access_of(1)
    token.payload["exp"] = int(time.time()) + 1
    async with watch(token) as watched:
        assert await soon(watched) == Ending("token_expired")
        waiting = asyncio.create_task(watched.wait_for_renewal(10))
        await asyncio.sleep(0)
        await watched.renew(await access_of(1))
        assert await waiting is None
        assert await watched.wait(0.1) is None


async def test_all_share_one_follower(store: redis.Redis) -> None:
    tokens = [await access_of(number) for number in range(30)]
    # A loop that was closed at once, as by a former test, has not closed its sockets yet.
    former = {one["id"] for one in store.client_list()}
    watches = [watch(token) for token in tokens]
    await asyncio.gather(*(one.__aenter__() for one in watches))
    assert [name_of(one) for one in threading.enumerate()].count("jwt_redis-watch") == 1

    def count() -> int:
        return sum(one["cmd"] == "xread" and one["id"] not in former for one in store.client_list())

    await until(lambda: count() == 1)
    await sessions.aend_session(user_of(7), tokens[7]["sid"])
    assert await soon(watches[7]) is not None
    assert [one.ending is None for one in watches].count(False) == 1
    for one in watches:
        await one.__aexit__(None, None, None)


@override_settings(JWT_REDIS={**django_settings.JWT_REDIS, "JOURNAL": False})
async def test_each_subscribes_while_each_is_revoked() -> None:
    """Whichever comes first: nobody stays who was revoked. (A database in memory is locked by who is at it.)"""
    rng = random.Random(4)
    tokens = [await access_of(number) for number in range(30)]

    async def watching_(token: Any) -> Ending | None:
        await asyncio.sleep(rng.random())
        async with watch(token) as watched:
            return await watched.wait(15)

    async def revoking(number: int, token: Any) -> None:
        await asyncio.sleep(rng.random())
        await sessions.aend_session(user_of(number), token["sid"])

    results = await asyncio.gather(
        *(watching_(token) for token in tokens), *(revoking(n, token) for n, token in enumerate(tokens))
    )
    assert {ending.reason for ending in results[:30] if ending is not None} == {"session_ended"}
    assert None not in results[:30]


async def test_many_that_an_event_might_concern_are_asked_about(store: redis.Redis) -> None:
    tokens = [await access_of(number) for number in range(200)]
    watches = [watch(token) for token in tokens]
    for one in watches:
        await one.__aenter__()
    # A gap, in which some were revoked: their entries are gone.
    for number in range(0, 200, 2):
        store.hset(f"jwt:{{{number}}}", f"sid:{tokens[number]['sid']}", f"ended.{int(time.time()) + 300}.lost")
    store.hincrby("jwt:{log}:marker", "revocations", 5)
    endings = await asyncio.gather(*(one.wait(5) for one in watches[::2]))
    assert {ending.reason for ending in endings if ending} == {"session_ended"} and None not in endings
    assert all(one.ending is None for one in watches[1::2])
    for one in watches:
        await one.__aexit__(None, None, None)


async def test_the_last_of_very_many_is_not_asked_about_too_late(
    store: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def check_many(tokens: Any, **how: Any) -> Any:
        asked.append(len(tokens))
        return check(tokens, **how)

    check = sessions.check_many
    monkeypatch.setattr(sessions, "check_many", check_many)
    tokens = [await access_of(number) for number in range(20)]
    async with AsyncExitStack() as stack:
        watches = [await stack.enter_async_context(watch(tokens[number % 20])) for number in range(1000)]
        store.hset("jwt:{7}", f"sid:{tokens[7]['sid']}", f"ended.{int(time.time()) + 300}.lost")
        store.hincrby("jwt:{log}:marker", "revocations", 5)
        endings = await asyncio.gather(*(one.wait(10) for one in watches[7::20]))
        assert {ending and ending.reason for ending in endings} == {"session_ended"}
        # Four questions, each in time, in place of a thousand.
        assert asked == [250] * 4
        assert sum(one.ending is None for one in watches) == 950


@of_lease(3.0)
async def test_a_doubt_is_open_for_no_longer_than_the_lease(
    store: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis says what is new, and does not say who is still good."""
    token, other = await access_of(1), await access_of(2)
    answers = threading.Event()
    check = sessions.check_many
    monkeypatch.setattr(sessions, "check_many", lambda tokens, **how: (answers.wait(30), check(tokens, **how))[1])
    try:
        async with (
            watch(token) as denying,
            watch(token, on_redis_failure="allow") as keeping,
            watch(other, on_redis_failure="allow") as revoked,
        ):
            store.hset("jwt:{2}", f"sid:{other['sid']}", f"ended.{int(time.time()) + 300}.lost")
            store.hincrby("jwt:{log}:marker", "revocations", 5)
            assert await soon(denying) == Ending(REVOCATION_UNAVAILABLE)
            assert denying.token is token and not answers.is_set()
            assert keeping.ending is None and keeping.is_known
            answers.set()
            assert await soon(revoked) == Ending("session_ended")
            assert await keeping.wait(0.3) is None
    finally:
        answers.set()


async def test_one_that_cannot_be_asked_about_is_no_other_ones_end(
    store: redis.Redis, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tokens = [await access_of(number) for number in range(5)]
    check = sessions.check_many

    def failing(some: Any, **how: Any) -> Any:
        if tokens[3] in some:
            raise ZeroDivisionError
        return check(some, **how)

    monkeypatch.setattr(sessions, "check_many", failing)
    async with AsyncExitStack() as stack:
        watches = [await stack.enter_async_context(watch(token)) for token in tokens]
        store.hincrby("jwt:{log}:marker", "revocations", 5)
        assert await soon(watches[3]) == Ending(REVOCATION_UNAVAILABLE)
        assert await watches[0].wait(0.5) is None
        assert [one.ending for one in watches].count(None) == 4
    assert "Tokens cannot be asked about." in caplog.text


@of_lease(3.0)
async def test_whoever_is_busy_in_the_loop_does_not_keep_the_proof_from_coming() -> None:
    """A thousand sockets that come back at once: there is no connection free, and each turn of the loop takes long."""
    token = await access_of(1)
    async with watch(token) as watched:
        turns = client._loops[asyncio.get_running_loop()].turns
        held = 0
        while not turns.locked():
            await turns.acquire()
            held += 1
        busy = asyncio.create_task(take_turns_of(0.09))
        try:
            assert await watched.wait(8) is None
            await until(lambda: watched.is_known)
            await asyncio.to_thread(sessions.end_session, user_of(1), token["sid"])
            assert await soon(watched) == Ending("session_ended", "logout")
        finally:
            busy.cancel()
            for _ in range(held):
                turns.release()


async def take_turns_of(seconds: float) -> None:
    while True:
        time.sleep(seconds)  # noqa: ASYNC251
        await asyncio.sleep(0)


async def test_with_observe_nothing_ends_and_it_is_said(settings: Any) -> None:
    settings.JWT_REDIS = {**settings.JWT_REDIS, "OBSERVE": True}
    observed: list[tuple[str, str]] = []

    def hear(sid: str, reason: str, **kwargs: Any) -> None:
        observed.append((sid, reason))

    refusal_observed.connect(hear)
    try:
        token, other = await access_of(1), await access_of(1)
        async with watch(token) as watched, watch(other) as revoked:
            await sessions.aend_session(user_of(1), token["sid"])
            await sessions.arevoke_token(other)
            await until(lambda: len(observed) == 2)
            assert await watched.wait(0.3) is None and revoked.ending is None
        assert set(observed) == {(token["sid"], "session_ended"), (other["sid"], "token_blacklisted")}
    finally:
        refusal_observed.disconnect(hear)


async def test_it_can_be_ended_from_this_side() -> None:
    async with watch(await access_of(1)) as watched:
        watched.end(Ending("enough"))
        assert await watched.wait() == Ending("enough")
        watched.end(Ending("more"))
        assert watched.ending == Ending("enough")
        assert asyncio.get_running_loop() not in hub._hubs


# Redis away --------------------------------------------------------------------------------------------------------


@pytest.fixture
def own(tmp_path: Path) -> Iterator[RedisServer]:
    options = {"appendonly": "yes", "appendfsync": "always"}
    with RedisServer(folder=tmp_path / "redis", options=options) as server, pointed_at(server):
        yield server


@pytest.mark.parametrize("how", ["kill", "pause"])
async def test_beyond_the_lease_it_ends_or_is_kept(own: RedisServer, how: str) -> None:
    first, second, third = await access_of(1), await access_of(2), await access_of(3)
    async with (
        watch(first) as denying,
        watch(second, on_redis_failure="allow") as keeping,
        watch(third, on_redis_failure="allow") as revoked,
    ):
        await asyncio.to_thread(getattr(own, how))
        assert await soon(denying) == Ending("revocation_unavailable")
        assert not keeping.is_known and keeping.ending is None
        await asyncio.to_thread(own.start if how == "kill" else own.resume)
        while True:
            try:
                await sessions.aend_session(user_of(3), third["sid"])
                break
            except RevocationUnavailable:
                await asyncio.sleep(0.1)
        assert await soon(revoked) == Ending("session_ended", "logout")
        assert await keeping.wait(1) is None and keeping.is_known


async def test_a_short_outage_ends_nothing(own: RedisServer) -> None:
    with override_settings(JWT_REDIS={**django_settings.JWT_REDIS, "NEAR_CACHE": {"lease": 10.0, "poll": 0.1}}):
        async with watch(await access_of(1)) as watched:
            await asyncio.to_thread(own.kill)
            assert await watched.wait(1.5) is None
            own.start()
            assert await watched.wait(2) is None and watched.is_known


@of_lease(1.0)
async def test_a_loop_that_stood_still_is_no_outage() -> None:
    async with watch(await access_of(1)) as watched:
        assert await watched.wait(0.3) is None
        time.sleep(2.5)  # noqa: ASYNC251
        assert await watched.wait(1.5) is None


async def test_a_loop_that_is_always_late_is_no_reprieve(own: RedisServer) -> None:
    async with watch(await access_of(1)) as watched:
        busy = asyncio.create_task(take_turns_of(0.15))
        await asyncio.to_thread(own.kill)
        assert await soon(watched) == Ending(REVOCATION_UNAVAILABLE)
        busy.cancel()


async def test_without_redis_it_does_not_begin_or_is_asked_about_later(own: RedisServer) -> None:
    first, second = await access_of(1), await access_of(2)
    await sessions.aend_session(user_of(1), first["sid"])
    await asyncio.to_thread(own.kill)
    with pytest.raises(RevocationUnavailable):
        async with watch(first):
            pass
    async with (
        watch(first, on_redis_failure="allow") as revoked,
        watch(second, on_redis_failure="allow") as good,
    ):
        assert await revoked.wait(0.3) is None
        own.start()
        assert await soon(revoked) == Ending("session_ended")
        assert await good.wait(0.5) is None


async def test_who_comes_right_after_an_outage_stays(own: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever follows the log pauses after a failure, and is told that there is no reason to any more."""
    first, second = await access_of(1), await access_of(2)
    monkeypatch.setattr(log_reading.Pace, "after_failures", lambda self, before: 30.0)
    async with watch(first, on_redis_failure="allow") as keeping:
        await asyncio.to_thread(own.kill)
        await until(lambda: not keeping.is_known)
        own.start()
        async with asyncio.timeout(10), AsyncExitStack() as stack:
            while True:
                try:
                    watched = await stack.enter_async_context(watch(second))
                    break
                except RevocationUnavailable:
                    await asyncio.sleep(0.1)
            assert await watched.wait(3) is None and watched.is_known


async def test_a_store_that_is_emptied_ends_all(store: redis.Redis) -> None:
    async with watch(await access_of(1)) as watched:
        await asyncio.to_thread(store.flushall)
        ending = await soon(watched)
        assert ending is not None and ending.reason in ("store_lost", "no_session")


async def test_one_that_fails_begins_anew(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    token = await access_of(1)
    async with watch(token, on_redis_failure="allow") as watched:
        with monkeypatch.context() as patched:
            patched.setattr(hub.Hub, "_hear", lambda self, event: 1 / 0)
            await until(lambda: "Who follows the log has failed." in caplog.text)
            await sessions.aend_session(user_of(1), token["sid"])
            await asyncio.sleep(0.5)
        assert await soon(watched) == Ending("session_ended", "logout")


@of_lease(1.0)
async def test_a_follower_that_never_begins_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    token = await access_of(1)
    monkeypatch.setattr(hub, "follow", lambda *args, **options: 1 / 0)
    async with asyncio.timeout(10), watch(token) as watched:
        assert await watched.wait() == Ending(REVOCATION_UNAVAILABLE)


async def test_what_is_revoked_before_the_log_is_first_read_is_not_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis is back, and has said that a token is good; whoever follows the log has not heard of it yet."""
    token = await access_of(1)
    ask, is_back = Following._ask, threading.Event()
    is_away = True

    def ask_late(self: Following, action: Any) -> Any:
        nonlocal is_away
        if is_away:
            is_away = False
            raise RevocationUnavailable
        assert is_back.wait(10)
        return ask(self, action)

    monkeypatch.setattr(Following, "_ask", ask_late)
    async with watch(token, on_redis_failure="allow") as watched:
        assert not watched.is_known and watched.ending is None
        await sessions.aend_session(user_of(1), token["sid"])
        is_back.set()
        ending = await soon(watched)
        assert ending is not None and ending.reason == "session_ended"


@pytest.mark.parametrize("is_open", [True, False])
async def test_a_copy_of_the_marker_that_is_older_than_the_log_clears_nobody(
    is_open: bool, store: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The marker is read, everything is revoked by another process, the log is read."""
    execute, is_due = client.execute, threading.Event()

    def execute_slowly(*many: Any) -> Any:
        if len(many) == 1 or not is_due.is_set():
            return execute(*many)
        moment = execute(many[0])
        is_due.clear()
        command = commands.revoke_everything(None, reason="revoked")
        assert command.script is not None
        store.eval(command.script.text, len(command.keys), *command.keys, "", *command.args)
        return (moment, *(execute(one) for one in many[1:]))

    token, other = await access_of(1), await access_of(2)
    async with watch(other):
        # All connections are there: one that is made later would have the marker read anew.
        pass
    monkeypatch.setattr(client, "execute", execute_slowly)
    if is_open:
        # Another thread has asked before, and is told later: the copy is there again.
        monkeypatch.setattr(markers, "reset", lambda: None)
    else:
        # As in Cluster: nor does one who waits for news need a connection more.
        monkeypatch.setattr(Following, "_may_wait", lambda self: False)
        is_due.set()
    async with watch(token) as watched:
        if is_open:
            is_due.set()
        ending = await soon(watched)
        assert ending is not None and ending.reason == "all_revoked"


async def test_a_token_of_another_configuration_leaves_no_follower(settings: Any) -> None:
    first, second = await access_of(1), await access_of(1)
    async with watch(first) as watched:
        settings.JWT_REDIS = {**settings.JWT_REDIS, "NEAR_CACHE": None}
        await watched.renew(second)
        await until(lambda: len([one for one in threading.enumerate() if one.name == "jwt_redis-watch"]) == 1)


async def test_whoever_has_left_does_not_go_on_with_another_token() -> None:
    first, second = await access_of(1), await access_of(1)
    async with watch(first) as watched:
        pass
    with pytest.raises(ValueError, match="nothing is watched"):
        await watched.renew(second)
    async with watch(first) as watched:
        renewing = asyncio.create_task(watched.renew(second))
        await asyncio.sleep(0)
    with pytest.raises(ValueError, match="nothing is watched"):
        await renewing


async def test_a_token_from_before_there_were_sessions_has_its_time(settings: Any) -> None:
    settings.JWT_REDIS = {**settings.JWT_REDIS, "LEGACY_TOKENS": "adopt"}
    token = AccessToken()
    token["user_id"] = "1"
    token["iat"] = int(time.time() - longest_session()) + 6
    token.set_exp(lifetime=timedelta(days=1))
    async with watch(token) as watched:
        assert watched.ending is None
        assert await soon(watched) == Ending("token_expired")
    assert (await sessions.acheck(token)).reason == "session_expired"


async def test_without_a_thread_it_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    token = await access_of(1)

    def refuse(self: Any) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RevocationUnavailable):
            async with watch(token):
                pass
    async with watch(token) as watched:
        assert watched.is_known


def test_a_loop_that_is_closed_leaves_no_thread() -> None:
    async def leave() -> None:
        await watch(await access_of(1)).__aenter__()

    asyncio.run(leave())
    deadline = time.monotonic() + 10
    while any(thread.name == "jwt_redis-watch" for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
