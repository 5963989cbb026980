"""What can be taken out of a worker's near cache, by name. An oracle that stays silent without it proves nothing."""

from __future__ import annotations

from typing import Any

from jwt_redis.near_cache import follower
from jwt_redis.near_cache.follower import Follower, clock
from jwt_redis.near_cache.memory import Memory


def late_lease() -> None:
    """The lease counts from the reply, not from before the question."""

    def believe(self: Any) -> None:
        self.believed_until = clock() + self._settings.lease

    Follower._believe = believe  # type: ignore[method-assign]


def endless_lease() -> None:
    """What was once heard is believed for ever."""

    def believe(self: Any) -> None:
        self.believed_until = float("inf")

    Follower._believe = believe  # type: ignore[method-assign]


def deaf() -> None:
    """What is read in the log is not remembered."""
    Memory.hear = lambda self, entries: None  # type: ignore[method-assign]


def blind_to_gaps() -> None:
    """Nobody looks at the numbers of the log, nor at what the marker says of them."""

    def read_on(self: Any, position: tuple[str, int, str]) -> None:
        after, _, store_id = position
        page = self._ask(after)
        self.memory.hear(page.entries)
        last = page.entries[-1] if page.entries else None
        self._position = (last.id if last else after, last.number if last else position[1], store_id)
        self._was_busy = bool(page.entries)
        self._believe()

    Follower._read_on = read_on  # type: ignore[method-assign]


def young_store() -> None:
    """Not a guard, but a minute's wait: what is issued a second after the log was damaged is younger than that."""
    from jwt_redis.near_cache import memory

    memory.CLOCK_DIFFERENCE = 0.0  # type: ignore[misc]


def small_pages() -> None:
    """Three entries at a time."""
    follower.PAGE = 3  # type: ignore[misc]


def one_more_than_counted() -> None:
    """Not a guard: the processes of this world are too many to wait for news, so they look now and then."""
    Follower._waits_for_news = lambda self: False  # type: ignore[method-assign]


def silent() -> None:
    """Nothing is ever answered from memory."""
    Memory.is_silent_on = lambda self, claims: False  # type: ignore[method-assign]


def one_memo_for_all_keys() -> None:
    """What any key has found good is good."""
    from jwt_redis import token_memo

    token_memo._Memo.is_of = lambda self, backend: self.snapshot is not None  # type: ignore[method-assign]
