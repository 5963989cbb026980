"""Async all the way: the twins, clients and event loops, cancelled requests, and no thread on a request's way."""

from __future__ import annotations

import asyncio
import gc
import inspect
import itertools
import pkgutil
import random
import selectors
import threading
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import pytest
import redis
from adrf.views import APIView as AsyncAPIView
from asgiref.sync import SyncToAsync, async_to_sync
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.handlers.asgi import ASGIHandler
from django.http import HttpResponse
from django.test import AsyncRequestFactory, override_settings
from rest_framework.exceptions import APIException, AuthenticationFailed
from rest_framework.permissions import IsAuthenticated
from rest_framework.response import Response
from rest_framework_simplejwt.authentication import JWTStatelessUserAuthentication as StockStatelessUserAuthentication
from rest_framework_simplejwt.exceptions import InvalidToken

import jwt_redis
from jwt_redis import sessions
from jwt_redis.authentication import JWTStatelessUserAuthentication
from jwt_redis.contrib import adrf
from jwt_redis.exceptions import RevocationUnavailable, RevokedToken
from jwt_redis.store import client
from jwt_redis.testing.servers import RedisServer
from tests.oracle.link import Link
from tests.projects.async_urls import StatelessMiddleware
from tests.support.topology import pointed_at
from tests.support.waiting import wait_for

pytestmark = pytest.mark.django_db(transaction=True)

STRATEGIES = ("whitelist", "blacklist")


def user_of(number: int) -> Any:
    """Whoever is asked about is no row: nothing here is about the database."""
    return get_user_model()(pk=number)


def strategy_of(strategy: str, **more: Any) -> Any:
    return override_settings(JWT_REDIS={**settings.JWT_REDIS, "STRATEGY": strategy, **more})


# Twins -------------------------------------------------------------------------------------------------------------


def _scopes() -> Iterator[tuple[str, dict[str, Any]]]:
    """Each module of the package and each class in it, with what it defines itself."""
    for found in pkgutil.walk_packages(jwt_redis.__path__, "jwt_redis."):
        if ".migrations" in found.name or ".contrib" in found.name:
            continue
        module = import_module(found.name)
        here = {name: made for name, made in vars(module).items() if getattr(made, "__module__", "") == found.name}
        yield found.name, here
        for name, made in here.items():
            if inspect.isclass(made):
                yield f"{found.name}.{name}", dict(vars(made))


def _twins() -> dict[str, tuple[Any, Any]]:
    """By the sync one's name: each pair of `name` and `aname` or `_name` and `_aname`."""
    pairs = {}
    for where, here in _scopes():
        for name, made in here.items():
            twin = f"_a{name[1:]}" if name.startswith("_") else f"a{name}"
            if inspect.isfunction(made) and inspect.iscoroutinefunction(here.get(twin)):
                pairs[f"{where}.{name}"] = (made, here[twin])
    return pairs


TWINS = _twins()


@pytest.mark.parametrize("name", TWINS)
def test_twins_have_one_signature(name: str) -> None:
    one, other = TWINS[name]
    takes, answers = (inspect.signature(made) for made in (one, other))
    assert takes.parameters.keys() == answers.parameters.keys()
    assert [p.default for p in takes.parameters.values()] == [p.default for p in answers.parameters.values()]
    assert [p.kind for p in takes.parameters.values()] == [p.kind for p in answers.parameters.values()]


def _is_of_use(made: Any) -> bool:
    return inspect.isfunction(made) and not inspect.iscoroutinefunction(made) and made is not sessions.new_sid


# What asks Redis, or the database, and is for whoever uses the package.
ASKING = [
    *(f"jwt_redis.sessions.{name}" for name in sessions.__all__ if _is_of_use(getattr(sessions, name))),
    "jwt_redis.authentication.RevocationCheckMixin.get_validated_token",
    "jwt_redis.authentication.RevocationCheckMixin.check_password_witness",
    "jwt_redis.authentication.JWTAuthentication.get_user",
    "jwt_redis.tokens._SessionToken.blacklist",
    "jwt_redis.tokens._SessionToken.check_blacklist",
]


