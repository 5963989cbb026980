"""Signals over real code paths: their arguments are those that are documented, and no receiver harms anything."""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.conf import settings
from django.dispatch import Signal
from django.test import AsyncClient, RequestFactory, override_settings
from rest_framework.test import APIClient
from rest_framework_simplejwt.exceptions import TokenError

from jwt_redis import near_cache, sessions, signals
from jwt_redis.exceptions import RevocationUnavailable
from jwt_redis.models import Revocation
from jwt_redis.store import client
from jwt_redis.testing.servers import RedisServer
from tests.oracle.world import set_back_birth
from tests.support.topology import pointed_at
from tests.support.waiting import wait_for

pytestmark = pytest.mark.django_db(transaction=True)

SIGNALS = {name: value for name, value in vars(signals).items() if isinstance(value, Signal)}
PAGE = Path(__file__).parent.parent / "docs/reference/python.md"


def documented() -> dict[str, set[str]]:
    """By signal, the arguments that the reference names."""
    section = PAGE.read_text().split("## `jwt_redis.signals`")[1].split("<!-- /made -->")[0]
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \|", section, re.M)
    return {name: set(re.findall(r"`(\w+)`", arguments)) for name, arguments in rows}


class Heard(list[tuple[str, dict[str, Any]]]):
    """What was sent, in order."""

    def names(self) -> list[str]:
        return [name for name, _ in self]

    def of(self, name: str) -> list[dict[str, Any]]:
        return [facts for sent, facts in self if sent == name]


@contextlib.contextmanager
def connected(receiver: Callable[..., Any], *some: Signal) -> Iterator[None]:
    for signal in some:
        signal.connect(receiver)
    try:
        yield
    finally:
        for signal in some:
            signal.disconnect(receiver)


@pytest.fixture
def heard() -> Iterator[Heard]:
    found = Heard()
    names = {id(signal): name for name, signal in SIGNALS.items()}

    def receiver(sender: Any, signal: Any, **facts: Any) -> None:
        assert sender == "jwt_redis"
        found.append((names[id(signal)], facts))

    with connected(receiver, *SIGNALS.values()):
        yield found


@pytest.fixture
def own() -> Iterator[RedisServer]:
    with RedisServer(options={"appendonly": "yes"}) as server, pointed_at(server):
        yield server


NOTICE = {"base_url": "https://example.com", "send": None}
STRICT = {"ALIAS": "sessions", "REFRESH_GRACE": 0, "SIGN_IN_NOTICE": NOTICE}
ANOTHER_DEVICE = RequestFactory().get("/", headers={"User-Agent": "curl/8.5.0"})


def tell_the_story(user: Any) -> Any:
    """Everything that sends a signal, but for an unreachable Redis. A live access token."""
    first = sessions.open_session(user)
    sessions.rotate(first, user)
    with pytest.raises(TokenError):
        sessions.rotate(first, user)
    second = sessions.open_session(user, ANOTHER_DEVICE)
    sessions.revoke_token(second.access_token)
    sessions.end_all_sessions(user)
    sessions.revoke_key("of-nobody")
    sessions.revoke_everything()
    time.sleep(0.005)  # the same millisecond counts as before
    with override_settings(JWT_REDIS={**settings.JWT_REDIS, "OBSERVE": True}):
        assert sessions.check(second.access_token).observed
    third = sessions.open_session(user)
    third.payload["rotation"] = 9
    with pytest.raises(TokenError):
        sessions.rotate(third, user)
    return sessions.open_session(user).access_token


async def atell_the_story(user: Any) -> Any:
    first = await sessions.aopen_session(user)
    await sessions.arotate(first, user)
    with pytest.raises(TokenError):
        await sessions.arotate(first, user)
    second = await sessions.aopen_session(user, ANOTHER_DEVICE)
    await sessions.arevoke_token(second.access_token)
    await sessions.aend_all_sessions(user)
    await sessions.arevoke_key("of-nobody")
    await sessions.arevoke_everything()
    await asyncio.sleep(0.005)
    with override_settings(JWT_REDIS={**settings.JWT_REDIS, "OBSERVE": True}):
        assert (await sessions.acheck(second.access_token)).observed
    third = await sessions.aopen_session(user)
    third.payload["rotation"] = 9
    with pytest.raises(TokenError):
        await sessions.arotate(third, user)
    return (await sessions.aopen_session(user)).access_token


def test_each_comes_with_the_arguments_that_are_documented(alice: Any, own: RedisServer, heard: Heard) -> None:
    with override_settings(JWT_REDIS=STRICT):
        access = tell_the_story(alice)
        own.kill()
        with pytest.raises(RevocationUnavailable):
            sessions.check(access)
        sessions.check(access, on_redis_failure="allow")
    assert {name: set(facts) for name, facts in heard} == documented()


