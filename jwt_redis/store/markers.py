"""This process's copy of the marker, at most a second old, and what it says of the store: is it the trusted one?"""

from __future__ import annotations

import time
from typing import Any, Final

from django.core.signals import setting_changed

from jwt_redis.records import Marker
from jwt_redis.signing import backends
from jwt_redis.store import gate
from jwt_redis.store.gate import UntrustedStore

__all__ = ["is_rolled_back", "known", "note", "reset", "seen", "store_id", "trust", "trusted_store"]

# Within so many seconds every process hears that everything was revoked.
MAX_AGE: Final = 1.0

# The marker, until when it is good, and how many connections had been made by then.
_copy: tuple[Marker, float, int] | None = None
# The store that is trusted, and the highest number of its revocations that this process knows of.
_store: tuple[str, int] | None = None


def known() -> Marker | None:
    """The marker, unless it was read too long ago, or a connection was made since."""
    copy = _copy
    if copy is None or copy[2] != gate.admitted() or time.monotonic() >= copy[1]:
        return None
    return copy[0]


def seen(marker: Marker | None, asked_at: float, known: tuple[str, int] | None = None) -> Marker:
    """Remember what was read. ``asked_at``: ``time.monotonic()`` from *before* the question was sent; ``known``: what
    :func:`trusted_store` said then, where this process may have revoked something since.

    The connection that it was read from may have been made for it; one that is made later is not counted yet.

    :raises UntrustedStore: when it is not the store that is trusted, or an older state of it.
    """
    global _copy
    admitted = gate.admitted()
    store = _store
    if (
        marker is None
        or store is None
        or marker.store_id != store[0]
        or marker.is_mending
        or is_rolled_back(marker, known)
    ):
        _copy = None
        raise UntrustedStore("the marker is missing, or is not the one that was trusted")
    if marker.revocations < store[1]:
        # It was longer on its way than what was heard since: that is not taken back.
        return marker
    _copy = (marker, asked_at + MAX_AGE, admitted)
    backends.refuse(marker.refused_keys)
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


def trusted_store() -> tuple[str, int] | None:
    """The store that is trusted, and the highest number of its revocations that this process knows of."""
    return _store


def is_rolled_back(marker: Marker, known: tuple[str, int] | None = None) -> bool:
    """Does the store have fewer revocations than it had? That number only grows.

    ``known``: what :func:`trusted_store` said before the marker was read; what was seen since is no measure for it.
    """
    store = known if known is not None else _store
    return store is not None and marker.store_id == store[0] and marker.revocations < store[1]


def trust(marker: Marker) -> None:
    """This is the store, and this its state."""
    global _copy, _store
    _copy = None
    _store = (marker.store_id, marker.revocations)
    backends.refuse(marker.refused_keys)


def reset(**kwargs: Any) -> None:
    """Forget the copy; and after a change of settings the store too."""
    global _copy, _store
    if kwargs.get("setting", "JWT_REDIS") in ("JWT_REDIS", "CACHES"):
        _copy = None
        if "setting" in kwargs:
            _store = None
            backends.refuse(frozenset())


setting_changed.connect(reset, dispatch_uid="jwt_redis.store.markers.reset")
