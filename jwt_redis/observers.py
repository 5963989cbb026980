"""Who is told how much happens here, and how fast: metrics and traces. Nobody, unless somebody was installed.

``contrib.prometheus`` and ``contrib.opentelemetry`` are observers; :class:`Observer` is the base of any other. Signals
are for what a project acts upon, observers for what it counts: they are also told of each check, and are not told whom
a check was about.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import Any, Concatenate, Final, ParamSpec

__all__ = ["MEMORY", "REDIS", "UNCHECKED", "Observer", "install", "installed", "tell", "uninstall", "watching"]

logger = logging.getLogger(__name__)
P = ParamSpec("P")

#: A check's answer came from the near cache.
MEMORY: Final = "memory"
#: A check's answer came from Redis.
REDIS: Final = "redis"
#: Nobody could be asked: refused with 503, or let through where ``ON_REDIS_FAILURE`` says so.
UNCHECKED: Final = "unchecked"

_NOBODY: Final = nullcontext()
_FAILED: Final = "The observer %r failed."


class Observer:
    """Each method is called when it has happened, in the thread in which it did; by itself none does anything.

    What a method raises is logged, and that is all. It must not wait: a request does meanwhile.
    """

    def checked(self, verdict: str, source: str, seconds: float | None) -> None:
        """A token was checked. ``verdict``: "allowed", a refusal's reason, or "unavailable". ``source``: one of
        :data:`MEMORY`, :data:`REDIS`, :data:`UNCHECKED`. ``seconds``: how long that took; None from memory.
        """

    def use_case(self, name: str) -> AbstractContextManager[object]:
        """Around a use case that asks Redis; ``name`` is that of the function in :mod:`jwt_redis.sessions`.

        It is entered and left in the task, or the thread, of the caller. It cannot keep an exception to itself.
        """
        return _NOBODY

    def happened(self, event: str, facts: Mapping[str, Any]) -> None:
        """What is a signal, by its name and arguments; also ``store_established`` (``found``), ``revocation_applied``
        and ``webhook_tried`` (``outcome``), which have none. Within the use case that led to it, if one did."""

    def refreshed(self, outcome: str) -> None:
        """A refresh token was used: "rotated", "touched" (without rotation), "grace", "reuse", "ahead" or "gone"."""

    def recalled(self, is_hit: bool) -> None:
        """A token was looked for in the memo of those whose signature was verified."""

    def breaker(self, node: str, is_open: bool) -> None:
        """A server did not answer; or it did, for the first time after that. ``node``: "" outside of a cluster."""

    def followed(self, seconds: float) -> None:
        """The near cache has asked for what is new, in vain or not. ``seconds``: how old that which it knew had become
        by then."""

    def lease_lapsed(self) -> None:
        """The near cache could answer, and cannot any more: what it knows is too old, or not complete."""


#: Whom to tell. Whoever has something to tell looks here first, and mostly goes on.
installed: tuple[Observer, ...] = ()
# By method: whose it is, and itself bound, where an observer has one of its own.
_methods: Mapping[Callable[..., Any], tuple[tuple[Observer, Callable[..., Any]], ...]] = {}


def install(observer: Observer) -> None:
    """From now on it is told. Once more changes nothing."""
    if observer not in installed:
        _set((*installed, observer))


def uninstall(observer: Observer) -> None:
    """From now on it is not."""
    _set(tuple(one for one in installed if one is not observer))


def _set(some: tuple[Observer, ...]) -> None:
    global installed, _methods
    _methods = {
        method: tuple((one, getattr(one, name)) for one in some if getattr(type(one), name) is not method)
        for name, method in vars(Observer).items()
        if not name.startswith("_")
    }
    installed = some


def tell(what: Callable[Concatenate[Observer, P], None], *args: P.args, **kwargs: P.kwargs) -> None:
    """Call a method of each: ``tell(Observer.recalled, True)``."""
    for observer, method in _methods.get(what, ()):
        try:
            method(*args, **kwargs)
        except Exception:
            logger.exception(_FAILED, observer, extra={"event": "observer_failed"})


def watching(name: str) -> AbstractContextManager[object]:
    """The use case ``name`` runs within."""
    return _Watching(name) if _methods.get(Observer.use_case) else _NOBODY


class _Watching:
    __slots__ = ("_entered", "_name")

    def __init__(self, name: str) -> None:
        self._name = name
        self._entered: list[tuple[Observer, AbstractContextManager[object]]] = []

    def __enter__(self) -> None:
        for observer, use_case in _methods.get(Observer.use_case, ()):
            try:
                context = use_case(self._name)
                context.__enter__()
            except Exception:
                logger.exception(_FAILED, observer, extra={"event": "observer_failed"})
            else:
                self._entered.append((observer, context))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for observer, context in reversed(self._entered):
            try:
                context.__exit__(kind, error, trace)
            except Exception as own:
                if own is not error:
                    logger.exception(_FAILED, observer, extra={"event": "observer_failed"})
