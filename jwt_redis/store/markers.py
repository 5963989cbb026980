"""This process's copy of the marker, at most a second old, and what it says of the store: is it the trusted one?"""

from __future__ import annotations

import time
from typing import Any, Final

from django.core.signals import setting_changed

from jwt_redis.records import Marker
from jwt_redis.store.gate import UntrustedStore

__all__ = ["highest", "is_rolled_back", "known", "note", "reset", "seen", "store_id", "trust"]

# Within so many seconds every process hears that everything was revoked.
MAX_AGE: Final = 1.0

_copy: tuple[Marker, float] | None = None
# The store that is trusted, and the highest number of its revocations that this process knows of.
_store: tuple[str, int] | None = None


def known() -> Marker | None:
    """The marker, unless it was read too long ago."""
    copy = _copy
    if copy is None or time.monotonic() >= copy[1]:
        return None
    return copy[0]


def seen(marker: Marker | None, asked_at: float) -> Marker:
    """Remember what was read. ``asked_at``: ``time.monotonic()`` from *before* the question was sent.

    :raises UntrustedStore: when it is not the store that is trusted, or an older state of it.
    """
    global _copy
    store = _store
    if marker is None or store is None or marker.store_id != store[0] or is_rolled_back(marker):
        _copy = None
        raise UntrustedStore("the marker is missing, or is not the one that was trusted")
    _copy = (marker, asked_at + MAX_AGE)
    note(marker.store_id, marker.revocations)
    return marker


def note(store_id: str, number: int) -> None:
    """A store was seen that has so many revocations."""
    global _store
    if _store is not None and _store[0] == store_id and number > _store[1]:
        _store = (store_id, number)


def store_id() -> str:
    """Of the store that is trusted; "" before there is one."""
    return _store[0] if _store is not None else ""


def highest(store_id: str) -> int:
    """The highest number of revocations that this process knows of in a store."""
    return _store[1] if _store is not None and _store[0] == store_id else 0


def is_rolled_back(marker: Marker) -> bool:
    """Does the store have fewer revocations than it had? That number only grows."""
    return marker.revocations < highest(marker.store_id)


def trust(marker: Marker) -> None:
    """This is the store, and this its state."""
    global _copy, _store
    _copy = None
    _store = (marker.store_id, marker.revocations)


def reset(**kwargs: Any) -> None:
    """Forget the copy; and after a change of settings the store too."""
    global _copy, _store
    if kwargs.get("setting", "JWT_REDIS") in ("JWT_REDIS", "CACHES"):
        _copy = None
        if "setting" in kwargs:
            _store = None


setting_changed.connect(reset, dispatch_uid="jwt_redis.store.markers.reset")
