"""The short way of a check to Redis: one connection, one command, and none of the guarantees left out."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from django.conf import settings
from django.test import override_settings

from jwt_redis import sessions
from jwt_redis.exceptions import RevocationUnavailable
from jwt_redis.keys import marker_key
from jwt_redis.store import client, commands, connections, gate, markers
from jwt_redis.store.breaker import Breaker
from jwt_redis.store.connections import Line

pytestmark = pytest.mark.django_db


@pytest.fixture
def alive(alice: Any, store: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An access token whose check is on its way already, and for which the marker is not read once more."""
    monkeypatch.setattr(markers, "MAX_AGE", 60.0)
    access = sessions.open_session(alice).access_token
    assert sessions.check(access).allowed and sessions.check(access).allowed
    return access


def connections_of(store: redis.Redis) -> set[str]:
    """Ids of the server's connections, the test's own among them."""
    return {one["id"] for one in store.client_list()}


def pool_of(**kwargs: Any) -> Any:
    return with_options(CONNECTION_POOL_KWARGS=kwargs)


def with_options(**more: Any) -> Any:
    alias = settings.CACHES["sessions"]
    changed = {**alias, "OPTIONS": {**alias["OPTIONS"], **more}}
    return override_settings(CACHES={**settings.CACHES, "sessions": changed})


def in_threads(count: int, work: Callable[[], object]) -> list[BaseException]:
    errors: list[BaseException] = []

    def guarded() -> None:
        try:
            for _ in range(30):
                work()
        except BaseException as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=guarded) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


def test_a_check_is_one_command_on_one_connection(alive: Any, store: redis.Redis) -> None:
    before = store.info("commandstats").get("cmdstat_hmget", {}).get("calls", 0)
    open_before = connections_of(store)
    for _ in range(10):
        sessions.check(alive)
    # The marker may have been read once more meanwhile.
    assert 10 <= store.info("commandstats")["cmdstat_hmget"]["calls"] - before <= 12
    assert connections_of(store) == open_before


def test_connections_that_the_server_has_closed_cost_nobody_an_error(alive: Any, store: redis.Redis) -> None:
    line = client._line
    assert line is not None
    held = [line._pool.get_connection() for _ in range(6)]
    line._idle.extend(held)
    store.client_kill_filter(_type="normal", skipme=True)
    for _ in range(4):
        assert sessions.check(alive).allowed
    # The first that failed spoke for all.
    assert len(line._idle) == 1


