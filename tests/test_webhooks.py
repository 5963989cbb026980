"""Webhooks over real HTTP, to receivers that behave, and to such as do not."""

from __future__ import annotations

import json
import random
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from io import StringIO
from typing import Any

import jwt
import pytest
import trustme
from asgiref.sync import sync_to_async
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction
from django.test import Client
from django.utils import timezone
from joserfc import jws
from joserfc.jwk import ECKey
from prometheus_client import REGISTRY
from rest_framework_simplejwt.exceptions import TokenError

from jwt_redis import conf, journal, sessions
from jwt_redis.contrib.prometheus.metrics import observer
from jwt_redis.contrib.webhooks import checks, outbox, places
from jwt_redis.contrib.webhooks.models import Delivery, Receiver
from jwt_redis.contrib.webhooks.sending import Tally, deliver
from jwt_redis.contrib.webhooks.tokens import SESSION_REVOKED, STREAM_UPDATED, VERIFICATION, claims_of, sign
from jwt_redis.diagnosis import diagnose
from jwt_redis.exceptions import RevocationUnavailable
from jwt_redis.keys import user_tag
from jwt_redis.models import Revocation
from jwt_redis.observers import install, uninstall
from jwt_redis.tokens import AccessToken, RefreshToken
from tests.support.receiver import Endpoint, Handler, accept, answering, endless, hanging_up, listening, trickling
from tests.test_redis_failure import pointed_at

pytestmark = pytest.mark.django_db

ISSUER = "https://issuer.example.com"
KEY = ec.generate_private_key(ec.SECP256R1())
PEM = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
QUICK = {
    "issuer": ISSUER,
    "algorithm": "ES256",
    "signing_key": PEM,
    "networks": ["127.0.0.0/8"],
    "allow_http": True,
    # For a machine that does much else: what is to run into it says so.
    "timeout": 10.0,
    "first_delay": 0.01,
    "longest_delay": 0.02,
}

Configure = Callable[..., None]


@pytest.fixture(autouse=True)
def configure(settings: Any) -> Configure:
    def change(**more: Any) -> None:
        settings.JWT_REDIS = {"ALIAS": "sessions", "WEBHOOKS": {**QUICK, **more}}

    change()
    return change


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with listening() as made:
        yield made


@pytest.fixture
def receiver(endpoint: Endpoint) -> Receiver:
    return receiver_at(endpoint.url)


def receiver_at(url: str, name: str = "partner") -> Receiver:
    return Receiver.objects.create(name=name, url=url, audience=f"{name}-client")


def end_one(user: Any, reason: str = "logout") -> str:
    sid = RefreshToken.for_user(user)["sid"]
    sessions.end_session(user, sid, reason=reason)
    return str(sid)


def read(token: str, audience: str = "partner-client") -> dict[str, Any]:
    """As a receiver does."""
    assert jwt.get_unverified_header(token) == {"typ": "secevent+jwt", "alg": "ES256"}
    options: Any = {"require": ["iss", "iat", "jti", "aud"]}
    return jwt.decode(token, KEY.public_key(), algorithms=["ES256"], audience=audience, issuer=ISSUER, options=options)


def only_row() -> Delivery:
    return Delivery.objects.get()


def due_now() -> None:
    """What waits for its next attempt need not."""
    Delivery.objects.update(due_at=timezone.now() - timedelta(seconds=1))
    Receiver.objects.update(held_until=None)


# What is said --------------------------------------------------------------------------------------------------------


def test_the_end_of_a_session_is_pushed_as_caep_has_it(endpoint: Endpoint, receiver: Receiver, alice: Any) -> None:
    before = int(time.time())
    sid = end_one(alice, "password_changed")
    assert deliver() == Tally(delivered=1)
    ((headers, token),) = endpoint.seen
    assert headers["Content-Type"] == "application/secevent+jwt" and headers["Accept"] == "application/json"
    assert "Authorization" not in headers
    claims = read(token)
    at = claims["iat"]
    assert before <= at <= time.time()
    row = only_row()
    # The members of the examples in section 3.1.2 of OpenID CAEP 1.0, and no others but toe (RFC 8417 section 2.2).
    assert claims == {
        "iss": ISSUER,
        "jti": row.jti,
        "iat": at,
        "aud": "partner-client",
        "txn": Revocation.objects.get(target=sid).key[:32],
        "toe": at,
        "sub_id": {
            "format": "complex",
            "user": {"format": "iss_sub", "iss": ISSUER, "sub": str(alice.pk)},
            "session": {"format": "opaque", "id": sid},
        },
        "events": {
            SESSION_REVOKED: {
                "event_timestamp": at,
                "initiating_entity": "system",
                "reason_admin": {"en": "password_changed"},
            }
        },
    }
    assert row.delivered_at is not None and row.attempts == 1
    assert deliver() == Tally()


def test_somebody_elses_library_verifies_it(endpoint: Endpoint, receiver: Receiver, alice: Any) -> None:
    sid = end_one(alice)
    deliver()
    key = ECKey.import_key(KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())
    found = jws.deserialize_compact(endpoint.tokens[0], key, algorithms=["ES256"])
    assert found.headers()["typ"] == "secevent+jwt"
    assert json.loads(found.payload or b"")["sub_id"]["session"]["id"] == sid


def test_others_a_user_and_everything_are_events_and_a_single_token_is_none(receiver: Receiver, alice: Any) -> None:
    kept = RefreshToken.for_user(alice)
    sessions.end_other_sessions(alice, kept["sid"])
    sessions.end_all_sessions(alice)
    moment = sessions.revoke_everything(reason="incident")
    sessions.revoke_token(str(RefreshToken.for_user(alice).access_token))
    others, user, everything = (claims_of(row) for row in Delivery.objects.order_by("pk"))
    whom = {"format": "iss_sub", "iss": ISSUER, "sub": str(alice.pk)}
    assert others["sub_id"] == user["sub_id"] == {"format": "complex", "user": whom}
    assert others["events"][SESSION_REVOKED]["kept_session"] == {"format": "opaque", "id": kept["sid"]}
    assert "kept_session" not in user["events"][SESSION_REVOKED]
    assert user["events"][SESSION_REVOKED]["initiating_entity"] == "user"
    assert everything["sub_id"] == {"format": "complex", "tenant": {"format": "uri", "uri": ISSUER}}
    assert everything["events"][SESSION_REVOKED]["reason_admin"] == {"en": "incident"}
    sessions.revoke_everything(moment - timedelta(hours=1))
    earlier = claims_of(Delivery.objects.latest("pk"))["events"][SESSION_REVOKED]["before"]
    assert earlier == pytest.approx(moment.timestamp() - 3600, abs=0.002)


