"""A span around each use case that asks Redis. What is sent to Redis is redis-py's to trace, within it.

No span says who a user is, or which session or token it was about. A check from memory has none: it would cost more
than the check.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.trace import Status, StatusCode

import jwt_redis
from jwt_redis.exceptions import RevokedToken
from jwt_redis.observers import MEMORY, Observer

__all__ = ["OpenTelemetryObserver", "observer"]

# Of an event's arguments, those that are nobody's own.
_SHOWN: Final = ("outcome", "reason", "use_case", "found", "revocations")


class OpenTelemetryObserver(Observer):
    """Traces by whatever provider the project sets, before or after this is made; without one, nothing."""

    def __init__(self, provider: trace.TracerProvider | None = None) -> None:
        self._tracer = trace.get_tracer("jwt_redis", jwt_redis.__version__, provider)

    @contextmanager
    def use_case(self, name: str) -> Iterator[None]:
        """A refused token is an answer; what else is raised is an error of the span."""
        span = self._tracer.start_span(f"jwt_redis.{name}")
        if not span.get_span_context().is_valid:
            # There is no provider, and nothing to end.
            yield
            return
        with trace.use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
            try:
                yield
            except RevokedToken as error:
                span.set_attribute("jwt_redis.reason", error.reason)
                raise
            except Exception as error:
                span.record_exception(error)
                span.set_status(Status(StatusCode.ERROR, type(error).__name__))
                raise

    def checked(self, verdict: str, source: str, seconds: float | None) -> None:
        """Within the check's own span."""
        if source != MEMORY:
            trace.get_current_span().set_attributes({"jwt_redis.verdict": verdict, "jwt_redis.source": source})

    def refreshed(self, outcome: str) -> None:
        """Within the rotation's own span."""
        trace.get_current_span().set_attribute("jwt_redis.outcome", outcome)

    def happened(self, event: str, facts: Mapping[str, Any]) -> None:
        """An event of the span that it happened in; that may be a request's own, as where a store is mended."""
        shown = {f"jwt_redis.{name}": facts[name] for name in _SHOWN if name in facts}
        trace.get_current_span().add_event(f"jwt_redis.{event}", shown)


observer: Final = OpenTelemetryObserver()
