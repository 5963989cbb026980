"""A real Redis for the whole run, emptied before each test."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlparse

import pytest
import redis

from jwt_redis.testing.servers import RedisServer
from tests.settings import REDIS_URL


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """The server of this run. A test that stops or pauses one starts one of its own."""
    with RedisServer(port=urlparse(REDIS_URL).port or 0) as server:
        yield server


@pytest.fixture
def store(redis_server: RedisServer) -> Iterator[redis.Redis]:
    """A client that looks at the store from outside."""
    with redis.Redis(port=redis_server.port, decode_responses=True) as client:
        yield client


@pytest.fixture(autouse=True)
def _empty_store(redis_server: RedisServer) -> None:
    from jwt_redis.store import client, gate, markers

    with redis.Redis(port=redis_server.port) as connection:
        connection.flushall()
    markers.reset()
    client.reset()
    gate.reset()


@pytest.fixture(autouse=True)
def _one_api_settings() -> Iterator[None]:
    """Simple JWT puts another object in place of its settings when they are overridden, and never the first one back,
    which is the one that its own modules have."""
    from rest_framework_simplejwt import settings as simplejwt

    before = simplejwt.api_settings
    yield
    simplejwt.api_settings = before


@pytest.fixture
def alice(db: None) -> Any:
    from django.contrib.auth import get_user_model

    return get_user_model().objects.create_user("alice", "alice@example.com", "correct horse")


@pytest.fixture
def bob(db: None) -> Any:
    from django.contrib.auth import get_user_model

    return get_user_model().objects.create_user("bob", "bob@example.com", "battery staple")
