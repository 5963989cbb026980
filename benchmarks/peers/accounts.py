"""Users with sessions: what stands in the tables and in Redis while it is measured, and tokens that are good."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from itertools import cycle, islice
from typing import Any

from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model
from django.contrib.auth.hashers import make_password
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.core.management import call_command
from django.db import connection
from django.test import RequestFactory
from django.utils import timezone
from knox.models import AuthToken
from rest_framework_simplejwt import tokens as stock
from rest_framework_simplejwt.token_blacklist.models import BlacklistedToken, OutstandingToken

from benchmarks.peers.setups import BlacklistedAccessToken
from benchmarks.samples import SessionMaker
from benchmarks.stores import connect, send
from jwt_redis import keys, sessions
from jwt_redis.testing.servers import RedisServer

__all__ = ["PASSWORD", "Accounts"]

PASSWORD = "correct horse battery staple"
# Of each kind, in each store.
_SESSIONS_A_USER = 2


class Accounts:
    """``size`` users, each with two sessions in every store. Tokens are of users one after the other."""

    def __init__(self, server: RedisServer, size: int) -> None:
        call_command("migrate", verbosity=0)
        user_model: Any = get_user_model()
        hashed = make_password(PASSWORD)
        user_model.objects.bulk_create(
            [user_model(username=f"user{number}", password=hashed) for number in range(size)], batch_size=500
        )
        self._users = list(user_model.objects.order_by("pk"))
        self._next = cycle(self._users)
        send(server, SessionMaker(server).opened(size, _SESSIONS_A_USER))
        with connect(server) as store:
            # In the first minute of a store, which this is not to be, a near cache does not speak for its tokens.
            store.hset(keys.marker_key(), "born_ms", 1)
        _fill_tables(self._users)
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("VACUUM ANALYZE")

    def users(self, count: int) -> Iterator[Any]:
        """The next ones."""
        return islice(self._next, count)

    def none(self) -> str:
        """No token at all."""
        return ""

    def plain(self) -> str:
        """Simple JWT's access token."""
        return str(stock.AccessToken.for_user(next(self._next)))

    def blacklisted(self) -> str:
        """The same where it is looked up in the table."""
        return str(BlacklistedAccessToken.for_user(next(self._next)))

    def ours(self) -> str:
        """An access token of this package, with its session."""
        return str(self.our_refresh().access_token)

    def our_refresh(self) -> Any:
        """A refresh token of this package, with its session."""
        refresh = sessions.open_session(next(self._next), RequestFactory().get("/", HTTP_USER_AGENT="Mozilla/5.0"))
        str(refresh)
        return refresh

    def their_refresh(self) -> Any:
        """Simple JWT's refresh token, with its row."""
        return stock.RefreshToken.for_user(next(self._next))

    def knox(self) -> str:
        """knox's token, which is no JWT."""
        return str(AuthToken.objects.create(user=next(self._next))[1])

    def allauth(self) -> str:
        """allauth's access token, with Django's session in the database."""
        from allauth.headless.tokens.strategies.jwt.internal import create_access_token

        user = next(self._next)
        session = SessionStore()
        session.update(_session_of(user))
        session.save()
        return str(create_access_token(user, session, {}))


def _session_of(user: Any) -> dict[str, Any]:
    return {
        SESSION_KEY: str(user.pk),
        BACKEND_SESSION_KEY: "django.contrib.auth.backends.ModelBackend",
        HASH_SESSION_KEY: user.get_session_auth_hash(),
    }


def _fill_tables(users: list[Any]) -> None:
    now = timezone.now()
    later = now + timedelta(days=1)
    everybody = [(user, number) for user in users for number in range(_SESSIONS_A_USER)]
    token = str(stock.RefreshToken())
    outstanding = OutstandingToken.objects.bulk_create(
        [
            OutstandingToken(user=user, jti=f"filled-{user.pk}-{number}", token=token, created_at=now, expires_at=later)
            for user, number in everybody
        ],
        batch_size=500,
    )
    # One in ten has been revoked.
    BlacklistedToken.objects.bulk_create([BlacklistedToken(token=row) for row in outstanding[::10]], batch_size=500)
    AuthToken.objects.bulk_create(
        [
            AuthToken(digest=f"{user.pk}-{number}", token_key=f"{user.pk}-{number}", user=user, expiry=later)
            for user, number in everybody
        ],
        batch_size=500,
    )
    # What it holds does not matter to those who look for another.
    data = SessionStore().encode(_session_of(users[0]))
    Session.objects.bulk_create(
        [
            Session(session_key=f"filled{user.pk}x{number}", session_data=data, expire_date=later)
            for user, number in everybody
        ],
        batch_size=500,
    )