def test_a_server_that_is_gone_is_still_asked_twice_and_then_said_to_be_gone(
    alive: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def gone(*args: Any, **kwargs: Any) -> Any:
        asked.append("once")
        raise redis.ConnectionError("gone")

    monkeypatch.setattr(redis.Connection, "send_command", gone)
    with pytest.raises(RevocationUnavailable):
        sessions.check(alive)
    assert len(asked) == 2


def test_one_that_was_waited_for_in_vain_is_not_asked_again(alive: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def late(*args: Any, **kwargs: Any) -> Any:
        asked.append("once")
        raise redis.TimeoutError("late")

    monkeypatch.setattr(redis.Connection, "read_response", late)
    # However long it takes until it is asked again.
    monkeypatch.setattr(Breaker, "pause", 60.0)
    # The second one finds the breaker open.
    for _ in range(2):
        with pytest.raises(RevocationUnavailable):
            client.execute(commands.read_field("store_id"))
    assert len(asked) == 1


@pytest.mark.parametrize("count", [1, 2])
def test_a_small_pool_is_enough(alice: Any, store: redis.Redis, count: int) -> None:
    """Checks, scripts and pipelines by turns: none keeps a connection from another."""
    others = connections_of(store)
    with pool_of(max_connections=count):
        token = sessions.open_session(alice)
        access = token.access_token
        for _ in range(5):
            assert sessions.check(access).allowed
            sessions.open_session(alice)
            assert sessions.check(access).allowed
            assert sessions.list_sessions(alice)
        assert 1 <= len(connections_of(store) - others) <= count


def test_who_finds_the_pool_used_up_by_checks_gets_their_connections(
    alive: Any, store: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when they come back in the very moment in which the pool is asked."""
    with pool_of(max_connections=1):
        assert sessions.check(alive).allowed and sessions.check(alive).allowed
        monkeypatch.setattr(Line, "lend", lambda line: None)
        assert client._line is not None and client._line._idle
        assert client.execute(commands.prove_marker()) is not None


def test_there_are_no_more_connections_than_requests_at_once(alice: Any, store: redis.Redis) -> None:
    access = sessions.open_session(alice).access_token
    before = connections_of(store)
    for _ in range(5):
        sessions.check(access)
        sessions.open_session(alice)
    assert connections_of(store) <= before
    assert not in_threads(4, lambda: (sessions.check(access), client.execute(commands.prove_marker())))
    assert len(connections_of(store) - before) <= 4


def test_an_interrupted_reply_is_read_by_nobody_else(alive: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    real = redis.Connection.read_response
    interrupted: list[Any] = []

    def interrupt(self: Any, *args: Any, **kwargs: Any) -> Any:
        interrupted.append(self)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(redis.Connection, "read_response", interrupt)
        with pytest.raises(KeyboardInterrupt):
            client.execute(commands.read_field("born_ms"))
    assert redis.Connection.read_response is real
    assert not interrupted[0].is_connected
    # Had it stayed open, this one would get the other's reply.
    assert client.execute(commands.read_field("store_id")) != client.execute(commands.read_field("born_ms"))


def test_an_error_reply_leaves_the_connection_in_use(alive: Any, store: redis.Redis) -> None:
    before = connections_of(store)
    line = client._line
    assert line is not None
    with pytest.raises(redis.ResponseError):
        line.ask(("NO-SUCH-COMMAND",))
    assert len(line._idle) == 1 and sessions.check(alive).allowed
    assert connections_of(store) <= before


def test_a_forked_child_has_connections_of_its_own(alive: Any, store: redis.Redis) -> None:
    """With and without Python being told of the fork, as under uWSGI: here both look the same to the line."""
    line = client._line
    assert line is not None and line._idle
    parents = list(line._idle)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        fields = ("store_id", "born_ms")
        ok = all(line.ask(("HMGET", marker_key(), *fields))[1].isdigit() for _ in range(200))
        os.write(write, b"y" if ok and not set(line._idle) & set(parents) else b"n")
        os._exit(0)
    for _ in range(200):
        assert sessions.check(alive).allowed
    os.waitpid(child, 0)
    assert os.read(read, 1) == b"y"
    os.close(read)
    os.close(write)
    assert sessions.check(alive).allowed and list(line._idle) == parents


def test_other_pools_see_each_command(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Line.of(redis.Redis()) is not None
    assert Line.of(redis.Redis(connection_pool=redis.BlockingConnectionPool())) is None
    sentinel = redis.Sentinel([("localhost", 1)])
    assert Line.of(sentinel.master_for("mymaster")) is None

    class Own(redis.ConnectionPool):
        pass

    assert Line.of(redis.Redis(connection_pool=Own())) is None
    with override_settings(JWT_REDIS={"ALIAS": "sessions", "CLIENT_FACTORY": f"{__name__}.factory"}):
        assert Line.of(redis.Redis()) is None


def factory(asynchronous: bool) -> Any:
    return redis.asyncio.Redis() if asynchronous else redis.Redis()


def test_with_a_blocking_pool_checks_go_through_it(alice: Any) -> None:
    kwargs = {"max_connections": 1, "timeout": 20}
    with with_options(CONNECTION_POOL_CLASS="redis.BlockingConnectionPool", CONNECTION_POOL_KWARGS=kwargs):
        access = sessions.open_session(alice).access_token
        assert not in_threads(4, lambda: sessions.check(access))
        assert client._line is None


@pytest.fixture
def idle() -> Iterator[Line]:
    yield Line(connections.connect(gated=False).connection_pool)


def test_threads_never_get_each_others_replies(idle: Line) -> None:
    def echo() -> None:
        word = os.urandom(8).hex()
        assert idle.ask(("ECHO", word)) == word

    assert not in_threads(8, echo)
    assert 1 <= len(idle._idle) <= 8
    idle.dissolve()
    assert not idle._idle


class Interrupted(BaseException):
    """What a time limit raises, by a signal."""


def test_who_is_interrupted_while_it_connects_leaves_no_connection_behind(
    alice: Any, bob: Any, monkeypatch: Any
) -> None:
    """Replies would wait in it, and the next one would read them as its own."""
    tokens = [sessions.open_session(user).access_token for user in (alice, bob, bob)]
    assert sessions.end_session(alice, tokens[0]["sid"])
    client.reset()
    read, count = gate._text, 0

    def interrupt(reply: Any) -> str:
        nonlocal count
        count += 1
        if count == 1:
            raise Interrupted
        return read(reply)

    monkeypatch.setattr(gate, "_text", interrupt)
    with pytest.raises(Interrupted):
        sessions.check(tokens[0])
    monkeypatch.setattr(gate, "_text", read)
    for token, good in zip(tokens * 2, (False, True, True) * 2, strict=True):
        assert sessions.check(token).allowed is good


def test_a_child_does_not_wait_for_a_lock_that_a_thread_of_its_parent_held(alice: Any) -> None:
    token = sessions.open_session(alice).access_token
    assert sessions.check(token).allowed
    is_held, is_over = threading.Event(), threading.Event()
    pool: Any = client.client().connection_pool

    def hold() -> None:
        with pool._lock:
            is_held.set()
            is_over.wait(20)

    holder = threading.Thread(target=hold)
    holder.start()
    is_held.wait()
    try:
        reading, writing = os.pipe()
        if (child := os.fork()) == 0:
            with contextlib.suppress(BaseException):
                os.write(writing, b"good" if sessions.check(token).allowed else b"bad")
            os._exit(0)
        os.close(writing)
        ready, _, _ = select.select([reading], [], [], 10)
        if not ready:
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        assert ready and os.read(reading, 10) == b"good"
        os.close(reading)
    finally:
        is_over.set()
        holder.join()
