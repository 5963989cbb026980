"""The pytest plugin's fixtures: a Redis for the run that each test finds empty, and what a test asks for.

Everything that they give is in :mod:`jwt_redis.testing` too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from rest_framework_simplejwt import settings as simplejwt

from jwt_redis.testing import overriding, signing_in
from jwt_redis.testing.private_redis import PrivateRedis, private_redis
from jwt_redis.testing.resetting import reset


def pytest_configure(config: pytest.Config) -> None:
    """``jwt_settings``, a marker."""
    config.addinivalue_line("markers", "jwt_settings(...): override_jwt_settings(...) around the test")


@pytest.fixture(scope="session")
def jwt_redis_server(pytestconfig: pytest.Config) -> PrivateRedis:
    """The Redis of this process of the run. A project's own fixture of this name takes its place."""
    try:
        return private_redis(pytestconfig.getoption("jwt_redis_url", default=None))
    except RuntimeError as error:
        # It says all there is to say; a traceback would show the URL with its password.
        pytest.fail(str(error), pytrace=False)


@pytest.fixture(scope="session", autouse=True)
def _jwt_redis_in_use(jwt_redis_server: PrivateRedis) -> Iterator[None]:
    with jwt_redis_server.in_use():
        yield


@pytest.fixture(autouse=True)
def _jwt_redis_emptied(jwt_redis_server: PrivateRedis, _jwt_redis_in_use: None) -> Iterator[None]:
    reset()
    jwt_redis_server.empty()
    # Where SIMPLE_JWT is overridden, Simple JWT puts another object in place of its settings, and never the first one
    # back, which is the one that its own modules have.
    before = simplejwt.api_settings
    yield
    simplejwt.api_settings = before


@pytest.fixture(autouse=True)
def _jwt_settings_marker(request: pytest.FixtureRequest, _jwt_redis_emptied: None) -> Iterator[None]:
    with ExitStack() as stack:
        # The nearest to the test comes first, and has the last word.
        for marker in reversed(list(request.node.iter_markers("jwt_settings"))):
            stack.enter_context(overriding.override_jwt_settings(*marker.args, **marker.kwargs))
        yield


@pytest.fixture
def override_jwt_settings() -> Iterator[Callable[..., None]]:
    """:class:`jwt_redis.testing.override_jwt_settings` from the call to the end of the test."""
    with ExitStack() as stack:

        def override(**settings: Any) -> None:
            stack.enter_context(overriding.override_jwt_settings(**settings))

        yield override


@pytest.fixture
def auth_headers() -> Callable[..., dict[str, str]]:
    """:func:`jwt_redis.testing.auth_headers`."""
    return signing_in.auth_headers


@pytest.fixture
def aauth_headers() -> Callable[..., Any]:
    """:func:`jwt_redis.testing.aauth_headers`."""
    return signing_in.aauth_headers


@pytest.fixture
def login() -> Callable[..., signing_in.SignedIn]:
    """:func:`jwt_redis.testing.login`."""
    return signing_in.login


@pytest.fixture
def alogin() -> Callable[..., Any]:
    """:func:`jwt_redis.testing.alogin`."""
    return signing_in.alogin