def test_it_has_neither_exp_nor_sub_and_is_no_token_of_ours(
    receiver: Receiver, alice: Any, configure: Configure, settings: Any
) -> None:
    configure(algorithm="HS256", signing_key=settings.SECRET_KEY)
    end_one(alice)
    claims = claims_of(only_row())
    assert not {"exp", "sub", "nbf"} & claims.keys()
    # Signed by the very secret that access tokens are signed with.
    for cls in (AccessToken, RefreshToken):
        with pytest.raises(TokenError):
            cls(sign(claims))  # type: ignore[arg-type]


def test_an_id_that_no_database_takes_arrives_as_it_is(endpoint: Endpoint, receiver: Receiver) -> None:
    odd = ["log", "{x}", "nul\0", "half\ud800", "ü" * 200, "'; DROP TABLE x", "%41"]
    for user in odd:
        sessions.end_all_sessions(user)
    while deliver().total:
        pass
    assert sorted(read(token)["sub_id"]["user"]["sub"] for token in endpoint.tokens) == sorted(odd)


def test_a_user_who_is_known_by_tag_is_named_by_id(endpoint: Endpoint, receiver: Receiver) -> None:
    sessions.end_all_sessions(user_tag("Zoë {x}"))
    deliver()
    assert read(endpoint.tokens[0])["sub_id"]["user"]["sub"] == "Zoë {x}"


def opaque(user: str, audience: str) -> dict[str, str]:
    return {"format": "opaque", "id": f"{audience}/{user[::-1]}"}


def test_the_project_says_what_of_the_user_goes_out(
    endpoint: Endpoint, receiver: Receiver, configure: Configure
) -> None:
    configure(user_subject=f"{__name__}.opaque", issuer=ISSUER)
    sessions.end_all_sessions("abc")
    deliver()
    assert read(endpoint.tokens[0])["sub_id"]["user"] == {"format": "opaque", "id": "partner-client/cba"}


@pytest.mark.parametrize(
    "made",
    [
        {"format": "aliases", "identifiers": [{"format": "email", "email": "a@b"}, {"format": "opaque", "id": "x"}]},
        {"format": "agreed", "whatever": {"is": 1}},
    ],
)
def test_several_names_and_formats_that_were_agreed_upon_go_out(
    made: dict[str, Any], receiver: Receiver, configure: Configure
) -> None:
    configure(user_subject=lambda user, audience: made)
    sessions.end_all_sessions("abc")
    assert claims_of(only_row())["sub_id"]["user"] == made


@pytest.mark.parametrize(
    "made",
    [
        None,
        {},
        {"format": "email"},
        {"format": ["email"]},
        {"format": "opaque", "id": ""},
        {"format": "opaque", "id": 5},
        {"format": "opaque", "id": "x", "name": "more than the format has"},
        {"format": "complex", "user": {"format": "opaque", "id": "x"}},
        {"format": "aliases", "identifiers": []},
        {"format": "aliases", "identifiers": "opaque"},
        {"format": "aliases", "identifiers": [{"format": "opaque"}]},
        {"format": "aliases", "identifiers": [{"format": "opaque", "id": "x"}], "id": "y"},
        {"format": "aliases", "identifiers": [{"format": "aliases", "identifiers": [{"format": "opaque", "id": "x"}]}]},
        "text",
    ],
)
def test_what_is_no_subject_identifier_is_not_sent(
    made: Any, endpoint: Endpoint, receiver: Receiver, configure: Configure
) -> None:
    configure(user_subject=lambda user, audience: made)
    sessions.end_all_sessions("abc")
    assert deliver() == Tally(failed=1) and not endpoint.seen
    assert "RFC 9493" in only_row().said
    configure(user_subject=None)
    due_now()
    assert deliver() == Tally(delivered=1)


def test_a_verification_event_is_about_the_stream(endpoint: Endpoint, receiver: Receiver) -> None:
    outbox.send_trial(receiver)
    deliver()
    claims = read(endpoint.tokens[0])
    assert claims["sub_id"] == {"format": "opaque", "id": receiver.stream} and claims["events"] == {VERIFICATION: {}}


# When it is written ---------------------------------------------------------------------------------------------------


def test_what_is_rolled_back_is_not_said(receiver: Receiver, alice: Any) -> None:
    sid = RefreshToken.for_user(alice)["sid"]
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        sessions.end_session(alice, sid)
        assert Delivery.objects.count() == 1
        raise ZeroDivisionError
    assert not Delivery.objects.exists() and not Revocation.objects.filter(target=sid).exists()


def test_a_session_that_ends_twice_is_one_event_for_each_receiver(receiver: Receiver, alice: Any) -> None:
    receiver_at("https://other.example.com", "other")
    off = receiver_at("https://off.example.com", "off")
    Receiver.objects.filter(pk=off.pk).update(is_enabled=False)
    sid = end_one(alice)
    sessions.end_session(alice, sid)
    assert sorted(Delivery.objects.values_list("receiver__name", flat=True)) == ["other", "partner"]


def test_while_redis_is_down_it_is_written_all_the_same(receiver: Receiver, alice: Any) -> None:
    sid = RefreshToken.for_user(alice)["sid"]
    with pointed_at("redis://127.0.0.1:1/0"), pytest.raises(RevocationUnavailable):
        sessions.end_session(alice, sid)
    assert Revocation.objects.get(target=sid).applied_at is None
    assert Delivery.objects.filter(target=sid).count() == 1


def test_off_it_costs_no_query(alice: Any, settings: Any, django_assert_num_queries: Any, receiver: Receiver) -> None:
    from django.test.utils import CaptureQueriesContext

    sids = [RefreshToken.for_user(alice)["sid"] for _ in range(2)]
    settings.JWT_REDIS = {"ALIAS": "sessions"}
    sessions.end_session(alice, end_one(alice))
    with CaptureQueriesContext(connection) as queries:
        sessions.end_session(alice, sids[0])
    assert queries.captured_queries and not any("webhooks" in query["sql"] for query in queries.captured_queries)
    assert not Delivery.objects.exists()


