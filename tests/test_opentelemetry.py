"""The spans: which there are, beneath which, and what they say. By the SDK, with an exporter that keeps them."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.conf import settings
from django.db import connections
from django.test import AsyncClient, override_settings
from opentelemetry import context, trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from rest_framework.test import APIClient
from rest_framework_simplejwt.exceptions import TokenError

from jwt_redis import near_cache, observers, sessions, signals
from jwt_redis.contrib.opentelemetry.tracing import OpenTelemetryObserver
from jwt_redis.exceptions import RevocationUnavailable
from jwt_redis.store import client
from jwt_redis.testing.servers import RedisServer
from tests.oracle.world import set_back_birth
from tests.support.topology import pointed_at
from tests.support.waiting import wait_for

pytestmark = pytest.mark.django_db(transaction=True)


class Traced:
    """A provider of the test's own, and what it was given."""

    def __init__(self) -> None:
        self.provider = TracerProvider()
        self._exporter = InMemorySpanExporter()
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer = self.provider.get_tracer("a project")

    def spans(self, name: str = "") -> list[ReadableSpan]:
        """In the order in which they ended."""
        return [span for span in self._exporter.get_finished_spans() if span.name.startswith(name)]

    def clear(self) -> None:
        self._exporter.clear()

    def tree(self) -> set[tuple[str, str | None]]:
        """Each span with the one that it is beneath, by name."""
        found = self.spans()
        names = {span.context.span_id: span.name for span in found if span.context is not None}
        return {(span.name, names[span.parent.span_id] if span.parent is not None else None) for span in found}


@pytest.fixture
def traced() -> Iterator[Traced]:
    made = Traced()
    observer = OpenTelemetryObserver(made.provider)
    observers.install(observer)
    try:
        yield made
    finally:
        observers.uninstall(observer)


@pytest.fixture
def own() -> Iterator[RedisServer]:
    with RedisServer(options={"appendonly": "yes"}) as server, pointed_at(server):
        yield server


def facts(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def test_what_a_check_says(alice: Any, traced: Traced) -> None:
    refresh = sessions.open_session(alice)
    http = APIClient()
    http.credentials(HTTP_AUTHORIZATION=f"Bearer {refresh.access_token}")
    traced.clear()
    http.get("/stateless/")
    sessions.end_session(alice, refresh["sid"])
    http.get("/stateless/")
    first, ending, second = traced.spans()
    assert facts(first) == {"jwt_redis.verdict": "allowed", "jwt_redis.source": "redis"}
    assert facts(second) == {"jwt_redis.verdict": "session_ended", "jwt_redis.source": "redis"}
    assert (first.name, ending.name, second.name) == ("jwt_redis.check", "jwt_redis.end_session", "jwt_redis.check")
    # A refusal is an answer.
    assert {span.status.status_code for span in traced.spans()} == {StatusCode.UNSET}
    (event,) = ending.events
    assert (event.name, dict(event.attributes or {})) == ("jwt_redis.session_ended", {"jwt_redis.reason": "logout"})


def test_what_a_rotation_says(alice: Any, traced: Traced) -> None:
    token = sessions.open_session(alice)
    traced.clear()
    sessions.rotate(token, alice)
    with override_settings(JWT_REDIS={"ALIAS": "sessions", "REFRESH_GRACE": 0}), pytest.raises(TokenError):
        sessions.rotate(token, alice)
    rotated, reused = traced.spans("jwt_redis.rotate")
    assert facts(rotated) == {"jwt_redis.outcome": "rotated"}
    assert facts(reused) == {"jwt_redis.outcome": "reuse", "jwt_redis.reason": "session_ended"}
    assert reused.status.status_code == StatusCode.UNSET
    assert [event.name for event in reused.events] == ["jwt_redis.refresh_token_reused", "jwt_redis.session_ended"]


def test_an_error_is_recorded(alice: Any, own: RedisServer, traced: Traced) -> None:
    access = sessions.open_session(alice).access_token
    own.kill()
    traced.clear()
    with pytest.raises(RevocationUnavailable):
        sessions.check(access)
    with pytest.raises(RevocationUnavailable):
        sessions.revoke_token(access)
    for span in traced.spans():
        assert span.status.status_code == StatusCode.ERROR and span.status.description == "RevocationUnavailable"
        names = [event.name for event in span.events]
        assert names == ["jwt_redis.revocation_unavailable", "exception"]
    assert facts(traced.spans()[0])["jwt_redis.source"] == "unchecked"


def test_a_check_from_memory_has_none(alice: Any, own: RedisServer, traced: Traced) -> None:
    with pointed_at(own, NEAR_CACHE={"lease": 2.0, "poll": 0.05}):
        try:
            access = sessions.open_session(alice).access_token
            set_back_birth(own)
            sessions.check(access)
            wait_for(near_cache.is_fresh, "the near cache answers")
            traced.clear()
            with traced.tracer.start_as_current_span("request"):
                assert sessions.check(access).from_memory
        finally:
            near_cache.stop(5)
    (span,) = traced.spans()
    # Nor does it write upon somebody else's.
    assert span.name == "request" and facts(span) == {} and not span.events


def test_nobody_is_named(alice: Any, traced: Traced) -> None:
    first = sessions.open_session(alice)
    access = str(first.access_token)
    sessions.rotate(first, alice)
    sessions.revoke_token(access)
    sessions.end_all_sessions(alice)
    sessions.revoke_everything()
    sessions.check(first)
    said = [span.to_json() for span in traced.spans()]
    assert len(said) == 6
    for secret in (first["sid"], str(first), access, access.split(".")[2], first["jti"], "alice"):
        assert not any(secret in text for text in said)
    attributes = {name for span in traced.spans() for name in facts(span)}
    attributes |= {name for span in traced.spans() for event in span.events for name in event.attributes or ()}
    assert attributes <= {
        f"jwt_redis.{name}" for name in ("verdict", "source", "outcome", "reason", "found", "revocations")
    }


# Trees ---------------------------------------------------------------------------------------------------------------


@override_settings(JWT_REDIS={**settings.JWT_REDIS, "JOURNAL": False})
def test_two_requests_at_once_in_threads(alice: Any, traced: Traced) -> None:
    """Each has its own tree; what a receiver does is within the use case that it was told of."""
    tokens = {name: sessions.open_session(alice) for name in ("first", "second")}
    both = threading.Barrier(2)
    traced.clear()

    def receiver(reason: str, **kwargs: Any) -> None:
        both.wait(10)
        with traced.tracer.start_as_current_span(f"receiver of {reason}"):
            sessions.list_sessions(alice)

    def request(name: str) -> None:
        try:
            with traced.tracer.start_as_current_span(name):
                sessions.check(tokens[name])
                sessions.end_session(alice, tokens[name]["sid"], reason=name)
        finally:
            connections.close_all()

    signals.session_ended.connect(receiver)
    try:
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(request, tokens))
    finally:
        signals.session_ended.disconnect(receiver)
    traces = {span.name: span.context.trace_id for span in traced.spans() if span.parent is None and span.context}
    assert set(traces) == {"first", "second"} and len(set(traces.values())) == 2
    for name in tokens:
        mine = [span for span in traced.spans() if span.context and span.context.trace_id == traces[name]]
        by_id = {span.context.span_id: span.name for span in mine if span.context}
        assert {(span.name, by_id[span.parent.span_id] if span.parent else None) for span in mine} == {
            (name, None),
            ("jwt_redis.check", name),
            ("jwt_redis.end_session", name),
            (f"receiver of {name}", "jwt_redis.end_session"),
            ("jwt_redis.list_sessions", f"receiver of {name}"),
        }


