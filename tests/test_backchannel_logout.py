"""OpenID Connect Back-Channel Logout 1.0: each rule of sections 2.4 to 2.8, and what is ended."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlencode

import jwt
import pytest
import redis
import time_machine
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from django.core.management import call_command
from django.db import connection, connections, transaction
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from jwt_redis import keys, provider_sessions, public_keys, sessions, signals
from jwt_redis.conf import problems
from jwt_redis.exceptions import RevocationUnavailable, RevokedToken
from jwt_redis.models import ProviderLogout, ProviderSession, Revocation
from jwt_redis.openid.checks import check_openid
from jwt_redis.openid.logout_tokens import BadLogoutToken, LogoutToken, read
from jwt_redis.openid.views import BackchannelLogoutView
from jwt_redis.testing.servers import RedisServer
from tests.projects import oauth_settings
from tests.support.jwk_examples import PRIVATE_SET, PUBLIC_SET, SECRET_SET
from tests.support.openid import CLIENT, EVENT, ISSUER, JWKS, KEY, NEXT_KEY, OTHERS_KEY, PROVIDERS, jwk, logout_token
from tests.support.topology import PATIENT
from tests.test_redis_failure import pointed_at

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.projects.oauth_urls")]
http = Client()
SUB, SID = "248289761001", "08a5019c-17e1-4977-8f42-65a12843ea02"
ID_TOKEN = {"iss": ISSUER, "sub": SUB, "sid": SID, "aud": CLIENT}


def settings_with(**changes: Any) -> dict[str, Any]:
    return {**oauth_settings.JWT_REDIS, "OPENID_PROVIDERS": {ISSUER: {**PROVIDERS[ISSUER], **changes}}}


def with_provider(**changes: Any) -> Any:
    return override_settings(JWT_REDIS=settings_with(**changes))


@pytest.fixture(autouse=True)
def _provider() -> Iterator[None]:
    with with_provider():
        yield


def send(raw: Any, **more: Any) -> Any:
    body = raw if isinstance(raw, bytes) else urlencode({"logout_token": raw, **more})
    answer = http.post("/openid/backchannel-logout/", body, content_type="application/x-www-form-urlencoded")
    assert answer["Cache-Control"] == "no-store"
    return answer


def accepted(raw: Any, **more: Any) -> None:
    answer = send(raw, **more)
    assert (answer.status_code, answer.content) == (200, b""), answer.content


def refused(raw: Any, **more: Any) -> str:
    answer = send(raw, **more)
    assert answer.status_code == 400
    body = answer.json()
    assert body["error"] == "invalid_request"
    return str(body["error_description"])


def is_good(token: Any) -> bool:
    return sessions.explain(str(token)).allowed


def sign_in(user: Any, **changes: Any) -> Any:
    """Through the provider."""
    id_token = {name: value for name, value in {**ID_TOKEN, **changes}.items() if value is not ...}
    return sessions.open_session(user, id_token=id_token)


# What is ended -----------------------------------------------------------------------------------------------------


def test_the_session_that_is_named_ends_and_no_other(alice: Any, bob: Any) -> None:
    named, same = sign_in(alice), sign_in(alice)
    access = named.access_token
    others = [sign_in(alice, sid="another"), sign_in(bob, sub="another", sid="third"), sessions.open_session(alice)]
    elsewhere = sign_in(alice, iss="https://another.example")
    accepted(logout_token())
    assert not any(map(is_good, (named, access, same)))
    assert all(map(is_good, [*others, elsewhere]))
    row = Revocation.objects.get(target=named["sid"])
    assert (row.reason, row.actor) == ("provider_logout", ISSUER)


@pytest.mark.parametrize("left_out", ["sub", "sid"])
def test_one_of_sid_and_sub_will_do(alice: Any, bob: Any, left_out: str) -> None:
    named, other_sid, other_sub = sign_in(alice), sign_in(alice, sid="another"), sign_in(bob, sub="b", sid="b")
    accepted(logout_token(**{left_out: ...}))
    # Section 2.4: without a sid, all of the subject's.
    assert [is_good(token) for token in (named, other_sid, other_sub)] == [False, left_out == "sub", True]


def test_a_sid_of_somebody_else_ends_nothing(alice: Any) -> None:
    named = sign_in(alice)
    accepted(logout_token(sub="somebody else"))
    assert is_good(named)


def test_a_session_whose_provider_named_none_ends_with_any_of_its_subject(alice: Any, bob: Any) -> None:
    unnamed, of_bob = sign_in(alice, sid=...), sign_in(bob, sub="bob", sid=...)
    accepted(logout_token(sub=...))
    assert is_good(unnamed)
    accepted(logout_token())
    assert [is_good(token) for token in (unnamed, of_bob)] == [False, True]


def test_who_is_logged_out_already_is_logged_out(alice: Any) -> None:
    named = sign_in(alice)
    sessions.end_session(alice, named["sid"])
    accepted(logout_token())
    accepted(logout_token())
    # Nor does it matter that nobody knows the user.
    accepted(logout_token(sub="nobody"))
    accepted(logout_token(sub="nobody", sid=...))


def user_of(claims: Any) -> Any:
    from django.contrib.auth import get_user_model

    return get_user_model().objects.filter(username=claims["sub"]).first()


def test_a_project_may_say_which_user_a_subject_is(alice: Any, bob: Any) -> None:
    with_password, through_provider, of_bob = sessions.open_session(alice), sign_in(bob), sessions.open_session(bob)
    with with_provider(user=user_of):
        accepted(logout_token(sub="alice", sid=...))
        assert [is_good(token) for token in (with_password, through_provider, of_bob)] == [False, True, True]
        # One that it does not know is looked up as ever.
        accepted(logout_token(sid=...))
        assert [is_good(token) for token in (through_provider, of_bob)] == [False, True]
        # A sid names one session, whoever the user is.
        once_more = sessions.open_session(alice)
        accepted(logout_token(sub="alice"))
        assert is_good(once_more)


@pytest.mark.parametrize("name", ["a/b {c}", "ü" * 200, "log", "~x", "a%20b"])
def test_whatever_a_user_is_called_the_session_is_found(django_user_model: Any, db: None, name: str) -> None:
    token, other = sign_in(django_user_model(pk=name)), sign_in(django_user_model(pk=name), sid="another")
    told: list[str] = []

    def note(user: str, **facts: Any) -> None:
        told.append(user)

    signals.session_ended.connect(note)
    try:
        accepted(logout_token())
    finally:
        signals.session_ended.disconnect(note)
    assert [is_good(token), is_good(other)] == [False, True]
    # Of a long id the digest alone is known.
    assert told == [name if len(name) < 96 else keys.user_tag(name)]


def test_a_session_that_was_opened_otherwise_is_remembered_by_hand(alice: Any) -> None:
    refresh = sessions.open_session(alice)
    sessions.remember_provider(alice, refresh["sid"], ID_TOKEN)
    accepted(logout_token())
    assert not is_good(refresh)


@pytest.mark.parametrize(
    ("id_token", "said"),
    [
        ("a.b.c", "a dict"),
        ({}, "'iss' is missing"),
        ({"iss": "x"}, "'sub' is missing"),
        ({**ID_TOKEN, "sid": 1}, "'sid' is no string"),
    ],
)
def test_an_id_token_that_names_no_session_opens_none(alice: Any, id_token: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        sessions.open_session(alice, id_token=id_token)
    assert sessions.list_sessions(alice) == []
    assert not ProviderSession.objects.exists()


def test_nothing_is_kept_that_names_anybody(alice: Any) -> None:
    sign_in(alice)
    accepted(logout_token())
    for model in (ProviderSession, ProviderLogout):
        (row,) = model.objects.values()
        assert SUB not in str(row)
        assert SID not in str(row)


@pytest.mark.parametrize("by", ["the row", "the user"])
def test_a_logout_that_comes_while_the_sign_in_is_under_way_counts(alice: Any, monkeypatch: Any, by: str) -> None:
    """Between the row and the record: there is no session yet that could be ended."""
    changes = {} if by == "the row" else {"sid": ...}
    real = sessions.opening.run

    def slowly(*args: Any) -> Any:
        monkeypatch.undo()
        accepted(logout_token(**changes))
        return real(*args)

    monkeypatch.setattr(sessions.opening, "run", slowly)
    with with_provider(user=lambda claims: alice), pytest.raises(RevokedToken):
        sign_in(alice)
    assert sessions.list_sessions(alice) == []


# A logout that comes first ------------------------------------------------------------------------------------------

LOGOUTS: dict[str, dict[str, Any]] = {"both": {}, "sid": {"sub": ...}, "sub": {"sid": ...}}


@pytest.mark.parametrize("logout", LOGOUTS)
@pytest.mark.parametrize("how", ["open", "remember"])
@pytest.mark.parametrize("age", [60, 0])
def test_a_logout_that_came_first_refuses_the_sign_in(alice: Any, logout: str, how: str, age: int) -> None:
    """The ID token was on its way. In the same second, nobody knows which was the first."""
    issued_at = int(time.time())
    accepted(logout_token(iat=issued_at, **LOGOUTS[logout]))
    id_token = {**ID_TOKEN, "iat": issued_at - age}
    if how == "open":
        with pytest.raises(RevokedToken) as caught:
            sessions.open_session(alice, id_token=id_token)
        # There was none, so that none ended either.
        assert not Revocation.objects.exists()
    else:
        refresh = sessions.open_session(alice)
        assert is_good(refresh)
        with pytest.raises(RevokedToken) as caught:
            sessions.remember_provider(alice, refresh["sid"], id_token)
        assert not is_good(refresh)
        row = Revocation.objects.get()
        assert (row.target, row.reason, row.actor) == (refresh["sid"], "provider_logout", ISSUER)
    assert caught.value.reason == "session_ended"
    assert sessions.list_sessions(alice) == []
    assert not ProviderSession.objects.exists()


@pytest.mark.parametrize("logout", LOGOUTS)
@pytest.mark.parametrize("sid", [SID, "another", ...])
def test_who_signs_in_again_afterwards_is_let_in(alice: Any, logout: str, sid: Any) -> None:
    """Whether the provider has kept its session or has opened another one, it said so later; when we hear of the
    logout does not matter."""
    issued_at = int(time.time()) - 60
    accepted(logout_token(iat=issued_at, **LOGOUTS[logout]))
    refresh = sign_in(alice, iat=issued_at + 1, sid=sid)
    assert is_good(refresh)
    # By the next one it ends as any other.
    accepted(logout_token(sid=...))
    assert not is_good(refresh)


def test_what_a_logout_that_came_first_does_not_mean_is_let_in(alice: Any, bob: Any) -> None:
    accepted(logout_token())
    old = int(time.time()) - 60
    for changes in ({"sid": "another"}, {"sub": "another"}, {"iss": "https://another.example"}):
        assert is_good(sign_in(alice, iat=old, **changes))
    assert is_good(sign_in(bob, iat=old, sub="another", sid=...))
    # As with those that are open: it may be of the session that is named.
    with pytest.raises(RevokedToken):
        sign_in(alice, iat=old, sid=...)


def test_without_a_moment_only_the_session_that_was_named_is_refused(alice: Any) -> None:
    accepted(logout_token(sid=...))
    assert is_good(sign_in(alice))
    assert is_good(sign_in(alice, sid=...))
    accepted(logout_token())
    with pytest.raises(RevokedToken):
        sign_in(alice)
    assert is_good(sign_in(alice, sid="another"))
    assert is_good(sign_in(alice, sid=...))


def test_a_logout_token_that_is_sent_again_refuses_nobody_new(alice: Any) -> None:
    raw = logout_token(sid=...)
    accepted(raw)
    refused(raw)
    assert ProviderLogout.objects.count() == 1
    assert is_good(sign_in(alice, iat=int(time.time()) + 1))
    refused(raw)
    assert len(sessions.list_sessions(alice)) == 1


def test_a_logout_that_redis_did_not_hear_of_refuses_the_sign_in(alice: Any) -> None:
    with RedisServer(options={"appendonly": "yes"}) as server, pointed_at(server.url, **PATIENT):
        sign_in(alice)
        server.kill()
        issued_at = int(time.time())
        assert send(logout_token(iat=issued_at)).status_code == 400
        with pytest.raises(RevokedToken):
            sign_in(alice, iat=issued_at - 1)


def ends_when_redis_is_back(server: RedisServer, token: Any) -> None:
    server.start()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            assert sessions.explain(str(token)).reason == "session_ended"
            return
        except RevocationUnavailable:
            time.sleep(0.05)
    raise AssertionError("Redis did not come back")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("journal", [True, False])
def test_a_session_that_is_refused_while_redis_is_away_ends_when_it_is_back(alice: Any, journal: bool) -> None:
    with RedisServer(options={"appendonly": "yes"}) as server, pointed_at(server.url, **PATIENT):
        refresh = sessions.open_session(alice)
        issued_at = int(time.time())
        accepted(logout_token(iat=issued_at))
        with override_settings(JWT_REDIS={**settings_with(), "JOURNAL": journal}):
            server.kill()
            # Without a journal it is not over yet, and nobody says so.
            with pytest.raises(RevokedToken if journal else RevocationUnavailable):
                sessions.remember_provider(alice, refresh["sid"], {**ID_TOKEN, "iat": issued_at - 1})
            assert [row.target for row in Revocation.objects.filter(applied_at=None)] == [refresh["sid"]] * journal
            if journal:
                ends_when_redis_is_back(server, refresh)


@pytest.mark.django_db(transaction=True)
def test_redis_that_dies_before_the_commit_loses_no_logout(alice: Any) -> None:
    with RedisServer(options={"appendonly": "yes"}) as server, pointed_at(server.url, **PATIENT):
        # Whoever commits hears of it, and gives no token away.
        with pytest.raises(RevocationUnavailable), transaction.atomic():
            refresh = sign_in(alice)
            provider_sessions.note_logout(ISSUER, subject=SUB, provider_sid=None, issued_at=NOW)
            server.kill()
        assert Revocation.objects.get(applied_at=None).target == refresh["sid"]
        ends_when_redis_is_back(server, refresh)


@pytest.mark.parametrize(
    "named", [{"sid": ""}, {"subject": ""}, {"sid": 7}, {}, {"sid": SID, "issued_at": "now"}], ids=str
)
def test_a_logout_that_names_nothing_is_refused(named: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="needed"):
        sessions.end_provider_sessions(ISSUER, **named)
    assert not ProviderLogout.objects.exists()


@pytest.mark.parametrize("issued_at", ["1700000000", True, -1, float("nan"), float("inf"), 10**400, []], ids=str)
def test_a_moment_that_is_none_is_named(alice: Any, issued_at: Any) -> None:
    with pytest.raises(ValueError, match="'iat'"):
        sign_in(alice, iat=issued_at)


def test_a_session_that_is_refused_when_it_was_open_is_told_of(alice: Any, monkeypatch: Any) -> None:
    """Whoever was told that it began is told that it has ended."""
    told: list[str] = []
    real = sessions.opening.run

    def slowly(*args: Any) -> Any:
        monkeypatch.undo()
        answer = real(*args)
        # It is noted, and dies before it has ended anything.
        monkeypatch.setattr(provider_sessions, "find", _die)
        with pytest.raises(ZeroDivisionError):
            sessions.end_provider_sessions(ISSUER, sid=SID)
        return answer

    def began(sid: str, **facts: Any) -> None:
        told.append(f"{sid} began")

    def ended(sid: str, reason: str, **facts: Any) -> None:
        told.append(f"{sid} ended: {reason}")

    signals.session_started.connect(began)
    signals.session_ended.connect(ended)
    monkeypatch.setattr(sessions.opening, "run", slowly)
    try:
        with pytest.raises(RevokedToken):
            sign_in(alice)
    finally:
        signals.session_started.disconnect(began)
        signals.session_ended.disconnect(ended)
    first, second = told
    assert second == first.replace("began", "ended: provider_logout")
    row = Revocation.objects.get()
    assert (row.reason, row.actor) == ("provider_logout", ISSUER)


def _die(*args: Any, **kwargs: Any) -> Any:
    raise ZeroDivisionError


@pytest.mark.django_db(transaction=True)
async def test_the_async_twins_refuse_what_is_over(alice: Any) -> None:
    old = {**ID_TOKEN, "iat": int(time.time()) - 1}
    refresh = await sessions.aopen_session(alice)
    assert await sessions.aend_provider_sessions(ISSUER, subject=SUB) == 0
    with pytest.raises(RevokedToken):
        await sessions.aopen_session(alice, id_token=old)
    with pytest.raises(RevokedToken):
        await sessions.aremember_provider(alice, refresh["sid"], old)
    assert await sessions.alist_sessions(alice) == []


def test_a_sign_in_costs_three_statements(alice: Any) -> None:
    sign_in(alice)
    with CaptureQueriesContext(connection) as asked:
        sign_in(alice)
    assert [one["sql"].split()[0] for one in asked if "SAVEPOINT" not in one["sql"]] == ["SELECT", "INSERT", "SELECT"]


def test_a_session_that_is_remembered_anew_has_one_row(alice: Any) -> None:
    refresh = sign_in(alice)
    sessions.remember_provider(alice, refresh["sid"], {**ID_TOKEN, "sid": "another"})
    accepted(logout_token())
    assert is_good(refresh)
    accepted(logout_token(sid="another"))
    assert not is_good(refresh)


def test_under_the_blacklist_strategy_too_after_redis_was_emptied(alice: Any, store: redis.Redis) -> None:
    with override_settings(JWT_REDIS={**settings_with(), "STRATEGY": "blacklist"}):
        sign_in(alice)
        # A token without a record is judged by whole seconds: not of the one in which the store was born.
        time.sleep(1.1)
        refresh = sign_in(alice)
        access = str(refresh.access_token)
        assert is_good(access)
        store.delete(keys.user_key(str(alice.pk)))
        assert is_good(access)
        accepted(logout_token())
        assert sessions.explain(access).reason == "session_ended"


@pytest.mark.django_db(transaction=True)
async def test_the_async_twins_do_the_same(alice: Any) -> None:
    refresh = await sessions.aopen_session(alice, id_token=ID_TOKEN)
    other = await sessions.aopen_session(alice)
    await sessions.aremember_provider(alice, other["sid"], {**ID_TOKEN, "sid": "another"})
    assert await sessions.aend_provider_sessions(ISSUER, sid=SID) == 1
    assert not (await sessions.acheck(refresh.access_token)).allowed
    assert (await sessions.acheck(other.access_token)).allowed
    assert await sessions.aend_provider_sessions(ISSUER, subject=SUB) == 1
    assert not (await sessions.acheck(other.access_token)).allowed
    with pytest.raises(ValueError, match="one of the two"):
        await sessions.aend_provider_sessions(ISSUER)


# The rules of section 2.6 ------------------------------------------------------------------------------------------

NOW = int(time.time())
BAD_CLAIMS: dict[str, tuple[dict[str, Any], str]] = {
    "another issuer": ({"iss": "https://another.example"}, "iss"),
    "no issuer": ({"iss": ...}, "iss"),
    "an issuer that is no string": ({"iss": [ISSUER]}, "iss"),
    "for somebody else": ({"aud": "another"}, "aud"),
    "for somebody else too": ({"aud": [CLIENT, "another"]}, "aud"),
    "for nobody": ({"aud": ...}, "aud"),
    "for an empty list": ({"aud": []}, "aud"),
    "by another party": ({"azp": "another"}, "azp"),
    "no iat": ({"iat": ...}, "iat"),
    "an iat that is no number": ({"iat": "now"}, "iat"),
    "from the future": ({"iat": NOW + 3600, "exp": NOW + 7200}, "iat"),
    "too old": ({"iat": NOW - 3600, "exp": NOW + 3600}, "iat"),
    "no exp": ({"exp": ...}, "exp"),
    "an exp that is no number": ({"exp": True}, "exp"),
    "expired": ({"exp": NOW - 60}, "exp"),
    "not yet": ({"nbf": NOW + 3600}, "nbf"),
    "no jti": ({"jti": ...}, "jti"),
    "a jti that is no string": ({"jti": 7}, "jti"),
    "a jti that is empty": ({"jti": ""}, "jti"),
    "neither sid nor sub": ({"sid": ..., "sub": ...}, "sid, sub"),
    "a sid that is no string": ({"sid": {"a": 1}}, "sid"),
    "a sid that is empty": ({"sid": ""}, "sid"),
    "a sub that is huge": ({"sub": "x" * 2000}, "sub"),
    "no events": ({"events": ...}, "events"),
    "events that are a list": ({"events": [EVENT]}, "events"),
    "events without the member": ({"events": {"http://schemas.openid.net/event/another": {}}}, "events"),
    "an event that is no object": ({"events": {EVENT: True}}, "events"),
    "a nonce": ({"nonce": "n"}, "nonce"),
    "a nonce that is null": ({"nonce": None}, "nonce"),
}


@pytest.mark.parametrize("how", BAD_CLAIMS)
def test_a_claim_that_is_not_right_refuses_the_token(alice: Any, how: str) -> None:
    named = sign_in(alice)
    changes, rule = BAD_CLAIMS[how]
    assert refused(logout_token(**changes)).startswith(f"{rule}:")
    assert is_good(named)


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": [CLIENT]},
        {"azp": CLIENT},
        {"events": {EVENT: {"more": 1}, "http://another.example/event": {}}},
        # A function: the tests may come long after they were collected.
        {"iat": lambda now: now - 10, "exp": lambda now: now + 86400},
        {"exp": NOW + 86400.5},
        {"unheard_of": {"of": ["anything"]}},
    ],
    # The same in each process of a run, whatever time it is there.
    ids=", ".join,
)
def test_what_is_allowed_is_accepted(alice: Any, changes: dict[str, Any]) -> None:
    named, now = sign_in(alice), int(time.time())
    accepted(logout_token(**{name: made(now) if callable(made) else made for name, made in changes.items()}))
    assert not is_good(named)


def test_the_example_of_the_specification_is_a_logout_and_that_of_rfc_8417_is_none() -> None:
    """Section 2.4. RFC 8417 section 2.1.2 has it without ``exp``, which errata set 1 made required."""
    example = {
        "iss": "https://server.example.com",
        "sub": "248289761001",
        "aud": "s6BhdRkqt3",
        "iat": 1471566154,
        "exp": 1471569754,
        "jti": "bWJq",
        "sid": "08a5019c-17e1-4977-8f42-65a12843ea02",
        "events": {"http://schemas.openid.net/event/backchannel-logout": {}},
    }
    provider = {"client_id": example["aud"], "jwks": JWKS}
    known = {**oauth_settings.JWT_REDIS, "OPENID_PROVIDERS": {example["iss"]: provider}}
    with override_settings(JWT_REDIS=known), time_machine.travel(1471566154, tick=True):
        token = read(logout_token(**example))
        assert (token.provider.issuer, token.sid, token.subject, token.jti) == (
            *(example["iss"], example["sid"], example["sub"], example["jti"]),
        )
        with pytest.raises(BadLogoutToken, match="exp: a number is needed"):
            read(logout_token(**{**example, "exp": ...}))
    with override_settings(JWT_REDIS=known):
        assert refused(logout_token(**example)).startswith("iat: it is too old")


@pytest.mark.parametrize("kind", ["logout+jwt", "application/logout+jwt", "LOGOUT+JWT", "JWT", ...])
def test_the_type_may_be_a_logout_tokens_or_unsaid(kind: Any) -> None:
    accepted(logout_token(header={"typ": kind}))


@pytest.mark.parametrize("kind", ["at+jwt", "secevent+jwt", "", 7, None])
def test_another_type_is_another_token(kind: Any) -> None:
    head = {"alg": "RS256", "kid": "one", "typ": kind}
    assert refused(by_hand(head)).startswith("typ:")


def by_hand(header: dict[str, Any], key: Any = KEY) -> str:
    """Past PyJWT, which signs no nonsense."""
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.hashes import SHA256

    head, body = (_part(json.dumps(part).encode()) for part in (header, _claims()))
    return f"{head}.{body}." + _part(key.sign(f"{head}.{body}".encode(), PKCS1v15(), SHA256()))


def _claims() -> dict[str, Any]:
    from tests.support.openid import claims_of_logout

    return claims_of_logout()


def _part(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def test_none_is_no_algorithm(alice: Any) -> None:
    named = sign_in(alice)
    for algorithm in ("none", "None", "NONE", "nOnE", ""):
        head, body = (_part(json.dumps(part).encode()) for part in ({"alg": algorithm, "kid": "one"}, _claims()))
        refused(f"{head}.{body}.")
    assert is_good(named)


def test_the_algorithm_is_the_one_that_was_registered(alice: Any) -> None:
    named = sign_in(alice)
    for algorithm in ("RS384", "PS256"):
        refused(logout_token(algorithm=algorithm))
        refused(logout_token(algorithm=algorithm, header={"kid": ...}))
    refused(logout_token(key="a shared secret of at least 32 bytes", algorithm="HS256"))
    assert is_good(named)
    with with_provider(algorithms=["PS256"], jwks={"keys": [jwk(alg="PS256")]}):
        refused(logout_token())
        accepted(logout_token(algorithm="PS256"))
    assert not is_good(named)


def test_a_key_is_for_its_own_algorithm_where_several_were_registered() -> None:
    with with_provider(algorithms=["RS256", "PS256"]):
        refused(logout_token(algorithm="PS256"))
        accepted(logout_token())


def test_a_key_that_says_no_algorithm_takes_the_one_that_was_registered() -> None:
    bare = {name: value for name, value in jwk().items() if name not in ("alg", "use")}
    with with_provider(algorithms=["RS512"], jwks={"keys": [bare]}):
        accepted(logout_token(algorithm="RS512"))
        refused(logout_token())


def test_the_public_key_is_no_shared_secret(alice: Any) -> None:
    import hmac

    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    named = sign_in(alice)
    pem = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for secret in (pem, json.dumps(jwk()).encode(), jwk()["n"].encode()):
        head, body = (_part(json.dumps(part).encode()) for part in ({"alg": "HS256", "kid": "one"}, _claims()))
        refused(f"{head}.{body}." + _part(hmac.digest(secret, f"{head}.{body}".encode(), "sha256")))
    assert is_good(named)


def test_a_key_that_comes_with_the_token_is_not_looked_at(alice: Any) -> None:
    named = sign_in(alice)
    for header in (
        {"jwk": jwk(OTHERS_KEY)},
        {"jku": "https://evil.example/jwks"},
        {"x5u": "https://evil.example/x5u"},
        {"kid": "../../../dev/null"},
        {"kid": ["one"]},
        {"crit": ["exp"], "kid": "one"},
    ):
        refused(by_hand({"alg": "RS256", "kid": "one", **header}, OTHERS_KEY))
    assert refused(by_hand({"alg": "RS256", "kid": "one", "crit": ["x"], "x": 1}))
    assert is_good(named)


def test_somebody_elses_signature_is_refused(alice: Any) -> None:
    named = sign_in(alice)
    assert refused(logout_token(OTHERS_KEY)) == "the signature is not good"
    good = logout_token()
    head, body, signature = good.split(".")
    for raw in (
        good[:-8],
        f"{head}.{body}.",
        f"{head}.{body}",
        f"{head}.{_part(json.dumps(_claims()).encode())}.{signature}",
    ):
        refused(raw)
    assert is_good(named)


@pytest.mark.parametrize(
    "raw",
    ["x", ".", "..", "a.b.c", "\u00e9", "\0", "e30.e30.e30", "e30.W10.e30", "." * 4000, "x" * 20000, "a.b.c.d.e"],
    ids=lambda raw: repr(raw[:12]),
)
def test_what_is_no_token_is_refused(raw: str) -> None:
    refused(raw)


def test_a_token_that_is_longer_than_anybody_needs_is_not_read() -> None:
    assert refused(logout_token(padding="x" * 20000)) == "the token is too long"


def test_a_header_or_claims_that_are_nested_too_deep_are_refused() -> None:
    deep = b'{"iss":' * 2000 + b"1" + b"}" * 2000
    refused(f"{_part(deep)}.{_part(deep)}.")
    refused(f"{_part(b'{}')}.{_part(deep)}.AAAA")
    refused(f"{_part(json.dumps({'alg': 'RS256'}).encode())}.{_part(b'[1]')}.AAAA")


def test_a_weak_key_proves_nothing(alice: Any) -> None:
    weak = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505
    with with_provider(jwks={"keys": [jwk(weak)]}):
        refused(by_hand({"alg": "RS256", "kid": "one"}, weak))


def test_an_elliptic_curve_will_do_where_it_was_registered(alice: Any) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    public = {**json.loads(jwt.algorithms.ECAlgorithm.to_jwk(key.public_key())), "kid": "ec"}
    public.pop("key_ops", None)
    named = sign_in(alice)
    with with_provider(algorithms=["ES256"], jwks={"keys": [jwk(), public]}):
        refused(logout_token(header={"kid": "ec"}))
        accepted(logout_token(key, "ES256", header={"kid": "ec"}))
    assert not is_good(named)


def test_a_token_that_names_no_key_is_verified_with_the_only_one() -> None:
    accepted(logout_token(header={"kid": ...}))
    with with_provider(jwks={"keys": [jwk(), jwk(NEXT_KEY, "two")]}):
        refused(logout_token(header={"kid": ...}))
        accepted(logout_token(NEXT_KEY, header={"kid": "two"}))
    with with_provider(jwks={"keys": [jwk(use="enc"), {"kty": "unheard of"}, {}]}):
        refused(logout_token())


# The request -------------------------------------------------------------------------------------------------------


def test_only_a_form_that_is_posted_counts(alice: Any) -> None:
    named = sign_in(alice)
    raw = logout_token()
    for body, kind in ((json.dumps({"logout_token": raw}), "application/json"), (raw, "text/plain"), (raw, "")):
        answer = http.post("/openid/backchannel-logout/", body, content_type=kind)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
    assert http.get("/openid/backchannel-logout/", {"logout_token": raw}).status_code == 405
    refused(b"")
    refused(b"logout_token=")
    refused(f"logout_token={raw}&logout_token={raw}".encode())
    refused(b"logout_token=" + b"x" * 100_000)
    assert is_good(named)
    # Section 2.5: other values are ignored.
    accepted(raw, state="x", id_token_hint="y")
    assert not is_good(named)


# Once --------------------------------------------------------------------------------------------------------------


def test_a_logout_token_is_good_once(alice: Any, store: redis.Redis) -> None:
    raw = logout_token(sid=...)
    accepted(raw)
    again = sign_in(alice)
    assert refused(raw) == "jti: it was used before"
    assert is_good(again)
    (key,) = [key for key in store.scan_iter() if key.endswith(":once")]
    # As long as it could be used, and no longer.
    assert 120 < store.ttl(key) <= 150
    # It is nobody's state.
    assert keys.user_key_of(key) is None
    call_command("jwt_cleanup", verbosity=0)
    assert store.exists(key)


def test_the_end_of_a_token_that_would_last_for_days_is_its_age(store: redis.Redis) -> None:
    accepted(logout_token(exp=NOW + 10**6))
    (key,) = [key for key in store.scan_iter() if key.endswith(":once")]
    assert store.ttl(key) <= 630


def test_the_same_jti_of_another_provider_is_another(alice: Any) -> None:
    other = "https://another.example"
    providers = {**PROVIDERS, other: PROVIDERS[ISSUER]}
    with override_settings(JWT_REDIS={**settings_with(), "OPENID_PROVIDERS": providers}):
        accepted(logout_token(jti="same"))
        accepted(logout_token(jti="same", iss=other))
        refused(logout_token(jti="same", iss=other))


def test_no_provider_uses_up_the_ids_of_another_one() -> None:
    other = f"{ISSUER} a"
    with override_settings(JWT_REDIS={**settings_with(), "OPENID_PROVIDERS": {**PROVIDERS, other: PROVIDERS[ISSUER]}}):
        accepted(logout_token(jti="a b"))
        accepted(logout_token(jti="b", iss=other))


def test_a_logout_that_failed_may_be_sent_again(alice: Any, monkeypatch: Any) -> None:
    named = sign_in(alice)
    raw = logout_token()
    real = BackchannelLogoutView.end_sessions

    def fail(view: Any, token: LogoutToken) -> int:
        raise RevocationUnavailable

    monkeypatch.setattr(BackchannelLogoutView, "end_sessions", fail)
    answer = send(raw)
    assert (answer.status_code, answer.json()["error"]) == (400, "temporarily_unavailable")
    monkeypatch.setattr(BackchannelLogoutView, "end_sessions", real)
    accepted(raw)
    assert not is_good(named)


def test_while_the_database_is_away_the_logout_has_failed_and_may_be_sent_again(alice: Any) -> None:
    named = sign_in(alice)
    raw = logout_token()
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE jwt_redis_providersession RENAME TO away")
        answer = send(raw)
        assert (answer.status_code, answer.json()["error"]) == (400, "temporarily_unavailable")
        cursor.execute("ALTER TABLE away RENAME TO jwt_redis_providersession")
    accepted(raw)
    assert not is_good(named)


@pytest.mark.django_db(transaction=True)
def test_while_redis_is_away_the_logout_is_journalled_and_comes_back(alice: Any, bob: Any) -> None:
    with RedisServer(options={"appendonly": "yes"}) as server, pointed_at(server.url, **PATIENT):
        named, of_bob = sign_in(alice), sign_in(bob)
        access, other = str(named.access_token), str(sessions.open_session(alice).access_token)
        raw = logout_token(sub=...)
        server.kill()
        answer = send(raw)
        # Section 2.8 knows of nothing but 200 and 400.
        assert (answer.status_code, answer.json()["error"]) == (400, "temporarily_unavailable")
        assert int(answer["Retry-After"]) >= 1
        pending = Revocation.objects.filter(applied_at=None)
        assert {row.target for row in pending} == {named["sid"], of_bob["sid"]}
        ends_when_redis_is_back(server, access)
        assert not is_good(of_bob)
        assert is_good(other)
        # The provider may have sent it again, and again that is the one use.
        accepted(raw)
        refused(raw)


@pytest.mark.django_db(transaction=True)
def test_redis_that_dies_between_the_two_steps_loses_no_logout(alice: Any, monkeypatch: Any) -> None:
    with RedisServer(options={"appendonly": "yes"}) as server, pointed_at(server.url, **PATIENT):
        named = sign_in(alice)
        raw = logout_token()
        real = BackchannelLogoutView.end_sessions

        def die(view: Any, token: LogoutToken) -> int:
            server.kill()
            return real(view, token)

        monkeypatch.setattr(BackchannelLogoutView, "end_sessions", die)
        assert send(raw).status_code == 400
        assert Revocation.objects.get(target=named["sid"]).applied_at is None
        monkeypatch.setattr(BackchannelLogoutView, "end_sessions", real)
        ends_when_redis_is_back(server, named)


@pytest.mark.django_db(transaction=True)
def test_of_two_at_once_one_counts(alice: Any) -> None:
    sign_in(alice)
    raw = logout_token()
    statuses: list[int] = []
    start = threading.Barrier(6)

    def post() -> None:
        start.wait()
        answer = Client().post(
            "/openid/backchannel-logout/",
            urlencode({"logout_token": raw}),
            content_type="application/x-www-form-urlencoded",
        )
        statuses.append(answer.status_code)
        connections.close_all()

    threads = [threading.Thread(target=post) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200] + [400] * 5


# The provider's keys -----------------------------------------------------------------------------------------------


class KeyServer:
    """A provider's JWK Set, over HTTP."""

    def __init__(self) -> None:
        self.answer: Any = JWKS
        self.status = 200
        self.asked = 0
        # Seconds before each byte, whether the headers come so slowly too, and whether all of them were sent.
        self.pause = 0.0
        self.is_slow_from_the_first = False
        self.is_behind_the_headers = False
        # What it waits for before it answers at all.
        self.gate = threading.Event()
        self.gate.set()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked += 1
                if self.path == "/moved":
                    outer.status = 200
                body = outer.answer if isinstance(outer.answer, bytes) else json.dumps(outer.answer).encode()
                outer.gate.wait()
                self.send_response(outer.status)
                self.send_header("Location", outer.location)
                with suppress(OSError):
                    if outer.is_slow_from_the_first:
                        self.flush_headers()
                        for byte in b"X-Slow: " + b"-" * 400 + b"\r\n":
                            self.wfile.write(bytes([byte]))
                            time.sleep(outer.pause)
                    self.end_headers()
                    outer.is_behind_the_headers = True
                    for at in range(len(body)) if outer.pause else ():
                        self.wfile.write(body[at : at + 1])
                        time.sleep(outer.pause)
                    if not outer.pause:
                        self.wfile.write(body)

            def log_message(self, *args: Any) -> None:
                """Not to the tests' output."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/jwks"
        self.location = f"http://127.0.0.1:{self.server.server_port}/moved"


@pytest.fixture
def key_server() -> Iterator[KeyServer]:
    public_keys._remote.cache_clear()
    made = KeyServer()
    thread = threading.Thread(target=made.server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    with with_provider(jwks=None, jwks_uri=made.url):
        yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()


def test_keys_are_fetched_once(key_server: KeyServer) -> None:
    for _ in range(5):
        accepted(logout_token())
    assert key_server.asked == 1


def test_a_key_that_is_not_known_makes_nobody_ask_each_time(key_server: KeyServer, monkeypatch: Any) -> None:
    accepted(logout_token())
    for number in range(20):
        refused(logout_token(OTHERS_KEY, header={"kid": f"made up {number}"}))
    assert key_server.asked == 1
    # Once it is long enough ago, a new key is found.
    key_server.answer = {"keys": [jwk(NEXT_KEY, "two")]}
    monkeypatch.setattr(public_keys, "COOLDOWN", 0.0)
    accepted(logout_token(NEXT_KEY, header={"kid": "two"}))
    assert key_server.asked == 2
    # And the one that was withdrawn is gone.
    refused(logout_token())


def test_keys_that_were_withdrawn_are_forgotten_in_time(key_server: KeyServer, monkeypatch: Any) -> None:
    accepted(logout_token())
    key_server.answer = {"keys": [jwk(NEXT_KEY, "two")]}
    monkeypatch.setattr(public_keys, "LIFESPAN", 0.0)
    refused(logout_token())


@pytest.mark.parametrize("how", ["error", "redirect", "no JSON", "a list", "no set", "gone"])
def test_keys_that_cannot_be_had_are_no_logout(key_server: KeyServer, alice: Any, how: str) -> None:
    named = sign_in(alice)
    key_server.status = {"error": 500, "redirect": 302}.get(how, 200)
    key_server.answer = {"no JSON": b"<html>", "a list": [1], "no set": {"keys": "none"}}.get(how, JWKS)
    if how == "gone":
        key_server.server.server_close()
    raw = logout_token()
    for _ in range(3):
        answer = send(raw)
        assert (answer.status_code, answer.json()["error"]) == (400, "temporarily_unavailable")
    # Not for each request that somebody makes up.
    assert key_server.asked <= 1
    assert is_good(named)


@pytest.mark.parametrize("how", ["long", "slow"])
def test_an_answer_without_end_is_not_waited_for(key_server: KeyServer, monkeypatch: Any, how: str) -> None:
    monkeypatch.setattr(public_keys, "MAX_SET", 5000)
    monkeypatch.setattr(public_keys, "PATIENCE", 0.2)
    key_server.answer = json.dumps(JWKS).encode() + b" " * (100_000 if how == "long" else 200)
    key_server.pause = 0.01 if how == "slow" else 0.0
    assert send(logout_token()).json()["error"] == "temporarily_unavailable"


def test_nor_are_headers_without_end(key_server: KeyServer, monkeypatch: Any) -> None:
    monkeypatch.setattr(public_keys, "PATIENCE", 0.2)
    key_server.pause, key_server.is_slow_from_the_first = 0.01, True
    assert send(logout_token()).json()["error"] == "temporarily_unavailable"
    assert (key_server.asked, key_server.is_behind_the_headers) == (1, False)


def test_a_look_that_fails_slowly_is_followed_by_none_at_once(key_server: KeyServer, monkeypatch: Any) -> None:
    class Clock:
        """Ten seconds go by while the provider is asked."""

        now = 1000.0

        def monotonic(self) -> float:
            return self.now

        def wait(self) -> None:
            self.now += 2 * public_keys.AFTER_FAILURE

    clock = Clock()
    monkeypatch.setattr(public_keys, "time", clock)
    key_server.gate = clock  # type: ignore[assignment]
    key_server.status = 500
    source = public_keys._remote(key_server.url)
    for _ in range(3):
        with pytest.raises(public_keys.KeysUnavailable):
            source.keys()
    assert key_server.asked == 1
    clock.now += public_keys.AFTER_FAILURE
    with pytest.raises(public_keys.KeysUnavailable):
        source.keys()
    assert key_server.asked == 2


def test_a_look_for_a_key_that_is_made_up_holds_up_nobody(key_server: KeyServer, monkeypatch: Any) -> None:
    accepted(logout_token())
    monkeypatch.setattr(public_keys, "COOLDOWN", 0.0)
    source = public_keys._remote(key_server.url)
    key_server.gate.clear()
    looking = threading.Thread(target=source.keys, kwargs={"again": True})
    looking.start()
    try:
        while key_server.asked < 2:
            time.sleep(0.001)
        monkeypatch.setattr(public_keys, "TIMEOUT", 0.0)
        accepted(logout_token())
    finally:
        key_server.gate.set()
        looking.join()


def test_a_provider_that_is_away_for_a_while_keeps_its_keys(key_server: KeyServer, monkeypatch: Any) -> None:
    accepted(logout_token())
    key_server.status = 500
    monkeypatch.setattr(public_keys, "COOLDOWN", 0.0)
    refused(logout_token(OTHERS_KEY, header={"kid": "made up"}))
    accepted(logout_token())


def test_keys_that_nobody_can_use_are_passed_over(key_server: KeyServer) -> None:
    key_server.answer = {"keys": ["x", 7, {"kty": "RSA", "kid": "one", "n": "!", "e": "AQAB"}, {"kty": "XYZ"}]}
    refused(logout_token())


RSA = jwk()
WEAK_KEY = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505


@pytest.mark.parametrize(
    "other",
    [
        {"kty": "RSA"},
        {"kty": "RSA", "n": RSA["n"]},
        {"kty": "RSA", "n": "!", "e": "AQAB"},
        {"kty": "RSA", "n": 7, "e": []},
        {"kty": "RSA", "n": "AQAB", "e": "AQAB"},
        {"kty": ["RSA"], "n": RSA["n"], "e": "AQAB"},
        {"kty": {}},
        {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"},
        {"kty": "unheard of", "n": RSA["n"], "e": "AQAB"},
        {**jwk(OTHERS_KEY), "use": "enc"},
        {**jwk(OTHERS_KEY), "use": ["sig"]},
        {**jwk(OTHERS_KEY), "key_ops": ["encrypt", "wrapKey"]},
        {**jwk(OTHERS_KEY), "key_ops": "verify"},
        {**jwk(OTHERS_KEY), "alg": "RS512"},
        jwk(WEAK_KEY),
        "a string",
        None,
    ],
)
@pytest.mark.parametrize("named", [True, False])
def test_a_key_that_will_not_do_spoils_none_of_the_others(key_server: KeyServer, other: Any, named: bool) -> None:
    """RFC 7517 section 5: those that are not understood or lack members should be ignored, and section 4."""
    twin = {"kid": "one"} if isinstance(other, dict) else {}
    mine = {**RSA, "an unknown member": {"use": "enc"}, "key_ops": ["verify"]}
    mine.pop("use", None)
    key_server.answer = {"keys": [{**other, **twin} if twin else other, mine], "an unknown member": [1]}
    accepted(logout_token(header={} if named else {"kid": ...}))
    # And it proves nothing itself.
    refused(logout_token(OTHERS_KEY, header={} if named else {"kid": ...}))


def test_a_curve_that_the_algorithm_does_not_have_is_another_key() -> None:
    keys = [ec.generate_private_key(curve) for curve in (ec.SECP384R1(), ec.SECP256R1())]
    found = [json.loads(jwt.algorithms.ECAlgorithm.to_jwk(key.public_key())) for key in keys]
    with with_provider(algorithms=["ES256"], jwks={"keys": found}):
        accepted(logout_token(keys[1], "ES256", header={"kid": ...}))


# Settings, checks, cleaning up -------------------------------------------------------------------------------------


def test_the_sets_of_rfc_7517_are_read() -> None:
    """Appendices A.1 and A.3: an RSA key for signatures, one for encryption, and secrets."""
    ec_key, rsa_key = (jwt.PyJWK(one, "ES256" if one["kty"] == "EC" else "RS256").key for one in PRIVATE_SET["keys"])
    found = {"keys": [*SECRET_SET["keys"], *PUBLIC_SET["keys"]]}
    for kid in ("2011-04-29", None):
        raw = jwt.encode({"a": 1}, rsa_key, "RS256", headers={} if kid is None else {"kid": kid})
        assert public_keys.verified(raw, found, None, ("RS256", "ES256"))[1] == {"a": 1}
    raw = jwt.encode({"a": 1}, ec_key, "ES256", headers={"kid": "1"})
    with pytest.raises(public_keys.BadSignature, match="no such key"):
        public_keys.verified(raw, found, None, ("RS256", "ES256"))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"client_id": []}, "client_id"),
        ({"jwks": None}, "one of the two"),
        ({"jwks_uri": "https://op.example/jwks"}, "one of the two"),
        ({"jwks": None, "jwks_uri": "http://op.example/jwks"}, "https"),
        ({"jwks": None, "jwks_uri": "file:///etc/passwd"}, "https"),
        ({"jwks": {"keys": []}}, "JWK Set"),
        ({"algorithms": ["none"]}, "'none' is not one of"),
        ({"algorithms": ["HS256"]}, "'HS256' is not one of"),
        ({"algorithms": []}, "a list"),
        ({"max_age": 0}, "max_age"),
        ({"leeway": -1}, "leeway"),
        ({"user": "no.such.module"}, "user"),
        ({"audience": "x"}, "'audience' is not one of"),
    ],
)
def test_a_setting_that_is_wrong_is_named(changes: dict[str, Any], reason: str) -> None:
    with with_provider(**changes):
        (problem,) = problems()
        assert problem.key == "OPENID_PROVIDERS"
        assert reason in problem.reason
        assert ISSUER in problem.reason


def test_an_endpoint_without_a_provider_is_found_by_the_check() -> None:
    assert check_openid() == []
    with override_settings(JWT_REDIS={"ALIAS": "sessions"}):
        assert [message.id for message in check_openid()] == ["jwt_redis.W043"]
        refused(logout_token())
    with override_settings(JWT_REDIS={"ALIAS": "sessions"}, ROOT_URLCONF="tests.urls"):
        assert check_openid() == []


def test_several_clients_of_one_provider_are_all_ours() -> None:
    with with_provider(client_id=["shop", "app"]):
        accepted(logout_token(aud=["app", "shop"]))
        refused(logout_token(aud=["app", "another"]))


def test_what_is_over_is_dropped_with_the_rest(alice: Any) -> None:
    kept, dropped = sign_in(alice), sign_in(alice)
    ProviderSession.objects.filter(sid=dropped["sid"]).update(until=timezone.now() - timedelta(days=2))
    call_command("jwt_cleanup", "--dry-run", verbosity=0)
    assert ProviderSession.objects.count() == 2
    call_command("jwt_cleanup", verbosity=0)
    assert [row.sid for row in ProviderSession.objects.all()] == [kept["sid"]]


def test_a_logout_is_kept_for_two_days(alice: Any) -> None:
    accepted(logout_token())
    accepted(logout_token(sid=...))
    row = ProviderLogout.objects.latest("id")
    assert timedelta(days=1.9) < row.until - timezone.now() <= timedelta(days=2)
    ProviderLogout.objects.filter(pk=row.pk).update(until=timezone.now() - timedelta(days=1.1))
    call_command("jwt_cleanup", "--dry-run", verbosity=0)
    assert ProviderLogout.objects.count() == 2
    call_command("jwt_cleanup", verbosity=0)
    assert ProviderLogout.objects.count() == 1
    assert not ProviderLogout.objects.filter(pk=row.pk).exists()


def test_a_row_lasts_as_long_as_its_session_may(alice: Any) -> None:
    sign_in(alice)
    assert ProviderSession.objects.get().until > timezone.now() + timedelta(days=89)


def test_who_signs_in_otherwise_pays_nothing(alice: Any, django_assert_num_queries: Any) -> None:
    # The first one looks after rows that a test before this one may have left pending.
    sessions.open_session(alice)
    with django_assert_num_queries(0):
        sessions.open_session(alice)