def test_what_cannot_be_written_is_not_acknowledged(receiver: Receiver, alice: Any) -> None:
    sid = RefreshToken.for_user(alice)["sid"]
    table = Delivery._meta.db_table
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE {table} RENAME TO elsewhere")
        with pytest.raises(RevocationUnavailable):
            sessions.end_session(alice, sid)
        # Neither is there without the other; and Redis was told.
        assert not Revocation.objects.filter(target=sid).exists()
        (webhooks,) = [one for one in diagnose().findings if one.code == "webhooks"]
        assert webhooks.level == "problem"
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE elsewhere RENAME TO {table}")
    with pytest.raises(TokenError):
        RefreshToken(sid)


def test_whatever_ends_a_session_is_said(receiver: Receiver, alice: Any, settings: Any) -> None:
    settings.JWT_REDIS = {**settings.JWT_REDIS, "MAX_SESSIONS": 1, "REFRESH_GRACE": 0}

    def last() -> tuple[str, str, str]:
        row = Delivery.objects.latest("pk")
        return row.kind, row.reason, row.initiator

    first = RefreshToken.for_user(alice)
    str(first)
    str(RefreshToken.for_user(alice))
    row = Delivery.objects.get()
    assert row.target == first["sid"] and row.reason == "max_sessions"
    call_command("jwt_revoke", "--user", "alice", stdout=StringIO())
    assert last() == ("user", "revoked", "admin")
    alice.set_password("another one")
    alice.save()
    assert last() == ("user", "password_changed", "system")
    old = str(RefreshToken.for_user(alice))
    for status in (200, 401):
        assert Client().post("/auth/token/refresh/", {"refresh": old}).status_code == status
    assert last() == ("session", "refresh_token_reused", "system")
    with journal.acting_as(alice.pk):
        sessions.end_all_sessions(alice)
    assert last() == ("user", "logout_all", "user")


@pytest.mark.django_db(transaction=True)
async def test_async_code_says_it_too(endpoint: Endpoint) -> None:
    await Receiver.objects.acreate(name="partner", url=endpoint.url, audience="partner-client")
    await sessions.aend_all_sessions("abc")
    assert await sync_to_async(deliver)() == Tally(delivered=1)
    assert read(endpoint.tokens[0])["sub_id"]["user"]["sub"] == "abc"


def test_without_time_zones_it_is_tried_and_given_up_as_with_them(
    endpoint: Endpoint, receiver: Receiver, alice: Any, settings: Any
) -> None:
    settings.USE_TZ = False
    end_one(alice)
    endpoint.behave = answering(500)
    assert deliver() == Tally(failed=1)
    row = only_row()
    assert row.due_at > row.waiting_since and abs(read(endpoint.tokens[0])["iat"] - time.time()) < 60
    Delivery.objects.update(waiting_since=row.waiting_since - timedelta(days=8), due_at=row.waiting_since)
    Receiver.objects.update(held_until=None)
    assert deliver() == Tally(dead=1)
    assert outbox.waiting_facts() == (0, 0.0)


# Receivers that do not do as they should ------------------------------------------------------------------------------


def test_until_it_is_taken_it_is_the_same_token(endpoint: Endpoint, receiver: Receiver, alice: Any) -> None:
    end_one(alice)
    endpoint.behave = answering(503, b"later")
    for attempt in range(1, 5):
        assert deliver() == Tally(failed=1)
        row = only_row()
        assert row.attempts == attempt and row.due_at > row.waiting_since and row.said == "503. later"
        due_now()
    endpoint.behave = accept
    assert deliver() == Tally(delivered=1)
    first, *rest = [read(token) for token in endpoint.tokens]
    assert len(rest) == 4 and all(claims == first for claims in rest)
    assert Receiver.objects.get().failures == 0


@pytest.mark.parametrize(
    "behave",
    [
        *(answering(status) for status in (200, 204, 301, 307, 400, 401, 403, 404, 410, 429, 500, 503)),
        answering(400, b"<h1>Bad request</h1>"),
        answering(400, b'{"error": "x"}'),
        answering(400, b'{"err": 1}'),
        answering(400, b"[" * 100_000),
        answering(500, b"nul \0 \xff"),
        trickling,
        endless,
        hanging_up,
        lambda request: request.wfile.write(b"SSH-2.0-OpenSSH_9.2\r\n"),
        lambda request: request.wfile.write(b"HTTP/1.1 202 OK\r\nX: " + b"x" * 1_000_000),
    ],
)
def test_anything_but_202_and_err_may_pass(
    behave: Any, endpoint: Endpoint, receiver: Receiver, alice: Any, configure: Configure
) -> None:
    if behave is trickling:
        configure(timeout=1.0)
    end_one(alice)
    endpoint.behave = behave
    assert deliver() == Tally(failed=1)
    row = only_row()
    assert row.dead_at is None and row.said and len(row.said) < 600 and row.lease == ""
    configure()
    endpoint.behave = accept
    due_now()
    assert deliver() == Tally(delivered=1)


@pytest.mark.parametrize("code", ["invalid_request", "invalid_issuer", "invalid_audience", "of_their_own"])
def test_an_error_of_rfc_8935_is_the_end_until_somebody_sends_it_again(
    code: str, endpoint: Endpoint, receiver: Receiver, alice: Any
) -> None:
    end_one(alice)
    body = json.dumps({"err": code, "description": "No.\nNever."}).encode()
    endpoint.behave = answering(400, body, Content_Type="application/json")
    assert deliver() == Tally(dead=1) and deliver() == Tally()
    row = only_row()
    assert row.dead_at is not None and row.said == f"{code}: No. Never."
    endpoint.behave = accept
    assert outbox.send_again(Delivery.objects.all()) == 1
    assert deliver() == Tally(delivered=1)
    assert outbox.send_again(Delivery.objects.all()) == 0
    first, second = (read(token)["jti"] for token in endpoint.tokens)
    assert first == second


@pytest.mark.parametrize("code", ["invalid_key", "authentication_failed", "access_denied"])
def test_an_error_that_another_key_or_secret_puts_right_may_pass(
    code: str, endpoint: Endpoint, receiver: Receiver, alice: Any
) -> None:
    """While keys are changed, on whichever side, nothing is lost."""
    for _ in range(20):
        end_one(alice)
    endpoint.behave = answering(400, json.dumps({"err": code, "description": "Not now."}).encode())
    assert deliver() == Tally(failed=16)
    assert {row.said for row in Delivery.objects.filter(attempts=1)} == {f"{code}: Not now."}
    due_now()
    # It is one that takes nothing, and is asked with one at a time.
    assert deliver() == Tally(failed=1)
    endpoint.behave = accept
    due_now()
    while deliver().total:
        pass
    assert not outbox.waiting().exists() and not outbox.dead().exists()