async def test_and_so_in_async_code(django_user_model: Any, own: RedisServer, heard: Heard) -> None:
    user = await django_user_model.objects.acreate_user("alice")
    with override_settings(JWT_REDIS=STRICT):
        access = await atell_the_story(user)
        own.kill()
        with pytest.raises(RevocationUnavailable):
            await sessions.acheck(access)
        await sessions.acheck(access, on_redis_failure="allow")
        assert {name: set(facts) for name, facts in heard} == documented()


def test_the_names_are_past_tense() -> None:
    past = re.compile(r"_(started|refreshed|ended|reused|back|revoked|open|unavailable|signed_in|observed)$")
    assert all(past.search(name) for name in SIGNALS)


# revocation_unavailable ----------------------------------------------------------------------------------------------


def test_a_request_that_is_answered_with_503(alice: Any, own: RedisServer, heard: Heard) -> None:
    refresh = sessions.open_session(alice)
    access, sid, user = str(refresh.access_token), refresh["sid"], str(alice.pk)
    own.kill()
    del heard[:]
    http = APIClient()
    for path in ("/whoami/", "/stateless/", "/plain/"):
        assert http.get(path, HTTP_AUTHORIZATION=f"Bearer {access}").status_code == 503
    assert http.post("/auth/token/refresh/", {"refresh": str(refresh)}, format="json").status_code == 503
    assert http.post("/auth/logout/", {"refresh": str(refresh)}, format="json").status_code == 503
    login = {"username": "alice", "password": "correct horse"}
    assert http.post("/auth/token/", login, format="json").status_code == 503
    assert heard.names() == ["revocation_unavailable"] * 6
    told = heard.of("revocation_unavailable")
    assert [facts["use_case"] for facts in told] == ["check"] * 3 + ["rotate", "revoke_token", "register"]
    assert {(facts["user"], facts["sid"]) for facts in told[:5]} == {(user, sid)}
    assert told[5]["user"] == user and told[5]["sid"] not in (None, sid)
    assert all(isinstance(facts["error"], RevocationUnavailable) for facts in told)


async def test_an_async_request_that_is_answered_with_503(
    django_user_model: Any, own: RedisServer, heard: Heard
) -> None:
    user = await django_user_model.objects.acreate_user("alice")
    refresh = await sessions.aopen_session(user)
    access = str(refresh.access_token)
    own.kill()
    del heard[:]
    http: Any = AsyncClient()
    response = await http.get("/plain-async/", headers={"Authorization": f"Bearer {access}"})
    assert response.status_code == 503
    with pytest.raises(RevocationUnavailable):
        await sessions.aend_session(user, refresh["sid"])
    with pytest.raises(RevocationUnavailable):
        await sessions.arevoke_everything()
    told = [(facts["use_case"], facts["user"], facts["sid"]) for facts in heard.of("revocation_unavailable")]
    mine = (str(user.pk), refresh["sid"])
    assert told == [("check", *mine), ("end_session", *mine), ("revoke_everything", None, None)]
    assert len(heard) == 3


def test_a_token_that_is_let_through_is_not_unavailable(alice: Any, own: RedisServer, heard: Heard) -> None:
    access = sessions.open_session(alice).access_token
    own.kill()
    del heard[:]
    sessions.check(access, on_redis_failure="allow")
    assert heard.names() == ["check_failed_open"]


def test_a_check_from_memory_sends_nothing(alice: Any, own: RedisServer, heard: Heard) -> None:
    with pointed_at(own, NEAR_CACHE={"lease": 30.0, "poll": 0.05}):
        try:
            access = sessions.open_session(alice).access_token
            set_back_birth(own)
            sessions.check(access)
            wait_for(near_cache.is_fresh, "the near cache answers")
            del heard[:]
            assert sessions.check(access).from_memory
            assert heard == []
        finally:
            near_cache.stop(5)


# Receivers that misbehave --------------------------------------------------------------------------------------------


def raises(**kwargs: Any) -> None:
    raise RuntimeError("boom")


async def araises(**kwargs: Any) -> None:
    raise RuntimeError("boom")


def is_slow(**kwargs: Any) -> None:
    time.sleep(0.05)


async def ais_slow(**kwargs: Any) -> None:
    await asyncio.sleep(0.05)


def asks_again(**kwargs: Any) -> None:
    """A use case within another one's signal; it raises when Redis cannot be asked."""
    if kwargs.get("user"):
        sessions.list_sessions(kwargs["user"])


RECEIVERS = [raises, araises, is_slow, ais_slow, asks_again]


