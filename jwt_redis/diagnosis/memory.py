"""What the state takes up, from a sample; and what it would take up for so many users."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import FieldDoesNotExist

from jwt_redis import keys
from jwt_redis.diagnosis.findings import Finding, notice, ok, warning
from jwt_redis.diagnosis.nodes import Node
from jwt_redis.diagnosis.sizes import counted, size

__all__ = ["Sample", "active_users", "check_memory", "sample"]

# Keys that are looked at on each primary: enough for a mean, and over in a second.
_KEYS = 4000
_STEP = 500


@dataclass(frozen=True, slots=True)
class Sample:
    """What was found among some of the keys. ``total``: keys in the database; ``seen``: those looked at, of which
    ``ours`` are of this package. ``user_bytes``: in the hashes of users, of their devices and of what is known of them.
    ``shared_bytes``: in the log and the marker, which are measured in any case. ``sessions``: also the ended ones that
    are still remembered."""

    total: int = 0
    seen: int = 0
    ours: int = 0
    users: int = 0
    sessions: int = 0
    user_bytes: int = 0
    shared_bytes: int = 0

    def __add__(self, other: Sample) -> Sample:
        return Sample(*(getattr(self, name) + getattr(other, name) for name in self.__slots__))

    @property
    def store_bytes(self) -> int:
        """What all of our keys take up, if the others are like those."""
        each = self.user_bytes / self.seen if self.seen else 0
        return round(each * self.total) + self.shared_bytes

    def forecast(self, users: int) -> int | None:
        """Bytes for so many users with as many sessions each; None where there was no user to measure."""
        return round(self.user_bytes / self.users * users) + self.shared_bytes if self.users else None


def sample(client: Any, nodes: list[Node]) -> Sample:
    """Measure some keys on each primary (SCAN, MEMORY USAGE, HKEYS), a few at a time.

    :raises Unanswered: when that is not allowed.
    """

    def shared(_: Any) -> int:
        # Over the client, which knows where in a cluster they are.
        return sum(client.memory_usage(name) or 0 for name in (keys.log_key(), keys.marker_key(), keys.refreshes_key()))

    return sum((_sample(node) for node in nodes), Sample(shared_bytes=nodes[0].ask(shared)))


def _sample(node: Node) -> Sample:
    found = Sample(total=node.ask(lambda client: client.dbsize()))
    cursor, seen = 0, set[str]()
    while len(seen) < _KEYS:
        cursor, names = node.ask(lambda client, at=cursor: client.scan(at, count=_STEP))  # type: ignore[misc]
        # SCAN may name a key twice.
        new = [name for name in names if name not in seen]
        seen.update(new)
        found += _measure(node, new)
        if not cursor:
            break
    return found


def _measure(node: Node, names: list[str]) -> Sample:
    ours = [name for name in names if keys.is_of_user(name)]
    users = [name for name in ours if keys.user_key_of(name) == name]

    def question(client: Any) -> list[Any]:
        pipeline = client.pipeline(transaction=False)
        for name in ours:
            pipeline.memory_usage(name)
        for name in users:
            pipeline.hkeys(name)
        replies: list[Any] = pipeline.execute()
        return replies

    replies = node.ask(question) if ours else []
    fields = replies[len(ours) :]
    return Sample(
        seen=len(names),
        ours=len(ours) + sum(keys.is_shared(name) or keys.is_of_token(name) for name in names),
        # A key that has expired meanwhile has no size.
        user_bytes=sum(reply or 0 for reply in replies[: len(ours)]),
        users=len(users),
        sessions=sum(name.startswith(keys.SESSION) for names in fields for name in names),
    )


def active_users() -> int:
    """How many users may sign in."""
    model = get_user_model()
    manager: Any = model._default_manager
    try:
        model._meta.get_field("is_active")
    except FieldDoesNotExist:
        return int(manager.count())
    return int(manager.filter(is_active=True).count())


def check_memory(nodes: list[Node], found: Sample, users: int | None) -> Iterator[Finding]:
    """What there is, what there would be, and whether somebody else lives there."""
    if found.seen > found.ours:
        yield notice(
            "foreign_keys",
            f"Of {counted(found.seen, 'key')} looked at {found.seen - found.ours} are none of this package's.",
            "Whoever empties that database, as cache.clear() does, signs everybody out. Use a database of its own.",
        )
    if not found.users:
        yield notice("memory", "There are no sessions yet that could be measured.")
        return
    each = found.user_bytes / max(found.sessions, 1)
    yield ok(
        "memory",
        f"About {size(found.store_bytes)} by a sample of {counted(found.ours, 'key')}: {each:.0f} B a session,"
        f" {found.sessions / found.users:.1f} sessions a user.",
    )
    if users is None:
        return
    needed = found.forecast(users) or 0
    limits = [node.number("maxmemory") for node in nodes]
    said = f"About {size(needed)} for {counted(users, 'user')} like those in the sample."
    if all(limits) and needed > sum(limits):
        yield warning("forecast", f"{said} maxmemory is {size(sum(limits))}.", "A higher maxmemory.")
    else:
        yield ok("forecast", said)
