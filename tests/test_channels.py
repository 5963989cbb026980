"""Sockets over uvicorn and daphne, with a client that is not ours: who comes in, and when who has to go."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any, TypeVar
from unittest.mock import ANY

import pytest
import requests
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from jwt_redis.testing.servers import RedisServer
from jwt_redis.tokens import AccessToken
from tests.support.server import http_server
from tests.support.waiting import wait_for
from tests.test_sse import bearer, held, shortened, sign_in, sign_out, until, wait_until_nothing_is_held

pytestmark = pytest.mark.django_db(transaction=True)

T = TypeVar("T")

WAIT = 10.0
# Five seconds to open a socket are few where a thousand are opened on a busy machine.
DAPHNE = ["daphne", "--websocket_connect_timeout", "60"]
PROGRAMS = {
    "uvicorn": ["uvicorn", "tests.projects.event_asgi:application", "--port", "{port}", "--log-level", "warning"],
    "daphne": [*DAPHNE, "-p", "{port}", "-v", "0", "tests.projects.event_asgi:application"],
}


@pytest.fixture(scope="module", params=["uvicorn", pytest.param("daphne", marks=pytest.mark.slow)])
def program(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def own(program: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    options = {"appendonly": "yes", "appendfsync": "always"}
    with RedisServer(folder=tmp_path_factory.mktemp("redis"), options=options) as server:
        yield server


@pytest.fixture(scope="module")
def site(program: str, own: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    environment = {"JWT_REDIS_TEST_URL": own.url}
    folder = tmp_path_factory.mktemp(program)
    with http_server(
        folder, settings="tests.projects.event_settings", program=PROGRAMS[program], **environment
    ) as base:
        yield base


async def signed_in(base: str) -> dict[str, Any]:
    return await asyncio.to_thread(sign_in, base)


async def out(base: str, who: dict[str, Any]) -> None:
    await asyncio.to_thread(sign_out, base, who)


def dial(base: str, path: str = "echo/", headers: dict[str, str] | None = None, **options: Any) -> Any:
    url = base.replace("http", "ws", 1) + "/ws/" + path
    return connect(url, additional_headers=headers or {}, proxy=None, open_timeout=WAIT, close_timeout=1, **options)


async def closed(socket: ClientConnection) -> tuple[int, str]:
    """How the server has closed it. daphne keeps the reason to itself."""
    async with asyncio.timeout(WAIT):
        try:
            while True:
                await socket.recv()
        except ConnectionClosed as error:
            assert error.rcvd is not None
            is_daphne = (socket.response.headers if socket.response else {}).get("Server") == "daphne"
            return error.rcvd.code, ANY if is_daphne else error.rcvd.reason


async def refused(opening: Any) -> int:
    with pytest.raises(InvalidStatus) as error:
        async with opening:
            pass
    return int(error.value.response.status_code)


# Who comes in ------------------------------------------------------------------------------------------------------


async def test_by_header_by_subprotocol_and_by_cookie(site: str) -> None:
    who = await signed_in(site)
    cookie = {"Cookie": f"access_token={who['access']}"}
    async with dial(site, headers=bearer(who)) as socket:
        assert (await socket.recv()).startswith("hello ")
        assert socket.subprotocol is None
        await socket.send("x")
        assert (await socket.recv()).startswith("echo ")
    async with dial(site, subprotocols=["jwt", who["access"]]) as socket:
        assert (await socket.recv()).startswith("hello ")
        assert socket.subprotocol == "jwt"
    for headers in ({**cookie, "Origin": site}, cookie):
        async with dial(site, headers=headers) as socket:
            assert (await socket.recv()).startswith("hello ")


async def test_another_sites_page_does_not_get_in_by_cookie(site: str) -> None:
    who = await signed_in(site)
    cookie = {"Cookie": f"access_token={who['access']}"}
    # daphne answers an origin that is none with 400 by itself.
    others = ("https://evil.example", "null", "http://127.0.0.1:1", site.replace("http", "https"), "http://[evil")
    for origin in others:
        assert await refused(dial(site, headers={**cookie, "Origin": origin})) in (400, 401, 403), origin
    # What no page can send is not asked where it comes from.
    async with dial(site, headers={**bearer(who), "Origin": "https://app.example"}) as socket:
        assert (await socket.recv()).startswith("hello ")


async def test_who_has_no_good_token_is_refused(site: str) -> None:
    who, gone = await signed_in(site), await signed_in(site)
    await out(site, gone)
    status = (401, 403)
    assert await refused(dial(site)) in status
    for token in ("x", "a.b.c", who["access"][:-2], gone["access"]):
        assert await refused(dial(site, headers={"Authorization": f"Bearer {token}"})) in status
        assert await refused(dial(site, headers={"Cookie": f"access_token={token}", "Origin": site})) in status
        assert await refused(dial(site, subprotocols=["jwt", token])) in status
    assert await refused(dial(site, headers={"Authorization": "Bearer"})) in status
    # A header says who is meant, whatever else there is.
    assert await refused(dial(site, headers=bearer(gone), subprotocols=["jwt", who["access"]])) in status
    await asyncio.to_thread(wait_until_nothing_is_held, site)


async def test_a_consumer_of_ones_own_is_told_who_it_is(site: str) -> None:
    who = await signed_in(site)
    async with dial(site, "open/") as socket:
        assert await socket.recv() == "None False []"
    async with dial(site, "open/", subprotocols=["chat", "jwt", who["access"], "v2"]) as socket:
        # The token is in nobody's list of what may be chosen.
        assert (await socket.recv()).endswith("True ['chat', 'v2']")
        assert socket.subprotocol == "jwt"
    async with dial(site, "open/", subprotocols=["chat", "jwt"]) as socket:
        assert (await socket.recv()).endswith("False ['chat', 'jwt']")


async def test_the_query_string_says_nothing_unless_it_is_asked_to(site: str) -> None:
    who = await signed_in(site)
    async with dial(site, f"open/?token={who['access']}") as socket:
        assert (await socket.recv()).startswith("None False")
    async with dial(site, f"query/?token={who['access']}") as socket:
        assert "True" in await socket.recv()
    for query in ("", "?token=", "?token=x", f"?token={who['access']}&token=x", "?token=%ff%00"):
        async with dial(site, "query/" + query) as socket:
            assert (await socket.recv()).startswith("None False"), query


# When who has to go ------------------------------------------------------------------------------------------------


async def test_it_is_closed_on_logout_from_another_browser(site: str) -> None:
    here, there = await signed_in(site), await signed_in(site)
    async with dial(site, headers=bearer(here)) as socket, dial(site, headers=bearer(there)) as other:
        began = time.monotonic()
        await asyncio.to_thread(sign_out, site, there, "logout/others/")
        assert await closed(socket) == (4401, "session_ended")
        # A lease, and what this machine takes.
        assert time.monotonic() - began < 5
        await other.recv()
        await other.send("still there")
        assert (await other.recv()).endswith("still there")
    await asyncio.to_thread(wait_until_nothing_is_held, site)


async def test_a_consumer_may_say_good_bye(site: str) -> None:
    who = await signed_in(site)
    async with dial(site, "json/", headers=bearer(who)) as socket:
        await socket.send(json.dumps({"a": 1}))
        assert json.loads(await socket.recv()) == {"echo": {"a": 1}}
        await out(site, who)
        assert json.loads(await socket.recv()) == {"bye": "session_ended", "why": "logout"}
        assert await closed(socket) == (4401, "session_ended")


async def test_nothing_gets_through_after_the_end(site: str) -> None:
    """Somebody who talks all the time is not heard after it, nor told anything."""
    who, other = await signed_in(site), await signed_in(site)
    async with dial(site, headers=bearer(who)) as socket, dial(site, headers=bearer(other)) as loud:
        answered: list[float] = []

        async def talk() -> None:
            while True:
                await socket.send("x")
                await loud.send("shout")
                await asyncio.sleep(0.002)

        async def listen() -> int:
            try:
                while True:
                    await socket.recv()
                    answered.append(time.monotonic())
            except ConnectionClosed as error:
                assert error.rcvd is not None
                return error.rcvd.code

        talking, listening = asyncio.create_task(talk()), asyncio.create_task(listen())
        await asyncio.sleep(0.3)
        await out(site, who)
        ended = time.monotonic()
        async with asyncio.timeout(WAIT):
            assert await listening == 4401
        talking.cancel()
        assert answered and answered[-1] < ended + 2


async def test_a_good_bye_that_takes_long_and_fails_keeps_nobody_in(site: str) -> None:
    who, other = await signed_in(site), await signed_in(site)
    async with dial(site, "failing/", headers=bearer(who)) as socket, dial(site, headers=bearer(other)) as loud:
        assert (await socket.recv()).startswith("hello ")
        assert (await loud.recv()).startswith("hello ")
        await out(site, who)
        assert await asyncio.wait_for(socket.recv(), WAIT) == "bye session_ended"
        await socket.send("x")
        await loud.send("shout")
        assert await asyncio.wait_for(loud.recv(), WAIT) == "shouted"
        # Neither an echo nor what all others are told.
        with pytest.raises(ConnectionClosed) as error:
            await asyncio.wait_for(socket.recv(), WAIT)
        assert error.value.rcvd is not None and error.value.rcvd.code == 4401


async def test_it_is_closed_when_the_token_has_run_out(site: str) -> None:
    who = shortened(await signed_in(site), 6)
    async with dial(site, headers=bearer(who)) as socket:
        assert await closed(socket) == (4401, "token_expired")


async def test_another_token_keeps_it_open(site: str) -> None:
    who, younger = await signed_in(site), await signed_in(site)
    stranger = await asyncio.to_thread(sign_in_as, site, "bob", "battery staple")
    # Last of all: by now it runs out.
    who = shortened(who, 8)
    async with dial(site, "graceful/", headers=bearer(who)) as socket:
        await socket.recv()

        async def offer(token: Any) -> dict[str, Any]:
            await socket.send(json.dumps({"type": "reauthenticate", "token": token}))
            answer: dict[str, Any] = json.loads(await asyncio.wait_for(socket.recv(), WAIT))
            return answer

        for bad in ("x", "", None, 7, who["access"][:-1] + "~"):
            assert (await offer(bad))["type"] == "reauthentication_failed"
        assert (await offer(stranger["access"]))["type"] == "reauthentication_failed"
        await socket.send("x")
        assert "echo" in await socket.recv()
        # It runs out, and there is a grace.
        async with asyncio.timeout(15):
            assert json.loads(await socket.recv()) == {"type": "token_expired", "grace": 6.0}
        answer = await offer(younger["access"])
        assert answer["type"] == "reauthenticated" and 200 < answer["expires_in"] <= 300
        await socket.send("x")
        assert "echo" in await socket.recv()
        await out(site, younger)
        assert await closed(socket) == (4401, "session_ended")


def sign_in_as(base: str, name: str, password: str) -> dict[str, Any]:
    with requests.Session() as http:
        token = http.get(f"{base}/auth/csrf/", timeout=WAIT).json()["csrf_token"]
        body = {"username": name, "password": password}
        http.post(f"{base}/auth/token/", json=body, headers={"X-CSRFToken": token, "Origin": base}, timeout=WAIT)
        return {"access": http.cookies["access_token"]}


async def test_a_grace_ends_and_is_no_reprieve(site: str) -> None:
    who, other, younger = await signed_in(site), await signed_in(site), await signed_in(site)
    async with (
        dial(site, "graceful/", headers=bearer(shortened(who, 6))) as socket,
        dial(site, "graceful/", headers=bearer(shortened(other, 6))) as ended,
    ):
        for one in (socket, ended):
            await one.recv()
            async with asyncio.timeout(WAIT):
                assert "token_expired" in await one.recv()
        await asyncio.to_thread(requests.delete, f"{site}/auth/sessions/{sid(other)}/", headers=bearer(younger))
        assert await closed(ended) == (4401, "session_ended")
        assert await closed(socket) == (4401, "token_expired")


def sid(who: dict[str, Any]) -> str:
    return str(AccessToken(who["access"])["sid"])


async def test_whoever_leaves_while_the_door_is_opened_leaves_nothing(site: str, own: RedisServer) -> None:
    who = await signed_in(site)
    await asyncio.to_thread(wait_until_nothing_is_held, site)
    tasks = (await asyncio.to_thread(held, site))["tasks"]
    await asyncio.to_thread(own.pause)
    try:
        opening = [asyncio.create_task(connected(dial(site, headers=bearer(who)))) for _ in range(5)]
        await asyncio.sleep(0.3)
        for one in opening:
            one.cancel()
        await asyncio.gather(*opening, return_exceptions=True)
    finally:
        own.resume()
    # Those that wait for Redis hold nothing yet.
    await asyncio.to_thread(wait_for, lambda: held(site)["tasks"] <= tasks, "the server is through with them")
    await asyncio.to_thread(wait_until_nothing_is_held, site)


async def connected(opening: Any) -> Any:
    return await opening


async def test_a_consumer_that_fails_and_clients_that_vanish_leave_nothing(site: str) -> None:
    who = await signed_in(site)

    async def visit(number: int) -> None:
        async with dial(site, headers=bearer(who)) as socket:
            if number % 3 == 0:
                await socket.send("raise")
                with pytest.raises(ConnectionClosed):
                    await socket.recv()
                    await socket.recv()
            elif number % 3 == 1:
                socket.transport.abort()
            else:
                await asyncio.sleep(0.1)

    await asyncio.gather(*(visit(number) for number in range(15)))
    await asyncio.to_thread(wait_until_nothing_is_held, site)


async def enter(stack: AsyncExitStack, base: str, who: dict[str, Any]) -> ClientConnection:
    socket: ClientConnection = await stack.enter_async_context(dial(base, headers=bearer(who)))
    return socket


async def within_reach(work: Callable[..., Awaitable[T]], *arguments: Any) -> T:
    """Whoever comes right behind an outage may be sent away for half a second, until Redis is tried again."""
    deadline = time.monotonic() + WAIT
    while True:
        try:
            return await work(*arguments)
        except (InvalidStatus, AssertionError) as error:
            refusal = str(error)
            is_outage = "HTTP 503" in refusal or "HTTP 403" in refusal or "revocation_unavailable" in refusal
            if not is_outage or time.monotonic() > deadline:
                raise
        await asyncio.sleep(0.1)


@pytest.mark.slow
@pytest.mark.parametrize("comes_first", ["nothing", "a restart"])
async def test_a_thousand_idle_sockets_are_one_follower(site: str, own: RedisServer, comes_first: str) -> None:
    await asyncio.to_thread(wait_until_nothing_is_held, site)
    if comes_first == "a restart":
        await asyncio.to_thread(own.kill)
        own.start()
    async with AsyncExitStack() as stack:
        who = await within_reach(signed_in, site)
        sockets = []
        for _ in range(100):
            some = [within_reach(enter, stack, site, who) for _ in range(10)]
            sockets += await asyncio.gather(*some)
        # A socket is open before what watches it is; and between two questions nobody is asking.
        until = time.monotonic() + WAIT
        now, asking = {}, 0
        with own.client() as store:
            while (now, asking) != ({"followers": 1, "hubs": 1, "watches": 1000}, 1) and time.monotonic() < until:
                found = await asyncio.to_thread(held, site)
                now = {name: found[name] for name in ("followers", "hubs", "watches")}
                asking = sum(one["cmd"] == "xread" for one in store.client_list())
                assert asking <= 1
        assert (now, asking) == ({"followers": 1, "hubs": 1, "watches": 1000}, 1)
        await asyncio.to_thread(sign_out, site, who, "logout/all/")
        codes = await asyncio.gather(*(closed(socket) for socket in sockets))
        assert all(code == (4401, "session_ended") for code in codes)


async def test_without_redis_it_is_closed_or_kept(site: str, own: RedisServer) -> None:
    who = await signed_in(site)
    async with dial(site, headers=bearer(who)) as denying, dial(site, "kept/", headers=bearer(who)) as keeping:
        await keeping.recv()
        await asyncio.to_thread(own.kill)
        try:
            assert await closed(denying) == (4503, "revocation_unavailable")
            await keeping.send("x")
            assert "echo" in await keeping.recv()
            assert await refused(dial(site, headers=bearer(who))) in (503, 403)
        finally:
            # In this thread: the server ends with the one that has started it.
            own.start()
        async with asyncio.timeout(WAIT):
            while True:
                answer = await asyncio.to_thread(
                    requests.post, f"{site}/auth/logout/", headers=bearer(who), timeout=WAIT
                )
                if answer.status_code == 200:
                    break
                await asyncio.sleep(0.1)
        assert await closed(keeping) == (4401, "session_ended")


async def test_a_client_that_never_reads_does_not_put_off_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """As ASGI has it: a server does not return from send() while the client's buffers are full."""
    from channels.generic.websocket import AsyncWebsocketConsumer
    from django.contrib.auth.models import User

    from jwt_redis import sessions
    from jwt_redis.contrib.channels import LiveSessionMixin, consumers

    class Talkative(LiveSessionMixin, AsyncWebsocketConsumer):
        async def session_ended(self, ending: Any) -> None:
            await self.send("so long, and a lot more than anybody wants to hear")
            await super().session_ended(ending)

    monkeypatch.setattr(consumers, "_GOOD_BYE", 0.2)
    user = User(pk=1)
    token = (await sessions.aopen_session(user)).access_token
    sent: list[str] = []
    comes: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def send(message: Any) -> None:
        sent.append(message["type"])
        if message["type"] == "websocket.send":
            await asyncio.Event().wait()

    comes.put_nowait({"type": "websocket.connect"})
    made: Callable[..., Any] = Talkative()
    serving = asyncio.create_task(made({"type": "websocket", "auth": token, "user": user}, comes.get, send))
    await until(lambda: sent == ["websocket.accept"])
    await sessions.aend_session(user, token["sid"])
    await until(lambda: sent == ["websocket.accept", "websocket.send", "websocket.close"])
    comes.put_nowait({"type": "websocket.disconnect", "code": 1006})
    await asyncio.wait_for(serving, WAIT)