def test_after_a_change_of_the_key_what_waits_is_signed_anew(
    endpoint: Endpoint, receiver: Receiver, alice: Any, configure: Configure
) -> None:
    end_one(alice)
    endpoint.behave = answering(400, b'{"err": "invalid_key"}')
    assert deliver() == Tally(failed=1)
    other = ec.generate_private_key(ec.SECP256R1())
    configure(signing_key=other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(), key_id="2")
    endpoint.behave = accept
    due_now()
    assert deliver() == Tally(delivered=1)
    before, after = endpoint.tokens
    assert jwt.get_unverified_header(after)["kid"] == "2"
    read_again = jwt.decode(after, other.public_key(), algorithms=["ES256"], audience="partner-client")
    assert read_again == read(before)


def test_who_takes_some_and_asks_to_be_left_alone_is_left_alone(
    endpoint: Endpoint, receiver: Receiver, alice: Any, configure: Configure
) -> None:
    configure(longest_delay=1000)
    for _ in range(20):
        end_one(alice)
    taken = threading.Semaphore(3)

    def behave(request: Any) -> None:
        if taken.acquire(blocking=False):
            request.answer(202)
        else:
            request.answer(429, Retry_After="500")

    endpoint.behave = behave
    assert deliver() == Tally(delivered=3, failed=13)
    # Nor do those that were not among them go there now.
    assert deliver() == Tally() and len(endpoint.seen) == 16
    held = Receiver.objects.get()
    assert held.failures == 0 and held.held_until is not None
    endpoint.behave = accept
    due_now()
    while deliver().total:
        pass
    assert not outbox.waiting().exists()


def test_what_cannot_be_said_is_not_the_receivers_fault(
    endpoint: Endpoint, receiver: Receiver, alice: Any, configure: Configure
) -> None:
    def known_as(user: str, audience: str) -> dict[str, str]:
        if user == "poison":
            raise LookupError("nobody of that name")
        return {"format": "opaque", "id": user}

    configure(user_subject=known_as, first_delay=100, longest_delay=100)
    sessions.end_all_sessions("poison")
    assert deliver() == Tally(failed=1)
    row, held = only_row(), Receiver.objects.get()
    assert row.said == "LookupError: nobody of that name" and (held.failures, held.held_until) == (0, None)
    for _ in range(3):
        end_one(alice)
    # At once, and not one at a time.
    assert deliver() == Tally(delivered=3)


def test_of_a_body_without_end_the_beginning_is_read(endpoint: Endpoint, receiver: Receiver, alice: Any) -> None:
    end_one(alice)
    endpoint.behave = endless
    assert deliver() == Tally(failed=1)
    assert only_row().said.startswith("500. xxx")


def test_a_redirect_is_not_followed(endpoint: Endpoint, receiver: Receiver, alice: Any) -> None:
    with listening() as elsewhere:
        endpoint.behave = answering(307, Location=elsewhere.url)
        end_one(alice)
        assert deliver() == Tally(failed=1) and not elsewhere.seen
    assert "202 was expected" in only_row().said


def test_it_is_given_up_in_the_end(endpoint: Endpoint, receiver: Receiver, alice: Any) -> None:
    end_one(alice)
    endpoint.behave = answering(500)
    Delivery.objects.update(waiting_since=timezone.now() - timedelta(days=6, hours=23))
    assert deliver() == Tally(failed=1)
    due_now()
    Delivery.objects.update(waiting_since=timezone.now() - timedelta(days=7, minutes=1))
    assert deliver() == Tally(dead=1)


def test_pauses_grow_up_to_a_bound_and_a_receiver_may_ask_for_longer(
    endpoint: Endpoint, receiver: Receiver, alice: Any, configure: Configure
) -> None:
    configure(first_delay=10, longest_delay=100)
    end_one(alice)
    endpoint.behave = answering(503)
    pauses = []
    for _attempt in range(6):
        before = timezone.now()
        assert deliver().failed == 1
        due = only_row().due_at
        # Between the two it was decided.
        pauses.append(((due - before).total_seconds(), (due - timezone.now()).total_seconds()))
        due_now()
    bounds = [10, 20, 40, 80, 100, 100]
    assert all(bound / 2 <= most and least <= bound for (most, least), bound in zip(pauses, bounds, strict=True))
    Delivery.objects.update(attempts=0)
    for asked, least in (("60", 59), ("999999", 99), ("tomorrow", 4)):
        endpoint.behave = answering(503, Retry_After=asked)
        before = timezone.now()
        deliver()
        due = only_row().due_at
        assert least <= (due - before).total_seconds() and (due - timezone.now()).total_seconds() <= 100
        Delivery.objects.update(attempts=0)
        due_now()


def test_who_is_away_holds_up_nobody_else_and_gets_all_when_back(
    endpoint: Endpoint, receiver: Receiver, alice: Any, configure: Configure
) -> None:
    configure(first_delay=1000, longest_delay=3600, timeout=10.0)
    with listening() as other:
        receiver_at(other.url, "other")
        endpoint.behave = answering(503)
        for _ in range(20):
            end_one(alice)
        while deliver().total:
            pass
        assert len(other.seen) == 20
        # One round of requests, and not one more until it may be back.
        assert len(endpoint.seen) == 16
        for _ in range(3):
            Receiver.objects.update(held_until=None)
            Delivery.objects.filter(delivered_at=None).update(leased_until=None)
            deliver()
    # One at a time, to see.
    assert len(endpoint.seen) == 19
    endpoint.behave = accept
    Receiver.objects.update(held_until=None)
    while deliver().total:
        pass
    assert not outbox.waiting().exists()
    assert len({read(token)["jti"] for token in endpoint.tokens}) == 20


