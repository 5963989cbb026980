"""uvicorn, 200 requests at a time, clients that hang up in the middle, and a Redis that stalls."""

from __future__ import annotations

import asyncio
import json
import random
import sqlite3
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import pytest
from django.contrib.auth import get_user_model
from django.test import override_settings

from jwt_redis import sessions
from jwt_redis.testing.servers import RedisServer
from tests.oracle.link import Link
from tests.support.server import http_server
from tests.support.topology import pointed_at

pytestmark = pytest.mark.django_db(transaction=True)

PATHS = ("/whoami/", "/whoami-row/", "/adrf/")
USERS = 30


@pytest.fixture(params=["direct", "near"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, Link, RedisServer]]:
    with RedisServer() as server:
        link = Link(server.port)
        environment = {
            "JWT_REDIS_TEST_URL": f"redis://127.0.0.1:{link.port}/0",
            "JWT_REDIS_TEST_NEAR": "1" if request.param == "near" else "",
        }
        with http_server(
            tmp_path, workers=1, asgi=True, settings="tests.projects.async_settings", **environment
        ) as base:
            with sqlite3.connect(tmp_path / "db.sqlite3") as database:
                for number in range(100, 100 + USERS):
                    database.execute(
                        "INSERT INTO auth_user (id, username, password, first_name, last_name, email, is_superuser,"
                        " is_staff, is_active, date_joined) VALUES (?, ?, '', '', '', '', 0, 0, 1, '2026-01-01')",
                        (number, f"user{number}"),
                    )
            database.close()
            yield base, link, server
        link.close()


async def ask(base: str, path: str, token: str, hang_up_after: float | None) -> tuple[int, Any] | None:
    """One request on a connection of its own; None where this side hung up first."""
    address = urlparse(base)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        head = f"GET {path} HTTP/1.0\r\nHost: {address.netloc}\r\nAuthorization: Bearer {token}\r\n"
        writer.write(f"{head}\r\n".encode())
        await writer.drain()
        try:
            raw = await asyncio.wait_for(reader.read(), hang_up_after or 30)
        except TimeoutError:
            assert hang_up_after is not None, "no answer"
            return None
    finally:
        writer.transport.abort()
    headers, _, body = raw.partition(b"\r\n\r\n")
    # Chunked, the one chunk that there is.
    return int(headers.split()[1]), json.loads(body[body.index(b"{") : body.rindex(b"}") + 1])


async def storm(base: str, link: Link, made: dict[int, Any]) -> Counter[str]:
    rng = random.Random(11)
    seen: Counter[str] = Counter()

    async def one() -> None:
        number, path = rng.choice(list(made)), rng.choice(PATHS)
        hang_up = rng.random() * 0.1 if rng.random() < 0.3 else None
        answer = await ask(base, path, str(made[number].access_token), hang_up)
        if answer is None:
            seen["hung up"] += 1
            return
        status, body = answer
        seen[str(status)] += 1
        if status == 200:
            assert number % 2 == 0, (path, number, body)
            assert (str(body["user"]), body["sid"]) == (str(number), made[number]["sid"])
        elif status == 401:
            assert number % 2 == 1, (path, number, body)
        else:
            assert status == 503, (path, status, body)

    for turn in range(6):
        link.delay = rng.choice([0.0, 0.01, 0.05])
        tasks = [asyncio.create_task(one()) for _ in range(200)]
        if turn % 3 == 2:
            await asyncio.sleep(0.05)
            link.hold()
            await asyncio.sleep(0.4)
            link.release()
        await asyncio.gather(*tasks)
    return seen


def test_nobody_is_taken_for_another(site: tuple[str, Link, RedisServer], request: pytest.FixtureRequest) -> None:
    base, link, server = site
    users = [get_user_model()(pk=number) for number in range(100, 100 + USERS)]
    with pointed_at(server), override_settings():
        made = {user.pk: sessions.open_session(user) for user in users}
        for user in users:
            if user.pk % 2:
                sessions.end_session(user, made[user.pk]["sid"])
    seen = asyncio.run(storm(base, link, made))
    assert seen["200"] > 100 and seen["401"] > 100 and seen["hung up"] > 20, seen
