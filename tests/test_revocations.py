"""The revocation log as a stream of events: what is told, in which order, and what is said where it cannot be."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import itertools
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from django.contrib.auth import get_user_model
from django.test import override_settings

from jwt_redis import sessions
from jwt_redis.decoding import claims_of
from jwt_redis.revocations import Event, Following, follow
from jwt_redis.store import gate
from jwt_redis.testing.servers import RedisServer
from jwt_redis.tokens import AccessToken
from tests.support.topology import Cluster, Sentinels, pointed_at
from tests.support.waiting import wait_for, when_it_can

pytestmark = pytest.mark.django_db(transaction=True)

MARKER, LOG = "jwt:{log}:marker", "jwt:{log}"


def user_of(number: Any) -> Any:
    return get_user_model()(pk=number)


class Listener:
    """Follows in a thread, or in a task of a loop of its own, and keeps what it was told."""

    def __init__(self, since: str | None, *, is_async: bool, heartbeat: float | None = None) -> None:
        self.following = follow(since, heartbeat=heartbeat)
        self.events: list[Event] = []
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._arun if is_async else self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            for event in self.following:
                self.events.append(event)
        except BaseException as error:  # noqa: BLE001
            self.error = error

    def _arun(self) -> None:
        async def run() -> None:
            async with self.following as following:
                async for event in following:
                    self.events.append(event)

        try:
            asyncio.run(run())
        except BaseException as error:  # noqa: BLE001
            self.error = error

    def wait(self, is_there: Callable[[list[Event]], Any], seconds: float = 20) -> list[Event]:
        wait_for(lambda: is_there(self.events), "it is told", seconds)
        return self.events

    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]

    def revoked(self) -> list[Event]:
        return [event for event in self.events if event.is_revocation]

    def stop(self) -> None:
        self.following.close()
        self._thread.join(10)
        assert not self._thread.is_alive()
        assert self.error is None, self.error


Listen = Callable[..., Listener]


@pytest.fixture(params=[False, True], ids=["sync", "async"])
def listen(request: pytest.FixtureRequest) -> Iterator[Listen]:
    made: list[Listener] = []

    def start(since: str | None = None, **options: Any) -> Listener:
        made.append(Listener(since, is_async=request.param, **options))
        made[-1].wait(len)
        return made[-1]

    yield start
    for one in made:
        one.stop()


def revoke(number: int) -> str:
    """One session, which is one entry in the log. Its id."""
    token = sessions.open_session(user_of(number))
    sessions.end_session(user_of(number), token["sid"])
    return str(token["sid"])


def revoke_when_it_can(number: int) -> str:
    """One and the same session, however often it is tried: what was not acknowledged is in the journal, and is told."""
    user = user_of(number)
    token = when_it_can(lambda: sessions.open_session(user))
    when_it_can(lambda: sessions.end_session(user, token["sid"]))
    return str(token["sid"])


# What is told ------------------------------------------------------------------------------------------------------


def test_each_kind_with_what_the_log_has_of_it(listen: Listen, alice: Any) -> None:
    before = time.time()
    listener = listen()
    assert listener.kinds() == ["heard"] and listener.events[0].position
    first, second = sessions.open_session(alice), sessions.open_session(alice)
    access = second.access_token
    sessions.revoke_token(access, reason="stolen")
    sessions.end_other_sessions(alice, second["sid"])
    sessions.end_all_sessions(alice, reason="password_changed")
    sessions.revoke_everything(reason="incident")
    listener.wait(lambda events: len(events) >= 7)
    told = [(e.kind, e.user, e.sid, e.jti, e.kept_sid, e.reason) for e in listener.revoked()]
    pk = str(alice.pk)
    assert told == [
        ("token", pk, "", access["jti"], "", "stolen"),
        ("session", pk, first["sid"], "", "", "logout_others"),
        ("others", pk, "", "", second["sid"], "logout_others"),
        ("session", pk, second["sid"], "", "", "password_changed"),
        ("user", pk, "", "", "", "password_changed"),
        ("all", "", "", "", "", "incident"),
    ]
    assert [event.number for event in listener.revoked()] == [1, 2, 3, 4, 5, 6]
    assert all(e.at is not None and before - 1 <= e.at.timestamp() <= time.time() + 1 for e in listener.events)


def test_whom_an_event_concerns() -> None:
    token = sessions.open_session(user_of("x{y}z")).access_token
    claims = claims_of(token)

    def event(kind: str, **facts: Any) -> Event:
        return Event(kind, "", None, **facts)

    sid, jti, user = token["sid"], token["jti"], "x{y}z"
    for concerning in (
        event("session", user=user, sid=sid),
        event("token", user=user, jti=jti),
        event("others", user=user, kept_sid="another"),
        event("user", user=user),
        event("all"),
        event("gap"),
        event("a later kind", user=user),
        event("a later kind"),
    ):
        assert concerning.concerns(claims), concerning
    for other in (
        event("session", user=user, sid="another"),
        event("token", user=user, jti="another"),
        event("others", user=user, kept_sid=sid),
        event("user", user="another"),
        event("heard"),
        event("unavailable"),
        event("a later kind", user="another"),
    ):
        assert not other.concerns(claims), other


@pytest.mark.parametrize("number", ["x{y} z", "~tilde", "日本", "u" * 200, "log"])
def test_an_odd_user_id_comes_back(number: str) -> None:
    listener = Listener(None, is_async=False)
    listener.wait(len)
    revoke(number)  # type: ignore[arg-type]
    listener.wait(lambda events: len(events) > 1)
    listener.stop()
    token = AccessToken.for_user(user_of(number))
    event = Event("user", "", None, user=listener.events[1].user)
    assert event.concerns(claims_of(token))
    if len(number) < 100:
        assert listener.events[1].user == number
    assert sessions.list_sessions(listener.events[1].user) == []


# Positions ---------------------------------------------------------------------------------------------------------


def test_one_goes_on_where_one_was(listen: Listen) -> None:
    first = listen()
    sids = [revoke(number) for number in range(3)]
    first.wait(lambda events: len(events) == 4)
    first.stop()
    sids += [revoke(number) for number in range(3)]
    second = listen(first.events[1].position)
    second.wait(lambda events: len([e for e in events if e.is_revocation]) == 5)
    assert [event.sid for event in second.revoked()] == sids[1:]
    assert second.kinds()[:5] == ["session"] * 5
    third = listen(second.revoked()[-1].position)
    assert third.kinds() == ["heard"]
    # Until somebody was told, the position is the one that was begun with.
    assert follow(first.events[1].position).position == first.events[1].position


@pytest.mark.parametrize("text", ["", "x", "a.b.c", "a.1", "a.1.2-", "a.1.2-3\n", "a" * 500 + ".1.2-3", "a..1-1", 7])
def test_what_is_no_position_is_refused(text: Any) -> None:
    with pytest.raises(ValueError, match="position"):
        follow(text)


def test_a_heartbeat_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="heartbeat"):
        follow(heartbeat=-1)


def test_a_position_is_fit_for_a_header(store: redis.Redis) -> None:
    revoke(1)
    with follow() as following:
        position = next(following).position
    assert position.isascii() and position.isprintable() and " " not in position and len(position) <= 150


# Gaps --------------------------------------------------------------------------------------------------------------


def damage_by_trimming(store: redis.Redis) -> None:
    store.xtrim(LOG, maxlen=1, approximate=False)


def damage_by_deleting(store: redis.Redis) -> None:
    store.delete(LOG)


def damage_by_emptying(store: redis.Redis) -> None:
    store.flushall()


def damage_by_setting_back(store: redis.Redis) -> None:
    last = store.xrevrange(LOG, count=2)
    for entry_id, _ in last:
        store.xdel(LOG, entry_id)
    store.hincrby(MARKER, "revocations", -2)


def damage_by_another_hand(store: redis.Redis) -> None:
    store.xadd(LOG, {"number": "90", "kind": "session"})


@pytest.mark.parametrize(
    "damage",
    [
        damage_by_trimming,
        damage_by_deleting,
        damage_by_emptying,
        damage_by_setting_back,
        damage_by_another_hand,
    ],
)
def test_what_may_be_missing_is_said_while_following(
    listen: Listen, store: redis.Redis, damage: Callable[[redis.Redis], None]
) -> None:
    listener = listen()
    for number in range(3):
        revoke(number)
    listener.wait(lambda events: len(events) == 4)
    with stalled(listener):
        for number in range(3):
            revoke(number)
        damage(store)
        revoke(9)
    listener.wait(lambda events: "gap" in [event.kind for event in events])
    last = revoke(10)
    listener.wait(lambda events: events[-1].sid == last)
    assert listener.kinds().count("gap") == 1
    gap = next(event for event in listener.events if event.kind == "gap")
    assert gap.reason and gap.position


@contextlib.contextmanager
def stalled(listener: Listener) -> Iterator[None]:
    """It hears nothing meanwhile."""
    following = listener.following
    ask, aask = following._ask, following._aask
    allowed = threading.Event()

    def wait(action: Any) -> Any:
        allowed.wait(20)
        return ask(action)

    async def await_(action: Any) -> Any:
        await asyncio.to_thread(allowed.wait, 20)
        return await aask(action)

    following._ask, following._aask = wait, await_  # type: ignore[method-assign]
    # The question that is under way.
    time.sleep(0.6)
    try:
        yield
    finally:
        allowed.set()
        following._ask, following._aask = ask, aask  # type: ignore[method-assign]


@pytest.mark.parametrize("damage", [damage_by_trimming, damage_by_deleting, damage_by_emptying, damage_by_setting_back])
def test_what_may_be_missing_is_said_to_who_comes_back(
    listen: Listen, store: redis.Redis, damage: Callable[[redis.Redis], None]
) -> None:
    with follow() as following:
        next(following)
        for number in range(3):
            revoke(number)
        position = [next(following) for _ in range(3)][-1].position
    if damage in (damage_by_trimming, damage_by_deleting):
        revoke(4)
        revoke(5)
    damage(store)
    gate.reset()
    listener = listen(position)
    assert listener.kinds() == ["gap"]
    sid = revoke(6)
    listener.wait(lambda events: events[-1].sid == sid)
    assert len(listener.events) == 2


@pytest.mark.parametrize("is_journalled", [True, False])
def test_a_store_that_was_set_back_and_went_on_is_not_taken_for_itself(
    listen: Listen, store: redis.Redis, is_journalled: bool
) -> None:
    """The same numbers, for other revocations."""
    from django.conf import settings

    with override_settings(JWT_REDIS={**settings.JWT_REDIS, "JOURNAL": is_journalled}):
        with follow() as following:
            next(following)
            for number in range(3):
                revoke(number)
            position = [next(following) for _ in range(3)][-1].position
        damage_by_setting_back(store)
        # Others have not seen that it had more.
        from jwt_redis.store import markers

        markers.reset(setting="JWT_REDIS")
        gate.reset()
        for number in range(4):
            revoke(number)
        listener = listen(position)
        assert listener.kinds()[0] == "gap"


def test_an_end_that_was_deleted_is_noticed_though_nothing_follows(listen: Listen, store: redis.Redis) -> None:
    listener = listen()
    with stalled(listener):
        revoke(1)
        store.delete(LOG)
    listener.wait(lambda events: listener.kinds() == ["heard", "gap"])


def test_the_entry_itself_has_to_be_there(listen: Listen, store: redis.Redis) -> None:
    """The store was set back and went on, by a clock that is behind, to the number after the one that was heard."""
    from django.conf import settings

    from jwt_redis.store import markers

    with override_settings(JWT_REDIS={**settings.JWT_REDIS, "JOURNAL": False}):
        with follow() as following:
            next(following)
            for number in range(3):
                revoke(number)
            first, _, last = [next(following) for _ in range(3)]
        began = int(first.position.rpartition(".")[2].partition("-")[0])
        store.delete(LOG)
        for number in (1, 2, 3):
            store.xadd(LOG, {"number": number, "kind": "session", "user": "7", "id": "x" * 22}, id=f"{began}-{number}")
        markers.reset(setting="JWT_REDIS")
        gate.reset()
        revoke(4)
        listener = listen(last.position)
        assert listener.kinds()[0] == "gap"


# Redis away --------------------------------------------------------------------------------------------------------


@pytest.fixture
def own(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(folder=tmp_path / "redis", options={"appendonly": "yes", "appendfsync": "always"}) as server:
        yield server


def test_a_redis_that_is_killed_and_comes_back_costs_nothing(listen: Listen, own: RedisServer) -> None:
    with pointed_at(own):
        listener = listen(heartbeat=0.5)
        sids = [revoke(number) for number in range(3)]
        listener.wait(lambda events: len(listener.revoked()) == 3)
        own.kill()
        listener.wait(lambda events: listener.kinds().count("unavailable") >= 2)
        at = [event.at for event in listener.events if event.kind == "unavailable"]
        assert len(set(at)) == 1 and at[0] is not None
        known_at = listener.following.known_at
        time.sleep(0.3)
        assert listener.following.known_at == known_at
        own.start()
        sids.append(revoke_when_it_can(7))
        listener.wait(lambda events: len(listener.revoked()) >= len(sids))
        assert [event.sid for event in listener.revoked()] == sids
        assert "gap" not in listener.kinds()
        kinds = [kind for kind, _ in itertools.groupby(listener.kinds())]
        assert "heard" in kinds[kinds.index("unavailable") :]
        listener.stop()


def test_one_that_hangs_is_unavailable_too(listen: Listen, own: RedisServer) -> None:
    with pointed_at(own):
        listener = listen(heartbeat=0.2)
        own.pause()
        listener.wait(lambda events: "unavailable" in listener.kinds())
        own.resume()
        sid = revoke_when_it_can(7)
        listener.wait(lambda events: sid in [event.sid for event in events])
        assert "gap" not in listener.kinds()
        listener.stop()


def test_one_may_begin_while_it_is_away(listen: Listen, own: RedisServer) -> None:
    with pointed_at(own):
        own.kill()
        listener = listen()
        assert listener.kinds() == ["unavailable"]
        assert listener.events[0].position == "" and listener.events[0].at is None
        own.start()
        listener.wait(lambda events: listener.kinds() == ["unavailable", "heard"])
        listener.stop()


def test_heartbeats(listen: Listen) -> None:
    listener = listen(heartbeat=0.2)
    listener.wait(lambda events: len(events) >= 4)
    assert set(listener.kinds()) == {"heard"}
    silent = listen(heartbeat=None)
    time.sleep(1)
    assert silent.kinds() == ["heard"]


# The end -----------------------------------------------------------------------------------------------------------


def clients(store: redis.Redis) -> int:
    return len(store.client_list())


def test_it_ends_when_it_is_closed_and_leaves_nothing_behind(listen: Listen, store: redis.Redis) -> None:
    listener = listen()
    wait_for(lambda: any(one["cmd"] == "xread" for one in store.client_list()), "it waits")
    listener.stop()
    wait_for(lambda: not any(one["cmd"] == "xread" for one in store.client_list()), "the connection is closed")
    assert list(listener.following) == []


async def test_a_task_that_is_cancelled_goes_on_and_lacks_nothing(store: redis.Redis) -> None:
    rng = random.Random(5)
    told: list[Event] = []
    sids: list[str] = []
    async with follow(heartbeat=None) as following:
        await anext(following)

        async def revoking() -> None:
            for number in range(60):
                token = await sessions.aopen_session(user_of(number))
                sids.append(token["sid"])
                await sessions.aend_session(user_of(number), token["sid"])
                await asyncio.sleep(rng.random() * 0.02)

        task = asyncio.create_task(revoking())
        cancelled = 0
        while len(told) < 60:
            try:
                told.append(await asyncio.wait_for(anext(following), rng.random() * 0.03))
            except TimeoutError:
                cancelled += 1
        await task
    assert cancelled > 5
    assert [event.sid for event in told] == sids
    assert not any(one["cmd"] == "xread" for one in store.client_list())


def test_a_child_does_not_tell_what_its_parent_tells(store: redis.Redis) -> None:
    with follow() as following:
        next(following)
        revoke(1)
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.write(writer, str(len(list(following))).encode())
            os._exit(0)
        os.waitpid(pid, 0)
        assert os.read(reader, 10) == b"0"
        assert next(following).kind == "session"
        revoke(2)
        assert next(following).kind == "session"


def test_too_many_that_wait_look_now_and_then_instead(store: redis.Redis) -> None:
    from django.conf import settings

    with override_settings(JWT_REDIS={**settings.JWT_REDIS, "NEAR_CACHE": {"max_waiting": 0, "poll": 0.05}}):
        listener = Listener(None, is_async=False)
        listener.wait(len)
        store.config_resetstat()
        sid = revoke(1)
        listener.wait(lambda events: events[-1].sid == sid)
        assert "cmdstat_xread" not in store.info("commandstats")
        listener.stop()


def test_whoever_does_not_use_it_does_not_have_it() -> None:
    code = """