def test_one_that_is_never_taken_holds_up_no_other(endpoint: Endpoint, receiver: Receiver, alice: Any) -> None:
    sessions.end_all_sessions("poison")

    def behave(request: Any) -> None:
        claims = read(request.body.decode())
        request.answer(500 if claims["sub_id"]["user"]["sub"] == "poison" else 202)

    endpoint.behave = behave
    deliver()
    for _ in range(40):
        end_one(alice)
    Delivery.objects.exclude(user="poison").update(due_at=timezone.now() - timedelta(hours=1))
    for _ in range(20):
        Receiver.objects.update(held_until=None)
        # It is due each time, and the one that was written first.
        due = timezone.now() - timedelta(seconds=1)
        Delivery.objects.filter(user="poison").update(due_at=due, leased_until=None)
        deliver()
    (left,) = outbox.waiting()
    assert left.user == "poison"


# Where to ------------------------------------------------------------------------------------------------------------


def tls_server(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return context


def test_a_certificate_has_to_be_of_a_trusted_authority_and_of_the_name(
    alice: Any, tmp_path: Any, configure: Configure
) -> None:
    own, foreign = trustme.CA(), trustme.CA()
    own.cert_pem.write_to_path(str(tmp_path / "own.pem"))
    foreign.cert_pem.write_to_path(str(tmp_path / "foreign.pem"))
    with listening(tls_server(own, "localhost")) as endpoint:
        receiver = receiver_at(endpoint.url.replace("127.0.0.1", "localhost"))
        end_one(alice)
        for ca_file in (None, str(tmp_path / "foreign.pem")):
            configure(allow_http=False, ca_file=ca_file)
            assert deliver() == Tally(failed=1)
            assert "CERTIFICATE_VERIFY_FAILED" in only_row().said
            due_now()
        configure(allow_http=False, ca_file=str(tmp_path / "own.pem"))
        # Another name for the same host.
        Receiver.objects.filter(pk=receiver.pk).update(url=endpoint.url)
        assert deliver() == Tally(failed=1) and "CERTIFICATE_VERIFY_FAILED" in only_row().said
        assert not endpoint.seen
        due_now()
        Receiver.objects.filter(pk=receiver.pk).update(url=receiver.url)
        assert deliver() == Tally(delivered=1)
        assert endpoint.seen[0][0]["Host"] == f"localhost:{endpoint.server_port}"


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.com/",
        "https://",
        "https:///x",
        "example.com",
        "",
        "https://user:secret@example.com/",
        "https://example.com/#x",
        "https://example.com:99999/",
        "https://[::1/",
        "https://exa mple.com/",
        "http://example.com/",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://10.0.0.1/",
        "https://169.254.169.254/latest/meta-data/",
        "https://0.0.0.0/",
        "https://224.0.0.1/",
        "https://[fe80::1]/",
        "https://100.64.0.1/",
        # As a gateway may have it.
        "https://[64:ff9b::169.254.169.254]/",
        "https://[64:ff9b:1::10.0.0.1]/",
        "https://[2002:7f00:1::1]/",
        "https://[::127.0.0.1]/",
        "https://[::ffff:0:127.0.0.1]/",
        "https://[fec0::1]/",
    ],
)
def test_a_receiver_is_public_and_has_tls(url: str, configure: Configure) -> None:
    configure(networks=[], allow_http=False)
    with pytest.raises(ValidationError) as error:
        Receiver(name="x", url=url, audience="x").full_clean()
    assert set(error.value.message_dict) == {"url"}


@pytest.mark.parametrize("host", ["93.184.215.14", "[2606:2800:21f::1]", "[64:ff9b::93.184.215.14]"])
def test_a_public_address_is_one_whichever_way_it_is_written(host: str, configure: Configure) -> None:
    configure(networks=[], allow_http=False)
    Receiver(name="x", url=f"https://{host}/", audience="x").full_clean()


@pytest.mark.parametrize("name", ["localhost", "127.1", "0x7f000001", "2130706433"])
def test_a_name_that_leads_to_a_private_address_is_not_connected_to(
    name: str, endpoint: Endpoint, alice: Any, configure: Configure
) -> None:
    configure(networks=[])
    receiver_at(endpoint.url.replace("127.0.0.1", name))
    end_one(alice)
    assert deliver() == Tally(failed=1) and not endpoint.seen
    assert "not a public address" in only_row().said


Lookup = Callable[..., Any]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, Lookup]:
    """What is said of some names in place of the resolver's answer."""
    made: dict[str, Lookup] = {}
    real = socket.getaddrinfo

    def getaddrinfo(host: Any, port: Any, *args: Any, **options: Any) -> Any:
        return made[host](port) if host in made else real(host, port, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return made


def leading_to(*addresses: str) -> Lookup:
    return lambda port: [
        (socket.AF_INET, kind, 0, "", (address, port))
        for address in addresses
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM)
    ]


def test_a_name_that_nobody_answers_for_holds_up_nobody_else(
    endpoint: Endpoint, receiver: Receiver, alice: Any, names: dict[str, Lookup], configure: Configure
) -> None:
    configure(timeout=5.0)
    is_over = threading.Event()
    lookups: list[int] = []

    def silent(port: int) -> Any:
        lookups.append(port)
        # As long as a resolver may take.
        is_over.wait(30)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    names["silent.example"] = silent
    receiver_at("https://silent.example/", "silent")
    try:
        for _ in range(3):
            end_one(alice)
        assert deliver() == Tally(delivered=3, failed=3)
        # It was not waited for, and asked once for all three.
        assert not is_over.is_set() and lookups == [443]
        assert {row.said for row in outbox.waiting()} == {"No answer within 5 s."}
    finally:
        is_over.set()


def test_the_next_address_is_tried_where_nobody_listens_at_the_first(
    endpoint: Endpoint, alice: Any, names: dict[str, Lookup]
) -> None:
    names["partner.example"] = leading_to("127.0.0.2", "127.0.0.1")
    receiver_at(f"http://partner.example:{endpoint.server_port}/")
    end_one(alice)
    assert deliver() == Tally(delivered=1)
    assert endpoint.seen[0][0]["Host"] == f"partner.example:{endpoint.server_port}"


def test_of_several_addresses_those_that_are_not_public_are_left_out(
    endpoint: Endpoint, alice: Any, names: dict[str, Lookup], configure: Configure
) -> None:
    configure(networks=["127.0.0.1/32"])
    names["partner.example"] = leading_to("127.0.0.2", "127.0.0.1")
    receiver_at(f"http://partner.example:{endpoint.server_port}/")
    end_one(alice)
    assert deliver() == Tally(delivered=1)
    configure(networks=[])
    end_one(alice)
    assert deliver() == Tally(failed=1) and len(endpoint.seen) == 1