async def test_it_ends_while_its_consumer_is_at_connect() -> None:
    """One that has much to say there, or says it to a client that does not read."""
    from channels.generic.websocket import AsyncWebsocketConsumer
    from django.contrib.auth.models import User

    from jwt_redis import sessions
    from jwt_redis.contrib.channels import LiveSessionMixin

    class Greeting(LiveSessionMixin, AsyncWebsocketConsumer):
        async def connect(self) -> None:
            await self.accept()
            await asyncio.Event().wait()

    user = User(pk=1)
    token = (await sessions.aopen_session(user)).access_token
    sent: list[str] = []
    comes: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def send(message: Any) -> None:
        sent.append(message["type"])

    comes.put_nowait({"type": "websocket.connect"})
    made: Callable[..., Any] = Greeting()
    serving = asyncio.create_task(made({"type": "websocket", "auth": token, "user": user}, comes.get, send))
    await until(lambda: sent == ["websocket.accept"])
    await sessions.aend_session(user, token["sid"])
    await until(lambda: sent == ["websocket.accept", "websocket.close"])
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving


# What it needs -----------------------------------------------------------------------------------------------------


def test_a_sync_consumer_is_refused() -> None:
    from channels.generic.websocket import WebsocketConsumer

    from jwt_redis.contrib.channels import LiveSessionMixin

    with pytest.raises(TypeError, match="async"):
        type("Sync", (LiveSessionMixin, WebsocketConsumer), {})


async def test_without_the_middleware_it_says_so() -> None:
    from channels.generic.websocket import AsyncWebsocketConsumer

    from jwt_redis.contrib.channels import LiveSessionMixin

    made: Callable[..., Any] = type("Alone", (LiveSessionMixin, AsyncWebsocketConsumer), {})
    consumer = made()
    consumer.scope = {"type": "websocket"}
    with pytest.raises(ValueError, match="JWTAuthMiddleware"):
        await consumer.websocket_connect({"type": "websocket.connect"})
