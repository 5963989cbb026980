"""This process's copy of the marker, at most a second old."""

from __future__ import annotations

import time
from typing import Any, Final

from django.core.signals import setting_changed

from jwt_redis.records import Marker

__all__ = ["known", "reset", "seen"]

# Within so many seconds every process hears that everything was revoked.
MAX_AGE: Final = 1.0

_copy: tuple[Marker, float] | None = None


def known() -> Marker | None:
    """The marker, unless it was read too long ago."""
    copy = _copy
    if copy is None or time.monotonic() >= copy[1]:
        return None
    return copy[0]


def seen(marker: Marker | None, asked_at: float) -> None:
    """Remember what was read. ``asked_at``: ``time.monotonic()`` from *before* the question was sent."""
    global _copy
    _copy = None if marker is None else (marker, asked_at + MAX_AGE)


def reset(**kwargs: Any) -> None:
    """Forget it."""
    if kwargs.get("setting", "JWT_REDIS") in ("JWT_REDIS", "CACHES"):
        seen(None, 0)


setting_changed.connect(reset, dispatch_uid="jwt_redis.store.markers.reset")
