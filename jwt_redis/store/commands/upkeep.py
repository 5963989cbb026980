"""For `manage.py` and the admin: what has run out, and what was counted."""

from __future__ import annotations

from typing import Any

from jwt_redis import keys
from jwt_redis.store.commands.command import Command, load_script, policy
from jwt_redis.store.commands.replies import is_number, read_mapping


def prune(user_key: str, *, dry_run: bool, trusted_from: int = 0) -> Command[tuple[int, int, int]]:
    """Drop what has run out under one user's key: how many fields, and how many device fields without a session; and
    how many sessions are alive, of those opened since ``trusted_from`` (ms of the epoch)."""
    return Command(
        keys=(user_key, f"{user_key}:devices"),
        args=(*policy(), int(dry_run), trusted_from),
        parse=lambda reply: (int(reply[1]), int(reply[2]), int(reply[3])),
        script=load_script("prune", True),
        names_store=True,
    )


def read_refreshes() -> Command[dict[int, int]]:
    """How many refreshes there were, by the hour of the epoch (HGETALL); nothing in Cluster, where nobody counts."""
    key = keys.refreshes_key()

    def parse(reply: Any) -> dict[int, int]:
        found = read_mapping(reply).items()
        return {int(hour): int(count) for hour, count in found if is_number(hour) and is_number(count)}

    return Command((key,), ("HGETALL", key), parse)