@pytest.mark.parametrize("name", ASKING)
def test_whatever_asks_has_a_twin(name: str) -> None:
    where, _, short = name.rpartition(".")
    if where == "jwt_redis.sessions":
        assert inspect.iscoroutinefunction(getattr(sessions, f"a{short}"))
    else:
        assert name in TWINS


async def test_a_token_is_blacklisted_and_looked_up_without_waiting_for_a_thread() -> None:
    token = await sessions.aopen_session(user_of(1))
    await token.acheck_blacklist()
    assert await token.ablacklist() is True
    assert await token.ablacklist() is False
    with pytest.raises(RevokedToken):
        await token.acheck_blacklist()


# Clients and loops -------------------------------------------------------------------------------------------------


def _client_count(store: redis.Redis) -> int:
    return len(store.client_list())


def test_each_loop_has_a_client_and_a_closed_one_keeps_none(store: redis.Redis) -> None:
    access = sessions.open_session(user_of(1)).access_token
    seen, barrier = [], threading.Barrier(3)

    async def ask() -> None:
        await sessions.acheck(access)
        seen.append(client.aclient())
        barrier.wait(10)  # all three loops are alive at once
        await sessions.acheck(access)

    threads = [threading.Thread(target=asyncio.run, args=(ask(),)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(one) for one in seen}) == 3
    seen.clear()
    before = _client_count(store)
    for _ in range(20):
        # As a sync view does: a loop for each call.
        assert async_to_sync(sessions.acheck)(access).allowed
    assert len(client._loops) <= 2
    gc.collect()
    wait_for(lambda: _client_count(store) <= before, "connections of closed loops are closed", 5)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_more_requests_than_connections_wait_for_their_turn(strategy: str) -> None:
    caches = {**settings.CACHES["sessions"], "OPTIONS": {"CONNECTION_POOL_KWARGS": {"max_connections": 3}}}

    async def ask() -> None:
        made = [await sessions.aopen_session(user_of(number)) for number in range(60)]
        verdicts = await asyncio.gather(*(sessions.acheck(token.access_token) for token in made))
        assert all(verdict.allowed for verdict in verdicts)
        await asyncio.gather(*(sessions.aend_session(token["user_id"], token["sid"]) for token in made))

    with strategy_of(strategy), override_settings(CACHES={**settings.CACHES, "sessions": caches}):
        asyncio.run(ask())


def test_nobody_waits_for_a_turn_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "TURN_TIMEOUT", 0.05)

    async def ask(access: Any) -> None:
        await sessions.acheck(access)
        turns = client._loops[asyncio.get_running_loop()].turns
        while not turns.locked():
            await turns.acquire()
        with pytest.raises(RevocationUnavailable):
            await sessions.acheck(access)
        # The server is not to blame, and a turn that was not had is not given back.
        turns.release()
        assert (await sessions.acheck(access)).allowed
        assert not turns.locked()

    asyncio.run(ask(sessions.open_session(user_of(1)).access_token))


def test_threads_are_not_refused_a_connection() -> None:
    """redis-py's own limit is a hundred."""
    access = sessions.open_session(user_of(1)).access_token
    sessions.check(access)
    pool = client.client().connection_pool
    held = [pool.get_connection() for _ in range(120)]
    try:
        assert sessions.check(access).allowed
    finally:
        for one in held:
            pool.release(one)


# Cancelled requests ------------------------------------------------------------------------------------------------


@pytest.fixture
def link(redis_server: RedisServer) -> Iterator[Link]:
    made = Link(redis_server.port)
    location = {**settings.CACHES["sessions"], "LOCATION": f"redis://127.0.0.1:{made.port}/0"}
    with override_settings(CACHES={**settings.CACHES, "sessions": location}):
        yield made
    made.close()