import django, sys, threading
django.setup()
from django.urls import get_resolver
get_resolver().url_patterns
print([name for name in sys.modules if name.startswith("jwt_redis.revocations")], threading.active_count())
"""
    env = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"}
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], env=env, capture_output=True, text=True)
    assert done.stdout.strip() == "[] 1", done.stderr


def test_both_protocols_are_there_in_pairs() -> None:
    for name in ("close", "_ask", "_carry_out", "_await", "_drop_waker"):
        twin = "_a" + name[1:] if name.startswith("_") else "a" + name
        one, other = (inspect.signature(getattr(Following, method)) for method in (name, twin))
        assert one.parameters.keys() == other.parameters.keys()
    assert {"__next__", "__anext__", "__enter__", "__aenter__"} <= vars(Following).keys()


# Many --------------------------------------------------------------------------------------------------------------


def storm(total: int, stop: threading.Event, wanted: list[tuple[str, str]]) -> None:
    """Revocations of every kind, one after another; what the log must say of each."""
    rng = random.Random(3)
    for count in range(total):
        user = user_of(rng.randrange(50))
        dice = rng.random()
        if dice < 0.6:
            jti = f"jti{count}"
            sessions.revoke_jti(user, jti)
            wanted.append(("token", jti))
        elif dice < 0.9:
            sid = f"session-{count:012d}"
            sessions.end_session(user, sid)
            wanted.append(("session", sid))
        elif dice < 0.95:
            sessions.end_all_sessions(user)
            wanted.append(("user", str(user.pk)))
        elif dice < 0.99:
            sessions.end_other_sessions(user, f"session-{count:012d}")
            wanted.append(("others", f"session-{count:012d}"))
        else:
            sessions.revoke_everything()
            wanted.append(("all", ""))
    stop.set()


def name_of(event: Event) -> tuple[str, str]:
    names = {"token": event.jti, "session": event.sid, "user": event.user, "others": event.kept_sid, "all": ""}
    return event.kind, names[event.kind]


def fast_and_unjournalled() -> Any:
    from django.conf import settings

    return override_settings(JWT_REDIS={**settings.JWT_REDIS, "JOURNAL": False})


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("total", [400, pytest.param(10_000, marks=pytest.mark.slow)])
def test_nothing_is_missed_and_nothing_comes_twice(is_async: bool, total: int) -> None:
    """Whoever listens leaves and comes back, at any moment and for any time."""
    rng = random.Random(7)
    with fast_and_unjournalled():
        with follow() as following:
            position = next(following).position
        stop, wanted, told = threading.Event(), [], []  # type: ignore[var-annotated]
        revoker = threading.Thread(target=storm, args=(total, stop, wanted))
        revoker.start()
        visits = 0

        async def visit(position: str, most: int) -> tuple[str, bool]:
            async with follow(position) as following:
                async for event in following:
                    if not event.is_revocation:
                        assert event.kind == "heard"
                        return following.position, True
                    told.append(event)
                    most -= 1
                    if not most:
                        break
                return following.position, False

        while True:
            most = rng.choice([1, 2, 5, 20, total // 20])
            is_last = stop.is_set()
            if is_async:
                position, is_dry = asyncio.run(visit(position, most))
            else:
                is_dry = False
                with follow(position) as following:
                    for event in following:
                        position = event.position
                        if not event.is_revocation:
                            assert event.kind == "heard"
                            is_dry = True
                            break
                        told.append(event)
                        most -= 1
                        if not most:
                            break
            visits += 1
            if is_last and is_dry:
                break
            time.sleep(rng.choice([0, 0, 0.01, 0.05]))
        revoker.join()
    assert visits > 20
    assert [event.number for event in told] == list(range(1, len(told) + 1))
    assert [name_of(event) for event in told] == wanted


def test_who_asks_after_the_first_event_and_reads_on_misses_nothing() -> None:
    """Somebody subscribes while somebody revokes: either the check refuses, or the event comes."""
    with fast_and_unjournalled():
        for turn in range(40):
            token = sessions.open_session(user_of(turn)).access_token
            revoker = threading.Thread(target=sessions.end_session, args=(user_of(turn), token["sid"]))
            with follow(heartbeat=5) as following:
                revoker.start()
                time.sleep(random.random() * 0.004)
                assert next(following).kind == "heard"
                if sessions.check(token, directly=True).allowed:
                    assert any(event.sid == token["sid"] for event in itertools.islice(following, 2))
            revoker.join()


# Other ways to run Redis -------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_failover_says_what_it_cost(listen: Listen) -> None:
    with Sentinels() as sentinels, pointed_at(sentinels):
        listener = listen(heartbeat=0.5)
        sids = [revoke(number) for number in range(3)]
        listener.wait(lambda events: len(listener.revoked()) == 3)
        sentinels.wait_until_replicated()
        former = sentinels.kill_primary()
        sentinels.wait_for_failover(former)
        sids.append(revoke_when_it_can(7))
        listener.wait(lambda events: sids[-1] in [event.sid for event in events])
        # What was replicated is known to be; the journal may tell some of it again.
        assert "unavailable" in listener.kinds() and "gap" not in listener.kinds()
        assert set(sids) == {event.sid for event in listener.revoked()}
        # And one that lacked something.
        sentinels.rejoin(former)
        sentinels.wait_until_steady()
        replica = sentinels.stall_replica()
        sids.append(revoke(8))
        listener.wait(lambda events: sids[-1] in [event.sid for event in events])
        listener.stop()
        assert replica is not None


@pytest.mark.slow
def test_in_a_cluster(listen: Listen) -> None:
    with Cluster() as cluster, pointed_at(cluster):
        listener = listen(heartbeat=0.5)
        sids = [revoke(number) for number in range(10)]
        listener.wait(lambda events: len(listener.revoked()) == 10)
        assert [event.sid for event in listener.revoked()] == sids
        again = listen(listener.revoked()[4].position)
        again.wait(lambda events: len(again.revoked()) == 5)
        assert [event.sid for event in again.revoked()] == sids[5:]
        again.stop()
        listener.stop()
