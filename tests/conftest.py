"""A real Redis for the whole run, which the test kit empties before each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlparse

import pytest
import redis

from jwt_redis.testing.servers import RedisServer
from tests.settings import REDIS_URL
from tests.support.monitor import Monitor

# By this name, and not by that of the entry point, which is there only where the package was installed.
pytest_plugins = ["jwt_redis.testing.pytest_plugin"]


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """The server of this run. A test that stops or pauses one starts one of its own."""
    with RedisServer(port=urlparse(REDIS_URL).port or 0) as server:
        yield server


@pytest.fixture(scope="session")
def jwt_redis_server(redis_server: RedisServer) -> Any:
    """It is the settings' own: processes that a test starts find it there."""
    from jwt_redis.testing import PrivateRedis

    return PrivateRedis(redis_server)


@pytest.fixture
def monitor(redis_server: RedisServer) -> Callable[[], Monitor]:
    """Called, it begins to listen."""
    return lambda: Monitor(redis_server.port)


@pytest.fixture
def store(redis_server: RedisServer) -> Iterator[redis.Redis]:
    """A client that looks at the store from outside."""
    with redis.Redis(port=redis_server.port, decode_responses=True) as client:
        yield client


@pytest.fixture
def alice(db: None) -> Any:
    from django.contrib.auth import get_user_model

    return get_user_model().objects.create_user("alice", "alice@example.com", "correct horse")


@pytest.fixture
def bob(db: None) -> Any:
    from django.contrib.auth import get_user_model

    return get_user_model().objects.create_user("bob", "bob@example.com", "battery staple")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Of several with one id pytest-xdist runs a single one, and says nothing."""
    if not hasattr(config, "workerinput"):
        return
    seen: set[str] = set()
    for item in items:
        if item.nodeid in seen:
            raise pytest.UsageError(f"{item.nodeid} is there twice, and one of them would not be run: see the Makefile")
        seen.add(item.nodeid)