@pytest.mark.parametrize("receiver", RECEIVERS, ids=lambda one: one.__name__)
def test_harms_nothing_in_sync_code(
    receiver: Any, alice: Any, own: RedisServer, caplog: pytest.LogCaptureFixture, heard: Heard
) -> None:
    with connected(receiver, *SIGNALS.values()), override_settings(JWT_REDIS=STRICT):
        access = tell_the_story(alice)
        assert sessions.check(access).allowed
        sessions.end_session(alice, access["sid"])
        assert sessions.check(access).reason == "session_ended"
        own.kill()
        with pytest.raises(RevocationUnavailable):
            sessions.check(access)
    assert set(heard.names()) == set(SIGNALS) - {"check_failed_open"}
    # For the check, and not again for what a receiver of it asks.
    assert len(heard.of("revocation_unavailable")) == 1
    failed = [record for record in caplog.records if getattr(record, "event", "") == "receiver_failed"]
    assert bool(failed) == (receiver in (raises, araises, asks_again))


@pytest.mark.parametrize("receiver", RECEIVERS, ids=lambda one: one.__name__)
async def test_harms_nothing_in_async_code(
    receiver: Any, django_user_model: Any, own: RedisServer, caplog: pytest.LogCaptureFixture, heard: Heard
) -> None:
    user = await django_user_model.objects.acreate_user("alice")
    with connected(receiver, *SIGNALS.values()), override_settings(JWT_REDIS=STRICT):
        access = await atell_the_story(user)
        assert (await sessions.acheck(access)).allowed
        await sessions.aend_session(user, access["sid"])
        assert (await sessions.acheck(access)).reason == "session_ended"
        own.kill()
        with pytest.raises(RevocationUnavailable):
            await sessions.acheck(access)
    assert set(heard.names()) == set(SIGNALS) - {"check_failed_open"}
    # For the check, and not again for what a receiver of it asks.
    assert len(heard.of("revocation_unavailable")) == 1
    failed = [record for record in caplog.records if getattr(record, "event", "") == "receiver_failed"]
    assert bool(failed) == (receiver in (raises, araises, asks_again))


async def test_sync_code_within_an_event_loop_goes_on_without_the_async_ones(
    django_user_model: Any, own: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Django cannot call them there. The session is ended all the same, and the log says who was not told."""
    user = await django_user_model.objects.acreate_user("alice")
    refresh = await sessions.aopen_session(user)
    seen: list[str] = []

    def receiver(sid: str, **kwargs: Any) -> None:
        seen.append(sid)

    with override_settings(JWT_REDIS={"ALIAS": "sessions", "JOURNAL": False}):
        with connected(receiver, signals.session_ended), connected(araises, signals.session_ended):
            assert sessions.end_session(user, refresh["sid"])
        assert seen == [refresh["sid"]]
        assert not (await sessions.acheck(refresh.access_token)).allowed
    (record,) = [record for record in caplog.records if getattr(record, "event", "") == "receiver_failed"]
    assert "session_ended" in record.getMessage()


async def test_a_slow_sync_receiver_does_not_hold_up_the_event_loop(django_user_model: Any) -> None:
    user = await django_user_model.objects.acreate_user("alice")
    refresh = await sessions.aopen_session(user)
    loop, has_begun, may_end = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

    def receiver(**kwargs: Any) -> None:
        loop.call_soon_threadsafe(has_begun.set)
        assert may_end.wait(10)

    with connected(receiver, signals.session_ended):
        ending = asyncio.create_task(sessions.aend_session(user, refresh["sid"]))
        await has_begun.wait()
        # The loop turns while the receiver waits for what happens in it.
        assert not ending.done()
        may_end.set()
        assert await ending
    await client.aclient().aclose()


# Cancelled requests --------------------------------------------------------------------------------------------------


async def test_one_that_is_cancelled_while_a_receiver_runs_has_revoked(django_user_model: Any) -> None:
    user = await django_user_model.objects.acreate_user("alice")
    refresh = await sessions.aopen_session(user)
    has_begun = asyncio.Event()

    async def never_ends(**kwargs: Any) -> None:
        has_begun.set()
        await asyncio.Event().wait()

    with connected(never_ends, signals.session_ended):
        ending = asyncio.create_task(sessions.aend_session(user, refresh["sid"]))
        await has_begun.wait()
        ending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await ending
    assert (await sessions.acheck(refresh.access_token)).reason == "session_ended"
    await client.aclient().aclose()


async def test_one_that_is_cancelled_while_redis_hangs_revokes_when_it_is_back(
    django_user_model: Any, own: RedisServer
) -> None:
    user = await django_user_model.objects.acreate_user("alice")
    refresh = await sessions.aopen_session(user)
    own.pause()
    try:
        ending = asyncio.create_task(sessions.aend_session(user, refresh["sid"]))
        # It is written down, and Redis is waited for.
        for _ in range(1000):
            if await Revocation.objects.filter(target=refresh["sid"]).aexists():
                break
            await asyncio.sleep(0.01)
        assert not ending.done()
        ending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await ending
    finally:
        own.resume()
    reason = None
    for _ in range(200):
        with contextlib.suppress(RevocationUnavailable):
            reason = (await sync_to_async(sessions.check)(refresh.access_token)).reason
        if reason is not None:
            break
        await asyncio.sleep(0.05)
    assert reason == "session_ended"
