"""What the use cases share: valid arguments, the marker, one step after another."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

from jwt_redis.operations import Done, Operation
from jwt_redis.records import Marker
from jwt_redis.store import commands, markers
from jwt_redis.store.commands import Command
from jwt_redis.verdicts import is_sid

__all__ = ["followed_by", "marker_command", "moment_of", "new_nonce", "valid_reason", "valid_sid", "with_marker"]

T = TypeVar("T")

_REASON = re.compile(r"\w{1,40}", re.ASCII)


def new_nonce() -> str:
    """What tells a resent script from a second use of the same token."""
    # 36 bits: it is compared with one other, and no client ever sees or chooses it.
    return secrets.token_urlsafe(6)[:6]


def valid_reason(reason: str) -> str:
    """``reason``, fit for a tombstone.

    :raises ValueError: when it is not.
    """
    if not _REASON.fullmatch(reason):
        raise ValueError(f"reason: 1 to 40 letters, digits and underscores are needed, not {reason!r}")
    return reason


def valid_sid(sid: str) -> str:
    """``sid``, if it can be one.

    :raises ValueError: when it cannot.
    """
    if not is_sid(sid):
        raise ValueError("sid: not a session id")
    return sid


def moment_of(milliseconds: float) -> datetime:
    """Redis' milliseconds as an aware datetime."""
    return datetime.fromtimestamp(milliseconds / 1000, tz=UTC)


def with_marker(then: Callable[[Marker], Operation[T] | Done[T]], asked_at: float) -> Callable[..., Any]:
    """A ``finish`` that remembers the marker it is given.

    It raises ``UntrustedStore`` when there is none, or not the one that is trusted: ``recovery`` sees to that.
    """
    return lambda marker: then(markers.seen(marker, asked_at))


def marker_command() -> Command[Marker | None]:
    """How the marker is to be read: at least once a second from a server that proves to be the primary."""
    return commands.read_marker() if markers.known() is not None else commands.prove_marker()


def followed_by(first: Operation[Any], then: Callable[[Any], Any]) -> Operation[Any]:
    """One operation after another, the second made from the first one's value. The first has no events."""

    def finish(*results: Any) -> Any:
        step = first.finish(*results)
        return followed_by(step, then) if isinstance(step, Operation) else then(step.value)

    return Operation(first.commands, finish, first.entries, first.is_optional)
