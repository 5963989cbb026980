"""With OBSERVE nothing is refused that Simple JWT would let pass, and what would be is told."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

import jwt
import pytest
import redis
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.test import Client, override_settings
from token_status_list import BitArray

from jwt_redis import sessions, signals
from jwt_redis.checks import check_deployment
from jwt_redis.diagnosis import diagnose
from jwt_redis.exceptions import RevocationUnavailable
from jwt_redis.keys import user_key
from jwt_redis.models import Revocation
from jwt_redis.revocations import follow, watch
from jwt_redis.testing.servers import RedisServer
from jwt_redis.tokens import AccessToken, RefreshToken, UntypedToken
from tests.support.legacy import access_token, refresh_token
from tests.support.topology import pointed_at

# Within a test's own transaction nothing would ever count as committed.
pytestmark = pytest.mark.django_db(transaction=True)

OBSERVE = {"ALIAS": "sessions", "OBSERVE": True, "REFRESH_GRACE": 0}


@pytest.fixture(autouse=True)
def observing() -> Iterator[None]:
    with override_settings(JWT_REDIS=OBSERVE):
        yield


@pytest.fixture
def seen() -> Iterator[list[tuple[str, str]]]:
    """Reasons, and where they were."""
    found: list[tuple[str, str]] = []

    def receive(sender: str, user: Any, sid: Any, reason: str, use_case: str, **kwargs: Any) -> None:
        found.append((reason, use_case))

    signals.refusal_observed.connect(receive)
    yield found
    signals.refusal_observed.disconnect(receive)


def ask(client: Client, token: Any, path: str = "/whoami/") -> int:
    status: int = client.get(path, headers={"Authorization": f"Bearer {token}"}).status_code
    return status


def refresh(client: Client, token: Any) -> Any:
    return client.post("/auth/token/refresh/", {"refresh": str(token)}, "application/json")


PATHS = ("/whoami/", "/stateless/", "/fail-closed/", "/behind-stock/", "/plain/")


def change_password(user: Any) -> None:
    get_user_model().objects.filter(pk=user.pk).update(password="another")


REVOCATIONS: dict[str, tuple[Callable[[Any, Any], Any], str]] = {
    "session": (lambda user, token: sessions.end_session(user, token["sid"]), "session_ended"),
    "all of a user's": (lambda user, token: sessions.end_all_sessions(user), "session_ended"),
    "everything": (lambda user, token: (sessions.revoke_everything(), time.sleep(1.1)), "all_revoked"),
}


@pytest.mark.parametrize("way", REVOCATIONS)
def test_what_is_revoked_passes_and_is_told(
    alice: Any, client: Client, seen: list[Any], caplog: pytest.LogCaptureFixture, way: str
) -> None:
    token = sessions.open_session(alice)
    access = str(token.access_token)
    revoke, reason = REVOCATIONS[way]
    revoke(alice, token)
    for path in PATHS:
        assert ask(client, access, path) == 200, path
    assert client.get("/plain/", headers={"Authorization": f"Bearer {access}"}).json()["user"] == str(alice.pk)
    assert client.post("/auth/token/verify/", {"token": access}).status_code == 200
    assert {found for found, _ in seen} == {reason} and len(seen) >= len(PATHS)
    seen.clear()
    answer = refresh(client, token)
    assert answer.status_code == 200
    assert seen == [(reason, "rotate")]
    # It goes on like that, as it would with Simple JWT.
    assert ask(client, answer.json()["access"]) == 200
    assert refresh(client, answer.json()["refresh"]).status_code == 200
    record = next(one for one in caplog.records if getattr(one, "event", "") == "refusal_observed")
    assert record.levelno == logging.WARNING and record.jwt_reason == reason
    # What was revoked is written: it counts from the moment on at which it is enforced.
    with override_settings(JWT_REDIS={**OBSERVE, "OBSERVE": False}):
        assert ask(client, access) == 401
        assert refresh(client, answer.json()["refresh"]).status_code == 401


def test_a_second_use_of_a_refresh_token_ends_nothing(alice: Any, client: Client, seen: list[Any]) -> None:
    token = sessions.open_session(alice)
    first = refresh(client, token).json()
    again = refresh(client, token)
    assert again.status_code == 200 and seen == [("refresh_token_reused", "rotate")]
    assert [session.sid for session in sessions.list_sessions(alice)] == [token["sid"]]
    # Both go on, in step.
    assert RefreshToken(again.json()["refresh"])["jti"] == RefreshToken(first["refresh"])["jti"]
    assert refresh(client, first["refresh"]).status_code == 200
    assert not Revocation.objects.filter(kind="session").exists()


def test_a_store_that_was_set_back_ends_nothing(
    alice: Any, client: Client, seen: list[Any], store: redis.Redis
) -> None:
    token = sessions.open_session(alice)
    key, field = user_key(str(alice.pk)), f"sid:{token['sid']}"
    before = store.hget(key, field)
    newer = refresh(client, token).json()["refresh"]
    store.hset(key, field, before)
    assert refresh(client, newer).status_code == 200
    assert seen == [("store_rolled_back", "rotate")]
    assert store.hget(key, field) == before


def test_another_password_ends_nothing(alice: Any, client: Client, seen: list[Any]) -> None:
    token = sessions.open_session(alice)
    change_password(alice)
    assert ask(client, token.access_token) == 200
    assert refresh(client, token).status_code == 200
    assert seen == [("password_changed", "get_user"), ("password_changed", "rotate")]
    assert len(sessions.list_sessions(alice)) == 1


def test_tokens_from_before_pass(alice: Any, client: Client, seen: list[Any]) -> None:
    for path in PATHS[:-1]:
        assert ask(client, access_token(alice), path) == 200
    assert {reason for reason, _ in seen} == {"no_session"}
    answer = refresh(client, refresh_token(alice))
    assert answer.status_code == 200
    assert ask(client, answer.json()["access"]) == 200
    assert refresh(client, answer.json()["refresh"]).status_code == 200


def test_one_that_was_adopted_stays_in_step(alice: Any, client: Client, seen: list[Any]) -> None:
    with override_settings(JWT_REDIS={**OBSERVE, "LEGACY_TOKENS": "adopt"}):
        token = refresh_token(alice)
        first = RefreshToken(refresh(client, token).json()["refresh"])
        second = RefreshToken(refresh(client, token).json()["refresh"])
        assert seen == [("refresh_token_reused", "rotate")] and first["jti"] == second["jti"]
        assert len(sessions.list_sessions(alice)) == 1


def test_our_own_views_are_of_no_use_without_a_session(alice: Any, client: Client) -> None:
    assert ask(client, access_token(alice), "/auth/sessions/") == 401


def test_a_permission_of_ours_lets_pass(alice: Any, client: Client, seen: list[Any]) -> None:
    token = sessions.open_session(alice).access_token
    token["auth_time"] -= 3600
    assert ask(client, token, "/fresh/") == 200
    assert seen == [("insufficient_user_authentication", "LoggedInWithin")]
    with override_settings(JWT_REDIS={**OBSERVE, "OBSERVE": False}):
        assert ask(client, token, "/fresh/") == 401


def test_what_simple_jwt_refuses_is_refused(alice: Any, client: Client, seen: list[Any]) -> None:
    access = access_token(alice, age=3600)
    for token in (access, f"{access_token(alice)}x", refresh_token(alice)):
        assert ask(client, token) == 401
    assert refresh(client, access_token(alice)).status_code == 401
    alice.is_active = False
    alice.save()
    assert ask(client, access_token(alice)) == 401
    assert refresh(client, refresh_token(alice)).status_code == 401
    assert ("no_session", "rotate") not in seen


@pytest.mark.parametrize("is_journalled", [True, False])
def test_redis_is_down(alice: Any, client: Client, seen: list[Any], is_journalled: bool) -> None:
    with RedisServer() as server, pointed_at(server, OBSERVE=True, JOURNAL=is_journalled):
        token = sessions.open_session(alice)
        access = str(token.access_token)
        server.kill()
        for path in PATHS:
            assert ask(client, access, path) == 200, path
        assert client.post("/auth/token/verify/", {"token": access}).status_code == 200
        answer = refresh(client, token)
        assert answer.status_code == 200 and ask(client, answer.json()["access"]) == 200
        signed_in = client.post("/auth/token/", {"username": "alice", "password": "correct horse"})
        assert signed_in.status_code == 200
        assert ask(client, signed_in.json()["access"]) == 200
        blacklist = client.post("/auth/token/blacklist/", {"refresh": signed_in.json()["refresh"]})
        assert blacklist.status_code == 200
        alice.set_password("another")
        alice.save()
        assert {reason for reason, _ in seen} == {"revocation_unavailable"}
        assert {"check", "rotate", "register", "revoke_token"} <= {use_case for _, use_case in seen}
        # Whoever asks for a revocation by itself is told that it was not done.
        with pytest.raises(RevocationUnavailable):
            sessions.end_all_sessions(alice)
        assert Revocation.objects.filter(applied_at=None).exists() == is_journalled


async def test_async_too(alice: Any, seen: list[Any]) -> None:
    token = await sessions.aopen_session(alice)
    access = UntypedToken(str(token.access_token))
    await sessions.aend_all_sessions(alice)
    assert (await sessions.acheck(access)).observed == "session_ended"
    assert token.successor(await sessions.arotate(token, alice))["sid"] == token["sid"]
    assert seen == [("session_ended", "check"), ("session_ended", "rotate")]


def test_a_status_list_says_what_is_written_down(alice: Any) -> None:
    with override_settings(JWT_REDIS={**OBSERVE, "STATUS_LIST": {"uri": "https://example.com/status/"}}):
        tokens = [sessions.open_session(alice) for _ in range(2)]
        sessions.end_session(alice, tokens[0]["sid"])
        assert sessions.check(AccessToken(str(tokens[0].access_token))).allowed
        places = [token["status"]["status_list"] for token in tokens]
        found = sessions.status_list_token(places[0]["uri"].rpartition("/")[2])
        assert found is not None
        made = jwt.decode(found.token, options={"verify_signature": False})["status_list"]
        assert [BitArray.load(made).get(place["idx"]) for place in places] == [1, 0]


async def test_a_stream_tells_of_it_and_a_socket_stays_open(alice: Any, seen: list[Any]) -> None:
    token = await sessions.aopen_session(alice)
    access = AccessToken(str(token.access_token))
    async with watch(access) as watched, follow() as following:
        events = aiter(following)
        assert (await anext(events)).kind == "heard"
        await sessions.aend_session(alice, token["sid"])
        heard = await anext(events)
        assert (heard.kind, heard.sid) == ("session", token["sid"])
        deadline = time.monotonic() + 10
        while not seen and time.monotonic() < deadline:
            assert await watched.wait(0.05) is None
        # Told of as a request would be, by the one that asks for the socket.
        assert seen[0] == ("session_ended", "check")
        assert watched.ending is None
    assert (await sessions.acheck(access)).allowed


def test_nobody_forgets_that_nothing_is_enforced(alice: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert "jwt_redis.W106" in [message.id for message in check_deployment()]
    assert "observe" in [finding.code for finding in diagnose().findings if finding.level == "warning"]
    token = sessions.open_session(alice).access_token
    sessions.end_all_sessions(alice)
    with pytest.raises(SystemExit):
        call_command("jwt_why", str(token))
    assert "OBSERVE is on" in capsys.readouterr().out
    with override_settings(JWT_REDIS={**OBSERVE, "OBSERVE": False}):
        assert "jwt_redis.W106" not in [message.id for message in check_deployment()]
        assert "observe" not in [finding.code for finding in diagnose().findings]


def test_a_token_that_is_good_is_not_told_of(alice: Any, client: Client, seen: list[Any]) -> None:
    token = sessions.open_session(alice)
    assert ask(client, AccessToken(str(token.access_token))) == 200
    assert refresh(client, token).status_code == 200
    assert seen == []
