"""Who is compared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from allauth.headless.contrib.rest_framework.authentication import JWTTokenAuthentication as Allauth
from knox.auth import TokenAuthentication as Knox
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework_simplejwt import authentication as stock

from benchmarks.peers import authenticators
from benchmarks.peers.accounts import Accounts
from benchmarks.peers.setups import BLACKLIST, DIRECT, NEAR, STOCK, Setup
from jwt_redis import authentication as ours

__all__ = ["PEERS", "Peer"]


class _Me(APIView):
    permission_classes = ()

    def get(self, request: Request) -> Response:
        """Who asks?"""
        return Response({"id": str(request.user.pk), "authenticated": request.user.is_authenticated})


@dataclass(frozen=True, slots=True)
class Peer:
    """``token``: makes one. ``authentication``: None for a view that does not ask who it is."""

    authentication: type[Any] | None
    setup: Setup
    token: Callable[[Accounts], str]
    scheme: str = "Bearer"

    def view(self) -> Callable[..., Any]:
        """A view behind it, as Django calls it."""
        classes = () if self.authentication is None else (self.authentication,)
        view: Callable[..., Any] = _Me.as_view(authentication_classes=classes)
        return view

    def header(self, accounts: Accounts) -> str:
        """An ``Authorization`` header that is good."""
        token = self.token(accounts)
        return f"{self.scheme} {token}" if token else ""


# In this order in each round: what is compared stands close together, and so do those with the near cache, which begins
# anew with each change.
PEERS: dict[str, Peer] = {
    "knox row": Peer(Knox, STOCK, Accounts.knox, scheme="Token"),
    "allauth row": Peer(Allauth, STOCK, Accounts.allauth),
    "tutorial row": Peer(authenticators.TutorialAuthentication, STOCK, Accounts.plain),
    "direct row": Peer(ours.JWTAuthentication, DIRECT, Accounts.ours),
    "blacklist row": Peer(stock.JWTAuthentication, BLACKLIST, Accounts.blacklisted),
    "tutorial": Peer(authenticators.TutorialStatelessAuthentication, STOCK, Accounts.plain),
    "get": Peer(authenticators.RawGetAuthentication, STOCK, Accounts.plain),
    "direct": Peer(ours.JWTStatelessUserAuthentication, DIRECT, Accounts.ours),
    "blacklist": Peer(stock.JWTStatelessUserAuthentication, BLACKLIST, Accounts.blacklisted),
    "none": Peer(None, STOCK, Accounts.none),
    "stock": Peer(stock.JWTStatelessUserAuthentication, STOCK, Accounts.plain),
    "near": Peer(ours.JWTStatelessUserAuthentication, NEAR, Accounts.ours),
    "near row": Peer(ours.JWTAuthentication, NEAR, Accounts.ours),
    "stock row": Peer(stock.JWTAuthentication, STOCK, Accounts.plain),
}