def test_a_connection_is_of_the_name_that_its_certificate_was_looked_at_for(
    alice: Any, tmp_path: Any, names: dict[str, Lookup], configure: Configure
) -> None:
    """Two names with one address, as of a hoster: what is for the one must not go to the other."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    configure(allow_http=False, ca_file=str(tmp_path / "ca.pem"), timeout=5)
    context = tls_server(authority, "one.example", "two.example")
    asked_for: dict[int, str] = {}
    context.sni_callback = lambda made, name, _context: asked_for.update({id(made): name})
    first_is_answered = threading.Event()
    names["one.example"] = leading_to("127.0.0.1")
    # By then the first one's connection would be free.
    names["two.example"] = lambda port: (first_is_answered.wait(5), time.sleep(0.2), leading_to("127.0.0.1")(port))[-1]
    met: list[tuple[str, str]] = []

    def behave(request: Any) -> None:
        met.append((asked_for[id(request.connection)], request.headers["Host"].partition(":")[0]))
        request.answer(202)
        first_is_answered.set()

    with listening(context) as endpoint:
        endpoint.behave = behave
        for name in ("one", "two"):
            receiver_at(f"https://{name}.example:{endpoint.server_port}/", name)
        end_one(alice)
        assert deliver() == Tally(delivered=2)
    assert met == [("one.example", "one.example"), ("two.example", "two.example")]


def test_very_many_that_do_not_answer_take_nobody_elses_place(
    endpoint: Endpoint, alice: Any, configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than an HTTP client has connections, if it is not told. They come first."""
    monkeypatch.setattr(random, "shuffle", lambda receivers: None)
    configure(timeout=8)
    with listening() as hanging:
        is_over = threading.Event()
        hanging.behave = lambda request: is_over.wait(30)
        for number in range(8):
            receiver_at(hanging.url, f"hanging{number}")
        receiver_at(endpoint.url)
        for _ in range(15):
            end_one(alice)
        try:
            assert deliver() == Tally(delivered=15, failed=120)
        finally:
            is_over.set()


def test_in_one_round_there_are_so_many_and_everybodys_turn_comes(
    endpoint: Endpoint, alice: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jwt_redis.contrib.webhooks.sending._IN_ALL", 5)
    for number in range(7):
        receiver_at(endpoint.url, f"partner{number}")
    for _ in range(2):
        end_one(alice)
    tallies = [deliver() for _ in range(3)]
    assert [tally.delivered for tally in tallies] == [5, 5, 4]
    assert deliver() == Tally() and not outbox.waiting().exists()


def test_the_environments_proxy_is_not_used(
    endpoint: Endpoint, receiver: Receiver, alice: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with listening() as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.server_port}")
        monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{proxy.server_port}")
        end_one(alice)
        assert deliver() == Tally(delivered=1) and not proxy.seen and len(endpoint.seen) == 1


def test_the_secret_goes_to_its_origin_alone(endpoint: Endpoint, alice: Any, configure: Configure) -> None:
    with listening() as other:
        configure(authorization={f"http://127.0.0.1:{endpoint.server_port}": "Bearer of-the-partner"})
        receiver_at(endpoint.url)
        receiver_at(other.url, "other")
        end_one(alice)
        deliver()
        assert endpoint.seen[0][0]["Authorization"] == "Bearer of-the-partner"
        assert "Authorization" not in other.seen[0][0]


@pytest.mark.parametrize("behave", [None, "err"])
def test_a_secret_that_is_sent_back_is_not_kept(
    behave: str | None, endpoint: Endpoint, alice: Any, configure: Configure, caplog: pytest.LogCaptureFixture
) -> None:
    """As somebody does who shows whatever was sent."""

    def show(handler: Handler) -> None:
        shown = handler.headers["Authorization"]
        if behave == "err":
            return handler.answer(400, json.dumps({"err": "invalid_request", "description": f"You: {shown}"}).encode())
        return handler.answer(401, f"Authorization: {shown}; {shown.split()[1]}".encode())

    endpoint.behave = show
    configure(authorization={f"http://127.0.0.1:{endpoint.server_port}": 'Bearer of-"the"-partner'})
    receiver_at(endpoint.url)
    end_one(alice)
    deliver()
    assert endpoint.seen and "***" in only_row().said
    assert "-partner" not in only_row().said and "-partner" not in caplog.text


# Settings, commands, the admin ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({}, "issuer: it is missing"),
        ([], "a dict such as"),
        ({"issuer": ""}, "issuer: a non-empty string"),
        ({"issuer": "x", "colour": 1}, "'colour' is not one of"),
        ({"issuer": "x", "algorithm": "ES256"}, "both are needed"),
        ({"issuer": "x", "algorithm": "none", "signing_key": "x"}, "it is one of"),
        ({"issuer": "x", "authorization": {"example.com": "x"}}, "is no origin"),
        ({"issuer": "x", "authorization": {"https://example.com": "a\r\nb: c"}}, "cannot be an Authorization header"),
        ({"issuer": "x", "networks": ["10.0.0.1/8"]}, "has host bits set"),
        ({"issuer": "x", "networks": "10.0.0.0/8"}, "a list of networks"),
        ({"issuer": "x", "timeout": 0}, "timeout: at least"),
        ({"issuer": "x", "first_delay": 9, "longest_delay": 1}, "longest_delay: it is shorter"),
    ],
)
def test_a_setting_that_is_wrong_is_said(value: Any, said: str, settings: Any) -> None:
    settings.JWT_REDIS = {"ALIAS": "sessions", "WEBHOOKS": value}
    (problem,) = conf.problems()
    assert problem.key == "WEBHOOKS" and said in problem.reason


def ids() -> set[str]:
    return {str(found.id) for found in checks.check_webhooks()}


