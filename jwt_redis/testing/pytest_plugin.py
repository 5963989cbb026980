"""The pytest plugin's door: it adds an option, and opens only in a project that has this package installed as an app.

The fixtures are in :mod:`jwt_redis.testing.fixtures`, which is imported when the settings are known. Here nothing is
imported that a project without Django would have to pay for.
"""

from __future__ import annotations

import sys

import pytest

_FIXTURES = "jwt_redis.testing.fixtures"


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--jwt-redis-url``."""
    parser.getgroup("jwt_redis").addoption(
        "--jwt-redis-url",
        help="the Redis for the tests of tokens; without it a server is started for each process of the run",
    )


@pytest.hookimpl(trylast=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """By now the settings are loaded, by pytest-django or by the project's own conftest."""
    if "django" not in sys.modules:
        return
    from django.apps import apps

    plugins = session.config.pluginmanager
    if apps.ready and apps.is_installed("jwt_redis") and not plugins.has_plugin(_FIXTURES):
        plugins.import_plugin(_FIXTURES)