Work = Callable[[Any], Any]
CANCELLED: dict[str, Work] = {
    "a check": lambda token: sessions.acheck(token.access_token),
    "an explanation": lambda token: sessions.aexplain(token),
    "a list": lambda token: sessions.alist_sessions(token["user_id"]),
    "a rotation": lambda token: sessions.arotate(token, user_of(int(token["user_id"]))),
    "an end": lambda token: sessions.aend_session(token["user_id"], token["sid"]),
}


class _BetweenTurns(selectors.DefaultSelector):
    """Cancels a task between two turns of its event loop. Turns are few, however long the loop sleeps in one."""

    task: asyncio.Task[Any] | None = None

    def after(self, turns: int, task: asyncio.Task[Any]) -> None:
        self.task, self.left, self.was_cancelled = task, turns, False

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(timeout)
        if self.task is not None:
            self.left -= 1
            if self.left == 0:
                self.was_cancelled = self.task.cancel()
        return ready


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_no_cancellation_is_lost(strategy: str) -> None:
    """Whenever it comes: at one step of the way asyncio.wait_for takes it for itself, until Python 3.12."""
    between = _BetweenTurns()

    async def ask() -> int:
        token = (await sessions.aopen_session(user_of(1))).access_token
        await sessions.acheck(token)
        for turns in itertools.count(1):
            checking = asyncio.create_task(sessions.acheck(token))
            between.after(turns, checking)
            try:
                verdict = await checking
            except asyncio.CancelledError:
                assert between.was_cancelled
            else:
                assert verdict.allowed and not between.was_cancelled
                return turns
        raise AssertionError

    with strategy_of(strategy), asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(between)) as runner:
        assert runner.run(ask()) > 2


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("what", CANCELLED)
async def test_the_reply_to_a_cancelled_request_answers_nobody_else(what: str, strategy: str, link: Link) -> None:
    """What CVE-2023-28859 was: the connection went back to the pool with a reply on its way."""
    with strategy_of(strategy):
        alive, ended = await sessions.aopen_session(user_of(1)), await sessions.aopen_session(user_of(2))
        await sessions.aend_session(user_of(2), ended["sid"])
        assert (await sessions.acheck(alive.access_token)).allowed
        link.hold(requests=False)
        task = asyncio.ensure_future(CANCELLED[what](alive if what != "an end" else ended))
        await asyncio.sleep(0.02)
        assert not task.done()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        asyncio.get_running_loop().call_later(0.03, link.release)
        for _ in range(3):
            assert (await sessions.acheck(ended.access_token)).reason == "session_ended"
            assert (await sessions.acheck(alive.access_token)).allowed
            assert [found.sid for found in await sessions.alist_sessions(user_of(1))] == [alive["sid"]]


@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_an_end_that_was_cancelled_is_carried_out_all_the_same(strategy: str, link: Link) -> None:
    """The journal has it by then."""
    with strategy_of(strategy):
        user = await get_user_model().objects.acreate(username="carol")
        token = await sessions.aopen_session(user)
        assert (await sessions.acheck(token.access_token)).allowed
        link.hold()
        task = asyncio.ensure_future(sessions.aend_session(user, token["sid"]))
        await asyncio.sleep(0.1)
        task.cancel()
        # On a busy machine the time limit for the reply may have come first.
        with pytest.raises((asyncio.CancelledError, RevocationUnavailable)):
            await task
        link.release()
        assert (await sessions.acheck(token.access_token)).reason == "session_ended"