def test_what_would_be_dangerous_or_in_vain_is_an_error(configure: Configure, settings: Any, alice: Any) -> None:
    assert ids() == {"jwt_redis.W090"}
    configure(allow_http=False)
    assert ids() == set()
    configure(allow_http=False, ca_file="/nowhere.pem")
    assert ids() == {"jwt_redis.E093"}
    with pytest.raises(CommandError, match="nowhere"):
        call_command("jwt_deliver", "--once")
    # The secret of access tokens would be the receivers' too.
    configure(allow_http=False, algorithm=None, signing_key=None)
    assert ids() == {"jwt_redis.E092"}
    with pytest.raises(CommandError, match="receivers must not have"):
        call_command("jwt_deliver", "--once")
    with pytest.raises(ImproperlyConfigured):
        sign({})
    # And one that cannot sign at all is found before there is anything to sign, without being shown.
    public = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    for algorithm, key in (("ES256", "no key"), ("ES256", public), ("RS256", PEM)):
        configure(allow_http=False, algorithm=algorithm, signing_key=key)
        assert ids() == {"jwt_redis.E092"}
        assert not any(key in str(found) for found in checks.check_webhooks())
        with pytest.raises(CommandError, match="signing_key"):
            call_command("jwt_deliver", "--once")
    settings.JWT_REDIS = {**settings.JWT_REDIS, "JOURNAL": False}
    assert "jwt_redis.E090" in ids()
    settings.JWT_REDIS = {"ALIAS": "sessions"}
    assert ids() == set()
    with pytest.raises(CommandError, match="WEBHOOKS is needed"):
        call_command("jwt_deliver", "--once")
    with pytest.raises(CommandError, match="--once"):
        call_command("jwt_deliver", "--json")
    for poll in ("0", "-1", "nan", "inf"):
        with pytest.raises(CommandError, match="poll"):
            call_command("jwt_deliver", "--poll", poll)


class Elsewhere:
    """A router."""

    def db_for_write(self, model: Any, **hints: Any) -> str | None:
        return "other" if model is Delivery else None


def test_one_database_for_both(settings: Any) -> None:
    settings.DATABASE_ROUTERS = [f"{__name__}.Elsewhere"]
    assert "jwt_redis.E091" in ids()


def test_simple_jwts_own_asymmetric_key_signs(
    configure: Configure, settings: Any, endpoint: Endpoint, receiver: Receiver
) -> None:
    public = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    from rest_framework_simplejwt import state
    from rest_framework_simplejwt.backends import TokenBackend

    configure(algorithm=None, signing_key=None)
    backend = TokenBackend("ES256", PEM, public)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(state, "token_backend", backend)
        outbox.send_trial(receiver)
        deliver()
    assert read(endpoint.tokens[0])["events"] == {VERIFICATION: {}}


def test_the_command_says_what_became_of_it(
    endpoint: Endpoint, receiver: Receiver, alice: Any, configure: Configure
) -> None:
    configure(timeout=10.0)
    for _ in range(40):
        end_one(alice)
    out = StringIO()
    call_command("jwt_deliver", "--once", "--json", stdout=out)
    assert json.loads(out.getvalue()) == {"delivered": 40, "failed": 0, "dead": 0, "waiting": 0, "dead_in_all": 0}
    out = StringIO()
    call_command("jwt_deliver", "--once", stdout=out)
    assert out.getvalue() == "Arrived: 0. Failed for now: 0. Given up: 0. Waiting: 0.\n"
    assert len({read(token)["jti"] for token in endpoint.tokens}) == len(endpoint.tokens) == 40


def test_cleanup_drops_what_arrived_long_ago_alone(endpoint: Endpoint, receiver: Receiver, alice: Any) -> None:
    for _ in range(3):
        end_one(alice)
    deliver()
    old, dead, _recent = Delivery.objects.order_by("pk")
    long_ago = timezone.now() - timedelta(days=31)
    Delivery.objects.filter(pk=old.pk).update(delivered_at=long_ago)
    Delivery.objects.filter(pk=dead.pk).update(delivered_at=None, dead_at=long_ago)
    for options, dropped, left in (["--dry-run"], 1, 3), ([], 1, 2), ([], 0, 2):
        out = StringIO()
        call_command("jwt_cleanup", "--json", *options, stdout=out)
        assert json.loads(out.getvalue())["webhook_deliveries"] == dropped and Delivery.objects.count() == left


def test_cleanup_needs_no_table_of_what_is_off(alice: Any, settings: Any) -> None:
    def dropped() -> bool:
        out = StringIO()
        call_command("jwt_cleanup", "--json", stdout=out)
        return "webhook_deliveries" in json.loads(out.getvalue())

    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE {Delivery._meta.db_table} RENAME TO elsewhere")
        with pytest.raises(CommandError), transaction.atomic():
            dropped()
        settings.JWT_REDIS = {"ALIAS": "sessions"}
        assert not dropped()
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE elsewhere RENAME TO {Delivery._meta.db_table}")
    # What is left from before is dropped all the same.
    assert dropped()


def test_the_doctor_tells_what_waits_and_what_was_given_up(receiver: Receiver, alice: Any, settings: Any) -> None:
    def levels() -> dict[str, str]:
        return {one.code: one.level for one in diagnose().findings if one.code.startswith("webhooks")}

    assert levels() == {"webhooks": "ok"}
    end_one(alice)
    assert levels() == {"webhooks": "ok"}
    Delivery.objects.update(waiting_since=timezone.now() - timedelta(hours=1))
    assert levels() == {"webhooks": "warning"}
    Delivery.objects.update(dead_at=timezone.now())
    assert levels() == {"webhooks": "ok", "webhooks_dead": "warning"}
    settings.JWT_REDIS = {"ALIAS": "sessions"}
    assert levels() == {}


def test_attempts_are_counted_by_what_became_of_them(endpoint: Endpoint, receiver: Receiver, alice: Any) -> None:
    def counted() -> list[float]:
        name = "jwt_redis_webhooks_total"
        return [REGISTRY.get_sample_value(name, {"outcome": o}) or 0 for o in ("delivered", "failed", "dead")]

    install(observer)
    try:
        before = counted()
        for behave in (answering(500), answering(400, b'{"err": "invalid_issuer"}'), accept):
            endpoint.behave = behave
            end_one(alice)
            due_now()
            deliver()
        due_now()
        deliver()
        assert [after - was for after, was in zip(counted(), before, strict=True)] == [2, 1, 1]
    finally:
        uninstall(observer)


ADMIN = "/admin/jwt_redis_webhooks"


