"""For ``unittest``: a mixin in front of Django's or DRF's test cases, also under ``manage.py test --parallel``."""

from __future__ import annotations

import sys
from typing import Any
from unittest import TestCase as UnitTestCase
from unittest import TestResult

from django.test import TestCase, TransactionTestCase
from rest_framework_simplejwt import settings as simplejwt

from jwt_redis.testing import assertions, signing_in
from jwt_redis.testing.overriding import override_jwt_settings
from jwt_redis.testing.private_redis import PrivateRedis, private_redis
from jwt_redis.testing.resetting import reset

__all__ = ["SessionTestCase", "SessionTestMixin", "SessionTransactionTestCase"]


class SessionTestMixin(UnitTestCase):
    """A Redis of one's own, which each test finds empty; in front of a ``TestCase`` of Django's or DRF's.

    What ``setUpTestData`` opens is gone when the first test begins: a database can roll back, Redis cannot.
    """

    #: Where the tests' Redis is.
    jwt_redis_server: PrivateRedis

    @classmethod
    def setUpClass(cls) -> None:
        """Before Django's, which calls ``setUpTestData``."""
        cls.jwt_redis_server = private_redis()
        cls.enterClassContext(cls.jwt_redis_server.in_use())
        if cls.jwt_redis_server.prefix:
            # Processes of `--parallel` are ended before they could tidy up.
            cls.addClassCleanup(cls.jwt_redis_server.empty)
        super().setUpClass()

    def run(self, result: TestResult | None = None) -> TestResult | None:
        """Not in ``setUp``: a class that forgets ``super().setUp()`` shall have an empty Redis too."""
        if getattr(type(self), "__unittest_skip__", False):
            # Nor was setUpClass called.
            return super().run(result)
        before = simplejwt.api_settings
        try:
            reset()
            self.jwt_redis_server.empty()
        except Exception:
            if result is None:
                raise
            result.startTest(self)
            error: Any = sys.exc_info()
            result.addError(self, error)
            result.stopTest(self)
            return result
        try:
            return super().run(result)
        finally:
            simplejwt.api_settings = before

    def auth_headers(self, user: Any) -> dict[str, str]:
        """:func:`jwt_redis.testing.auth_headers`."""
        return signing_in.auth_headers(user)

    async def aauth_headers(self, user: Any) -> dict[str, str]:
        """:func:`jwt_redis.testing.aauth_headers`."""
        return await signing_in.aauth_headers(user)

    def login(self, user: Any, client: Any = None, *, transport: str | None = None) -> signing_in.SignedIn:
        """:func:`jwt_redis.testing.login`. ``client``: ``self.client`` if None."""
        return signing_in.login(self._client(client), user, transport=transport)

    async def alogin(self, user: Any, client: Any = None, *, transport: str | None = None) -> signing_in.SignedIn:
        """:func:`jwt_redis.testing.alogin`. ``client``: ``self.async_client`` if None."""
        return await signing_in.alogin(self._client(client, "async_client"), user, transport=transport)

    def override_jwt_settings(self, **settings: Any) -> None:
        """:class:`jwt_redis.testing.override_jwt_settings` from here to the end of the test."""
        self.enterContext(override_jwt_settings(**settings))

    def assertLive(self, token: Any) -> None:
        """:func:`jwt_redis.testing.assert_live`."""
        assertions.assert_live(token)

    async def aassertLive(self, token: Any) -> None:
        """:func:`jwt_redis.testing.aassert_live`."""
        await assertions.aassert_live(token)

    def assertRevoked(self, token: Any, reason: str | None = None) -> None:
        """:func:`jwt_redis.testing.assert_revoked`."""
        assertions.assert_revoked(token, reason)

    async def aassertRevoked(self, token: Any, reason: str | None = None) -> None:
        """:func:`jwt_redis.testing.aassert_revoked`."""
        await assertions.aassert_revoked(token, reason)

    def assertSessionLive(self, user: Any, sid: str) -> None:
        """:func:`jwt_redis.testing.assert_session_live`."""
        assertions.assert_session_live(user, sid)

    async def aassertSessionLive(self, user: Any, sid: str) -> None:
        """:func:`jwt_redis.testing.aassert_session_live`."""
        await assertions.aassert_session_live(user, sid)

    def assertSessionEnded(self, user: Any, sid: str, reason: str | None = None) -> None:
        """:func:`jwt_redis.testing.assert_session_ended`."""
        assertions.assert_session_ended(user, sid, reason)

    async def aassertSessionEnded(self, user: Any, sid: str, reason: str | None = None) -> None:
        """:func:`jwt_redis.testing.aassert_session_ended`."""
        await assertions.aassert_session_ended(user, sid, reason)

    def _client(self, client: Any, name: str = "client") -> Any:
        return getattr(self, name) if client is None else client


class SessionTestCase(SessionTestMixin, TestCase):
    """Django's ``TestCase``, with it."""


class SessionTransactionTestCase(SessionTestMixin, TransactionTestCase):
    """Django's ``TransactionTestCase``, with it."""
