"""Tokens for the servers of the `server` suite, which share the database and the Redis."""

from __future__ import annotations

from typing import Any

from benchmarks.peers.accounts import Accounts
from benchmarks.peers.calls import Client
from benchmarks.peers.peers import PEERS

__all__ = ["run"]


def run(accounts: Accounts, client: Client, rounds: int, seconds: float) -> dict[str, Any]:
    """A header for each peer."""
    headers = {}
    for name, peer in PEERS.items():
        peer.setup.enter()
        headers[name] = peer.header(accounts)
    return {"headers": headers}
