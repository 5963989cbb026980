"""The state in Redis as a whole: which store it is, and does it count as one that has lost nothing?"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from jwt_redis import keys
from jwt_redis.conf import config
from jwt_redis.diagnosis.findings import Finding, notice, ok
from jwt_redis.diagnosis.nodes import Node, Unanswered
from jwt_redis.diagnosis.sizes import counted
from jwt_redis.store import gate

__all__ = ["check_store"]


def check_store(client: Any, nodes: list[Node]) -> Iterator[Finding]:
    """The marker, and the servers of which it says that the journal was applied to them."""
    try:
        marker = nodes[0].ask(lambda _: client.hgetall(keys.marker_key()))
    except Unanswered as why:
        yield notice("store", f"The marker cannot be read ({why}).", "It is written anew at the next request.")
        return
    if not marker.get("store_id"):
        yield notice("store", "There is no marker: the store is new, or was emptied.", _next_request())
        return
    prefix = keys.TRUSTED if config().journal else keys.SEEN
    known = {name.removeprefix(prefix): moment for name, moment in marker.items() if name.startswith(prefix)}
    yield ok(
        "store",
        f"Store {marker['store_id']}, born {_moment(marker.get('born_ms'))}; "
        f"{counted(int(marker.get('revocations') or 0), 'revocation')}; {counted(len(known), 'server')} trusted so"
        " far.",
    )
    if marker.get("not_before"):
        yield notice("everything", f"Nobody from before {_moment(marker['not_before'])} is let in.")
    strangers = [node for node in nodes if _identity(node) not in known]
    if strangers:
        names = ", ".join(node.name for node in strangers if node.name) or "This server"
        yield notice("trust", f"{names} was restarted, promoted or replaced since the last request.", _next_request())
    else:
        since = max(_moment(known[_identity(node)]) for node in nodes)
        yield ok("trust", f"Trusted since {since}: what it may have lacked then was applied.")


def _next_request() -> str:
    applied = "applies the journal to it" if config().journal else "sees to that"
    return f"The next request {applied} before anybody is let in; so does `manage.py jwt_sync`."


def _identity(node: Node) -> str:
    pool = node.client.connection_pool
    connection = pool.get_connection()
    try:
        return gate.ask_server(connection).identity
    finally:
        pool.release(connection)


def _moment(ms: str | None) -> str:
    try:
        return f"{datetime.fromtimestamp(int(ms or '') / 1000, tz=UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (ValueError, OverflowError, OSError):
        return "at an unknown time"