@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_nobody_gets_the_verdict_of_another(strategy: str, link: Link) -> None:
    """200 at a time, a part of them cancelled at any moment, while Redis is slow, or answers nobody."""
    rng = random.Random(7)
    with strategy_of(strategy):
        made = {number: await sessions.aopen_session(user_of(number)) for number in range(40)}
        access = {number: token.access_token for number, token in made.items()}
        for number in range(1, 40, 2):
            await sessions.aend_session(user_of(number), made[number]["sid"])
        right, cancelled = 0, 0

        async def ask(number: int) -> None:
            nonlocal right
            try:
                verdict = await sessions.acheck(access[number])
            except RevocationUnavailable:
                return
            assert verdict.reason == ("session_ended" if number % 2 else None)
            right += 1

        for turn in range(12):
            link.delay = rng.choice([0.0, 0.0, 0.005, 0.05])
            if turn % 6 == 5:
                link.hold()
            tasks = [asyncio.create_task(ask(rng.randrange(40))) for _ in range(200)]
            for task in tasks:
                if rng.random() < 0.4:
                    asyncio.get_running_loop().call_later(rng.random() * 0.06, task.cancel)
            await asyncio.sleep(0.1)
            link.release()
            for outcome in await asyncio.gather(*tasks, return_exceptions=True):
                assert outcome is None or isinstance(outcome, asyncio.CancelledError), outcome
                cancelled += outcome is not None
        assert right > 100 and cancelled > 50
        # And none is lost to the pool.
        mine = client._loops[asyncio.get_running_loop()]
        assert mine.line is not None
        await mine.line.dissolve()
        pool: Any = mine.client.connection_pool
        assert not pool._in_use_connections and len(pool._available_connections) <= pool.max_connections


# No thread ---------------------------------------------------------------------------------------------------------


async def _get(handler: ASGIHandler, path: str, token: str = "") -> int:
    headers = [(b"authorization", f"Bearer {token}".encode())] if token else []
    scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": headers}
    sent: list[Any] = []
    asked = False

    async def receive() -> dict[str, Any]:
        nonlocal asked
        if asked:
            await asyncio.sleep(60)
        asked = True
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await handler(scope, receive, send)
    return int(sent[0]["status"])


