"""What observers are told, over the code paths that a project uses; and that they harm nobody."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
import redis
from django.test import AsyncClient, override_settings
from rest_framework.test import APIClient
from rest_framework_simplejwt.exceptions import TokenError

from jwt_redis import near_cache, observers, sessions, token_memo
from jwt_redis.exceptions import RevocationUnavailable
from jwt_redis.observers import Observer
from jwt_redis.store import client
from jwt_redis.store.breaker import Breaker
from jwt_redis.testing.servers import RedisServer
from jwt_redis.tokens import AccessToken, RefreshToken
from tests.oracle.world import set_back_birth
from tests.support.topology import pointed_at
from tests.support.waiting import wait_for

pytestmark = pytest.mark.django_db(transaction=True)


class Recorder(Observer):
    """Everything that it is told, in order."""

    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []

    def checked(self, verdict: str, source: str, seconds: float | None) -> None:
        assert (seconds is None) == (source == "memory")
        assert seconds is None or 0 < seconds < 60
        self.heard.append(("checked", verdict, source))

    @contextlib.contextmanager
    def use_case(self, name: str) -> Iterator[None]:
        self.heard.append(("begun", name))
        try:
            yield
        except BaseException as error:
            self.heard.append(("failed", name, type(error).__name__))
            raise
        self.heard.append(("ended", name))

    def happened(self, event: str, facts: Mapping[str, Any]) -> None:
        self.heard.append(("happened", event))

    def refreshed(self, outcome: str) -> None:
        self.heard.append(("refreshed", outcome))

    def recalled(self, is_hit: bool) -> None:
        self.heard.append(("recalled", is_hit))

    def breaker(self, node: str, is_open: bool) -> None:
        self.heard.append(("breaker", node, is_open))

    def followed(self, seconds: float) -> None:
        assert 0 <= seconds < 60
        self.heard.append(("followed", seconds))

    def lease_lapsed(self) -> None:
        self.heard.append(("lease_lapsed",))

    def of(self, *kinds: str) -> list[tuple[Any, ...]]:
        return [told for told in self.heard if told[0] in kinds]

    def use_cases(self) -> list[str]:
        return [told[1] for told in self.of("begun")]


def _raises(*args: Any, **kwargs: Any) -> Any:
    raise RuntimeError("broken")


class Broken(Observer):
    """Raises whatever it is told."""


for _name in [name for name in vars(Observer) if not name.startswith("_")]:
    setattr(Broken, _name, _raises)


class BrokenWithin(Observer):
    """Its context raises on the way in, or out."""

    def __init__(self, where: str) -> None:
        self.where = where

    @contextlib.contextmanager
    def use_case(self, name: str) -> Iterator[None]:
        if self.where == "enter":
            raise RuntimeError("broken on the way in")
        try:
            yield
        except Exception:
            if self.where == "swallow":
                return
            raise
        finally:
            if self.where == "exit":
                raise RuntimeError("broken on the way out")


@contextlib.contextmanager
def installed(*some: Observer) -> Iterator[None]:
    for observer in some:
        observers.install(observer)
    try:
        yield
    finally:
        for observer in some:
            observers.uninstall(observer)


@pytest.fixture
def heard() -> Iterator[Recorder]:
    recorder = Recorder()
    with installed(recorder):
        yield recorder


@pytest.fixture
def own() -> Iterator[RedisServer]:
    with RedisServer(options={"appendonly": "yes"}) as server, pointed_at(server):
        yield server


def test_nobody_is_installed_by_itself() -> None:
    assert observers.installed == ()


def test_installing_twice_is_installing_once_and_uninstalling_is_that() -> None:
    first, second = Recorder(), Recorder()
    with installed(first, second, first):
        observers.tell(Observer.recalled, True)
        observers.uninstall(first)
        observers.tell(Observer.recalled, False)
    observers.tell(Observer.recalled, True)
    assert first.heard == [("recalled", True)]
    assert second.heard == [("recalled", True), ("recalled", False)]


# Use cases -----------------------------------------------------------------------------------------------------------


def _arguments(alice: Any) -> dict[str, Callable[[], tuple[Any, ...]]]:
    def token() -> Any:
        return sessions.open_session(alice)

    def unwritten() -> Any:
        return RefreshToken.for_user(alice)

    return {
        "aend_stale_sessions": lambda: (alice,),
        "arebind_sessions": lambda: (alice, alice),
        "aregister": lambda: (unwritten(),),
        "check": lambda: (token(),),
        "check_many": lambda: ([token()],),
        "end_all_sessions": lambda: (alice,),
        "end_other_sessions": lambda: (alice, token()["sid"]),
        "end_session": lambda: (alice, token()["sid"]),
        "end_stale_sessions": lambda: (alice,),
        "explain": lambda: (token(),),
        "is_known": lambda: (alice, token()["sid"]),
        "list_sessions": lambda: (alice,),
        "open_session": lambda: (alice,),
        "rebind_sessions": lambda: (alice, alice),
        "recognize": lambda: (alice, token()["sid"]),
        "register": lambda: (unwritten(),),
        "revoke_everything": lambda: (),
        "revoke_jti": lambda: (alice, "some-jti"),
        "revoke_key": lambda: ("some-kid",),
        "revoke_token": lambda: (token().access_token,),
        "rotate": lambda: (token(), alice),
        "set_label": lambda: (alice, token()["sid"], "mine"),
    }


# One for each user; none, as the database alone is asked; none while STATUS_LIST is off, as it is here.
OTHERS = ("end_provider_sessions", "remember_provider", "status_list_token")
# Every function of the public face but the one that asks nothing, without its async twin.
USE_CASES = sorted(
    name
    for name in sessions.__all__
    if name[0].islower()
    and name not in ("new_sid", *OTHERS, *(f"a{other}" for other in OTHERS))
    and not (name[0] == "a" and name[1:] in sessions.__all__)
)


@pytest.mark.parametrize("name", USE_CASES)
def test_each_use_case_is_one(name: str, alice: Any, heard: Recorder) -> None:
    arguments = _arguments(alice)[name]()
    del heard.heard[:]
    getattr(sessions, name)(*arguments)
    assert heard.of("begun", "ended", "failed") == [("begun", name), ("ended", name)]


@pytest.mark.parametrize("name", USE_CASES)
async def test_each_use_case_is_one_in_async_code(name: str, django_user_model: Any, heard: Recorder) -> None:
    alice = await django_user_model.objects.acreate_user("alice", password="correct horse")
    from asgiref.sync import sync_to_async

    arguments = await sync_to_async(_arguments(alice)[name])()
    del heard.heard[:]
    await getattr(sessions, f"a{name}")(*arguments)
    assert heard.of("begun", "ended", "failed") == [("begun", name), ("ended", name)]
    await client.aclient().aclose()


def test_a_change_of_password_is_a_use_case_too(alice: Any, heard: Recorder) -> None:
    sessions.open_session(alice)
    del heard.heard[:]
    alice.set_password("another one")
    alice.save()
    assert "end_all_sessions" in heard.use_cases() and ("happened", "user_revoked") in heard.heard


def test_one_that_fails_is_told_with_its_error(alice: Any, own: RedisServer, heard: Recorder) -> None:
    token = sessions.open_session(alice)
    own.kill()
    del heard.heard[:]
    with pytest.raises(RevocationUnavailable):
        sessions.end_session(alice, token["sid"])
    told = heard.of("begun", "happened", "failed", "ended")
    assert told == [
        ("begun", "end_session"),
        ("happened", "revocation_unavailable"),
        ("failed", "end_session", "RevocationUnavailable"),
    ]


# Checks --------------------------------------------------------------------------------------------------------------


def test_a_check_by_redis(alice: Any, heard: Recorder) -> None:
    refresh = sessions.open_session(alice)
    http = APIClient()
    http.credentials(HTTP_AUTHORIZATION=f"Bearer {refresh.access_token}")
    assert http.get("/stateless/").status_code == 200
    sessions.end_session(alice, refresh["sid"])
    assert http.get("/stateless/").status_code == 401
    assert heard.of("checked") == [("checked", "allowed", "redis"), ("checked", "session_ended", "redis")]
    # A token that is bad by itself is not checked.
    http.credentials(HTTP_AUTHORIZATION="Bearer forged")
    assert http.get("/stateless/").status_code == 401
    assert len(heard.of("checked")) == 2


async def test_an_async_check_by_redis(django_user_model: Any, heard: Recorder) -> None:
    user = await django_user_model.objects.acreate_user("alice")
    refresh = await sessions.aopen_session(user)
    access = str(refresh.access_token)
    http: Any = AsyncClient()
    await http.get("/plain-async/", headers={"Authorization": f"Bearer {access}"})
    await sessions.aend_session(user, refresh["sid"])
    await http.get("/plain-async/", headers={"Authorization": f"Bearer {access}"})
    assert heard.of("checked") == [("checked", "allowed", "redis"), ("checked", "session_ended", "redis")]
    await client.aclient().aclose()


async def test_an_async_check_that_cannot_be_made(django_user_model: Any, own: RedisServer, heard: Recorder) -> None:
    user = await django_user_model.objects.acreate_user("alice")
    access = (await sessions.aopen_session(user)).access_token
    own.kill()
    with pytest.raises(RevocationUnavailable):
        await sessions.acheck(access)
    assert (await sessions.acheck(access, on_redis_failure="allow")).allowed
    assert heard.of("checked") == [("checked", "unavailable", "unchecked"), ("checked", "allowed", "unchecked")]
    assert heard.of("failed") == [("failed", "check", "RevocationUnavailable")]


def test_a_check_that_cannot_be_made(alice: Any, own: RedisServer, heard: Recorder) -> None:
    access = sessions.open_session(alice).access_token
    own.kill()
    with pytest.raises(RevocationUnavailable):
        sessions.check(access)
    assert sessions.check(access, on_redis_failure="allow").allowed
    assert heard.of("checked") == [("checked", "unavailable", "unchecked"), ("checked", "allowed", "unchecked")]
    assert [told[1] for told in heard.of("happened")][-2:] == ["revocation_unavailable", "check_failed_open"]


# Refreshing, the memo, the breaker, stores ---------------------------------------------------------------------------


def test_each_outcome_of_a_refresh(alice: Any, heard: Recorder) -> None:
    first, second = sessions.open_session(alice), sessions.open_session(alice)
    sessions.rotate(first, alice)
    sessions.rotate(first, alice)
    sessions.rotate(second, alice, rotating=False)
    with override_settings(JWT_REDIS={"ALIAS": "sessions", "REFRESH_GRACE": 0}), pytest.raises(TokenError):
        sessions.rotate(first, alice)
    with pytest.raises(TokenError):
        sessions.rotate(first, alice)
    second.payload["rotation"] = 9
    with pytest.raises(TokenError):
        sessions.rotate(second, alice)
    outcomes = [told[1] for told in heard.of("refreshed")]
    assert outcomes == ["rotated", "grace", "touched", "reuse", "gone", "ahead"]


def test_the_memo(alice: Any, heard: Recorder) -> None:
    access = str(sessions.open_session(alice).access_token)
    token_memo.clear()
    for _ in range(3):
        AccessToken(access)
    assert heard.of("recalled") == [("recalled", False), ("recalled", True), ("recalled", True)]


def test_one_that_is_switched_off_is_not_looked_into(alice: Any, heard: Recorder) -> None:
    access = str(sessions.open_session(alice).access_token)
    with override_settings(JWT_REDIS={"ALIAS": "sessions", "TOKEN_MEMO_SIZE": 0}):
        AccessToken(access)
    assert heard.of("recalled") == []


def test_a_breaker_that_opens_and_closes(heard: Recorder) -> None:
    breaker = Breaker("127.0.0.1:1")
    breaker.succeeded()
    breaker.failed()
    breaker.failed()
    breaker.succeeded()
    breaker.succeeded()
    node = "127.0.0.1:1"
    assert heard.heard == [("breaker", node, True), ("breaker", node, True), ("breaker", node, False)]


def test_a_server_that_dies_and_comes_back(alice: Any, own: RedisServer, heard: Recorder) -> None:
    access = sessions.open_session(alice).access_token
    own.kill()
    with pytest.raises(RevocationUnavailable):
        sessions.check(access)
    with pytest.raises(RevocationUnavailable):
        sessions.revoke_token(access)
    assert set(heard.of("breaker")) == {("breaker", "", True)}
    own.start()
    wait_for(lambda: not _is_allowed(access), "the pending revocation is applied")
    assert heard.of("breaker")[-1] == ("breaker", "", False)
    assert heard.of("happened").count(("happened", "revocation_applied")) == 1
    # Its birth, and its restart.
    assert heard.of("happened").count(("happened", "store_established")) == 2


def _is_allowed(access: Any) -> bool:
    with contextlib.suppress(RevocationUnavailable):
        return sessions.check(access).allowed
    return True


# The near cache ------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def near(server: RedisServer, *, lease: float) -> Iterator[None]:
    with pointed_at(server, NEAR_CACHE={"lease": lease, "poll": 0.05}):
        try:
            yield
        finally:
            near_cache.stop(5)


def test_a_check_from_memory_is_told_and_is_no_use_case(alice: Any, own: RedisServer, heard: Recorder) -> None:
    with near(own, lease=30.0):
        access = sessions.open_session(alice).access_token
        set_back_birth(own)
        sessions.check(access)
        wait_for(near_cache.is_fresh, "the near cache answers")
        del heard.heard[:]
        verdict = sessions.check(access)
        assert verdict.from_memory
    assert heard.of("checked", "begun") == [("checked", "allowed", "memory")]


def test_a_lease_that_lapses_is_told_once_and_how_far_behind_it_is(
    alice: Any, own: RedisServer, heard: Recorder
) -> None:
    with near(own, lease=2.0):
        access = sessions.open_session(alice).access_token
        sessions.check(access)
        wait_for(near_cache.is_fresh, "the near cache answers")
        assert heard.of("lease_lapsed") == []
        own.pause()
        try:
            wait_for(lambda: heard.of("lease_lapsed"), "the lease lapses")
            lapsed_at = len(heard.heard)
            wait_for(lambda: len([1 for told in heard.heard[lapsed_at:] if told[0] == "followed"]) > 1, "further tries")
            assert heard.of("followed")[-1][1] > 2.0
        finally:
            own.resume()
        wait_for(near_cache.is_fresh, "it answers again")
        assert len(heard.of("lease_lapsed")) == 1
        wait_for(lambda: heard.of("followed")[-1][1] < 2.0, "it has caught up")


def test_one_that_misses_an_entry_lapses_too(alice: Any, own: RedisServer, heard: Recorder) -> None:
    with near(own, lease=1.0):
        sessions.check(sessions.open_session(alice).access_token)
        wait_for(near_cache.is_fresh, "the near cache answers")
        with redis.Redis(port=own.port) as store:
            store.hincrby("jwt:{log}:marker", "revocations", 1)
        wait_for(lambda: heard.of("lease_lapsed"), "it notices")


def test_its_end_is_no_lapse(alice: Any, own: RedisServer, heard: Recorder) -> None:
    with near(own, lease=1.0):
        sessions.check(sessions.open_session(alice).access_token)
        wait_for(near_cache.is_fresh, "the near cache answers")
    assert not near_cache.is_following() and heard.of("lease_lapsed") == []


# Those that fail -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "broken", [Broken(), *map(BrokenWithin, ("enter", "exit"))], ids=lambda one: type(one).__name__
)
def test_one_that_raises_harms_nothing(
    broken: Observer, alice: Any, own: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = Recorder()
    # On both sides of the one that works.
    with near(own, lease=1.0), installed(broken, recorder, BrokenWithin("exit")):
        refresh = sessions.open_session(alice)
        access = refresh.access_token
        set_back_birth(own)
        sessions.check(access)
        wait_for(near_cache.is_fresh, "the near cache answers")
        assert sessions.check(access).from_memory
        AccessToken(str(access))
        sessions.rotate(refresh, alice)
        sessions.end_all_sessions(alice)
        assert sessions.check(access).reason == "session_ended"
        own.kill()
        with pytest.raises(RevocationUnavailable):
            sessions.explain(access)
    assert {"open_session", "rotate", "end_all_sessions", "check", "explain"} <= set(recorder.use_cases())
    assert any(getattr(record, "event", "") == "observer_failed" for record in caplog.records)


async def test_one_that_raises_harms_no_async_code_either(django_user_model: Any) -> None:
    user = await django_user_model.objects.acreate_user("alice")
    with installed(Broken(), BrokenWithin("exit")):
        refresh = await sessions.aopen_session(user)
        assert (await sessions.acheck(refresh.access_token)).allowed
        assert await sessions.aend_session(user, refresh["sid"])
        assert not (await sessions.acheck(refresh.access_token)).allowed
    await client.aclient().aclose()


def test_one_cannot_keep_an_error_to_itself(alice: Any, own: RedisServer) -> None:
    access = sessions.open_session(alice).access_token
    own.kill()
    with installed(BrokenWithin("swallow")), pytest.raises(RevocationUnavailable):
        sessions.check(access)


def test_nothing_is_called_when_nobody_listens(alice: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a check costs without observers is a look at whether there are any."""

    def never(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("somebody was told")

    # With a store that is trusted by then.
    refresh = sessions.open_session(alice)
    monkeypatch.setattr(observers, "tell", never)
    monkeypatch.setattr(observers, "_Watching", never)
    access = AccessToken(str(refresh.access_token))
    assert sessions.check(access).allowed
    sessions.rotate(refresh, alice)
    sessions.end_all_sessions(alice)
    assert not sessions.check(AccessToken(str(access))).allowed
