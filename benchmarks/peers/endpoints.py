"""Signing in, refreshing, signing out: requests that write. And what this package's journal adds to an ending."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rest_framework_simplejwt import serializers as stock
from rest_framework_simplejwt.views import TokenBlacklistView, TokenObtainPairView, TokenRefreshView

from benchmarks.peers.accounts import PASSWORD, Accounts
from benchmarks.peers.calls import Client
from benchmarks.peers.counting import counting
from benchmarks.peers.setups import DIRECT, DIRECT_LAST_LOGIN, STOCK, STOCK_LAST_LOGIN, UNJOURNALLED, Setup
from benchmarks.rounds import Case, interleave
from jwt_redis import serializers as ours
from jwt_redis import sessions
from jwt_redis.views import LogoutView

__all__ = ["run"]

# Calls a round; each waits for the disk some times.
_CALLS, _QUICK_CALLS = 20, 4


def run(accounts: Accounts, client: Client, rounds: int, seconds: float) -> dict[str, Any]:
    """Each beside Simple JWT's with ``token_blacklist``."""
    endpoints = _endpoints(accounts)
    calls = _CALLS if rounds > 1 else _QUICK_CALLS
    measured: dict[str, _Posting | _Ending] = {
        name: _Posting(endpoint, client, calls) for name, endpoint in endpoints.items()
    }
    measured["end journalled"] = _Ending(DIRECT, accounts, calls)
    measured["end unjournalled"] = _Ending(UNJOURNALLED, accounts, calls)
    cases = [Case(name, case.run, case.prepare, calls=calls) for name, case in measured.items()]
    times = interleave(cases, rounds=rounds, seconds=seconds)
    counts = {name: _count(case) for name, case in measured.items()}
    return {"times": times.dump(), "counts": counts, "note": ""}


@dataclass(frozen=True, slots=True)
class _Endpoint:
    """``body``: makes what is sent; ``answer``: a key that the response must have, "" where it has none."""

    setup: Setup
    view: Callable[..., Any]
    body: Callable[[], dict[str, Any]]
    answer: str


def _endpoints(accounts: Accounts) -> dict[str, _Endpoint]:
    # Explicitly, because the views look their serializers up in settings that are read once.
    their_obtain = TokenObtainPairView.as_view(serializer_class=stock.TokenObtainPairSerializer)
    our_obtain = TokenObtainPairView.as_view(serializer_class=ours.TokenObtainPairSerializer)
    their_refresh = TokenRefreshView.as_view(serializer_class=stock.TokenRefreshSerializer)
    our_refresh = TokenRefreshView.as_view(serializer_class=ours.TokenRefreshSerializer)
    their_logout = TokenBlacklistView.as_view(serializer_class=stock.TokenBlacklistSerializer)

    def credentials() -> dict[str, Any]:
        (user,) = accounts.users(1)
        return {"username": user.username, "password": PASSWORD}

    def their_token() -> dict[str, Any]:
        return {"refresh": str(accounts.their_refresh())}

    def our_token() -> dict[str, Any]:
        return {"refresh": str(accounts.our_refresh())}

    return {
        "login theirs": _Endpoint(STOCK, their_obtain, credentials, "refresh"),
        "login theirs dated": _Endpoint(STOCK_LAST_LOGIN, their_obtain, credentials, "refresh"),
        "login ours": _Endpoint(DIRECT, our_obtain, credentials, "refresh"),
        "login ours dated": _Endpoint(DIRECT_LAST_LOGIN, our_obtain, credentials, "refresh"),
        "refresh theirs": _Endpoint(STOCK, their_refresh, their_token, "refresh"),
        "refresh ours": _Endpoint(DIRECT, our_refresh, our_token, "refresh"),
        "logout theirs": _Endpoint(STOCK, their_logout, their_token, ""),
        "logout ours": _Endpoint(DIRECT, LogoutView.as_view(), our_token, "sessions_ended"),
        "logout ours unjournalled": _Endpoint(UNJOURNALLED, LogoutView.as_view(), our_token, "sessions_ended"),
    }


class _Posting:
    """Requests to one endpoint. What is sent is good for one use, so it is made anew each time."""

    def __init__(self, endpoint: _Endpoint, client: Client, calls: int) -> None:
        self._endpoint, self._client, self.calls = endpoint, client, calls
        self._bodies: list[dict[str, Any]] = []

    def prepare(self) -> None:
        self._endpoint.setup.enter()
        self._client.show(self._endpoint.view)
        self._bodies = [self._endpoint.body() for _ in range(self.calls)]
        status, answer = self._client.post(self._endpoint.body())
        assert status == 200, answer
        assert self._endpoint.answer in (json.loads(answer) or {""}), answer

    def run(self) -> None:
        for body in self._bodies:
            status, answer = self._client.post(body)
            assert status == 200, answer


class _Ending:
    """``sessions.end_session``, without a request around it."""

    def __init__(self, setup: Setup, accounts: Accounts, calls: int) -> None:
        self._setup, self._accounts, self.calls = setup, accounts, calls
        self._sessions: list[tuple[str, str]] = []

    def prepare(self) -> None:
        self._setup.enter()
        tokens = [self._accounts.our_refresh() for _ in range(self.calls + 1)]
        (user, sid), *self._sessions = [(token["user_id"], token["sid"]) for token in tokens]
        assert sessions.end_session(user, sid)

    def run(self) -> None:
        for user, sid in self._sessions:
            sessions.end_session(user, sid)


def _count(case: _Posting | _Ending) -> list[int]:
    """Queries and round trips to Redis of a call."""
    case.prepare()
    with counting() as counted:
        case.run()
    return [round(number / case.calls) for number in counted]
