"""The event stream over HTTP: uvicorn, clients that read, hang up and come back; and servers without ASGI."""

from __future__ import annotations

import asyncio
import json
import os
import select
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from typing import Any
from urllib.parse import ParseResult, urlparse

import pytest
import requests
from django.contrib.auth.models import User

from jwt_redis import sessions
from jwt_redis.contrib.sse import crowding, stream
from jwt_redis.contrib.sse.crowding import SUPERSEDED, among_streams
from jwt_redis.contrib.sse.views import SessionEventsView
from jwt_redis.revocations import Ending, Watch
from jwt_redis.testing.servers import RedisServer
from jwt_redis.tokens import AccessToken
from tests.support.server import http_server

pytestmark = pytest.mark.django_db(transaction=True)

WAIT = 10.0


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    options = {"appendonly": "yes", "appendfsync": "always"}
    with RedisServer(folder=tmp_path_factory.mktemp("redis"), options=options) as server:
        yield server


@pytest.fixture(scope="module")
def site(own: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("site")
    environment = {"JWT_REDIS_TEST_URL": own.url}
    with http_server(folder, workers=1, asgi=True, settings="tests.projects.event_settings", **environment) as base:
        yield base


def sign_in(base: str) -> dict[str, Any]:
    """Tokens in the body, as for a client without cookies; and the cookies."""
    with requests.Session() as http:
        http.trust_env = False
        token = http.get(f"{base}/auth/csrf/", timeout=WAIT).json()["csrf_token"]
        headers = {"X-CSRFToken": token, "Origin": base}
        body = {"username": "alice", "password": "correct horse"}
        answer = http.post(f"{base}/auth/token/", json=body, headers=headers, timeout=WAIT)
        assert answer.status_code == 200, answer.text
        return {"cookies": http.cookies.get_dict(), "access": http.cookies["access_token"]}


def shortened(who: dict[str, Any], seconds: int = 6) -> dict[str, Any]:
    """The same session, by a token that runs out soon."""
    token = AccessToken(who["access"])
    token.payload["exp"] = int(time.time()) + seconds
    return {"access": str(token)}


def sign_out(base: str, who: dict[str, Any], path: str = "logout/") -> None:
    answer = requests.post(f"{base}/auth/{path}", headers=bearer(who), timeout=WAIT)
    assert answer.status_code == 200, answer.text


def bearer(who: dict[str, Any]) -> dict[str, str]:
    return {"Authorization": f"Bearer {who['access']}"}


def held(base: str) -> dict[str, int]:
    found: dict[str, int] = requests.get(f"{base}/held/", timeout=WAIT).json()
    return found


def wait_until_nothing_is_held(base: str) -> None:
    deadline = time.monotonic() + WAIT
    while (now := held(base)) and any(
        now[what] for what in ("watches", "followers", "hubs", "index", "streams", "sockets")
    ):
        assert time.monotonic() < deadline, now
        time.sleep(0.05)


class Stream:
    """A client as the standard has it (section 9.2.6), with what it remembers."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self.writer = reader, writer
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""
        self.last_id = ""
        self.retry = 0
        self.comments = 0
        self.has_ended = False

    async def read_head(self) -> None:
        head = await asyncio.wait_for(self._reader.readuntil(b"\r\n\r\n"), WAIT)
        first, *lines = head.decode().split("\r\n")
        self.status = int(first.split()[1])
        self.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}

    async def _lines(self) -> AsyncIterator[str]:
        # Of HTTP/1.1, whose chunks uvicorn makes one an event.
        while size := int((await self._reader.readline()) or b"0", 16):
            chunk = await self._reader.readexactly(size)
            await self._reader.readline()
            for line in chunk.decode().split("\n")[:-1]:
                yield line
        self.has_ended = True

    async def events(self) -> AsyncIterator[tuple[str, Any]]:
        name, data = "", None
        async for line in self._lines():
            field, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if not line:
                if data is not None:
                    yield name, json.loads(data)
                name, data = "", None
            elif not field:
                self.comments += 1
            elif field == "event":
                name = value
            elif field == "data":
                data = value
            elif field == "id":
                self.last_id = value
            else:
                assert field == "retry"
                self.retry = int(value)


@asynccontextmanager
async def opened(
    base: str, who: dict[str, Any] | None, path: str = "/quick/", *, cookies: bool = False, **headers: str
) -> AsyncIterator[Stream]:
    address = urlparse(base)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        sent = {"Host": address.netloc, "Accept": "text/event-stream", **headers}
        if who is not None and cookies:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in who["cookies"].items())
        elif who is not None:
            sent |= bearer(who)
        head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in sent.items())
        writer.write(f"GET {path} HTTP/1.1\r\n{head}\r\n".encode())
        await writer.drain()
        made = Stream(reader, writer)
        await made.read_head()
        yield made
    finally:
        writer.transport.abort()


async def until(is_so: Callable[[], Any], seconds: float = WAIT) -> None:
    for _ in range(int(seconds * 20)):
        if is_so():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("it did not come")


async def until_streams(base: str, count: int) -> None:
    await until(lambda: held(base)["streams"] == count)


# A server, or a Redis, that stands still for a second is told of too.
PASSING = ("unavailable", "available")


async def first_event(one: Stream) -> tuple[str, Any]:
    async with asyncio.timeout(WAIT):
        return await anext(event async for event in one.events() if event[0] not in PASSING)


async def rest(one: Stream) -> list[tuple[str, Any]]:
    """What comes until the server ends it."""
    async with asyncio.timeout(WAIT):
        return [event async for event in one.events() if event[0] not in PASSING]


async def goes_on(one: Stream) -> bool:
    """It was told nothing, and is told nothing for half a second more."""
    try:
        async with asyncio.timeout(0.5):
            await anext(event async for event in one.events() if event[0] not in PASSING)
    except TimeoutError:
        return True
    return False


# The text ----------------------------------------------------------------------------------------------------------


def test_the_text_of_an_event() -> None:
    assert stream.event("a", {"text": "line\nbreak \u2028 é"}, id="x.1") == (
        'id: x.1\nevent: a\ndata: {"text": "line\\nbreak \\u2028 \\u00e9"}\n\n'
    )
    assert stream.event(id="x") == "id: x\n\n"
    assert stream.retry(1.5) == "retry: 1500\n\n"
    for bad in ("a\nb", "a\rb", "a\0b"):
        with pytest.raises(ValueError, match="id"):
            stream.event(id=bad)
        with pytest.raises(ValueError, match="event"):
            stream.event(bad)


# Over HTTP ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cookies", [False, True])
async def test_it_says_that_the_session_has_ended(site: str, cookies: bool) -> None:
    who = await asyncio.to_thread(sign_in, site)
    async with opened(site, who, cookies=cookies) as one:
        assert one.status == 200
        assert one.headers["content-type"] == "text/event-stream"
        assert one.headers["cache-control"] == "no-store, no-transform"
        assert one.headers["x-accel-buffering"] == "no"
        assert "Cookie" in one.headers["vary"] and "Authorization" in one.headers["vary"]
        task = asyncio.create_task(rest(one))
        await until(lambda: one.comments >= 2)
        position = one.last_id
        assert position and one.retry == 500
        await asyncio.to_thread(sign_out, site, who)
        assert await task == [("session-ended", {"reason": "session_ended", "why": "logout"})]
        assert one.has_ended and one.last_id == "end"
    # It comes back, as browsers do: it hears of it once, and is then told to stay away.
    async with opened(site, who, cookies=cookies, Last_Event_ID=position) as again:
        assert (again.status, await rest(again)) == (
            200,
            [("session-ended", {"reason": "session_ended", "why": "logout"})],
        )
    async with opened(site, who, cookies=cookies, Last_Event_ID="end") as again:
        assert again.status == 204
    async with opened(site, who, cookies=cookies) as again:
        assert again.status == 401 and "bearer" in again.headers["www-authenticate"].lower()
    await asyncio.to_thread(wait_until_nothing_is_held, site)


async def test_somebody_else_who_signs_in_here_is_heard(site: str) -> None:
    """The browser's memory of an ended stream is no obstacle."""
    who = await asyncio.to_thread(sign_in, site)
    async with opened(site, who, Last_Event_ID="end") as one:
        assert one.status == 200


async def test_it_says_that_the_token_has_run_out(site: str) -> None:
    who = shortened(await asyncio.to_thread(sign_in, site))
    async with opened(site, who) as one:
        assert await rest(one) == [("token-expired", {"reason": "token_expired"})]
        position = one.last_id
    assert position not in ("", "end")
    async with opened(site, who, Last_Event_ID=position) as again:
        assert again.status == 401


@pytest.mark.parametrize("token", ["x", "a.b.c", "eyJhbGciOiJub25lIn0.e30."])
async def test_who_has_no_good_token_is_refused(site: str, token: str) -> None:
    for headers in ({}, {"Last_Event_ID": "end"}, {"Last_Event_ID": "\t x"}):
        async with opened(site, {"access": token}, **headers) as one:
            assert one.status == 401
        async with opened(site, {"cookies": {"access_token": token}}, cookies=True, **headers) as one:
            assert one.status == 401
        async with opened(site, None, **headers) as one:
            assert one.status == 401


async def test_a_truncated_token_gets_nothing_of_the_session(site: str) -> None:
    who = await asyncio.to_thread(sign_in, site)
    await asyncio.to_thread(sign_out, site, who)
    async with opened(site, {"access": who["access"][:-2]}, Last_Event_ID="x") as one:
        assert one.status == 401


async def test_a_view_that_takes_no_cookies(site: str) -> None:
    who = await asyncio.to_thread(sign_in, site)
    async with opened(site, who, "/header-only/", cookies=True) as one:
        assert one.status == 401
    async with opened(site, who, "/header-only/") as one:
        assert one.status == 200
    await asyncio.to_thread(sign_out, site, who)
    async with opened(site, who, "/header-only/", cookies=True, Last_Event_ID="x") as one:
        assert one.status == 401


def test_other_methods(site: str) -> None:
    who = sign_in(site)
    assert requests.head(f"{site}/quick/", headers=bearer(who), timeout=WAIT).headers["content-type"] == (
        "text/event-stream"
    )
    assert requests.head(f"{site}/quick/", timeout=WAIT).status_code == 401
    assert requests.post(f"{site}/quick/", headers={**bearer(who), "Origin": site}, timeout=WAIT).status_code in (
        403,
        405,
    )
    assert requests.options(f"{site}/quick/", timeout=WAIT).status_code == 200


async def test_who_hangs_up_leaves_nothing_behind(site: str) -> None:
    who = await asyncio.to_thread(sign_in, site)
    await asyncio.to_thread(wait_until_nothing_is_held, site)
    before = (await asyncio.to_thread(held, site))["tasks"]

    async def visit(seconds: float) -> None:
        async with opened(site, who) as one:
            assert one.status == 200
            await asyncio.sleep(seconds)

    for _ in range(3):
        await asyncio.gather(*(visit(number * 0.02) for number in range(20)))
    await asyncio.to_thread(wait_until_nothing_is_held, site)
    await until(lambda: held(site)["tasks"] <= before + 1)


async def test_one_stream_more_than_a_session_may_have_ends_the_oldest(site: str) -> None:
    who, other = [await asyncio.to_thread(sign_in, site) for _ in range(2)]
    async with AsyncStack() as stack:
        elsewhere = await stack.enter(opened(site, other, "/three/"))
        await until_streams(site, 1)
        streams = []
        for count in (2, 3, 4, 4, 4):
            streams.append(await stack.enter(opened(site, who, "/three/")))
            # The headers come before it is one of the session's: the next is to be the younger.
            await until_streams(site, count)
        for one in streams[:2]:
            assert await rest(one) == [("superseded", {"max_streams": 3})]
            # A browser comes back, and not at once; what it missed by then it is told.
            assert one.has_ended and one.retry == 60_000 and one.last_id not in ("", "end")
        now = await asyncio.to_thread(held, site)
        assert (now["watches"], now["streams"]) == (4, 4)
        # One that is gone makes room for another.
        streams[4].writer.transport.abort()
        await until_streams(site, 3)
        again = await stack.enter(opened(site, who, "/three/"))
        await until_streams(site, 4)
        await asyncio.to_thread(sign_out, site, who)
        for one in (*streams[2:4], again):
            assert (await rest(one))[0][0] == "session-ended"
        assert await goes_on(elsewhere)
    await asyncio.to_thread(wait_until_nothing_is_held, site)


async def test_a_client_that_opens_streams_and_reads_none_is_held_to_it_too(site: str) -> None:
    who = await asyncio.to_thread(sign_in, site)
    address = urlparse(site)
    head = f"GET /three/ HTTP/1.1\r\nHost: {address.netloc}\r\nAuthorization: Bearer {who['access']}\r\n\r\n"
    async with AsyncStack() as stack:
        streams = [await stack.enter(unread(address, head)) for _ in range(40)]
        for has_answer in streams:
            await until(has_answer)
        await until(lambda: (now := held(site))["streams"] == now["watches"] == 3)
    await asyncio.to_thread(wait_until_nothing_is_held, site)


@asynccontextmanager
async def unread(address: ParseResult, head: str) -> AsyncIterator[Callable[[], bool]]:
    """A request whose answer is left with the kernel. Called, what it yields says whether there is one."""
    _reader, writer = await asyncio.open_connection(address.hostname, address.port, limit=1)
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    writer.write(head.encode())
    with socket.socket(fileno=os.dup(writer.get_extra_info("socket").fileno())) as same:
        try:
            yield lambda: bool(select.select([same], [], [], 0)[0])
        finally:
            writer.transport.abort()


async def test_one_that_has_given_way_takes_no_other_off_the_list() -> None:
    """It may be slow to go, and others have come and gone meanwhile."""
    token = (await sessions.aopen_session(User(pk=1))).access_token
    first, second, third, fourth = (Watch(token, None) for _ in range(4))
    slow = ExitStack()
    slow.enter_context(among_streams(first, 1))
    with among_streams(second, 1):
        assert first.ending == Ending(SUPERSEDED)
    with among_streams(third, 1):
        slow.close()
        with among_streams(fourth, 1):
            assert third.ending == Ending(SUPERSEDED)
    assert not crowding._streams


@pytest.mark.parametrize("most", [0, -1, True, "3", 1.5])
def test_a_number_of_streams_that_is_none_is_said(most: Any) -> None:
    with pytest.raises(ValueError, match="max_streams"):
        SessionEventsView.as_view(max_streams=most)
    with pytest.raises(ValueError, match="max_streams"):
        type("Odd", (SessionEventsView,), {"max_streams": most}).as_view()  # type: ignore[attr-defined]
    SessionEventsView.as_view(max_streams=None)


async def test_whoever_leaves_while_a_stream_is_opened_leaves_nothing(site: str, own: RedisServer) -> None:
    who = await asyncio.to_thread(sign_in, site)
    await asyncio.to_thread(wait_until_nothing_is_held, site)
    before = (await asyncio.to_thread(held, site))["tasks"]
    own.pause()
    try:
        for number in range(10):
            address = urlparse(site)
            _reader, writer = await asyncio.open_connection(address.hostname, address.port)
            head = f"GET /quick/ HTTP/1.1\r\nHost: {address.netloc}\r\nAuthorization: Bearer {who['access']}\r\n\r\n"
            writer.write(head.encode())
            await asyncio.sleep(0.01 * number)
            writer.transport.abort()
    finally:
        own.resume()
    await asyncio.to_thread(wait_until_nothing_is_held, site)
    await until(lambda: held(site)["tasks"] <= before + 1)


async def test_many_streams_are_one_follower(site: str, own: RedisServer) -> None:
    who, other = [await asyncio.to_thread(sign_in, site) for _ in range(2)]
    async with AsyncStack() as stack:
        streams = [await stack.enter(opened(site, who)) for _ in range(60)]
        others = [await stack.enter(opened(site, other)) for _ in range(60)]
        await until_streams(site, 120)
        now = await asyncio.to_thread(held, site)
        assert (now["watches"], now["followers"], now["hubs"]) == (120, 1, 1)
        with own.client() as store:
            assert sum(one["cmd"] == "xread" for one in store.client_list()) <= 1
        tasks = [asyncio.create_task(first_event(one)) for one in streams]
        await asyncio.to_thread(sign_out, site, who)
        assert {name for name, _ in await asyncio.gather(*tasks)} == {"session-ended"}
        assert all(await asyncio.gather(*map(goes_on, others)))
    await asyncio.to_thread(wait_until_nothing_is_held, site)


class AsyncStack:
    """contextlib's, which a type checker can follow."""

    async def __aenter__(self) -> AsyncStack:
        from contextlib import AsyncExitStack

        self._stack = AsyncExitStack()
        return self

    async def enter(self, one: Any) -> Any:
        return await self._stack.enter_async_context(one)

    async def __aexit__(self, *error: Any) -> None:
        await self._stack.aclose()


async def test_it_says_that_redis_is_away_and_misses_nothing(site: str, own: RedisServer) -> None:
    who = await asyncio.to_thread(sign_in, site)
    async with opened(site, who) as one:
        events = one.events()
        await asyncio.to_thread(own.kill)
        async with asyncio.timeout(WAIT):
            assert await anext(events) == ("unavailable", {})
        async with opened(site, who) as refused:
            assert refused.status == 503 and refused.headers["retry-after"] == "1"
        own.start()
        async with asyncio.timeout(WAIT):
            assert await anext(events) == ("available", {})
        await asyncio.to_thread(sign_out, site, who)
        async with asyncio.timeout(WAIT):
            while (name := (await anext(events))[0]) in PASSING:
                pass
            assert name == "session-ended"


@pytest.mark.urls("tests.projects.event_urls")
def test_without_asgi_it_says_so(client: Any) -> None:
    answer = client.get("/quick/")
    assert (answer.status_code, answer.json()["code"]) == (501, "asgi_needed")
