"""What the journal knows and Redis does not is brought into Redis, before anybody is told that a token is good.

Two occasions. A *store* that this process does not trust yet: a server that was restarted, promoted, emptied, or set
back; :func:`establish` applies what it may lack. And *pending* rows: revocations that were journalled while Redis
could not be reached; :func:`sweep` applies those.
"""

from __future__ import annotations

from jwt_redis.recovery.pending import (
    atrusted,
    is_blocked,
    is_due,
    note_failure,
    reset,
    sweep,
    sweep_now_and_then,
    trusted,
    wait_for_keeper,
)
from jwt_redis.recovery.rows import apply_rows, under_way
from jwt_redis.recovery.stores import establish

__all__ = [
    "apply_rows",
    "atrusted",
    "establish",
    "is_blocked",
    "is_due",
    "note_failure",
    "reset",
    "sweep",
    "sweep_now_and_then",
    "trusted",
    "under_way",
    "wait_for_keeper",
]
