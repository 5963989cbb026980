"""A request that says who it is: the whole of it, its authentication alone, and the check alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rest_framework.request import Request

from benchmarks.peers.accounts import Accounts
from benchmarks.peers.calls import Client, drf_request
from benchmarks.peers.counting import counting
from benchmarks.peers.peers import PEERS, Peer
from benchmarks.peers.setups import BLACKLIST, DIRECT, NEAR, BlacklistedAccessToken, Setup, wait_until_near
from benchmarks.rounds import Case, interleave
from jwt_redis import sessions
from jwt_redis.tokens import AccessToken

__all__ = ["run"]

# Requests a round, of as many users.
_CALLS = 60


def run(accounts: Accounts, client: Client, rounds: int, seconds: float) -> dict[str, Any]:
    """All peers, side by side."""
    asking = {name: _Asking(peer, accounts, client) for name, peer in PEERS.items()}
    checking = {
        "blacklist": _Checking(BLACKLIST, BlacklistedAccessToken, accounts.blacklisted, _ask_table),
        "direct": _Checking(DIRECT, AccessToken, accounts.ours, _ask_us),
        "near": _Checking(NEAR, AccessToken, accounts.ours, _ask_us),
    }
    cases = [
        *(Case(f"request {name}", peer.request, peer.prepare_requests, calls=_CALLS) for name, peer in asking.items()),
        *(
            Case(f"authentication {name}", peer.authenticate, peer.prepare, calls=_CALLS)
            for name, peer in asking.items()
            if name != "none"
        ),
        *(Case(f"check {name}", check.check, check.prepare, calls=_CALLS) for name, check in checking.items()),
    ]
    times = interleave(cases, rounds=rounds, seconds=seconds)
    counts = {name: peer.count() for name, peer in asking.items()}
    # A comparison that is not one shall not look like one.
    asked = [name for name, peer in PEERS.items() if peer.setup.is_near and counts[name][1]]
    note = f"**The near cache asked Redis at each request: {', '.join(asked)}.**" if asked else ""
    return {"times": times.dump(), "counts": counts, "note": note}


class _Asking:
    """One peer's requests."""

    def __init__(self, peer: Peer, accounts: Accounts, client: Client) -> None:
        self._peer, self._client = peer, client
        peer.setup.enter()
        self._view = peer.view()
        self._headers = [peer.header(accounts) for _ in range(_CALLS)]
        self._requests: list[Request] = []

    def prepare_requests(self) -> None:
        """A round of them untimed: connections, and whatever a peer remembers."""
        self._peer.setup.enter()
        self._client.show(self._view)
        if self._peer.setup.is_near:
            wait_until_near(lambda: self._client.get(self._headers[0]))
        for header in self._headers:
            status, body = self._client.get(header)
            assert status == 200, body
            assert (b'"authenticated":true' in body) == bool(header), body

    def request(self) -> None:
        """Everything that Django and DRF do."""
        get = self._client.get
        for header in self._headers:
            get(header)

    def prepare(self) -> None:
        """Authentication is given a request that nobody has looked at."""
        self.prepare_requests()
        self._requests = [drf_request(header) for header in self._headers]

    def authenticate(self) -> None:
        """As DRF does: with a new authenticator for each request."""
        cls: Any = self._peer.authentication
        for request in self._requests:
            user, _ = cls().authenticate(request)
            _ = user.pk

    def count(self) -> list[int]:
        """Queries and Redis commands of one request, when everything is warm."""
        self.prepare_requests()
        with counting() as counted:
            self.request()
        return [round(number / _CALLS) for number in counted]


class _Checking:
    """Is it revoked? Nothing but that, of tokens that have been verified."""

    def __init__(self, setup: Setup, token_class: Any, token: Callable[[], str], ask: Callable[[Any], object]) -> None:
        self._setup, self._ask = setup, ask
        setup.enter()
        self._tokens = [token_class(token()) for _ in range(_CALLS)]

    def prepare(self) -> None:
        self._setup.enter()
        if self._setup.is_near:
            wait_until_near(lambda: self._ask(self._tokens[0]))
        self.check()

    def check(self) -> None:
        for token in self._tokens:
            self._ask(token)


def _ask_table(token: Any) -> None:
    token.check_blacklist()


def _ask_us(token: Any) -> None:
    assert sessions.check(token).allowed
