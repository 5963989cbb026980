"""The Token Status List: what others read in it, over HTTP and with libraries that are not ours."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gzip
import itertools
import json
import os
import random
import re
import shutil
import subprocess
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
import redis
import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from django.conf import settings
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.test import Client, override_settings
from django.urls import include, path
from rest_framework_simplejwt import state
from rest_framework_simplejwt.backends import TokenBackend
from rest_framework_simplejwt.exceptions import TokenError
from token_status_list import BitArray

import jwt_redis
from jwt_redis import sessions, status_list
from jwt_redis.conf import StatusList
from jwt_redis.exceptions import RevocationUnavailable, RevokedToken
from jwt_redis.journal import Entry
from jwt_redis.models import Revocation
from jwt_redis.store import commands
from jwt_redis.store.client import execute
from jwt_redis.testing.servers import RedisServer
from jwt_redis.tokens import AccessToken, RefreshToken, SlidingToken, UntypedToken
from tests.support.blocks import ROOT, blocks
from tests.support.legacy import refresh_token as legacy_refresh_token
from tests.support.status_list_vectors import SIZE, VECTORS
from tests.support.topology import Cluster, pointed_at

pytestmark = pytest.mark.django_db(transaction=True)

URI = "https://example.com/status/"
VALID, INVALID = 0, 1
KEY = ec.generate_private_key(ec.SECP256R1())
PRIVATE = KEY.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
).decode()
PUBLIC = (
    KEY.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
)


def settings_of(**more: Any) -> dict[str, Any]:
    return {**settings.JWT_REDIS, "STATUS_LIST": {"uri": URI, **more}}


@pytest.fixture
def published() -> Iterator[None]:
    """Lists that are read are built of what there is: nothing here waits for the ttl."""
    with override_settings(JWT_REDIS=settings_of(), ROOT_URLCONF="tests.projects.status_urls"):
        yield


@pytest.fixture
def asymmetric(monkeypatch: pytest.MonkeyPatch) -> None:
    # Simple JWT makes its backend once.
    monkeypatch.setattr(state, "token_backend", TokenBackend("ES256", PRIVATE, PUBLIC))


def reference(token: Any) -> tuple[str, int]:
    found = token.payload["status"]["status_list"]
    assert set(found) == {"idx", "uri"}
    return found["uri"].removeprefix(URI), found["idx"]


def forget_signed(store: redis.Redis) -> None:
    """As if a ttl had passed."""
    for key in store.scan_iter("*:status:*:*"):
        if key.endswith((":signed", ":withdrawn", ":signing")):
            store.delete(key)


def payload_of(token: str) -> dict[str, Any]:
    algorithm = state.token_backend.algorithm
    key = PUBLIC if algorithm == "ES256" else settings.SECRET_KEY
    return jwt.decode(token, key, algorithms=[algorithm])


def status_of(token: Any, store: redis.Redis) -> int:
    """By a foreign library, of a list that was not kept."""
    forget_signed(store)
    list_id, index = reference(token)
    found = sessions.status_list_token(list_id)
    assert found is not None
    payload = payload_of(found.token)
    assert payload["sub"] == URI + list_id
    return BitArray.load(payload["status_list"]).get(index)


def sign_in(user: Any) -> tuple[RefreshToken, Any]:
    refresh = sessions.open_session(user)
    return refresh, refresh.access_token


def refreshed(raw: str) -> RefreshToken:
    from jwt_redis.serializers import TokenRefreshSerializer

    with override_settings(SIMPLE_JWT={**settings.SIMPLE_JWT, "ROTATE_REFRESH_TOKENS": True}):
        serializer = TokenRefreshSerializer(data={"refresh": raw})
        serializer.is_valid(raise_exception=True)
        return RefreshToken(serializer.validated_data["refresh"])


# The specification's vectors ---------------------------------------------------------------------------------------

SHORT = (0, 3, 4, 5, 7, 8, 9, 13, 15)


def as_redis_has_it(size: int, *indexes: int) -> bytes:
    bits = bytearray(size // 8)
    for index in indexes:
        bits[index // 8] |= 0x80 >> index % 8  # SETBIT counts from the highest
    return bytes(bits)


def array_of(bits: int, size: int, statuses: Mapping[int, int]) -> bytes:
    """Section 4.1: the first place of a byte is in its lowest bits."""
    array = bytearray(size * bits // 8)
    for index, status in statuses.items():
        array[index * bits // 8] |= status << index * bits % 8
    return bytes(array)


def unpacked(lst: str) -> bytes:
    return zlib.decompress(base64.urlsafe_b64decode(lst + "=" * (-len(lst) % 4)))


def test_the_short_examples_of_the_specification() -> None:
    """Sections 4.1 and 4.2."""
    bits = as_redis_has_it(16, *SHORT)
    assert status_list.encode(bits.translate(status_list._MIRRORED)) == "eNrbuRgAAhcBXQ"
    two_bits = dict(enumerate((1, 2, 0, 3, 0, 1, 0, 1, 1, 2, 3, 3)))
    assert status_list.encode(array_of(2, 12, two_bits)) == "eNo76fITAAPfAgc"


@pytest.mark.parametrize("bits", VECTORS)
def test_the_vectors_of_the_specification(bits: int) -> None:
    """Appendix C; only lists of one bit are published. Another DEFLATE may encode the same bytes in another way."""
    lst, statuses = VECTORS[bits]
    array = array_of(bits, SIZE, statuses)
    assert unpacked(lst) == array
    if bits == 1:
        assert as_redis_has_it(SIZE, *statuses).translate(status_list._MIRRORED) == array
    ours = status_list.encode(array)
    assert "=" not in ours and unpacked(ours) == array
    read = BitArray.load({"bits": bits, "lst": ours})
    assert len(read) == SIZE
    around = {near for index in statuses for near in (index - 1, index, index + 1) if 0 <= near < SIZE}
    assert {index: read.get(index) for index in around} == {index: statuses.get(index, 0) for index in around}


# Section 8.2: what the specification's server answers with.
SIGNED = (
    "eyJhbGciOiJFUzI1NiIsImtpZCI6IjEyIiwidHlwIjoic3RhdHVzbGlzdCtqd3QifQ.eyJleHAiOjIyOTE3MjAxNzAsImlhdCI6MTY4NjkyMDE3MC"
    "wiaXNzIjoiaHR0cHM6Ly9leGFtcGxlLmNvbSIsInN0YXR1c19saXN0Ijp7ImJpdHMiOjEsImxzdCI6ImVOcmJ1UmdBQWhjQlhRIn0sInN1YiI6Imh0"
    "dHBzOi8vZXhhbXBsZS5jb20vc3RhdHVzbGlzdHMvMSIsInR0bCI6NDMyMDB9.2lKUUNG503R9htu4aHAYi7vjmr3sgApbfoDvPrl65N3URUO1EYqq"
    "Ql45Jfzd-Av4QzlKa3oVALpLwOEUOq-U_g"
)


def test_a_list_says_what_the_signed_example_says(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = jwt.decode(SIGNED, options={"verify_signature": False})
    monkeypatch.setattr(state, "token_backend", TokenBackend("ES256", PRIVATE, PUBLIC, issuer=theirs["iss"]))
    wanted = StatusList(uri="https://example.com/statuslists/", ttl=theirs["ttl"])
    ours = status_list.list_token("1", as_redis_has_it(16, *SHORT), theirs["iat"], wanted)
    options: Any = {"verify_exp": False}
    said = jwt.decode(ours, PUBLIC, algorithms=["ES256"], options=options)
    # The end of ours is two ttl away, that of theirs nineteen years.
    assert said == {**theirs, "exp": theirs["iat"] + 2 * theirs["ttl"]}
    header = jwt.get_unverified_header(SIGNED)
    assert header.pop("kid") and jwt.get_unverified_header(ours) == header


# Who is told of what -----------------------------------------------------------------------------------------------


def test_nothing_is_published_unless_it_is_asked_for(alice: Any, store: redis.Redis) -> None:
    refresh, access = sign_in(alice)
    assert "status" not in refresh.payload and "status" not in access.payload
    sessions.end_session(alice, refresh["sid"])
    assert not [key for key in store.scan_iter() if "status" in key]
    assert not [field for field in store.hkeys(f"jwt:{{{alice.pk}}}") if field.startswith(("status:", "burnt:"))]
    assert sessions.status_list_token(status_list.id_of("0123456789.AAAAAAAA")) is None


def test_each_token_of_a_session_names_its_place(published: None, alice: Any, bob: Any) -> None:
    refresh, access = sign_in(alice)
    other, _ = sign_in(bob)
    assert reference(refresh) == reference(access)
    assert reference(other)[0] == reference(refresh)[0] and reference(other) != reference(refresh)
    successor = refreshed(str(refresh))
    assert reference(successor) == reference(successor.access_token) == reference(refresh)
    assert reference(AccessToken(str(access))) == reference(access)
    # Of a project whose claims are set anew, too.
    record = sessions.rotate(successor, alice)
    assert reference(successor.successor(record, {"mine": 1})) == reference(refresh)
    # Without Redis being asked.
    assert reference(RefreshToken(str(successor)).access_token) == reference(refresh)


def test_a_sliding_token_has_one_too(published: None, alice: Any, store: redis.Redis) -> None:
    token = SlidingToken.for_user(alice)
    raw = str(token)
    assert status_of(SlidingToken(raw), store) == VALID
    sessions.revoke_token(raw)
    assert status_of(token, store) == INVALID


ENDINGS: dict[str, Callable[[Any, RefreshToken], Any]] = {
    "end_session": lambda user, token: sessions.end_session(user, token["sid"]),
    "end_all_sessions": lambda user, token: sessions.end_all_sessions(user),
    "end_other_sessions": lambda user, token: sessions.end_other_sessions(user, sessions.new_sid()),
    "revoke_token": lambda user, token: sessions.revoke_token(str(token)),
    "revoke_everything": lambda user, token: sessions.revoke_everything(),
    "revoke_everything from a moment on": lambda user, token: sessions.revoke_everything(
        datetime.now(tz=UTC) - timedelta(seconds=1)
    ),
    "an access token": lambda user, token: sessions.revoke_token(str(token.access_token)),
    "a jti": lambda user, token: sessions.revoke_jti(user, token.access_token["jti"]),
    "a password": lambda user, token: (user.set_password("another"), user.save()),
    "the last row": lambda user, token: user.delete(),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_whatever_revokes_is_in_the_list(
    ending: str, published: None, alice: Any, bob: Any, store: redis.Redis
) -> None:
    token, access = sign_in(alice)
    other, _ = sign_in(bob)
    assert status_of(access, store) == status_of(other, store) == VALID
    ENDINGS[ending](alice, token)
    assert status_of(access, store) == INVALID
    is_everybody = ending.startswith("revoke_everything")
    assert status_of(other, store) == (INVALID if is_everybody else VALID)


def test_a_session_that_makes_room_for_another(published: None, alice: Any, store: redis.Redis) -> None:
    with override_settings(JWT_REDIS={**settings.JWT_REDIS, "MAX_SESSIONS": 1}):
        first, _ = sign_in(alice)
        second, _ = sign_in(alice)
    assert (status_of(first, store), status_of(second, store)) == (INVALID, VALID)


def test_a_refresh_token_that_is_used_twice(published: None, alice: Any, store: redis.Redis) -> None:
    with override_settings(JWT_REDIS={**settings.JWT_REDIS, "REFRESH_GRACE": 0}):
        token, _ = sign_in(alice)
        successor = refreshed(str(token))
        with pytest.raises(RevokedToken):
            refreshed(str(token))
    assert status_of(successor, store) == INVALID


def test_the_kept_session_is_not_told_of(published: None, alice: Any, store: redis.Redis) -> None:
    kept, _ = sign_in(alice)
    other, _ = sign_in(alice)
    sessions.end_other_sessions(alice, kept["sid"])
    assert (status_of(kept, store), status_of(other, store)) == (VALID, INVALID)


# A session gets another place --------------------------------------------------------------------------------------


def test_a_token_that_was_revoked_alone_costs_its_session_the_place(
    published: None, alice: Any, store: redis.Redis
) -> None:
    token, access = sign_in(alice)
    elsewhere, _ = sign_in(alice)
    assert sessions.revoke_token(str(access))
    assert status_of(access, store) == INVALID
    assert status_of(elsewhere, store) == VALID
    successor = refreshed(str(token))
    assert reference(successor) != reference(token)
    assert status_of(successor, store) == VALID
    # Its own, and once more: the new place is not the old token's.
    assert not sessions.revoke_token(str(access))
    assert status_of(successor, store) == VALID
    sessions.end_session(alice, successor["sid"])
    assert (status_of(successor, store), status_of(access, store)) == (INVALID, INVALID)


def test_a_place_that_is_given_up_while_another_is_drawn(published: None, alice: Any, store: redis.Redis) -> None:
    """As a refresh does whose session stands in a list that is withdrawn, and one of whose tokens is revoked then."""
    token, access = sign_in(alice)
    former = store.hget(f"jwt:{{{alice.pk}}}", f"status:{token['sid']}")
    place = execute(commands.take_place("", 1000))
    sessions.revoke_token(str(access))
    user = str(alice.pk)
    assert execute(commands.set_place(user, token["sid"], former=former, place=place)) == place
    # Who was later agrees.
    other = execute(commands.take_place("", 1000))
    assert execute(commands.set_place(user, token["sid"], former=former, place=other)) == place
    sessions.end_session(alice, token["sid"])
    assert execute(commands.set_place(user, token["sid"], former=former, place=other)) == ""


def test_a_session_from_before_gets_a_place_at_its_refresh(alice: Any, store: redis.Redis) -> None:
    token, _ = sign_in(alice)
    with override_settings(JWT_REDIS=settings_of()):
        successor = refreshed(str(token))
        assert status_of(successor, store) == VALID
        # The same token came twice, in its grace: the same answer, place and all.
        assert str(refreshed(str(token))) == str(successor)
        sessions.end_session(alice, token["sid"])
        assert status_of(successor, store) == INVALID


def test_a_refresh_asks_redis_no_more_than_without(
    published: None, alice: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, _ = sign_in(alice)
    monkeypatch.setattr(commands, "take_place", lambda *_: pytest.fail("it has a place"))
    assert reference(refreshed(str(token))) == reference(token)
    sessions.revoke_everything(datetime.now(tz=UTC) - timedelta(days=1))
    monkeypatch.undo()
    after, _ = sign_in(alice)
    monkeypatch.setattr(commands, "take_place", lambda *_: pytest.fail("it has a place"))
    assert reference(refreshed(str(after))) == reference(after)


def test_a_session_that_was_adopted_gets_one_too(alice: Any, store: redis.Redis) -> None:
    legacy = legacy_refresh_token(alice)
    with override_settings(JWT_REDIS=settings_of() | {"LEGACY_TOKENS": "adopt"}):
        successor = refreshed(str(legacy))
        assert status_of(successor, store) == VALID
        assert str(refreshed(str(legacy))) == str(successor)
        sessions.end_all_sessions(alice)
        assert status_of(successor, store) == INVALID


def test_a_damaged_session_that_is_ended_is_in_the_list(published: None, alice: Any, store: redis.Redis) -> None:
    for ending in ("end_session", "end_all_sessions"):
        token, _ = sign_in(alice)
        store.hset(f"jwt:{{{alice.pk}}}", f"sid:{token['sid']}", "damaged")
        sign_in(alice)
        ENDINGS[ending](alice, token)
        assert status_of(token, store) == INVALID


def test_once_it_is_off_no_token_names_a_list(alice: Any) -> None:
    with override_settings(JWT_REDIS=settings_of()):
        token, _ = sign_in(alice)
    assert "status" not in refreshed(str(token)).payload


def test_of_a_claim_with_more_in_it_the_rest_stays(published: None, alice: Any) -> None:
    token = RefreshToken.for_user(alice)
    token["status"] = {"other_mechanism": {"a": 1}}
    raw = str(token)
    assert set(RefreshToken(raw)["status"]) == {"other_mechanism", "status_list"}
    with override_settings(JWT_REDIS={"ALIAS": "sessions"}):
        assert refreshed(raw)["status"] == {"other_mechanism": {"a": 1}}


def test_a_status_claim_of_the_projects_own_is_an_error_that_says_so(
    published: None, alice: Any, store: redis.Redis
) -> None:
    token = RefreshToken.for_user(alice)
    token["status"] = "premium"
    with pytest.raises(ImproperlyConfigured, match="a claim 'status' of its own"):
        str(token)
    assert not store.exists(f"jwt:{{{alice.pk}}}")


def test_after_everything_was_revoked_new_sessions_are_good(published: None, alice: Any, store: redis.Redis) -> None:
    former, _ = sign_in(alice)
    sessions.revoke_everything()
    token, _ = sign_in(alice)
    assert reference(token)[0] != reference(former)[0]
    assert (status_of(token, store), status_of(former, store)) == (VALID, INVALID)


def test_a_session_that_survives_a_moment_gets_a_place_at_its_refresh(
    published: None, alice: Any, store: redis.Redis
) -> None:
    before = datetime.now(tz=UTC) - timedelta(seconds=1)
    token, _ = sign_in(alice)
    sessions.revoke_everything(before)
    assert status_of(token, store) == INVALID
    successor = refreshed(str(token))
    assert status_of(successor, store) == VALID


# Redis forgets -----------------------------------------------------------------------------------------------------


def test_a_store_that_was_emptied_publishes_that_nobody_is_valid(
    published: None, alice: Any, store: redis.Redis
) -> None:
    _, access = sign_in(alice)
    store.flushall()
    list_id, index = reference(access)
    found = sessions.status_list_token(list_id)
    assert found is not None
    assert BitArray.load(payload_of(found.token)["status_list"]).get(index) == INVALID
    newcomer, _ = sign_in(alice)
    assert reference(newcomer)[0] != list_id
    assert status_of(newcomer, store) == VALID
    assert status_of(access, store) == INVALID


def test_a_list_that_was_deleted_is_not_begun_again(published: None, alice: Any, store: redis.Redis) -> None:
    token, _ = sign_in(alice)
    for key in store.keys("*status*"):
        store.delete(key)
    assert status_of(token, store) == INVALID
    other, _ = sign_in(alice)
    assert reference(other)[0] != reference(token)[0]
    # Telling of an end makes none either.
    sessions.end_session(alice, token["sid"])
    assert status_of(token, store) == INVALID


def test_a_restart_withdraws_the_lists_and_a_refresh_heals(alice: Any) -> None:
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(RedisServer(options={"appendonly": "yes"}))
        stack.enter_context(pointed_at(server, STATUS_LIST={"uri": URI}))
        with redis.Redis(port=server.port, decode_responses=True) as store:
            token, _ = sign_in(alice)
            assert status_of(token, store) == VALID
            server.kill()
            with pytest.raises(RevocationUnavailable):
                sessions.status_list_token(reference(token)[0])
            server.start()
            deadline = time.monotonic() + 10
            while True:
                try:
                    assert status_of(token, store) == INVALID
                    break
                except (RevocationUnavailable, redis.ConnectionError):
                    assert time.monotonic() < deadline
                    time.sleep(0.1)
            successor = refreshed(str(token))
            assert status_of(successor, store) == VALID


def test_what_the_journal_has_is_in_the_list_before_it_is_published(
    published: None, alice: Any, store: redis.Redis
) -> None:
    """A revocation that was written down, by a process that died before it told Redis."""
    from jwt_redis import journal, recovery

    token, _ = sign_in(alice)
    journal.begin([Entry.of_session(str(alice.pk), token["sid"], "logout")])
    recovery.note_failure(has_left_rows=True)
    assert status_of(token, store) == INVALID
    assert Revocation.objects.get().applied_at is not None


@pytest.mark.parametrize(
    "value", ["", "nonsense", "abc.def", "e93cf216a0.AAAA.99999999999999999999", "CHAPTER.x", "CHAPTER.x.y.1", "\x00,."]
)
def test_a_place_that_was_damaged_by_hand_keeps_nothing_from_being_revoked(
    value: str, published: None, alice: Any, store: redis.Redis
) -> None:
    token, access = sign_in(alice)
    value = value.replace("CHAPTER", reference(token)[0].partition(".")[0])
    store.hset(f"jwt:{{{alice.pk}}}", f"status:{token['sid']}", value)
    successor = refreshed(str(token))
    assert status_of(successor, store) == VALID
    store.hset(f"jwt:{{{alice.pk}}}", f"status:{token['sid']}", value)
    assert sessions.revoke_token(str(successor.access_token))
    assert sessions.end_session(alice, token["sid"])
    assert sessions.check(access).reason == "session_ended"


def test_a_place_behind_the_lists_end_makes_it_no_longer(published: None, alice: Any, store: redis.Redis) -> None:
    token, _ = sign_in(alice)
    name = status_list.name_of(reference(token)[0])
    store.hset(f"jwt:{{{alice.pk}}}", f"status:{token['sid']}", f"{name}.999999999")
    sessions.end_session(alice, token["sid"])
    assert store.strlen(f"jwt:{{log}}:status:{name}") == 2**14


@pytest.mark.parametrize("ending", ["end_session", "end_all_sessions", "end_other_sessions", "an access token"])
def test_who_may_not_write_the_list_hears_that_nothing_was_revoked_there(
    ending: str, published: None, alice: Any, store: redis.Redis
) -> None:
    token, _ = sign_in(alice)
    store.execute_command("ACL", "SETUSER", "default", "-setbit")
    try:
        with pytest.raises(RevocationUnavailable):
            ENDINGS[ending](alice, token)
    finally:
        store.execute_command("ACL", "SETUSER", "default", "+setbit")
    assert not Revocation.objects.get().applied_at
    # And it is done before anything is published again.
    assert status_of(token, store) == INVALID


@pytest.mark.parametrize("suffix", ["", ":given", ":signed", ":signing"])
def test_a_key_of_the_wrong_kind_is_never_valid(suffix: str, published: None, alice: Any, store: redis.Redis) -> None:
    token, _ = sign_in(alice)
    list_id, index = reference(token)
    key = f"jwt:{{log}}:status:{status_list.name_of(list_id)}{suffix}"
    store.delete(key)
    store.rpush(key, "x")
    sessions.end_session(alice, token["sid"])
    found = sessions.status_list_token(list_id)
    assert found is not None
    assert BitArray.load(payload_of(found.token)["status_list"]).get(index) == INVALID
    other, _ = sign_in(alice)
    assert status_of(other, store) == VALID


# Places --------------------------------------------------------------------------------------------------------------


def test_no_place_is_given_twice(published: None, alice: Any, store: redis.Redis) -> None:
    """More than a list has, by many at once."""
    with override_settings(JWT_REDIS=settings_of(size=1024)):
        sign_in(alice)
        with ThreadPoolExecutor(8) as pool:
            places = list(pool.map(lambda _: execute(commands.take_place("", 60)), range(1300)))
    assert len(set(places)) == 1300
    lists = {place.rpartition(".")[0] for place in places}
    assert len(lists) == 3
    assert all(0 <= int(place.rpartition(".")[2]) < 1024 for place in places)
    # What was needed to fill one is gone once it is full.
    assert len(list(store.scan_iter("*:given"))) == 1


def test_places_are_drawn_by_lot(published: None, alice: Any) -> None:
    sessions.end_session(alice, sessions.new_sid())  # makes the store
    indexes = [int(execute(commands.take_place("", 60)).rpartition(".")[2]) for _ in range(60)]
    steps = {b - a for a, b in itertools.pairwise(indexes)}
    assert len(steps) > 50
    assert max(indexes) > 2**16


def test_a_list_lives_as_long_as_its_last_session(published: None, alice: Any, store: redis.Redis) -> None:
    token, _ = sign_in(alice)
    key = f"jwt:{{log}}:status:{status_list.name_of(reference(token)[0])}"
    days = timedelta(days=90).total_seconds()
    assert days < store.ttl(key) < days + 1000
    store.expire(key, 10)
    sign_in(alice)
    assert days < store.ttl(key)


def test_two_refreshes_at_once_agree_on_the_place(published: None, alice: Any, store: redis.Redis) -> None:
    for _ in range(10):
        with override_settings(JWT_REDIS={"ALIAS": "sessions"}):
            token, _access = sign_in(alice)
        barrier = threading.Barrier(4)

        def once(raw: str = str(token), barrier: threading.Barrier = barrier) -> tuple[str, int]:
            barrier.wait()
            answer = Client().post("/auth/token/refresh/", {"refresh": raw}, "application/json")
            return reference(UntypedToken(answer.json()["access"]))

        with ThreadPoolExecutor(4) as pool:
            found = {done.result() for done in [pool.submit(once) for _ in range(4)]}
        assert len(found) == 1
        sessions.end_session(alice, token["sid"])
        list_id, index = found.pop()
        forget_signed(store)
        read = sessions.status_list_token(list_id)
        assert read is not None
        assert BitArray.load(payload_of(read.token)["status_list"]).get(index) == INVALID


def test_sign_in_and_sign_out_at_once(published: None, alice: Any, store: redis.Redis) -> None:
    """Whatever comes first: a session that is over is INVALID, and one that is not is VALID."""
    tokens: list[RefreshToken] = []
    stop = threading.Event()

    def sign_out() -> None:
        while not stop.is_set():
            sessions.end_all_sessions(alice.pk)

    sign_in(alice)
    thread = threading.Thread(target=sign_out)
    thread.start()
    try:
        for _ in range(60):
            tokens.append(sessions.open_session(alice))
    finally:
        stop.set()
        thread.join()
    for token in tokens:
        assert (status_of(token, store) == INVALID) == (sessions.check(token).reason == "session_ended")


# HTTP ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def place(published: None, alice: Any) -> str:
    return "/status/" + reference(sessions.open_session(alice))[0]


def test_what_is_answered(place: str, client: Client) -> None:
    answer = client.get(place)
    assert answer.status_code == 200
    assert answer["Content-Type"] == "application/statuslist+jwt"
    assert answer["Access-Control-Allow-Origin"] == "*"
    assert answer["Cache-Control"] == "public, max-age=15"
    assert {name.strip() for name in answer["Vary"].split(",")} == {"Accept", "Accept-Encoding"}
    assert not answer.cookies
    raw = answer.content.decode()
    assert jwt.get_unverified_header(raw)["typ"] == "statuslist+jwt"
    payload = payload_of(raw)
    assert set(payload) == {"sub", "iat", "exp", "ttl", "status_list"}
    assert payload["ttl"] == 60 and payload["exp"] - payload["iat"] == 120
    assert abs(time.time() - payload["iat"]) < 5
    assert set(payload["status_list"]) == {"bits", "lst"} and payload["status_list"]["bits"] == 1


def test_gzip_and_the_entity_tag(place: str, client: Client, store: redis.Redis) -> None:
    # Of a list in which hardly anything is said, there is nothing to compress.
    store.set(f"jwt:{{log}}:status:{status_list.name_of(place.removeprefix('/status/'))}", random.randbytes(2**14))
    plain = client.get(place)
    packed = client.get(place, HTTP_ACCEPT_ENCODING="gzip")
    assert packed["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.content) == plain.content
    for answer in (plain, packed):
        again = client.get(place, HTTP_IF_NONE_MATCH=answer["ETag"])
        assert again.status_code == 304 and not again.content
        assert again["Access-Control-Allow-Origin"] == "*"
    assert client.head(place).status_code == 200


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        (None, 200),
        ("*/*", 200),
        ("application/*", 200),
        ("application/statuslist+jwt", 200),
        ("application/statuslist+cwt;q=1, application/statuslist+jwt;q=0.5", 200),
        ("application/statuslist+cwt", 406),
        ("text/html", 406),
        ("application/statuslist+jwt;q=0", 406),
        (";;;", 406),
    ],
)
def test_the_format_is_negotiated(accept: str | None, status: int, place: str, client: Client) -> None:
    headers = {} if accept is None else {"HTTP_ACCEPT": accept}
    answer = client.get(place, **headers)
    assert answer.status_code == status
    if status == 406:
        assert answer.json()["code"] == "not_acceptable"


def test_the_past_is_not_published(place: str, client: Client) -> None:
    answer = client.get(place, {"time": "1686925000"})
    assert answer.status_code == 501
    assert answer["Cache-Control"] == "no-store"


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_it_is_only_read(method: str, place: str, client: Client) -> None:
    assert getattr(client, method)(place).status_code == 405


@pytest.mark.parametrize(
    "forged",
    [
        "x",
        "0123456789.AAAAAAAA",
        "0123456789.AAAAAAAA.BBBBBBBBBBBBBBBB",
        "..%2f..%2fetc",
        "%00",
        "e93cf216a0.7eOUbOCJ.%F0%9F%94%91",
        "*",
        "a" * 5000,
    ],
)
def test_a_list_that_is_not_ours_is_404(forged: str, published: None, client: Client, store: redis.Redis) -> None:
    answer = client.get("/status/" + forged)
    assert answer.status_code == 404
    assert not store.keys("*status*")


def test_each_character_of_the_address_counts(place: str, client: Client) -> None:
    for at in range(len("/status/"), len(place)):
        changed = place[:at] + ("b" if place[at] == "a" else "a") + place[at + 1 :]
        assert client.get(changed).status_code == 404, changed


def test_under_a_new_secret_key_the_addresses_of_the_former_one_hold(place: str, client: Client, alice: Any) -> None:
    former = settings.SECRET_KEY
    signing = {"SIMPLE_JWT": {**settings.SIMPLE_JWT, "SIGNING_KEY": former}}
    with override_settings(SECRET_KEY="another one, that is long enough for all purposes", **signing):
        assert client.get(place).status_code == 404
        with override_settings(SECRET_KEY_FALLBACKS=[former]):
            new = "/status/" + reference(sessions.open_session(alice))[0]
            for address in (place, new, place):
                assert payload_of_former(client.get(address), former)["sub"] == URI + address.removeprefix("/status/")


def payload_of_former(answer: Any, key: str) -> dict[str, Any]:
    return jwt.decode(answer.content.decode(), key, algorithms=["HS256"])


def test_while_redis_is_down_it_is_503(alice: Any, client: Client) -> None:
    with RedisServer() as server, pointed_at(server, STATUS_LIST={"uri": URI}):
        address = "/status/" + reference(sessions.open_session(alice))[0]
        server.kill()
        with override_settings(ROOT_URLCONF="tests.projects.status_urls"):
            answer = client.get(address)
    assert answer.status_code == 503
    assert answer["Retry-After"] == "1" and answer["Cache-Control"] == "no-store"
    assert answer["Access-Control-Allow-Origin"] == "*"
    assert answer.json()["code"] == "revocation_unavailable"


def test_it_is_no_access_token(place: str, client: Client) -> None:
    raw = client.get(place).content.decode()
    for cls in (AccessToken, RefreshToken, SlidingToken, UntypedToken):
        with pytest.raises(TokenError):
            cls(raw)
    assert client.get("/whoami/", HTTP_AUTHORIZATION=f"Bearer {raw}").status_code == 401


def test_the_issuer_is_that_of_the_tokens(published: None, alice: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "token_backend", TokenBackend("ES256", PRIVATE, PUBLIC, issuer="https://example.com"))
    token = sessions.open_session(alice)
    found = sessions.status_list_token(reference(token)[0])
    assert found is not None
    assert payload_of(found.token)["iss"] == "https://example.com"


# Signed seldom, and never old ---------------------------------------------------------------------------------------


@pytest.fixture
def signatures(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    made: list[Any] = []
    sign = status_list.sign

    def noted(payload: Any) -> str:
        made.append(payload)
        return sign(payload)

    monkeypatch.setattr(status_list, "sign", noted)
    return made


def test_one_signature_serves_many(place: str, client: Client, signatures: list[Any]) -> None:
    first = client.get(place).content
    assert all(client.get(place).content == first for _ in range(20))
    assert len(signatures) == 1


def test_an_old_list_is_signed_by_one_and_served_by_the_others(
    place: str, client: Client, signatures: list[Any], store: redis.Redis
) -> None:
    client.get(place)
    key = f"jwt:{{log}}:status:{status_list.name_of(place.removeprefix('/status/'))}:signed"
    age(store, key, 16)
    signed = store.get(key)
    # Somebody is at it.
    store.set(key.removesuffix("signed") + "signing", "1")
    answer = client.get(place)
    assert answer.content.decode() == (signed or "").split("|")[2]
    # Thirty seconds from the signature on, of which sixteen are over: or a few more.
    assert 1 <= int(answer["Cache-Control"].removeprefix("public, max-age=")) <= 14
    assert len(signatures) == 1
    store.delete(key.removesuffix("signed") + "signing")
    client.get(place)
    assert len(signatures) == 2


@pytest.mark.parametrize("seconds", [31, -100])
def test_a_list_older_than_promised_is_not_served(
    seconds: int, place: str, client: Client, signatures: list[Any], store: redis.Redis
) -> None:
    client.get(place)
    key = f"jwt:{{log}}:status:{status_list.name_of(place.removeprefix('/status/'))}:signed"
    age(store, key, seconds)
    store.set(key.removesuffix("signed") + "signing", "1")
    client.get(place)
    assert len(signatures) == 2


def age(store: redis.Redis, key: str, seconds: int) -> None:
    signed_ms, kid, token = (store.get(key) or "").split("|")
    store.set(key, f"{int(signed_ms) - seconds * 1000}|{kid}|{token}")


def test_who_is_held_up_while_signing_keeps_nothing_old(
    place: str,
    published: None,
    store: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with override_settings(JWT_REDIS=settings_of(ttl=1)):
        encode = status_list.encode
        monkeypatch.setattr(status_list, "encode", lambda bits: (time.sleep(0.6), encode(bits))[1])
        assert sessions.status_list_token(place.removeprefix("/status/")) is not None
    assert not store.keys("*:signed")
    assert not [one for one in caplog.records if one.levelname == "ERROR"]


def test_a_signed_list_is_gone_with_everything(place: str, client: Client, store: redis.Redis) -> None:
    client.get(place)
    sessions.revoke_everything()
    lst = payload_of(client.get(place).content.decode())["status_list"]
    assert all(BitArray.load(lst).get(index) == INVALID for index in (0, 77, 2**17 - 1))


# Settings ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("https://example.com/", "None, or a dict"),
        ({}, "uri: it is missing"),
        ({"uri": "example.com/status"}, "uri: "),
        ({"uri": "https://example.com/status?x=1"}, "uri: "),
        ({"uri": URI, "ttl": 0}, "ttl: "),
        ({"uri": URI, "ttl": 1.5}, "ttl: "),
        ({"uri": URI, "ttl": True}, "ttl: "),
        ({"uri": URI, "ttl": 10**9}, "ttl: "),
        ({"uri": URI, "size": 1000}, "size: "),
        ({"uri": URI, "size": 2**10 + 1}, "size: "),
        ({"uri": URI, "size": 2**30}, "size: "),
        ({"uri": URI, "bits": 2}, "'bits' is not one of"),
    ],
)
def test_a_wrong_setting_is_said_by_check(value: Any, said: str) -> None:
    with override_settings(JWT_REDIS={**settings.JWT_REDIS, "STATUS_LIST": value}):
        (error,) = [one for one in checks.run_checks() if one.id == "jwt_redis.E002"]
    assert f"STATUS_LIST: {said}" in error.msg


def test_what_others_could_not_verify_or_reach_is_warned_of(asymmetric: None) -> None:
    def ids() -> set[str]:
        return {str(one.id) for one in checks.run_checks() if str(one.id) in ("jwt_redis.W008", "jwt_redis.W009")}

    assert ids() == set()
    with override_settings(JWT_REDIS=settings_of()):
        assert ids() == {"jwt_redis.W008", "jwt_redis.W009"}
        with override_settings(ROOT_URLCONF="tests.projects.status_urls"):
            assert ids() == {"jwt_redis.W008"}
            with override_settings(SIMPLE_JWT={**settings.SIMPLE_JWT, "ALGORITHM": "ES256"}):
                assert ids() == set()


def test_a_server_that_evicts_is_refused() -> None:
    with RedisServer(options={"maxmemory": "100mb", "maxmemory-policy": "allkeys-lru"}) as evicting:
        with pointed_at(evicting):
            sessions.end_session(1, sessions.new_sid())
        with pointed_at(evicting, STATUS_LIST={"uri": URI}), pytest.raises(RevocationUnavailable):
            sessions.end_session(1, sessions.new_sid())


# Async, Cluster ------------------------------------------------------------------------------------------------------


async def test_over_asyncio(published: None, alice: Any) -> None:
    token = await sessions.aopen_session(alice)
    list_id, index = reference(token)
    found = await sessions.astatus_list_token(list_id)
    assert found is not None
    assert BitArray.load(payload_of(found.token)["status_list"]).get(index) == VALID
    assert await sessions.astatus_list_token("x") is None
    await sessions.arotate(token, alice)
    await sessions.aend_session(alice, token["sid"])
    many = await asyncio.gather(*(sessions.astatus_list_token(list_id) for _ in range(10)))
    assert all(one is not None and one.token == found.token for one in many)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster() as made:
        yield made


def test_in_cluster(django_user_model: Any, cluster: Cluster) -> None:
    with pointed_at(cluster, STATUS_LIST={"uri": URI}):
        node = cluster.owner_of("{log}")
        with redis.Redis(port=node.port, decode_responses=True) as store:
            users = [django_user_model.objects.create_user(f"user{number}") for number in range(8)]
            tokens = [sessions.open_session(user) for user in users]
            assert {status_of(token, store) for token in tokens} == {VALID}
            for user, token in zip(users[::2], tokens[::2], strict=True):
                sessions.end_session(user, token["sid"])
            access = tokens[1].access_token
            sessions.revoke_token(str(access))
            assert [status_of(token, store) for token in tokens] == [1, 1, 1, 0, 1, 0, 1, 0]
            successor = refreshed(str(tokens[1]))
            assert status_of(successor, store) == VALID
            sessions.end_all_sessions(users[1])
            assert status_of(successor, store) == INVALID


def test_in_cluster_an_end_that_did_not_reach_the_log_is_told_again(django_user_model: Any, cluster: Cluster) -> None:
    with pointed_at(cluster, STATUS_LIST={"uri": URI}):
        user = django_user_model.objects.create_user("user")
        token, other = sessions.open_session(user), sessions.open_session(user)
        access = other.access_token
        node = cluster.owner_of("{log}")
        with redis.Redis(port=node.port, decode_responses=True) as store:
            key = f"jwt:{{log}}:status:{status_list.name_of(reference(token)[0])}"
            before = store.bitcount(key)
            # The scripts of the user's node, as they would have run; what they return has not arrived.
            for command in (
                commands.end_sessions(str(user.pk), (token["sid"],), reason="logout"),
                commands.blacklist_token(str(user.pk), access["jti"], access["exp"], reason="x", sid=other["sid"]),
            ):
                args = (*command.keys[:2], "", *command.args)
                with redis.Redis(port=cluster.owner_of(command.keys[0]).port, decode_responses=True) as owner:
                    owner.eval(command.script.text, 2, *args)
            assert store.bitcount(key) == before
            successor = refreshed(str(other))
            sessions.end_session(user, token["sid"])
            sessions.revoke_token(str(access))
            assert [status_of(one, store) for one in (token, access, successor)] == [INVALID, INVALID, VALID]

        with redis.Redis(port=node.port, decode_responses=True) as store:
            for make, again in (
                (commands.end_all_sessions(str(user.pk), reason="x"), sessions.end_all_sessions),
                (
                    commands.end_other_sessions(str(user.pk), sid := sessions.new_sid(), reason="x"),
                    lambda user, sid=sid: sessions.end_other_sessions(user, sid),
                ),
            ):
                token = sessions.open_session(user)
                with redis.Redis(port=cluster.owner_of(make.keys[0]).port, decode_responses=True) as owner:
                    owner.eval(make.script.text, 2, *make.keys[:2], "", *make.args)
                assert status_of(token, store) == VALID
                again(user)
                assert status_of(token, store) == INVALID


# The page, and a service in another language as it has it ------------------------------------------------------------

PAGE = ROOT / "docs/how-to/status-list.md"


def test_what_the_page_has_in_python(asymmetric: None, published: None, alice: Any, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(PRIVATE)
    (tmp_path / "pub").write_text(PUBLIC)
    files = {"/run/secrets/jwt.key": tmp_path / "key", "/etc/jwt.pub": tmp_path / "pub"}
    made: dict[str, Any] = {"jwt_redis": jwt_redis, "Path": files.__getitem__, "path": path, "include": include}
    for block in blocks(PAGE, "python"):
        exec(block.code, made)  # noqa: S102
    with override_settings(JWT_REDIS=made["JWT_REDIS"], SIMPLE_JWT=made["SIMPLE_JWT"]):
        assert [one for one in checks.run_checks() if str(one.id) in ("jwt_redis.E002", "jwt_redis.W008")] == []
        (said,) = blocks(PAGE, "json")
        theirs, ours = json.loads(said.code)["status"]["status_list"], sign_in(alice)[1]["status"]["status_list"]
        assert theirs.keys() == ours.keys()
        shapes = [re.sub(r"[\w-]", "x", one["uri"]) for one in (theirs, ours)]
        assert shapes[0] == shapes[1]
    assert [str(pattern.pattern) for pattern in made["urlpatterns"]] == ["status/"]


# What the page has is within a function; it reads access tokens, one a line.
SERVICE = """
import {{ createInterface }} from 'node:readline';
import {{ importSPKI }} from 'jose';
{imports}
const key = await importSPKI(process.env.PUBLIC_KEY, 'ES256');
async function check(token) {{
{body}
}}
for await (const line of createInterface({{ input: process.stdin }})) {{
  console.log(await check(line).then(() => 'good', (error) => error.message));
}}
"""


@pytest.fixture(scope="session")
def node_service(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("npm") is None:
        pytest.skip("there is no npm to install a foreign implementation with")
    folder = tmp_path_factory.mktemp("node")
    shutil.copy(Path(__file__).parent / "status_list_node/package.json", folder)
    done = subprocess.run(
        [str(shutil.which("npm")), "install", "--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
def test_a_service_in_another_language_hears_of_it(
    node_service: Path,
    asymmetric: None,
    request: pytest.FixtureRequest,
    alice: Any,
    bob: Any,
    store: redis.Redis,
) -> None:
    with override_settings(STATIC_URL="/static/"):  # it looks for static files, and at nothing else
        url = request.getfixturevalue("live_server").url
    (told,) = blocks(PAGE, "js")
    lines = told.code.replace(URI, f"{url}/status/").splitlines()
    service = SERVICE.format(
        imports="\n".join(line for line in lines if line.startswith("import ")),
        body="\n".join(line for line in lines if not line.startswith("import ")),
    )
    (node_service / "service.mjs").write_text(service)
    wanted = {**settings.JWT_REDIS, "STATUS_LIST": {"uri": f"{url}/status/"}}
    with (
        override_settings(JWT_REDIS=wanted, ROOT_URLCONF="tests.projects.status_urls"),
        subprocess.Popen(
            [str(shutil.which("node")), "service.mjs"],
            cwd=node_service,
            env={**os.environ, "PUBLIC_KEY": PUBLIC},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process,
    ):

        def ask(raw: str) -> str:
            forget_signed(store)
            assert process.stdin is not None and process.stdout is not None
            process.stdin.write(raw + "\n")
            process.stdin.flush()
            return process.stdout.readline().strip()

        credentials = {"username": "alice", "password": "correct horse"}
        raw = requests.post(f"{url}/auth/token/", credentials, timeout=10).json()["access"]
        bobs = str(sessions.open_session(bob).access_token)
        assert (ask(raw), ask(bobs)) == ("good", "good")
        bearer = {"Authorization": f"Bearer {raw}"}
        assert requests.post(f"{url}/auth/logout/", headers=bearer, timeout=10).status_code < 300
        assert (ask(raw), ask(bobs)) == ("revoked", "good")
        sessions.revoke_everything()
        assert ask(bobs) == "revoked"
        header, payload, signature = bobs.split(".")
        claims = json.loads(base64.urlsafe_b64decode(payload + "==="))
        for changed, said in ((f"{url}/status/x", "no list: 404"), ("https://example.org/", "not our list")):
            claims["status"]["status_list"]["uri"] = changed
            assert ask(jwt.encode(claims, PRIVATE, "ES256")) == said
        assert ask(f"{header}.{payload}.{signature[::-1]}") == "signature verification failed"
        process.stdin.close()  # type: ignore[union-attr]