async def test_two_requests_at_once_in_one_event_loop(django_user_model: Any, traced: Traced) -> None:
    user = await django_user_model.objects.acreate_user("alice")
    tokens = {name: await sessions.aopen_session(user) for name in ("first", "second")}
    arrived: list[str] = []
    both = asyncio.Event()
    traced.clear()

    async def receiver(reason: str, **kwargs: Any) -> None:
        # Both are within their use case before either goes on.
        arrived.append(reason)
        if len(arrived) == 2:
            both.set()
        await both.wait()
        with traced.tracer.start_as_current_span(f"receiver of {reason}"):
            await sessions.alist_sessions(user)

    async def request(name: str) -> None:
        http: Any = AsyncClient()
        with traced.tracer.start_as_current_span(name):
            headers = {"Authorization": f"Bearer {tokens[name].access_token}"}
            response = await http.get("/plain-async/", headers=headers)
            assert response.json()["sid"] == tokens[name]["sid"]
            await sessions.aend_session(user, tokens[name]["sid"], reason=name)

    signals.session_ended.connect(receiver)
    try:
        await asyncio.gather(*map(request, tokens))
    finally:
        signals.session_ended.disconnect(receiver)
        await client.aclient().aclose()
    traces = {span.name: span.context.trace_id for span in traced.spans() if span.parent is None and span.context}
    assert set(traces) == {"first", "second"} and len(set(traces.values())) == 2
    for name in tokens:
        mine = [span for span in traced.spans() if span.context and span.context.trace_id == traces[name]]
        by_id = {span.context.span_id: span.name for span in mine if span.context}
        assert {(span.name, by_id[span.parent.span_id] if span.parent else None) for span in mine} == {
            (name, None),
            ("jwt_redis.check", name),
            ("jwt_redis.end_session", name),
            (f"receiver of {name}", "jwt_redis.end_session"),
            ("jwt_redis.list_sessions", f"receiver of {name}"),
        }


async def test_one_that_is_cancelled_leaves_its_span_ended_and_the_context_as_it_was(
    django_user_model: Any, own: RedisServer, traced: Traced
) -> None:
    user = await django_user_model.objects.acreate_user("alice")
    refresh = await sessions.aopen_session(user)
    own.pause()
    try:
        with traced.tracer.start_as_current_span("request") as span:
            checking = asyncio.create_task(sessions.acheck(refresh.access_token))
            await asyncio.sleep(0.05)
            checking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await checking
            assert trace.get_current_span() is span
    finally:
        own.resume()
    assert ("jwt_redis.check", "request") in traced.tree()


# Without an SDK ------------------------------------------------------------------------------------------------------


def test_without_a_provider_it_does_nothing(alice: Any) -> None:
    observer = OpenTelemetryObserver(trace.NoOpTracerProvider())
    observers.install(observer)
    try:
        before = context.get_current()
        token = sessions.open_session(alice)
        sessions.rotate(token, alice)
        sessions.end_session(alice, token["sid"])
        with contextlib.suppress(TokenError):
            sessions.rotate(token, alice)
        assert context.get_current() == before
        assert not trace.get_current_span().is_recording()
    finally:
        observers.uninstall(observer)