def test_receivers_are_managed_in_the_admin(admin_client: Client, configure: Configure) -> None:
    configure(networks=[], authorization={"https://example.com": "Bearer very-secret"})
    fields = {"name": "Partner", "audience": "client", "is_enabled": "on"}
    refused = admin_client.post(f"{ADMIN}/receiver/add/", {**fields, "url": "https://169.254.169.254/"})
    assert refused.status_code == 200 and b"169.254.169.254 is not a public address." in refused.content
    assert admin_client.post(f"{ADMIN}/receiver/add/", {**fields, "url": "https://example.com/e"}).status_code == 302
    made = Receiver.objects.get()
    for page in (f"{ADMIN}/receiver/", f"{ADMIN}/receiver/{made.pk}/change/", f"{ADMIN}/receiver/add/"):
        answer = admin_client.get(page)
        assert answer.status_code == 200 and b"very-secret" not in answer.content
    chosen = {"action": "try_it", "_selected_action": [made.pk]}
    said = admin_client.post(f"{ADMIN}/receiver/", chosen, follow=True).content
    assert b"1 event will be sent." in said
    assert only_row().kind == Delivery.Kind.VERIFICATION
    assert places.authorization_for(places.check_url(made.url)) == "Bearer very-secret"


def switch(admin_client: Client, receiver: Receiver, *, on: bool) -> None:
    fields = {"name": receiver.name, "audience": receiver.audience, "url": receiver.url}
    answer = admin_client.post(
        f"{ADMIN}/receiver/{receiver.pk}/change/", {**fields, **({"is_enabled": "on"} if on else {})}
    )
    assert answer.status_code == 302, answer.content
    receiver.refresh_from_db()


def statuses_of(endpoint: Endpoint) -> list[str]:
    """What the receiver was told of itself, and "revoked" for whatever else it was told."""
    told = [read(token)["events"] for token in endpoint.tokens]
    return [events.get(STREAM_UPDATED, {}).get("status", "revoked") for events in told]


def test_who_is_disabled_is_told_so_and_nothing_else_until_enabled(
    admin_client: Client, endpoint: Endpoint, receiver: Receiver, alice: Any
) -> None:
    """OpenID Shared Signals Framework 1.0 sections 8.1.2 and 8.1.5."""
    end_one(alice)
    switch(admin_client, receiver, on=False)
    end_one(alice)
    while deliver().total:
        pass
    assert statuses_of(endpoint) == ["disabled"]
    assert read(endpoint.tokens[0])["sub_id"] == {"format": "opaque", "id": receiver.stream}
    # What changes nothing is not said.
    switch(admin_client, receiver, on=False)
    assert deliver() == Tally()
    switch(admin_client, receiver, on=True)
    end_one(alice)
    while deliver().total:
        pass
    assert statuses_of(endpoint)[0] == "disabled" and sorted(statuses_of(endpoint)[1:]) == [
        *("enabled", "revoked", "revoked")
    ]


def test_of_several_changes_that_nobody_heard_of_the_last_is_told(
    admin_client: Client, endpoint: Endpoint, receiver: Receiver
) -> None:
    endpoint.behave = answering(503)
    switch(admin_client, receiver, on=False)
    assert deliver() == Tally(failed=1)
    due_now()
    for on in (True, False, True):
        switch(admin_client, receiver, on=on)
    endpoint.behave = accept
    endpoint.seen.clear()
    assert deliver() == Tally(delivered=1)
    assert statuses_of(endpoint) == ["enabled"]


def test_a_receiver_is_not_disabled_without_a_word(
    admin_client: Client, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(receiver: Receiver) -> None:
        raise DatabaseError("gone")

    monkeypatch.setattr("jwt_redis.contrib.webhooks.admin.send_status", broken)
    with pytest.raises(DatabaseError):
        switch(admin_client, receiver, on=False)
    receiver.refresh_from_db()
    assert receiver.is_enabled


def test_the_dead_are_seen_in_the_admin_and_sent_again(
    admin_client: Client, endpoint: Endpoint, receiver: Receiver, alice: Any
) -> None:
    end_one(alice)
    endpoint.behave = answering(400, b'{"err": "invalid_audience", "description": "<script>"}')
    deliver()
    row = only_row()
    page = admin_client.get(f"{ADMIN}/delivery/?state=dead").content.decode()
    assert "invalid_audience: &lt;script&gt;" in page and "given up" in page
    for state, is_shown in (("waiting", False), ("arrived", False), ("dead", True)):
        page = admin_client.get(f"{ADMIN}/delivery/?state={state}").content.decode()
        assert ("invalid_audience" in page) is is_shown
    assert admin_client.get(f"{ADMIN}/delivery/{row.pk}/change/").status_code == 200
    assert admin_client.post(f"{ADMIN}/delivery/{row.pk}/change/", {"target": "x"}).status_code == 403
    assert admin_client.get(f"{ADMIN}/delivery/add/").status_code == 403
    endpoint.behave = accept
    chosen = {"action": "again", "_selected_action": [row.pk]}
    said = admin_client.post(f"{ADMIN}/delivery/", chosen, follow=True).content
    assert b"1 event will be sent." in said
    assert deliver() == Tally(delivered=1)


def test_who_may_only_view_sends_nothing_again(
    client: Client, django_user_model: Any, receiver: Receiver, alice: Any
) -> None:
    from django.contrib.auth.models import Permission

    clerk = django_user_model.objects.create_user("clerk", is_staff=True)
    clerk.user_permissions.set(Permission.objects.filter(codename="view_delivery"))
    client.force_login(clerk)
    end_one(alice)
    Delivery.objects.update(dead_at=timezone.now())
    assert client.get(f"{ADMIN}/delivery/").status_code == 200
    client.post(f"{ADMIN}/delivery/", {"action": "again", "_selected_action": [only_row().pk]})
    assert only_row().dead_at is not None
    assert client.get(f"{ADMIN}/receiver/").status_code == 403


def test_an_error_of_the_database_is_no_token_lost(receiver: Receiver, alice: Any, endpoint: Endpoint) -> None:
    end_one(alice)
    with pytest.MonkeyPatch.context() as patched:

        def broken(*args: Any) -> None:
            raise DatabaseError("gone")

        # Between the answer and the note of it.
        patched.setattr("jwt_redis.contrib.webhooks.sending._note", broken)
        with pytest.raises(DatabaseError):
            deliver()
    assert len(endpoint.seen) == 1 and deliver() == Tally()
    Delivery.objects.update(leased_until=timezone.now() - timedelta(seconds=1))
    assert deliver() == Tally(delivered=1)
    first, second = (read(token)["jti"] for token in endpoint.tokens)
    assert first == second
