"""The servers to look at: the primary, or those of a cluster; and how to ask one what it may refuse to tell."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import redis

from jwt_redis.store.connections import connect

__all__ = ["FAILURES", "Node", "Unanswered", "nodes"]

T = TypeVar("T")

#: What a server that cannot be reached, or refuses us altogether, is told by.
FAILURES = (redis.RedisError, redis.exceptions.RedisClusterException, OSError)


class Unanswered(Exception):
    """The server does not let us ask that (NOPERM), or does not know the question."""


@dataclass(frozen=True, slots=True)
class Node:
    """One primary. ``name``: its address in a cluster, "" where there is only one. ``info``: its INFO."""

    name: str
    client: redis.Redis
    info: dict[str, Any]

    def ask(self, question: Callable[[redis.Redis], T]) -> T:
        """:raises Unanswered: with the reason, when it may not be asked."""
        try:
            return question(self.client)
        except redis.ResponseError as error:
            raise Unanswered(str(error)) from error

    def setting(self, name: str) -> str:
        """One of the server's own settings (CONFIG GET), which managed services often keep to themselves."""
        found: Any = self.ask(lambda client: client.config_get(name))
        if name not in found:
            raise Unanswered(f"there is no setting {name}")
        return str(found[name])

    def number(self, name: str) -> int:
        """A whole number from INFO, 0 where there is none."""
        return int(self.info.get(name) or 0)


@contextlib.contextmanager
def nodes() -> Iterator[tuple[Any, list[Node]]]:
    """The client and its primaries. It passes no gate: a server that is not trusted yet is looked at, too."""
    made: Any = connect(gated=False)
    try:
        if isinstance(made, redis.RedisCluster):
            each = {node.name: made.get_redis_connection(node) for node in made.get_primaries()}  # type: ignore[no-untyped-call]
        else:
            each = {"": made}
        yield made, [Node(name, client, _info(client)) for name, client in sorted(each.items())]
    finally:
        made.close()


def _info(client: redis.Redis) -> dict[str, Any]:
    found: dict[str, Any] = client.info()
    return found