@pytest.mark.parametrize("near", [None, {"lease": 30.0}], ids=["direct", "near"])
async def test_a_request_goes_through_no_thread(near: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    hopped: list[str] = []
    hop = SyncToAsync.__call__

    async def watched(self: Any, *args: Any, **kwargs: Any) -> Any:
        hopped.append(getattr(self.func, "__module__", "?"))
        return await hop(self, *args, **kwargs)

    project = {
        "ROOT_URLCONF": "tests.projects.async_urls",
        "MIDDLEWARE": ["tests.projects.async_urls.StatelessMiddleware"],
    }
    with strategy_of("whitelist", NEAR_CACHE=near), override_settings(**project):
        handler = ASGIHandler()
        token = await sessions.aopen_session(user_of(1))
        access = str(token.access_token)
        # Once, for the connection and the trust in the server, which look at the journal.
        assert await _get(handler, "/whoami/", access) == 200
        monkeypatch.setattr(SyncToAsync, "__call__", watched)
        assert await _get(handler, "/whoami/", access) == 200
        assert await _get(handler, "/whoami/") == 401
        # Django's own request signals have receivers that are not async.
        assert hopped and not [name for name in hopped if not name.startswith("django.")], hopped


# The failure policy ------------------------------------------------------------------------------------------------


@pytest.fixture
def own() -> Iterator[RedisServer]:
    with RedisServer() as server, pointed_at(server):
        yield server


async def test_while_redis_is_dead_it_is_503_and_afterwards_it_is_not(own: RedisServer) -> None:
    token = await sessions.aopen_session(user_of(1))
    access = token.access_token
    assert (await sessions.acheck(access)).allowed
    own.kill()
    for ask in (sessions.acheck(access), sessions.aexplain(access), sessions.alist_sessions(1)):
        with pytest.raises(RevocationUnavailable):
            await ask
    # By the project's leave, or a view's.
    assert (await sessions.acheck(access, on_redis_failure="allow")).checked is False
    with strategy_of("whitelist", ALIAS="sessions", ON_REDIS_FAILURE="allow"):
        assert (await sessions.acheck(access)).checked is False
        with pytest.raises(RevocationUnavailable):
            await sessions.acheck(access, on_redis_failure="deny")
        with pytest.raises(RevocationUnavailable):
            await sessions.aend_all_sessions(user_of(1))


async def test_a_server_that_hangs_is_waited_for_once(own: RedisServer) -> None:
    token = await sessions.aopen_session(user_of(1))
    assert (await sessions.acheck(token.access_token)).allowed
    own.pause()
    try:
        outcomes = await asyncio.gather(
            *(sessions.acheck(token.access_token) for _ in range(300)), return_exceptions=True
        )
        assert all(isinstance(outcome, RevocationUnavailable) for outcome in outcomes)
        assert client.is_known_dead()
    finally:
        own.resume()

    async def is_back() -> bool:
        try:
            return (await sessions.acheck(token.access_token)).allowed
        except RevocationUnavailable:
            return False

    for _ in range(100):
        if await is_back():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("Redis is not asked again")


# Classes -----------------------------------------------------------------------------------------------------------


class _Strict(JWTStatelessUserAuthentication):
    """A project's own, which knows nothing of async code."""

    def get_validated_token(self, raw_token: bytes) -> Any:
        token = super().get_validated_token(raw_token)
        if token.get("tenant") != "mine":
            raise InvalidToken("another tenant's token")
        return token


class _Banning(JWTStatelessUserAuthentication):
    def get_user(self, validated_token: Any) -> Any:
        raise AuthenticationFailed("banned", code="banned")


@pytest.mark.parametrize(("cls", "what"), [(_Strict, "tenant"), (_Banning, "banned")])
async def test_what_a_subclass_adds_to_the_sync_method_holds_in_async_code(
    cls: Any, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    access = (await sessions.aopen_session(user_of(1))).access_token
    request = AsyncRequestFactory().get("/", headers={"Authorization": f"Bearer {access}"})
    with pytest.raises(APIException, match=what):
        await cls().aauthenticate(request)
    monkeypatch.setattr(StatelessMiddleware, "authentication_class", cls)

    async def view(request: Any) -> Any:
        assert (await request.auser()).is_anonymous and what in str(request.auth_error)
        return HttpResponse()

    await StatelessMiddleware(view)(request)


@pytest.mark.parametrize("cls", [adrf.JWTAuthentication, adrf.JWTStatelessUserAuthentication])
async def test_async_drf(cls: Any, django_user_model: Any) -> None:
    user = await django_user_model.objects.acreate(username="carol")
    token = await sessions.aopen_session(user)
    threads: list[str] = []

    class View(AsyncAPIView):
        authentication_classes = (cls,)
        permission_classes = (IsAuthenticated, adrf.HasLiveSession)

        async def get(self, request: Any) -> Any:
            threads.append(threading.current_thread().name)
            return Response({"user": str(request.user.pk), "sid": request.auth["sid"]})

    def ask(authorization: str) -> Any:
        headers = {"Authorization": authorization} if authorization else {}
        return View.as_view()(AsyncRequestFactory().get("/", headers=headers))

    answer = await ask(f"Bearer {token.access_token}")
    assert (answer.status_code, answer.data) == (200, {"user": str(user.pk), "sid": token["sid"]})
    assert threads == [threading.current_thread().name]
    assert (await ask("")).status_code == 401
    assert (await ask("Bearer nonsense")).data["code"] == "token_not_valid"
    await sessions.aend_session(user, token["sid"])
    answer = await ask(f"Bearer {token.access_token}")
    assert (answer.status_code, answer.data["reason"]) == (401, "session_ended")


async def test_async_drf_behind_a_class_that_knows_of_no_session() -> None:
    token = await sessions.aopen_session(user_of(1))

    class View(AsyncAPIView):
        authentication_classes = (StockStatelessUserAuthentication,)
        permission_classes = (adrf.HasLiveSession,)

        async def get(self, request: Any) -> Any:
            return Response({})

    def ask() -> Any:
        headers = {"Authorization": f"Bearer {token.access_token}"}
        return View.as_view()(AsyncRequestFactory().get("/", headers=headers))

    assert (await ask()).status_code == 200
    await sessions.aend_session(1, token["sid"])
    assert (await ask()).data["reason"] == "session_ended"
